// The admin panel itself, and with it the management plane: its address, its nodes, the members of the store.

import { h, icon, pill, prose } from "../dom.js";
import { explainSection } from "../explain.js";
import * as check from "../form/checks.js";
import { openForm } from "../form/form.js";
import { instancesSection } from "../instances.js";
import { buttons, dim, facts, haBox, nodeLink, section } from "../parts.js";
import { instanceOf } from "../service_actions.js";
import { table } from "../table.js";
import { count, nodeLook } from "../words.js";
import { serviceEvents } from "./kinds/service.js";
import { listText } from "./kinds/wording.js";

const HA = "Store, manager and panel run on several nodes. If the panel's node fails, the panel and its address come up on another within seconds; pages that are open follow by themselves, and nobody signs in again.";

const STEPS = {
  joining: { tone: "busy", icon: "busy", label: "Being added", text: "it will be started, and added to the store" },
  learner: { tone: "busy", icon: "busy", label: "Copying", text: "it copies the store, and does not vote yet" },
  voter: { tone: "ok", icon: "check", label: "Votes", text: "it has a copy of the store, and votes" },
  leaving: { tone: "busy", icon: "busy", label: "Being removed", text: "it is taken out of the store" },
};

const spec = (ctx) => ctx.status.management;
const enabled = (ctx) => Boolean(spec(ctx).virtual_ip);
const panel = (ctx) => instanceOf(ctx, "panel/admin");
const able = (ctx) => ctx.status.nodes.filter((node) => node.addresses.management);

/** How far the members are from what is wanted. */
function progress(ctx) {
  const { nodes, members } = spec(ctx);
  const ready = members.filter((member) => member.state === "voter" && nodes.includes(member.node)).length;
  const leaving = members.filter((member) => !nodes.includes(member.node)).length;
  return { ready, wanted: nodes.length, leaving, settled: ready === nodes.length && leaving === 0 };
}

function membersSection(ctx) {
  const { nodes, members } = spec(ctx);
  const { ready, wanted, leaving, settled } = progress(ctx);
  const rows = [...new Set([...nodes, ...members.map((member) => member.node)])].map((node) => ({ node, member: members.find((one) => one.node === node), stays: nodes.includes(node) }));
  const note = settled ? `All ${wanted} vote: ${survives(wanted)}.` : `${ready} of ${wanted} vote${leaving ? `, ${count(leaving, "member")} to be removed` : ""}. The manager changes one at a time, and waits until each is safe.`;
  return section("members", "Store and manager", { note },
    !settled && h("progress", { "data-key": "progress", max: wanted + leaving, value: ready, "aria-label": "Members that are as wanted" }),
    table("Members of the store", [
      ["Node", (row) => [nodeLink(row.node), row.node === ctx.status.manager.node && h("small", { class: "dim" }, "leads")]],
      ["Node is", (row) => { const node = ctx.status.nodes.find((one) => one.id === row.node); return node ? pill(nodeLook(node.state)) : dim("gone"); }],
      ["Member", (row) => { const look = STEPS[row.member ? row.member.state : "joining"]; return [pill(row.stays ? look : STEPS.leaving), h("small", { class: "dim" }, row.stays ? look.text : STEPS.leaving.text)]; }],
    ], rows, { key: (row) => row.node }));
}

const survives = (wanted) => (wanted >= 5 ? "the loss of any two of them is survived" : wanted >= 3 ? "the loss of any one of them is survived" : "the loss of this node is not survived");

const nodes = (ctx, value, must) => ({
  name: "nodes", label: "Management nodes", type: "several", required: true, value, blame: /node|none of the present/i, must,
  options: able(ctx).map((node) => [node.id, node.id, `${node.addresses.management}${node.state === "up" ? "" : `, ${node.state}`}`]),
  hint: "Three or five: an odd number keeps a majority. Three survive the loss of one, five of two.",
});
const odd = (given) => ([3, 5].includes(given.length) ? "" : `Choose 3 or 5, not ${given.length}.`);
const address = (value) => ({ name: "virtual_ip", label: "Address of the panel", required: true, value, placeholder: "10.77.0.100", must: check.ip, blame: /address|network/i, hint: "A free one on the network `management`. It moves with the panel: people and programs use it from then on." });

