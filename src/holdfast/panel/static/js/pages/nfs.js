// NFS: volumes, each with a server and an address of its own.

import { segment } from "../api.js";
import { copyBox } from "../copy.js";
import { h } from "../dom.js";
import { explainSection } from "../explain.js";
import * as check from "../form/checks.js";
import { confirmLoss } from "../form/confirm.js";
import { openForm } from "../form/form.js";
import { instancesSection } from "../instances.js";
import { dim, facts, haBox, link, nodeLink, section } from "../parts.js";
import { to } from "../router.js";
import { instanceOf, startStop } from "../service_actions.js";
import { bytes, count } from "../words.js";
import { listPage, onePage } from "./kinds/kind.js";
import { lookOf, stateCell } from "./kinds/parts.js";
import { serviceEvents, serviceOf } from "./kinds/service.js";
import { clientNetwork, listText } from "./kinds/wording.js";

const HA = "If its node fails, its server, its locks and its address come back on another storage node. Clients wait for a moment and go on; what they were told is written stays written.";
const SQUASH = { root: "root_squash", none: "no_root_squash", all: "all_squash" };

const settings = (ctx) => ctx.status.kinds.find((kind) => kind.kind === "nfs")?.config;
const volumes = (ctx) => ctx.status.instances.filter((one) => one.kind === "nfs");
const storage = (ctx) => ctx.status.nodes.filter((node) => node.roles.includes("storage")).map((node) => node.id);
const deleting = (ctx, volume) => Boolean(serviceOf(ctx, "nfs", volume.service)?.deleting);
const ruleText = (rule) => `${rule.clients},${rule.access},${SQUASH[rule.squash] ?? rule.squash}`;

function ruleCheck(text) {
  const [clients, ...options] = text.split(",").map((part) => part.trim());
  const known = ["rw", "ro", "none", ...Object.values(SQUASH)];
  const wrong = options.find((option) => !known.includes(option));
  if (wrong !== undefined) return `\`${wrong}\` is not known: use rw, ro or none, and root_squash, no_root_squash or all_squash.`;
  return /^[\d:./a-f]+$/i.test(clients) && /[.:]/.test(clients) && clients !== "*" ? check.prefix(clients) : clients ? "" : "Begin each rule with its clients, or *.";
}

const access = (value) => ({
  name: "access", label: "Who may mount it", type: "lines", by: "line", rows: 3, value, must: check.each(ruleCheck), blame: /access rule|client/i,
  placeholder: "10.78.0.0/24,rw\n10.80.0.0/16,ro,all_squash",
  hint: "One rule per line: CLIENTS, then `rw`, `ro` or `none`, then `root_squash`, `no_root_squash` or `all_squash`. The first that matches a client decides; no match means no access.",
});

function prepare(_id, ctx) {
  const network = clientNetwork(ctx);
  const nodes = ctx.status.nodes.filter((node) => node.addresses[network]);
  return openForm({
    title: "Prepare NFS",
    text: ["Needed once: which nodes may carry volumes, and which addresses volumes may take. Each volume gets one, and keeps it wherever it runs."],
    fields: [
      { name: "nodes", label: "Nodes", type: "several", required: true, value: nodes.filter((node) => node.state === "up").map((node) => node.id), must: check.atLeast(2, "with fewer no volume could come back when its node dies."), blame: /node/i,
        options: nodes.map((node) => [node.id, node.id, `${node.addresses[network]}${node.roles.includes("storage") ? ", has the role storage" : ""}`]), hint: "They get the role `storage`, and see the shared storage." },
      { name: "addresses", label: "Addresses", type: "lines", required: true, placeholder: "10.78.0.101-10.78.0.150", must: check.each(check.range), blame: /address|pool|ends|mixes/i,
        hint: "Free addresses that nobody else uses, single ones or FIRST-LAST. One for each volume you will have." },
      { name: "network", label: "Network", type: "select", value: network, options: ctx.status.cluster.networks.map((one) => [one.name, `${one.name} (${one.cidrs.join(", ")})`]), blame: /network/i, hint: "Where the clients are." },
    ],
    confirm: "Prepare",
    request: (body) => ({ method: "POST", path: "/nfs/cluster", body }),
  }, ctx);
}

async function create(_id, ctx) {
  if (!settings(ctx) && !(await prepare("", ctx))) return null;
  return openForm({
    title: "New NFS volume",
    text: ["A directory on the shared storage, exported by its own NFS server (NFSv4.1 and 4.2) at its own address."],
    ha: HA,
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "vol1", must: check.all(check.name, check.fresh(volumes(ctx).map((one) => one.service), "a volume")), blame: /name|exists already|being deleted/i, hint: "Small letters, digits and hyphens. Clients mount it as /NAME." },
      { name: "size", label: "Size", placeholder: "100GiB", must: check.size, blame: /size|quota|limit/i, hint: "A quota, where the shared storage can keep one. Empty: no limit." },
      { name: "address", label: "Address", placeholder: settings(ctx)?.addresses?.[0]?.split("-")[0] ?? "10.78.0.101", must: check.ip, blame: /address|network/i, hint: "Where clients mount it, wherever it runs. Empty: the next free one of the pool." },
      { ...access([]), hint: `${access([]).hint} Empty: everybody who reaches it may read and write, root squashed.` },
    ],
    confirm: "Create volume", effect: "typing",
    request: (body) => ({ method: "POST", path: "/nfs/volumes", body }),
    next: (_result, { name }) => to("nfs", name),
  }, ctx);
}

