// Instances as a table, for all pages that list some.

import { h, icon, pill, prose } from "./dom.js";
import { to } from "./router.js";
import { emptyView } from "./states.js";
import { table } from "./table.js";
import { KIND_ORDER, instanceLook, kindIcon, kindWord } from "./words.js";

export const EXCLUSIVITY = {
  strict: "Two copies would corrupt data: moves only after the old node is proven dead and claimed",
  advisory: "Two copies would be a nuisance: moves on suspicion",
  everywhere: "A copy on each eligible node",
};

/**
 * `instances`: those of the picture that are listed; `actions`: buttons at the end of each row, or null for none; `node`: say
 * where each is. */
export function instancesView(ctx, { id = "instances", instances = ctx.status.instances, actions = instanceActions, empty = null, node = true } = {}) {
  const { status, moves } = ctx;
  return table({
    id, label: "Instances", noun: "instance", rows: instances, key: (one) => one.id, sort: "kind",
    attributes: (one) => ({ "data-instance": one.id, class: moves.from(one.id) ? "moved" : null }),
    empty: empty ?? emptyView("grid", "No services yet", "Create one on the page of its kind."),
    columns: [
      { key: "kind", label: "Instance", value: (one) => `${KIND_ORDER.indexOf(one.kind)} ${one.id} ${kindWord(one.kind)}`, cell: (one) => name(one) },
      ...(node ? [{ key: "node", label: "Node", value: (one) => one.node, cell: (one) => where(one, moves) }] : []),
      { key: "address", label: "Address", value: (one) => `${one.address} ${one.network}`, cell: (one) => address(one) },
      { key: "state", label: "State", value: (one) => instanceLook(one).label, cell: (one) => state(one) },
      { key: "why", label: "Why", value: (one) => one.waiting || one.reason, cell: why },
    ],
    actions: actions && ctx.may("operate") ? (one) => actions(one, status) : null,
  });
}

const name = (one) => h("div", { class: "instance-name" }, icon(kindIcon(one.kind)), h("div", {},
  h("a", { href: to("instances", one.id) }, one.id),
  h("small", { class: "dim", title: EXCLUSIVITY[one.exclusivity] }, one.exclusivity, one.locked && ", locked")));

const where = (one, moves) => [
  one.node ? h("a", { class: "node-link", href: to("nodes", one.node) }, one.node) : h("span", { class: "dim" }, "none"),
  moves.from(one.id) && h("small", { class: "from" }, `from ${moves.from(one.id)}`),
];

const address = (one) => [
  one.address ? h("span", { class: "address" }, one.address) : h("span", { class: "dim" }, "none"),
  one.network && h("small", { class: "dim" }, one.network),
];

const state = (one) => [
  pill(instanceLook(one)),
  one.moving_to && h("small", { class: "from" }, one.moving_to === "*" ? "moving away" : `moving to ${one.moving_to}`),
];

export function why(instance) {
  const well = instance.state === "running" && instance.healthy;
  const trouble = instance.waiting || (well ? "" : instance.detail);
  if (trouble) return h("span", { class: `trouble tone-${instanceLook(instance).tone}` }, prose(trouble));
  return h("span", { class: "reason" }, prose(instance.reason));
}

/** What can be done with it. */
export function instanceActions(instance, status) {
  const started = instance.desired === "started";
  const button = (action, words) =>
    h("button", { class: "ghost small", type: "button", "data-action": action, "data-id": instance.id, "aria-label": `${words} ${instance.id}` }, words);
  const service = status.services.find((one) => one.instances.includes(instance.id));
  const list = [];
  if (instance.address || instance.kind !== "panel") list.push(button("move", "Move…"));
  if (instance.kind !== "panel") list.push(started ? button("stop", "Stop…") : button("start", "Start"));
  if (service?.deleting) list.push(h("span", { class: "dim" }, "deleting…"));
  return list;
}
