// Services and their instances: where each runs, at which address, in which state, and why.

import { h, icon, pill, prose } from "./dom.js";
import { count, instanceLook, kindIcon, kindWord } from "./words.js";

const ORDER = ["panel", "vm", "nfs", "iscsi", "s3", "backup"];
const HEADS = ["Instance", "Node", "Address", "State", "Why", ""];

export function instancesView(status, moves) {
  if (status.instances.length === 0) {
    return h("p", { class: "empty" }, "No services yet. Create an NFS volume, or enable management high availability with ",
      h("code", {}, "holdfast ha enable"), ".");
  }
  const kinds = [...new Set(status.instances.map((instance) => instance.kind))].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  return h("table", {},
    h("thead", {}, h("tr", {}, HEADS.map((name) => h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Actions"))))),
    kinds.map((kind) => group(kind, status, moves)));
}

function group(kind, status, moves) {
  const mine = status.instances.filter((instance) => instance.kind === kind);
  return h("tbody", { "data-key": `kind-${kind}` },
    h("tr", { class: "group" }, h("th", { colspan: HEADS.length, scope: "rowgroup" },
      icon(kindIcon(kind)), kindWord(kind), h("span", { class: "dim" }, count(mine.length, "instance")))),
    mine.map((instance) => row(instance, status, moves)));
}

function row(instance, status, moves) {
  const look = instanceLook(instance);
  const from = moves.from(instance.id);
  const cell = (name, ...content) => h("td", { "data-label": name, class: `col-${name.toLowerCase()}` }, ...content);
  return h("tr", { "data-key": instance.id, "data-instance": instance.id, class: from ? "moved" : "" },
    h("th", { scope: "row" }, h("span", { class: "name" }, instance.id),
      h("small", { class: "dim", title: exclusivityText(instance) }, instance.exclusivity)),
    cell("Node", instance.node ? h("b", {}, instance.node) : h("span", { class: "dim" }, "none"), from && h("small", { class: "from" }, `from ${from}`)),
    cell("Address", instance.address ? h("span", { class: "address" }, instance.address) : h("span", { class: "dim" }, "none"),
      instance.network && h("small", { class: "dim" }, instance.network)),
    cell("State", pill(look), instance.moving_to && h("small", { class: "from" }, instance.moving_to === "*" ? "moving away" : `moving to ${instance.moving_to}`)),
    cell("Why", why(instance)),
    h("td", { class: "actions" }, actions(instance, status)));
}

function why(instance) {
  const well = instance.state === "running" && instance.healthy;
  const trouble = instance.waiting || (well ? "" : instance.detail);
  if (trouble) return h("span", { class: `trouble tone-${instanceLook(instance).tone}` }, prose(trouble));
  return h("span", { class: "reason" }, prose(instance.reason));
}

function exclusivityText(instance) {
  return {
    strict: "Two copies would corrupt data: moves only after the old node is proven dead and claimed",
    advisory: "Two copies would be a nuisance: moves on suspicion",
    everywhere: "A copy on each eligible node",
  }[instance.exclusivity] ?? "";
}

function actions(instance, status) {
  const started = instance.desired === "started";
  const button = (action, words) =>
    h("button", { class: "ghost small", type: "button", "data-action": action, "data-id": instance.id, "aria-label": `${words} ${instance.id}` }, words);
  const service = status.services.find((one) => one.instances.includes(instance.id));
  const list = [];
  if (instance.address || instance.kind !== "panel") list.push(button("move", "Move…"));
  if (instance.kind !== "panel") list.push(started ? button("stop", "Stop…") : button("start", "Start"));
  if (instance.kind === "nfs" && service) list.push(service.deleting ? h("span", { class: "dim" }, "deleting…") : button("delete-nfs", "Delete…"));
  return list;
}