const changeAccess = (name, ctx) => openForm({
  title: `Who may mount ${name}`,
  text: ["The rules are replaced and take effect at once; who is not allowed any more loses the volume."],
  fields: [{ ...access(instanceOf(ctx, `nfs/${name}`).config.access.map(ruleText)), required: true }],
  confirm: "Save rules",
  request: (body) => ({ method: "PUT", path: `/nfs/volumes/${segment(name)}/access`, body }),
}, ctx);

const remove = (name, ctx) => confirmLoss({
  title: `Delete nfs/${name}`,
  lost: ["Its NFS server is stopped, and clients that have it mounted lose it at once.", "Its address goes back to the pool."],
  stays: [`The files stay on the shared storage, in \`${instanceOf(ctx, `nfs/${name}`).config.path ?? "its directory"}\`.`],
  type: name, confirm: "Delete volume",
  request: () => ({ method: "DELETE", path: `/nfs/volumes/${segment(name)}`, query: { force: true } }),
  next: () => "#/nfs",
}, ctx);

const mountAt = (volume) => (volume.address.includes(":") ? `[${volume.address}]` : volume.address);

const kind = {
  path: "nfs", icon: "nfs", title: "NFS volumes",
  lead: "Shared directories for many clients at once. Each volume has a server and an address of its own, and both move together.",
  tools: (ctx) => [{ action: "nfs-create", words: "New NFS volume", tone: "primary", picture: "plus" }],
  items: volumes,
  key: (volume) => volume.service,
  columns: (ctx) => [
    ["Volume", (volume) => link(to("nfs", volume.service), volume.service)],
    ["State", (volume) => stateCell(volume, deleting(ctx, volume))],
    ["Node", (volume) => nodeLink(volume.node)],
    ["Address", (volume) => h("span", { class: "address" }, volume.address)],
    ["Size", (volume) => (volume.config.size ? bytes(volume.config.size) : dim("no limit"))],
    ["Clients", (volume) => listText((volume.config.access ?? []).map((rule) => (rule.clients === "*" ? "everybody" : rule.clients)))],
  ],
  rowTools: (volume, ctx) => (deleting(ctx, volume) ? [] : [{ action: "nfs-access", words: "Access…" }, { action: "nfs-delete", words: "Delete…", tone: "danger" }]),
  below: (ctx) => settings(ctx) && section("cluster", "Prepared for NFS", {}, facts([
    ["Nodes", listText(storage(ctx))], ["Addresses", listText(settings(ctx).addresses)], ["Network", settings(ctx).network]])),
  empty: (ctx) => (volumes(ctx).length ? null : {
    title: "No NFS volume yet",
    text: "A volume gives many clients the same files. It survives the loss of its node: server, locks and address come back on another one.",
    needs: [[storage(ctx).length >= 2, `two nodes or more with the role storage: ${count(storage(ctx).length, "node")} so far`],
      [Boolean(settings(ctx)), "a pool of addresses, one for each volume; asked for first"]],
    action: { action: "nfs-create", words: settings(ctx) ? "New NFS volume" : "Prepare NFS" },
  }),
  one: {
    what: "NFS volume",
    find: (ctx, { name }) => instanceOf(ctx, `nfs/${name}`),
    look: (volume, ctx) => lookOf(volume, deleting(ctx, volume)),
    tools: (volume, ctx) => (deleting(ctx, volume) ? [] : [
      volume.desired === "started" && { action: "instance-move", id: volume.id, words: "Move…" },
      startStop(`nfs/${volume.service}`, volume.desired === "started"),
      { action: "nfs-access", id: volume.service, words: "Access…" },
      { action: "nfs-delete", id: volume.service, words: "Delete…", tone: "danger" }]),
    view: (ctx, volume) => [
      haBox(storage(ctx).length > 1, storage(ctx).length > 1 ? HA : `Only ${listText(storage(ctx), "no node")} may carry it: give another node the role storage, or it does not come back when that node dies.`),
      facts([
        ["Address", h("span", { class: "address" }, volume.address)], ["Network", volume.network],
        ["Size", volume.config.size ? bytes(volume.config.size) : "no limit"],
        ["Who may mount it", h("ul", {}, (volume.config.access ?? []).map((rule) => h("li", {}, h("code", {}, ruleText(rule)))))],
        ["On the shared storage", h("code", {}, volume.config.path)]]),
      section("mount", "Mount it", { note: "`hard` makes a failover a pause instead of an error." },
        copyBox("Command", `mount -t nfs -o vers=4.2,hard,proto=tcp ${mountAt(volume)}:/${volume.service} /mnt`),
        copyBox("Line of /etc/fstab", `${mountAt(volume)}:/${volume.service} /mnt nfs vers=4.2,hard,proto=tcp,_netdev 0 0`)),
      instancesSection(ctx, [volume], {}),
      explainSection(ctx, volume),
      serviceEvents(ctx, "nfs", volume.service, [volume]),
    ],
  },
  actions: { "nfs-create": create, "nfs-prepare": prepare, "nfs-access": changeAccess, "nfs-delete": remove },
};

export const page = listPage(kind);
export const one = onePage(kind);
