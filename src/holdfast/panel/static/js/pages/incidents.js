// All incidents, newest first.

import { list } from "../api.js";
import { h, pill } from "../dom.js";
import { elapsedText, incidentLook, proofBadge, recoveryOf } from "../incidents.js";
import { dim, link, moment } from "../parts.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { duration } from "../words.js";

export const page = {
  title: () => "Incidents",
  lead: () => "Each failure of a node, from the first missed beat to the last instance that was back, with the proof of its death.",
  view: (ctx) => whenLoaded(ctx.data("incidents", () => list("/incidents", { limit: 200 }), tokenOf(ctx.status)), (known) => listView(known, ctx)),
};

/** Changes when there is something new. */
const tokenOf = (status) => `${status.recent_incidents[0]?.id} ${status.open_incidents.map((one) => one.id)}`;

function listView(known, ctx) {
  const live = new Map([...ctx.status.open_incidents, ...ctx.status.recent_incidents].map((one) => [one.id, one]));
  const rows = known.map((one) => live.get(one.id) ?? one);
  for (const one of ctx.status.open_incidents) if (!rows.some((row) => row.id === one.id)) rows.unshift(one);
  return table("Incidents", [
    ["Node", (one) => link(to("incidents", one.id), one.node), (one) => one.node],
    ["When", (one) => moment(one.wall), (one) => one.wall],
    ["State", (one) => pill(incidentLook(one)), (one) => one.state],
    ["Proof", proofBadge, (one) => one.proof ?? ""],
    ["Affected", (one) => (one.affected.length ? `${one.recovered.length} of ${one.affected.length} back` : dim("nothing")), (one) => one.affected.length],
    ["Took", (one) => (one.state === "open" ? h("b", { "data-elapsed": one.id }, elapsedText(one, ctx.ages)) : one.affected.length ? duration(recoveryOf(one)) : dim("–")), recoveryOf, { align: "end" }],
  ], rows, {
    noun: "incident", key: (one) => one.id, sort: "-When", attributes: (one) => ({ "data-incident": one.id }),
    empty: emptyView("pulse", "No incident so far", "When a node fails, its whole story is kept here. A drill tells beforehand whether a failover would work.", h("a", { href: to("drill") }, "To the drill")),
  });
}
