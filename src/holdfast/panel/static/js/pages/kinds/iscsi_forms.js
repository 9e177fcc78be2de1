// Target groups and volumes of iSCSI: everything that is created, changed and deleted.

import { segment } from "../../api.js";
import * as check from "../../form/checks.js";
import { confirmLoss } from "../../form/confirm.js";
import { openForm } from "../../form/form.js";
import { to } from "../../router.js";
import { bytes, listed } from "../../words.js";
import { clientNetwork, sizeInput } from "./wording.js";

const HA = "The group's nodes all have paths to its volumes. When the node with the active path fails, another node's path becomes active: no login, no new disk.";
const ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

const group = (ctx, name) => ctx.status.target_groups.find((one) => one.name === name);
const volume = (ctx, name) => ctx.status.iscsi_volumes.find((one) => one.name === name);
const at = (name, rest = "") => `/iscsi/target-groups/${segment(name)}${rest}`;
const of = (name, rest = "") => `/iscsi/volumes/${segment(name)}${rest}`;

/** 16 characters, which all initiators take: 92 bits. */
function madeUp() {
  return Array.from(crypto.getRandomValues(new Uint32Array(16)), (number) => ALPHABET[number % ALPHABET.length]).join("");
}

const nodes = (ctx, but, words) => ({
  name: "nodes", label: "Nodes", type: "several", required: true, blame: /node|engine|portal|address|report/i, hint: words,
  options: ctx.status.nodes.filter((node) => !but.includes(node.id)).map((node) => [node.id, node.id, Object.entries(node.addresses).map(([network, address]) => `${network} ${address}`).join(", ")]),
  none: "All nodes of the cluster are in it.",
});

const portals = {
  name: "portals", label: "Portals", type: "lines", by: "line", placeholder: "n1 10.78.0.11:3260", blame: /portal/i,
  must: check.each((line) => { const [node, ...own] = line.split(/[\s=,]+/); return node && own.length ? check.each(check.endpoint)(own) : "Write a node and its addresses in each line: n1 10.78.0.11:3260"; }),
  hint: "Only where other addresses than those on the networks above are wanted: a node and its addresses in each line.",
};
const portalsOf = (lines) => Object.fromEntries(lines.map((line) => { const [node, ...own] = line.split(/[\s=,]+/); return [node, own]; }));

const initiators = (value, more) => ({
  name: "initiators", label: "Initiators that may log in", type: "lines", by: "line", rows: 3, value, must: check.each(check.initiator), blame: /initiator/i,
  placeholder: "iqn.2026-01.com.example:client1", hint: `One name per line, as \`/etc/iscsi/initiatorname.iscsi\` of the client has it. ${more}`,
});

