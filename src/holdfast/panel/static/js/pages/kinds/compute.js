// The compute cluster: which nodes carry machines, how many may fail, what is kept free, and whether that holds.

import { load } from "../../api.js";
import { h, pill, prose } from "../../dom.js";
import * as check from "../../form/checks.js";
import { lacking } from "../../form/effect.js";
import { openForm } from "../../form/form.js";
import { facts, nodeLink, section, sectionButtons, stateBox } from "../../parts.js";
import { whenLoaded } from "../../states.js";
import { table } from "../../table.js";
import { cores, count, memory, nodeLook, sentence } from "../../words.js";
import { changed, listText, sizeInput } from "./wording.js";

export const compute = (ctx) => ctx.status.compute;
const anyOf = (number) => (number === 1 ? "any one node" : `any ${number} nodes`);

/** What is promised, and whether it holds. */
export function guaranteeBox(ctx) {
  const word = ctx.status.guarantee;
  const spec = compute(ctx);
  if (!word) return stateBox("idle", true, `To survive the failure of ${anyOf(spec.tolerate)}`, "The manager has not computed yet whether it does.", { "data-key": "guarantee" });
  const text = word.tolerate === 0 ? "No failure needs to be survived" : word.holds ? `Survives the failure of ${anyOf(word.tolerate)}` : `Does not survive the failure of ${anyOf(word.tolerate)}`;
  return stateBox(word.holds ? "ok" : "bad", word.holds, text, word.text && prose(sentence(word.text)), { "data-key": "guarantee", "data-testid": "guarantee" }, !word.holds && lacking(word));
}

export function computeSection(ctx) {
  const spec = compute(ctx);
  const item = ctx.data("compute", () => load("/compute"), ctx.status.revision);
  const bridges = ctx.status.cluster.networks.filter((network) => network.bridge).map((network) => `${network.name}: ${network.bridge}`);
  return section("compute", "Compute cluster", { tools: sectionButtons(ctx, [
    { action: "compute-change", words: "Change…", may: "administer" },
    { action: spec.ha ? "compute-ha-off" : "compute-ha-on", words: spec.ha ? "Switch HA off…" : "Switch HA on…", may: "administer" }]) },
  facts([
    ["High availability", spec.ha ? "on: machines of a dead node are started on others" : "OFF: machines of a dead node wait for it"],
    ["May fail", count(spec.tolerate, "node")],
    ["Kept free on each node", `${cores(spec.reserve_cpu)}, ${memory(spec.reserve_memory_mib)}`],
    ["Rebalancing", spec.rebalance === "auto" ? "automatic, by live moves" : "only when an operator asks"],
    ["Guests may use", listText(bridges, "no network: no bridge is known")]]),
  whenLoaded(item, (found) => table("Compute nodes", [
    ["Node", (node) => nodeLink(node.id)],
    ["State", (node) => pill(nodeLook(node.state))],
    ["Cores used", (node) => meter(node.cpu - node.cpu_free, node.cpu, `${round(node.cpu - node.cpu_free)} of ${round(node.cpu)}`), (node) => node.cpu - node.cpu_free],
    ["Memory used", (node) => meter(node.memory_mib - node.memory_free_mib, node.memory_mib, `${memory(node.memory_mib - node.memory_free_mib)} of ${memory(node.memory_mib)}`), (node) => node.memory_mib - node.memory_free_mib],
    ["Machines", (node) => listText(node.vms)],
  ], found.nodes, { key: (node) => node.id, empty: "No node has the role compute." })));
}

const round = (number) => Math.round(number * 100) / 100;

function meter(used, of, words) {
  return [h("span", {}, words), h("meter", { class: "room", min: 0, max: of || 1, value: Math.max(0, used), "aria-hidden": "true" })];
}

const reserve = (spec) => [
  { name: "reserve_cpu", label: "Cores kept free", type: "number", value: String(spec?.reserve_cpu ?? 0), must: check.between(0, 1024), blame: /reserve/i, hint: "Of each node, for itself and its other services." },
  { name: "reserve_memory", label: "Memory kept free", value: sizeInput((spec?.reserve_memory_mib ?? 512) * 1024 ** 2), must: (text) => (Number.isNaN(check.bytes(text, "M")) ? "Write it like 2GiB." : ""), blame: /reserve/i, hint: "Of each node, for itself and its other services." },
];

