// iSCSI: target groups (one target on several nodes) and the volumes they serve.

import { load, segment } from "../api.js";
import { copyBox } from "../copy.js";
import { h, pill, prose } from "../dom.js";
import { explainSection } from "../explain.js";
import { instancesSection } from "../instances.js";
import { dim, facts, haBox, link, mono, nodeLink, rowButtons, section } from "../parts.js";
import { to } from "../router.js";
import { instanceOf } from "../service_actions.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { bytes, count, nodeLook } from "../words.js";
import { ISCSI_ACTIONS } from "./kinds/iscsi_forms.js";
import { listPage, onePage } from "./kinds/kind.js";
import { lookOf, LOOKS, stateCell } from "./kinds/parts.js";
import { serviceEvents } from "./kinds/service.js";
import { listText } from "./kinds/wording.js";

const HA = "Its active path exists on one node; the group's other nodes keep standby paths. If the node fails another path becomes active, and clients' multipath follows: the disk keeps its name, its serial number and every write that was acknowledged.";

const groups = (ctx) => ctx.status.target_groups;
const group = (ctx, name) => groups(ctx).find((one) => one.name === name);
const volumes = (ctx) => ctx.status.iscsi_volumes;
const path = (ctx, volume) => instanceOf(ctx, `iscsi/${volume.name}`);
const members = (ctx, name) => volumes(ctx).filter((volume) => volume.group === name);

/** The volume as an instance-like thing: detached ones have no path. */
function state(ctx, volume) {
  const active = path(ctx, volume);
  if (!active) return { state: "detached" };
  return volume.group ? active : { state: "detaching" };
}

const sizeTools = (volume, ctx) => [
  { action: "iscsi-volume-resize", words: "Resize…" },
  state(ctx, volume).state === "detaching" ? null
    : volume.group ? { action: "iscsi-volume-detach", words: "Detach…" } : { action: "iscsi-volume-attach", words: "Attach…" },
  !volume.group && { action: "iscsi-volume-delete", words: "Delete…", tone: "danger" },
];

const kind = {
  path: "iscsi", icon: "iscsi", title: "iSCSI volumes",
  lead: "Disks over the network. A target group is one target on several nodes; each volume in it has one active path and standby paths on the others.",
  tools: (ctx) => [
    { action: "iscsi-group-create", words: "New target group" },
    groups(ctx).length > 0 && { action: "iscsi-volume-create", words: "New volume", tone: "primary", picture: "plus" }],
  above: (ctx) => section("groups", "Target groups", {}, table("Target groups", [
    ["Group", (one) => [link(to("iscsi", "groups", one.name), one.name), h("small", { class: "dim" }, one.engine === "lio" ? "LIO" : one.engine)]],
    ["State", (one) => pill(one.started ? { tone: "ok", icon: "check", label: "Started" } : LOOKS.stopped)],
    ["Nodes", (one) => listText(Object.keys(one.portals).sort())],
    ["Volumes", (one) => listText(members(ctx, one.name).map((volume) => `${volume.name} (LUN ${volume.lun})`))],
    ["May log in", (one) => [one.initiators.length ? count(one.initiators.length, "initiator") : h("span", { class: "trouble tone-warn" }, "nobody yet"), h("small", { class: "dim" }, one.chap_user ? "with CHAP" : "without CHAP")]],
  ], groups(ctx), { key: (one) => one.name, actions: (one) => rowButtons(ctx, one.name, [
    { action: "iscsi-acl", words: "Initiators…" }, { action: "iscsi-group-delete", words: "Delete…", tone: "danger" }]) }),
  h("h2", { class: "list-title" }, "Volumes")),
  items: volumes,
  none: "There is no volume yet: make one, then attach it to a group.", noun: "volume",
  key: (volume) => volume.name,
  columns: (ctx) => [
    ["Volume", (volume) => link(to("iscsi", "volumes", volume.name), volume.name)],
    ["State", (volume) => stateCell(state(ctx, volume))],
    ["Active on", (volume) => nodeLink(path(ctx, volume)?.node)],
    ["Group", (volume) => (volume.group ? [link(to("iscsi", "groups", volume.group), volume.group), h("small", { class: "dim" }, `LUN ${volume.lun}`)] : dim("none"))],
    ["Size", (volume) => bytes(volume.size_bytes)],
  ],
  rowTools: sizeTools,
  empty: (ctx) => (groups(ctx).length + volumes(ctx).length ? null : {
    title: "No target group yet",
    text: "A target group serves disks to initiators from two nodes or more: when one fails another goes on, without a new login.",
    needs: [[ctx.status.nodes.length >= 2, "two nodes or more that see the shared storage, with LIO in the kernel or tgt installed"],
      [true, "the names of the initiators that may log in; they can be added later"]],
    action: { action: "iscsi-group-create", words: "New target group" },
  }),
  one: {
    what: "iSCSI volume",
    find: (ctx, { name }) => volumes(ctx).find((volume) => volume.name === name),
    look: (volume, ctx) => LOOKS[state(ctx, volume).state] ?? lookOf(path(ctx, volume)),
    tools: (volume, ctx) => sizeTools(volume, ctx).filter(Boolean).map((one) => ({ ...one, id: volume.name })),
    view: (ctx, volume) => [
      volume.group ? haBox(true, HA) : haBox(false, "It is attached to no target group, so nobody is served: attach it to one.", "Not in service"),
      facts([
        ["Target group", volume.group && link(to("iscsi", "groups", volume.group), volume.group)], ["LUN", volume.lun],
        ["Size", bytes(volume.size_bytes)], [volume.device ? "Device" : "File", mono(volume.path)], ["Serial number", mono(volume.uuid.replaceAll("-", ""))],
        ["WWID at a Linux client", mono(`3${`6001405${volume.uuid.replaceAll("-", "")}`.slice(0, 32)}`)]]),
      path(ctx, volume) && [
        instancesSection(ctx, [path(ctx, volume)], { title: "Active path", note: "A planned move makes another path active." }),
        explainSection(ctx, path(ctx, volume)),
        serviceEvents(ctx, "iscsi", volume.name, [path(ctx, volume)])],
    ],
  },
  actions: ISCSI_ACTIONS,
};