const enable = (_id, ctx) => openForm({
  title: "Make the admin panel highly available", ha: HA, wide: true,
  fields: [
    nodes(ctx, [...spec(ctx).nodes, ...able(ctx).filter((node) => node.state === "up" && !spec(ctx).nodes.includes(node.id)).map((node) => node.id)].slice(0, 3),
      (given) => odd(given) || (spec(ctx).nodes.every((node) => given.includes(node)) ? "" : `Keep ${listText(spec(ctx).nodes)}: the others copy the store from there.`)),
    address("")],
  confirm: "Enable", effect: "typing",
  request: (body) => ({ method: "POST", path: "/ha", body }),
}, ctx);

const change = (_id, ctx) => openForm({
  title: "Change the management plane", wide: true,
  text: ["Nodes are replaced one at a time, so that a majority stays all the while. With another address this page must be opened there."],
  fields: [nodes(ctx, spec(ctx).nodes, (given) => odd(given) || (given.some((node) => spec(ctx).nodes.includes(node)) ? "" : `Keep at least one of ${listText(spec(ctx).nodes)}: the others copy the store from it.`)), address(spec(ctx).virtual_ip)],
  confirm: "Save", effect: "typing", changes: true,
  request: (body) => ({ method: "PUT", path: "/ha", body }),
}, ctx);

const disable = (_id, ctx) => openForm({
  title: "Back to one management node", tone: "danger",
  text: [h("p", { class: "warning" }, icon("alert"), h("span", {}, "Store and panel are lost while the node that stays is down: nothing is recovered then. High availability of S3 is off with it.")),
    `The address ${spec(ctx).virtual_ip} is given up: the panel is found at the node's own address afterwards.`],
  fields: [
    { name: "keep", label: "Node that stays", type: "select", options: spec(ctx).nodes.map((node) => [node, node]), blame: /node/i, hint: "It keeps the store and serves the panel." },
    { name: "typed", label: "Type one node to confirm", required: true, must: check.exactly("one node"), hint: "So that nothing is lost by a slip." }],
  confirm: "Disable", effect: "typing",
  request: ({ keep }) => ({ method: "DELETE", path: "/ha", query: { keep } }),
}, ctx);

export const page = {
  title: () => "Admin panel",
  lead: () => "What you are looking at, and what decides: the panel, the manager and the store that they work with.",
  tools: (ctx) => buttons(ctx, enabled(ctx)
    ? [panel(ctx)?.address && { action: "instance-move", id: "panel/admin", words: "Move…" }, { action: "ha-change", words: "Change…", may: "administer" }, { action: "ha-disable", words: "Disable…", tone: "danger", may: "administer" }]
    : [{ action: "ha-enable", words: "Enable high availability", tone: "primary", picture: "shield", may: "administer" }]),
  view: (ctx) => {
    const one = panel(ctx);
    return [
      enabled(ctx) ? haBox(true, HA) : haBox(false, `Everything that decides is on ${listText(spec(ctx).nodes, "one node")}. While it is down nothing is recovered. It takes three nodes${able(ctx).length < 3 ? `; there ${able(ctx).length === 1 ? "is one" : `are ${able(ctx).length}`} so far: add some first` : ""}.`),
      facts([
        ["Address", spec(ctx).virtual_ip && h("span", { class: "address" }, spec(ctx).virtual_ip)], ["Management nodes", listText(spec(ctx).nodes)],
        ["Decides now", ctx.status.manager.node && `${ctx.status.manager.node}, term ${ctx.status.manager.term}`], ["Serves this page", ctx.link.node],
        ["Holding", ctx.status.hold && h("span", { class: "trouble tone-bad" }, prose(ctx.status.hold))]]),
      membersSection(ctx),
      one && [instancesSection(ctx, [one], { title: "Panel" }), explainSection(ctx, one), serviceEvents(ctx, "panel", "admin", [one])],
    ];
  },
  actions: { "ha-enable": enable, "ha-change": change, "ha-disable": disable },
};