const nodes = (ctx, spec) => ({
  name: "nodes", label: "Nodes", type: "several", required: true, value: spec?.nodes ?? ctx.status.nodes.filter((node) => node.state === "up").map((node) => node.id), blame: /node `|needs a node/i,
  options: ctx.status.nodes.map((node) => [node.id, node.id, node.cpu ? `${cores(node.cpu)}, ${memory(node.memory_mib)}` : "size not known yet"]),
  hint: spec ? "Machines move off a node that is left out." : "They get the role `compute`.",
});

const tolerate = (spec) => ({
  name: "tolerate", label: "Node failures to survive", type: "number", required: true, value: String(spec?.tolerate ?? 1), blame: /tolerate/i,
  must: (text, values) => check.whole(text) || (Number(text) < Math.max(1, values.nodes.length) ? "" : `${count(values.nodes.length, "node")} cannot survive the failure of ${text}.`),
  hint: "So many nodes may fail at once and everything still fits on the others. What would break it is refused from then on.",
});

const bridges = (ctx) => ({
  section: "Networks of guests", note: "The Linux bridge that joins guests to a network, of the same name on every node. Empty: guests cannot use the network.", advanced: true,
  fields: ctx.status.cluster.networks.map((network) => ({
    name: `bridge_${network.name}`, label: `Bridge of ${network.name}`, value: network.bridge ?? "", placeholder: "br0", blame: /bridge/i,
    must: (text) => (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/.test(text) ? "" : "Use up to 15 letters, digits, . _ and -."), hint: network.cidrs.join(", "),
  })),
});

function bodyOf(ctx, values) {
  const given = ctx.status.cluster.networks.map((network) => [network.name, values[`bridge_${network.name}`], network.bridge ?? ""]).filter(([, now, before]) => now && now !== before);
  return {
    nodes: values.nodes, tolerate: Number(values.tolerate), reserve_cpu: Number(values.reserve_cpu || 0),
    reserve_memory_mib: Math.floor(check.bytes(values.reserve_memory || "0", "M") / 1024 ** 2), bridges: Object.fromEntries(given),
  };
}

export const COMPUTE_ACTIONS = {
  "compute-create": (_id, ctx) => openForm({
    title: "Create the compute cluster", text: ["Done once. Machines can be created afterwards."],
    ha: "Machines of a node that died are started on the other nodes, the important ones first. It can be switched off for all of them, and for each.",
    fields: [nodes(ctx), tolerate(), ...reserve(), bridges(ctx)],
    confirm: "Create", effect: "typing",
    request: (values) => ({ method: "POST", path: "/compute", body: bodyOf(ctx, values) }),
  }, ctx),
  "compute-change": (_id, ctx) => openForm({
    title: "Change the compute cluster",
    fields: [nodes(ctx, compute(ctx)), tolerate(compute(ctx)), ...reserve(compute(ctx)),
      { name: "rebalance", label: "Rebalancing", type: "choice", value: compute(ctx).rebalance, options: [["off", "When asked", "An operator evens out the load."], ["auto", "Automatic", "Machines are moved live where that is worth its cost."]], hint: "How the load is evened out." },
      bridges(ctx)],
    confirm: "Save", effect: "typing", changes: true, force: "body",
    request: (values) => ({ method: "PUT", path: "/compute", body: changed({ ...bodyOf(ctx, values), rebalance: values.rebalance }, { ...compute(ctx), bridges: {} }) }),
  }, ctx),
  "compute-ha-off": (_id, ctx) => openForm({
    title: "Switch high availability of all machines off", tone: "danger", confirm: "Switch off",
    text: ["From then on machines of a node that dies wait until that node is back. Machines that run are not touched."],
    request: () => ({ method: "DELETE", path: "/compute/ha" }),
  }, ctx),
  "compute-ha-on": (_id, ctx) => openForm({
    title: "Switch high availability of all machines on", confirm: "Switch on",
    text: ["Machines of a dead node are started on others from then on, those that wait now included."],
    request: () => ({ method: "POST", path: "/compute/ha" }),
  }, ctx),
};
