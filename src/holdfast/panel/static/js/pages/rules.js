// Placement rules: what runs where, together, apart, and in which order it starts.

import { load, segment } from "../api.js";
import { h, pill, prose } from "../dom.js";
import * as check from "../form/checks.js";
import { openForm } from "../form/form.js";
import { buttons, rowButtons } from "../parts.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { emptyKind } from "./kinds/parts.js";
import { listText } from "./kinds/wording.js";

const KINDS = [
  ["anti-affinity", "Apart", "Not on the same node, so that one failure does not take both."],
  ["affinity", "Together", "On the same node, because they talk much."],
  ["node-affinity", "On certain nodes", "Because of licences, hardware, or a room."],
  ["start-order", "One after the other", "Started only when others are ready."],
];
const word = (kind) => KINDS.find(([code]) => code === kind)?.[1] ?? kind;

const instances = (ctx) => ctx.status.instances.filter((one) => one.exclusivity === "strict").map((one) => [one.id, one.id, one.node ? `on ${one.node}` : "on no node"]);

/** "n1, n2 2" per line → {n1: 1, n2: 2}; the order of the lines where there are no numbers. */
function ranked(lines) {
  return Object.fromEntries(lines.map((line) => {
    const [node, number] = line.split(/[\s:=]+/);
    return [node, number === undefined ? 1 : Number(number)];
  }));
}

const create = (_id, ctx) => openForm({
  title: "New placement rule", wide: true,
  text: ["Rules hold at every placement: at a start, after a failure, at a move. One that cannot be kept together with the others is refused."],
  fields: [
    { name: "name", label: "Name", span: true, required: true, placeholder: "web-apart", must: check.name, blame: /rule `[^`]*` exists|name of a rule/i, hint: "What you call it." },
    { name: "kind", label: "What it asks for", type: "choice", options: KINDS, hint: "One thing for each rule." },
    { name: "instances", label: "For", type: "several", required: true, options: instances(ctx), blame: /instance|cannot be kept/i, none: "There is nothing that is placed one by one yet.", hint: "The instances that the rule is about.",
      must: (given, values) => (["affinity", "anti-affinity"].includes(values.kind) && given.length < 2 ? "Choose two at least." : "") },
    { name: "nodes", label: "Nodes", type: "lines", by: "line", rows: 3, required: true, when: (values) => values.kind === "node-affinity", placeholder: "n1 2\nn2 1", blame: /node `/i,
      must: check.each((line) => { const [node, number] = line.split(/[\s:=]+/); return !ctx.status.nodes.some((one) => one.id === node) ? `There is no node \`${node}\`.` : number !== undefined && !/^-?\d+$/.test(number) ? "Write a node, and a whole number if some are preferred." : ""; }),
      hint: "One per line, with a number if some are preferred: the highest that is there wins." },
    { name: "after", label: "After", type: "several", required: true, options: instances(ctx), when: (values) => values.kind === "start-order", blame: /after|start/i, hint: "These must be ready first.",
      must: (given, values) => (given.some((id) => values.instances.includes(id)) ? "Nothing can start after itself." : "") },
    { name: "by", label: "Not sharing", type: "choice", options: [["node", "A node", ""], ["domain", "A failure domain", "A rack, a room: as the nodes say."]], when: (values) => values.kind === "anti-affinity", hint: "How far apart." },
    { name: "strict", label: "Never break it", type: "switch", value: true, hint: "On: rather than break it, an instance waits. Off: it is a preference." }],
  confirm: "Create rule", effect: "typing", force: "body",
  request: (values) => ({ method: "POST", path: "/rules", body: {
    name: values.name, kind: values.kind, instances: values.instances, strict: values.strict,
    nodes: values.kind === "node-affinity" ? ranked(values.nodes) : {}, after: values.kind === "start-order" ? values.after : [], by: values.kind === "anti-affinity" ? values.by : "node" } }),
  done: () => ctx.forget("rules"),
}, ctx);

const remove = (name, ctx) => openForm({
  title: `Delete the rule ${name}`, text: ["Nothing moves because it is gone; from now on it is not kept any more."], confirm: "Delete rule", tone: "danger",
  request: () => ({ method: "DELETE", path: `/rules/${segment(name)}` }), done: () => ctx.forget("rules"),
}, ctx);

export const page = {
  title: () => "Placement rules",
  lead: () => "What runs where, together, apart, and in which order it starts. The planner keeps them, and says when it cannot.",
  tools: (ctx) => buttons(ctx, [{ action: "rule-create", words: "New rule", tone: "primary", picture: "plus" }]),
  view: (ctx) => whenLoaded(ctx.data("rules", () => load("/rules"), ctx.status.revision), (found) => (found.length === 0
    ? emptyKind(ctx, { picture: "rule", title: "No rules yet", text: "Without rules everything is placed by free resources. Rules keep what must not fail together apart, or what belongs together on one node.", action: { action: "rule-create", words: "New rule" } })
    : table("Rules", [
      ["Rule", (one) => h("span", { class: "name" }, one.rule.id)], ["Asks for", (one) => pill({ tone: "idle", icon: "rule", label: word(one.rule.kind) })],
      ["In words", (one) => [h("span", {}, one.text), one.note && h("small", { class: "trouble tone-warn" }, prose(one.note))]],
      ["For", (one) => listText(one.rule.instances)], ["Strict", (one) => (one.rule.strict ? "yes" : "a preference")],
    ], found, { key: (one) => one.rule.id, actions: (one) => rowButtons(ctx, one.rule.id, [{ action: "rule-delete", words: "Delete…", tone: "danger" }]) }))),
  actions: { "rule-create": create, "rule-delete": remove },
};
