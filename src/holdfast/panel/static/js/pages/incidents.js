// All incidents, newest first.

import { call, items } from "../api.js";
import { h, icon, pill } from "../dom.js";
import { elapsedText, proofBadge, recoveryOf } from "../incidents.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { clockTime, duration, listed } from "../words.js";

export const page = {
  title: () => "Incidents",
  lead: () => "Each failure of a node, from the first missed beat to the last instance that was back, with the proof of its death.",
  view: (ctx) => whenLoaded(ctx.data("incidents", () => call("GET", "/api/v1/incidents?limit=200").then(items), tokenOf(ctx.status)), (known) => listView(known, ctx)),
};

/** Changes when there is something new. */
const tokenOf = (status) => `${status.recent_incidents[0]?.id} ${status.open_incidents.map((one) => one.id)}`;

function listView(known, ctx) {
  const live = new Map([...ctx.status.open_incidents, ...ctx.status.recent_incidents].map((one) => [one.id, one]));
  const rows = known.map((one) => live.get(one.id) ?? one);
  for (const one of ctx.status.open_incidents) if (!rows.some((row) => row.id === one.id)) rows.unshift(one);
  return table({
    id: "incidents", label: "Incidents", noun: "incident", rows, key: (one) => one.id, sort: "-wall",
    attributes: (one) => ({ "data-incident": one.id }),
    empty: emptyView("pulse", "No incident so far", "When a node fails, its whole story is kept here."),
    columns: [
      { key: "node", label: "Node", value: (one) => one.node, cell: (one) => h("a", { href: to("incidents", one.id) }, one.node) },
      { key: "wall", label: "When", value: (one) => one.wall, cell: (one) => h("time", { datetime: one.wall }, clockTime(one.wall)) },
      { key: "state", label: "State", value: (one) => one.state, cell: (one) => pill(one.state === "closed" ? { tone: "ok", icon: "check", label: "Closed" } : { tone: "bad", icon: "alert", label: "Open" }) },
      { key: "proof", label: "Proof", value: (one) => one.proof ?? "", cell: (one) => proofBadge(one) },
      { key: "affected", label: "Affected", value: (one) => one.affected.length, cell: (one) => (one.affected.length ? `${one.recovered.length} of ${one.affected.length} back` : h("span", { class: "dim" }, "nothing")) },
      { key: "took", label: "Took", align: "end", value: recoveryOf, cell: (one) => (one.state === "open"
        ? h("b", { "data-elapsed": one.id }, elapsedText(one, ctx.ages)) : one.affected.length ? duration(recoveryOf(one)) : h("span", { class: "dim" }, "–")) },
    ],
  });
}
