// All nodes: state, roles, load, and what could prove their death.

import { bar, byNode, loadOf, sizeBars } from "../capacity.js";
import { h, icon, pill, prose } from "../dom.js";
import { safety } from "../map.js";
import { addNode } from "../node_actions.js";
import { buttons, dim, nodeLink, roles, small } from "../parts.js";
import { table } from "../table.js";
import { memory, nodeLook, roleWord } from "../words.js";

export const page = {
  title: () => "Nodes",
  lead: (ctx) => `The machines of ${ctx.status.cluster.name}. A node can carry instances again, or lose them, only by a proof.`,
  tools: (ctx) => buttons(ctx, [{ action: "add-node", words: "Add node…", tone: "primary", picture: "plus", may: "administer" }]),
  view: (ctx) => table("Nodes", [
    ["Node", (node) => name(node, ctx), (node) => node.id],
    ["State", (node) => [pill(nodeLook(node.state)), node.note && h("small", { class: "reason" }, prose(node.note))], (node) => nodeLook(node.state).label],
    ["Roles", (node) => roles(node.roles.map(roleWord))],
    ["Addresses", (node) => h("span", { class: "address" }, Object.values(node.addresses).map((one) => h("span", { class: "line" }, one)))],
    ["Load", (node) => load(node, ctx.status), (node) => loadOf(node, ctx.status).memory.part],
    ["Instances", (node) => (byNode(ctx.status).get(node.id) ?? []).length, undefined, { align: "end" }],
    ["Proofs", (node) => h("span", { class: "proofs" }, safety(node)), (node) => `${node.fence_devices.length} ${node.watchdog ? 1 : 0}`],
  ], ctx.status.nodes, { noun: "node", key: (node) => node.id, sort: "Node", attributes: (node) => ({ "data-node-row": node.id }) }),
  actions: { "add-node": (_id, ctx) => addNode(ctx) },
  afterDraw: sizeBars,
};

const name = (node, { status, link }) => [
  nodeLink(node.id),
  node.failure_domain && small(node.failure_domain),
  node.id === status.manager.node && h("small", { class: "mark" }, icon("crown"), "leads"),
  node.id === link.node && h("small", { class: "mark" }, icon("panel"), "this page"),
];

function load(node, status) {
  const { cpu, memory: room } = loadOf(node, status);
  if (!node.cpu) return dim("unknown");
  return h("div", { class: "loads" }, bar("CPU", cpu, (number) => String(Math.round(number * 10) / 10)), bar("Memory", room, memory));
}
