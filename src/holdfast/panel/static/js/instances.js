// Instances as a table, for all pages that list some.

import { h, icon, pill, prose } from "./dom.js";
import { address, dim, nodeLink, rowButtons, section, small } from "./parts.js";
import { to } from "./router.js";
import { instanceTools } from "./service_actions.js";
import { emptyView } from "./states.js";
import { table } from "./table.js";
import { instanceLook, KIND_ORDER, kindIcon, kindWord, sentence } from "./words.js";

export const EXCLUSIVITY = {
  strict: "Two copies would corrupt data: moves only after the old node is proven dead and claimed",
  advisory: "Two copies would be a nuisance: moves on suspicion",
  everywhere: "A copy on each eligible node",
};

/** `instances`: those of the picture that are listed; `node`: say where each is; `what`: name of the table. */
export function instancesView(ctx, { label = "Instances", instances = ctx.status.instances, empty = null, node = true } = {}) {
  const { status, moves } = ctx;
  return table(label, [
    ["Instance", nameView, (one) => `${KIND_ORDER.indexOf(one.kind)} ${one.id} ${kindWord(one.kind)}`],
    ...(node ? [["Node", (one) => [nodeLink(one.node), moves.from(one.id) && h("small", { class: "from" }, `from ${moves.from(one.id)}`)], (one) => one.node]] : []),
    ["Address", (one) => [address(one.address), one.network && small(one.network)], (one) => `${one.address} ${one.network}`],
    ["State", stateView, (one) => instanceLook(one).label],
    ["Why there", why, (one) => one.waiting || one.reason],
  ], instances, {
    noun: "instance", key: (one) => one.id, sort: "Instance",
    attributes: (one) => ({ "data-instance": one.id, class: moves.from(one.id) ? "moved" : null }),
    empty: empty ?? emptyView("grid", "No services yet", "Create one on the page of its kind: virtual machines, NFS, iSCSI, S3 or backup."),
    actions: ctx.may("operate") ? (one) => rowButtons(ctx, one.id, instanceTools(status, one)) : null,
  });
}

/** On the page of a service. */
export const instancesSection = (ctx, instances, { title = "Instances", note = "" } = {}) =>
  section("instances", title, { note }, instancesView(ctx, { label: "Instances of the service", instances, empty: "It has no instance yet." }));

const nameView = (one) => h("div", { class: "instance-name" }, icon(kindIcon(one.kind)), h("div", {},
  h("a", { href: to("instances", one.id) }, one.id),
  h("small", { class: "dim", title: EXCLUSIVITY[one.exclusivity] }, one.exclusivity, one.locked && ", locked")));

const stateView = (one) => [
  pill(instanceLook(one)),
  one.moving_to && h("small", { class: "from" }, one.moving_to === "*" ? "moving away" : `moving to ${one.moving_to}`),
];

/** What is wrong with it, or why it is there. */
function why(instance) {
  const well = instance.state === "running" && instance.healthy;
  const trouble = instance.waiting || (well ? "" : instance.detail);
  if (trouble) return h("span", { class: `trouble tone-${instanceLook(instance).tone}` }, prose(sentence(trouble)));
  return instance.reason ? h("span", { class: "reason" }, prose(sentence(instance.reason))) : dim("It is placed nowhere.");
}