export const ISCSI_ACTIONS = {
  "iscsi-group-create": (_id, ctx) => openForm({
    title: "New target group", wide: true, ha: HA,
    text: ["One target on several nodes, to which volumes are attached as LUNs."],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "disks", must: check.all(check.name, check.fresh(ctx.status.target_groups.map((one) => one.name), "a target group")), blame: /name of a target|exists already/i, hint: "Small letters, digits and hyphens." },
      { ...nodes(ctx, [], "Two at least. They see the shared storage, and get the role `storage`."), value: ctx.status.nodes.filter((node) => node.state === "up" && node.roles.includes("storage")).map((node) => node.id), must: check.atLeast(2, "with fewer no path would be left when its node dies.") },
      initiators([], "Empty: nobody may, until you add one."),
      { section: "More", advanced: true, fields: [
        { name: "networks", label: "Networks", type: "several", value: [clientNetwork(ctx)], options: ctx.status.cluster.networks.map((network) => [network.name, network.name, network.cidrs.join(", ")]), blame: /network/i, hint: "Where the clients are: each node listens with its address there. Two make two paths per node." },
        portals,
        { name: "engine", label: "Engine", type: "select", options: [["", "The best that all nodes have"], ["lio", "LIO, in the kernel"], ["tgt", "tgt, in user space"]], blame: /engine/i, hint: "What serves the disks. All groups of a node have the same." },
        { name: "iqn", label: "Name of the target", must: check.initiator, blame: /iscsi target|has the name/i, placeholder: "iqn.2026-01.org.holdfast:cluster:disks", hint: "Empty: made from the names of cluster and group." }] }],
    confirm: "Create target group", effect: "typing",
    request: ({ portals: lines, ...body }) => ({ method: "POST", path: "/iscsi/target-groups", body: { ...body, portals: portalsOf(lines) } }),
    next: (_result, values) => to("iscsi", "groups", values.name),
  }, ctx),

  "iscsi-group-nodes": (name, ctx) => openForm({
    title: `Add nodes to ${name}`,
    text: ["They get standby paths to all its volumes. Clients must log in to their portals too: see Set up a client."],
    fields: [nodes(ctx, Object.keys(group(ctx, name).portals), "They must see the shared storage, and have the group's engine."), { section: "More", advanced: true, fields: [portals] }],
    confirm: "Add", effect: "typing",
    request: (values) => ({ method: "POST", path: at(name, "/nodes"), body: { nodes: values.nodes, portals: portalsOf(values.portals) } }),
  }, ctx),

  "iscsi-group-start": (name, ctx) => openForm({ title: `Start ${name}`, text: ["Its target and its volumes are served again."], confirm: "Start", request: () => ({ method: "POST", path: at(name, "/start") }) }, ctx),
  "iscsi-group-stop": (name, ctx) => openForm({
    title: `Stop ${name}`, tone: "danger", confirm: "Stop", text: ["No node serves it: clients' reads and writes wait, or fail, as their multipath is set. Volumes stay attached, data stay."],
    request: () => ({ method: "POST", path: at(name, "/stop") }) }, ctx),
  "iscsi-group-delete": (name, ctx) => confirmLoss({
    title: `Delete the target group ${name}`, lost: ["The target is not served any more, and its list of initiators and its CHAP secrets are forgotten."],
    stays: ["Volumes stay; they must be detached before."], type: name, confirm: "Delete target group",
    request: () => ({ method: "DELETE", path: at(name) }), next: () => "#/iscsi",
  }, ctx),

  "iscsi-acl": (name, ctx) => {
    const before = group(ctx, name).initiators;
    return openForm({
      title: `Initiators of ${name}`, wide: true, text: ["Sessions of those who are taken off the list are ended."],
      fields: [initiators(before, "Names can be made up by anybody on the network: where that matters ask for CHAP as well.")], confirm: "Save list",
      request: ({ initiators: now }) => ({ method: "POST", path: at(name, "/acl"), body: { add: now.filter((one) => !before.includes(one)), remove: before.filter((one) => !now.includes(one)) } }),
    }, ctx);
  },

  "iscsi-chap": (name, ctx) => {
    const one = group(ctx, name);
    const on = (values) => values.ask !== "off";
    const mutual = (values) => values.ask === "mutual";
    return openForm({
      title: `CHAP of ${name}`,
      text: ["Who is logged in must log in again with it. Secrets are never shown again: neither here nor by any command."],
      fields: [
        { name: "ask", label: "Proof", type: "choice", value: one.mutual_user ? "mutual" : one.chap_user ? "on" : "off", options: [["off", "None", "Names of initiators are believed."], ["on", "Initiators prove themselves", "They must know the secret."], ["mutual", "Both prove themselves", "The target must know a second one."]], hint: "What is asked for at a login." },
        { name: "user", label: "User", required: true, value: one.chap_user, when: on, blame: /user/i, hint: "As whom initiators prove themselves. Each target group needs users of its own." },
        { name: "secret", label: "Secret", type: "secret", required: true, value: "", when: on, must: check.chapSecret, make: madeUp, blame: /secret/i, hint: "12 to 64 characters; Windows takes 12 to 16. Store it where the client is set up: it is not shown again." },
        { name: "mutual_user", label: "User of the target", required: true, value: one.mutual_user, when: mutual, blame: /user/i, hint: "As whom the target proves itself; another one than above." },
        { name: "mutual_secret", label: "Secret of the target", type: "secret", required: true, when: mutual, blame: /secret/i,
          must: (text, values) => check.chapSecret(text) || (text === values.secret ? "Both directions need different secrets." : ""), make: madeUp, hint: "Another one than above." }],
      confirm: "Save",
      request: (values) => (on(values)
        ? { method: "PUT", path: at(name, "/chap"), body: { chap: { user: values.user, secret: values.secret }, mutual: mutual(values) ? { user: values.mutual_user, secret: values.mutual_secret } : null } }
        : { method: "DELETE", path: at(name, "/chap") }),
    }, ctx);
  },

  "iscsi-volume-create": (_id, ctx) => openForm({
    title: "New volume",
    text: ["It is attached to a target group afterwards, and served from then on."],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "vol1", must: check.all(check.name, check.fresh(ctx.status.iscsi_volumes.map((one) => one.name), "a volume")), blame: /name of a volume|exists already/i, hint: "Small letters, digits and hyphens." },
      { name: "from", label: "It is", type: "choice", options: [["file", "A new file", "On the shared storage; it takes room as it is written."], ["device", "A block device", "That all nodes of its group see, as it is."]], hint: "Where its data lie." },
      { name: "size", label: "Size", required: true, placeholder: "100GiB", must: check.diskSize, when: (values) => values.from === "file", blame: /size|bytes|room/i, hint: "It can be made larger at any time." },
      { name: "device", label: "Device", required: true, placeholder: "/dev/disk/by-id/…", must: check.path, when: (values) => values.from === "device", blame: /device|\/dev|is the volume/i, hint: "By a name that is the same on all nodes. It must not be in use." }],
    confirm: "Create volume", effect: "typing",
    request: (values) => ({ method: "POST", path: "/iscsi/volumes", body: { name: values.name, size_bytes: values.from === "file" ? check.bytes(values.size) : 0, device: values.from === "device" ? values.device : "" } }),
    next: (_result, values) => to("iscsi", "volumes", values.name),
  }, ctx),

  "iscsi-volume-attach": (name, ctx) => openForm({
    title: `Attach ${name}`, ha: HA,
    fields: [
      { name: "group", label: "Target group", type: "select", options: ctx.status.target_groups.map((one) => [one.name, `${one.name}, on ${listed(Object.keys(one.portals).sort())}`]), blame: /group/i, hint: "A volume is in one group at a time." },
      { name: "lun", label: "LUN", type: "number", must: check.all(check.whole, check.between(1, 255)), blame: /LUN/, hint: "Its number for clients. Empty: the lowest free one." }],
    confirm: "Attach", effect: "typing",
    request: ({ group: target, lun }) => ({ method: "POST", path: of(name, "/attach"), body: { group: target, lun: lun === "" ? null : Number(lun) } }),
  }, ctx),

  "iscsi-volume-detach": (name, ctx) => openForm({
    title: `Detach ${name}`,
    text: [`It is not served any more, and its LUN in ${volume(ctx, name).group} becomes free. Its data stay.`],
    fields: [{ name: "force", label: "Also while initiators are logged in", type: "switch", value: false, hint: "Who uses the volume loses it in the middle of what it does." }],
    confirm: "Detach", tone: "danger",
    request: ({ force }) => ({ method: "POST", path: of(name, "/detach"), query: force ? { force: true } : {} }),
  }, ctx),

  "iscsi-volume-resize": (name, ctx) => {
    const one = volume(ctx, name);
    return openForm({
      title: `Resize ${name}`,
      text: [`It has ${bytes(one.size_bytes)} now. Larger is possible at any time, with a moment's stall. Smaller only while it is detached, and never below what was written.`],
      fields: [{ name: "size", label: "Size", required: true, value: sizeInput(one.size_bytes), must: check.diskSize, blame: /bytes|size|smaller|holds data/i, hint: one.device ? "Change the device first, on all nodes; then say its size here." : "A client sees a larger disk when it logs in anew." }],
      confirm: "Resize",
      request: ({ size }) => ({ method: "PUT", path: of(name, "/size"), body: { size_bytes: check.bytes(size) } }),
    }, ctx);
  },

  "iscsi-volume-delete": (name, ctx) => {
    const one = volume(ctx, name);
    return confirmLoss({
      title: `Delete the volume ${name}`,
      lost: one.device ? [] : [`All its data, for ever: ${bytes(one.size_bytes)} in \`${one.path}\`.`], stays: one.device ? [`The device \`${one.path}\` and what is on it.`] : [],
      type: name, confirm: "Delete volume",
      request: () => ({ method: "DELETE", path: of(name), query: { yes: true } }), next: () => "#/iscsi",
    }, ctx);
  },
};