const PATHS = {
  active: { tone: "ok", icon: "check", label: "Active" }, standby: { tone: "idle", icon: "pause", label: "Standby" },
  absent: { tone: "warn", icon: "cross", label: "Absent" }, unknown: { tone: "warn", icon: "question", label: "Unknown" },
};
const pathPill = (word) => pill(PATHS[word] ?? { tone: "busy", icon: "busy", label: word });

/** With tgt a standby path is one that is not there. */
function pathWord(group, unit, node) {
  const word = unit.paths[node] ?? "unknown";
  return word === "absent" && group.engine === "tgt" && node !== unit.active ? "standby" : word;
}

function unitsView(ctx, found) {
  const nodes = found.nodes.map((node) => node.node);
  return [
    found.problem && h("p", { class: "trouble tone-warn" }, `What the nodes say of their paths cannot be read: ${found.problem}`),
    section("units", "Paths", { note: "Of each volume, on each node." }, table("Paths", [
      ["LUN", (unit) => [h("b", {}, unit.lun), " ", link(to("iscsi", "volumes", unit.volume), unit.volume)]],
      ...nodes.map((node) => [node, (unit) => pathPill(pathWord(found.group, unit, node))]),
    ], found.units, { key: (unit) => unit.volume, empty: "No volume is attached to it." })),
    section("members", "Nodes", {}, table("Nodes of the group", [
      ["Node", (node) => nodeLink(node.node)], ["State", (node) => pill(nodeLook(node.state))], ["Portals", (node) => listText(node.portals)],
      ["Problems", (node) => (Object.keys(node.problems).length ? h("span", { class: "trouble tone-warn" }, prose(Object.values(node.problems).join("; "))) : dim("none"))],
    ], found.nodes, { key: (node) => node.node })),
    section("sessions", "Logged in", {}, table("Logged in", [
      ["Initiator", (one) => mono(one.initiator)], ["From", (one) => one.address], ["At", (one) => nodeLink(one.node)],
    ], found.connections, { key: (one) => `${one.initiator}-${one.node}-${one.address}`, empty: "Nobody is logged in to a node that is up." })),
  ];
}

function clientConfig(ctx, name) {
  const one = group(ctx, name);
  const item = ctx.data("client-config", () => load(`/iscsi/target-groups/${segment(name)}/client-config`), JSON.stringify([one.portals, one.chap_user, one.mutual_user]));
  return section("client", "Set up a client", { note: "Linux with open-iscsi and multipathd, in this order." },
    whenLoaded(item, (found) => h("div", { class: "copy-boxes" },
      copyBox("/etc/multipath.conf", found.multipath),
      copyBox("/etc/iscsi/iscsid.conf", Object.entries(found.iscsid).map(([key, value]) => `${key} = ${value}`).join("\n")),
      Object.entries(found.units).map(([file, text]) => copyBox(file, text)),
      copyBox("Commands", found.commands.join("\n")))));
}

const groupKind = {
  what: "target group",
  find: (ctx, { name }) => group(ctx, name),
  look: (one) => (one.started ? { tone: "ok", icon: "check", label: "Started" } : LOOKS.stopped),
  tools: (one) => [
    { action: one.started ? "iscsi-group-stop" : "iscsi-group-start", id: one.name, words: one.started ? "Stop…" : "Start…" },
    { action: "iscsi-group-nodes", id: one.name, words: "Add nodes…" },
    { action: "iscsi-acl", id: one.name, words: "Initiators…" },
    { action: "iscsi-chap", id: one.name, words: "CHAP…" },
    { action: "iscsi-group-delete", id: one.name, words: "Delete…", tone: "danger" }],
  view: (ctx, one) => {
    const item = ctx.data("group", () => load(`/iscsi/target-groups/${segment(one.name)}`), ctx.status.revision);
    const many = Object.keys(one.portals).length > 1;
    return [
      haBox(many, many ? HA : "It is served by one node: add another one, or its volumes are lost to clients when that node dies."),
      facts([
        ["Name (IQN)", mono(one.iqn)], ["Engine", one.engine === "lio" ? "LIO, in the kernel" : "tgt, in user space"],
        ["May log in", one.initiators.length ? h("ul", {}, one.initiators.map((name) => h("li", {}, mono(name)))) : "nobody yet"],
        ["CHAP", one.chap_user ? `initiators prove to be ${one.chap_user}${one.mutual_user ? `, the target proves to be ${one.mutual_user}` : ""}` : "not asked for: names are believed"]]),
      whenLoaded(item, (found) => unitsView(ctx, found)),
      clientConfig(ctx, one.name),
    ];
  },
};

export const page = listPage(kind);
export const volume = onePage(kind);
export const targetGroup = onePage(kind, groupKind);
