// All nodes: state, roles, load, and what could prove their death.

import { bar, byNode, loadOf, sizeBars } from "../capacity.js";
import { h, icon, pill, prose } from "../dom.js";
import { addNode } from "../node_actions.js";
import { safety } from "../map.js";
import { to } from "../router.js";
import { table } from "../table.js";
import { memory, nodeLook, roleWord } from "../words.js";

export const page = {
  title: () => "Nodes",
  lead: (ctx) => `The machines of ${ctx.status.cluster.name}. A node can carry instances again, or lose them, only by a proof.`,
  tools: (ctx) => (ctx.may("administer") ? [h("button", { type: "button", class: "primary", "data-action": "add-node" }, icon("plus"), "Add node…")] : []),
  view: (ctx) => table({
    id: "nodes", label: "Nodes", noun: "node", rows: ctx.status.nodes, key: (node) => node.id, sort: "id",
    attributes: (node) => ({ "data-node-row": node.id }),
    columns: [
      { key: "id", label: "Node", value: (node) => node.id, cell: (node) => name(node, ctx) },
      { key: "state", label: "State", value: (node) => nodeLook(node.state).label, cell: (node) => [pill(nodeLook(node.state)), node.note && h("small", { class: "reason" }, prose(node.note))] },
      { key: "roles", label: "Roles", value: (node) => node.roles.map(roleWord).join(" "), cell: (node) => h("span", { class: "roles" }, node.roles.map((role) => h("span", { class: "role" }, roleWord(role)))) },
      { key: "addresses", label: "Addresses", value: (node) => Object.values(node.addresses).join(" "), cell: (node) => h("span", { class: "address" }, Object.values(node.addresses).map((address) => h("span", { class: "line" }, address))) },
      { key: "load", label: "Load", value: (node) => loadOf(node, ctx.status).memory.part, cell: (node) => load(node, ctx.status) },
      { key: "instances", label: "Instances", align: "end", value: (node) => (byNode(ctx.status).get(node.id) ?? []).length, cell: (node) => (byNode(ctx.status).get(node.id) ?? []).length },
      { key: "proofs", label: "Proofs", value: (node) => `${node.fence_devices.length} ${node.watchdog ? 1 : 0}`, cell: (node) => h("span", { class: "proofs" }, safety(node)) },
    ],
  }),
  actions: { "add-node": (_id, ctx) => addNode(ctx) },
  afterDraw: sizeBars,
};

const name = (node, { status, link }) => [
  h("a", { href: to("nodes", node.id) }, node.id),
  node.failure_domain && h("small", { class: "dim" }, node.failure_domain),
  node.id === status.manager.node && h("small", { class: "mark" }, icon("crown"), "leads"),
  node.id === link.node && h("small", { class: "mark" }, icon("panel"), "this page"),
];

function load(node, status) {
  const { cpu, memory: room } = loadOf(node, status);
  if (!node.cpu) return h("span", { class: "dim" }, "unknown");
  return h("div", { class: "loads" }, bar("cpu", cpu, (number) => String(Math.round(number * 10) / 10)), bar("memory", room, memory));
}
