// One incident: its time line with the slowest step marked, how each instance came back, and the whole of it to take along.

import { load, segments } from "../api.js";
import { h, pill, prose } from "../dom.js";
import { asMarkdown, save } from "../incident_export.js";
import { elapsedText, incidentLook, phases, proofBadge, recoveryOf, slowestStep, timeline } from "../incidents.js";
import { buttons, dim, link, moment, nodeLink, section } from "../parts.js";
import { to } from "../router.js";
import { stagesView } from "../stages.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { count, duration, offset, PROOFS } from "../words.js";

export const page = {
  title: (params, ctx) => (known(ctx) ? `${known(ctx).node} failed` : "Incident"),
  crumbs: () => [["Incidents", "#/incidents"]],
  mark: (ctx) => known(ctx) && pill(incidentLook(known(ctx))),
  tools: (ctx) => (known(ctx) ? buttons(ctx, [
    { action: "markdown", words: "Markdown", picture: "download", may: "read" },
    { action: "json", words: "JSON", picture: "download", may: "read" }]) : []),
  view: (ctx) => {
    const live = known(ctx);
    return live ? story(live, ctx) : whenLoaded(fetched(ctx), (one) => story(one, ctx));
  },
  actions: {
    json: (_id, ctx) => save(`incident-${known(ctx).id}.json`, "application/json", `${JSON.stringify(known(ctx), null, 2)}\n`),
    markdown: (_id, ctx) => save(`incident-${known(ctx).id}.md`, "text/markdown", asMarkdown(known(ctx), ctx.status.cluster.name)),
  },
};

const fetched = (ctx) => ctx.data("incident", () => load(`/incidents/${segments(ctx.params.id)}`));

/** From the picture while it is in there, since that is live. */
function known(ctx) {
  const all = [...(ctx.status?.open_incidents ?? []), ...(ctx.status?.recent_incidents ?? [])];
  return all.find((one) => one.id === ctx.params.id) ?? fetched(ctx).value ?? null;
}

function story(incident, ctx) {
  const open = incident.state === "open";
  const proof = PROOFS[incident.proof];
  return [
    h("div", { class: `story-head tone-${open ? "bad" : "ok"}`, "data-key": "head", "data-incident": incident.id },
      h("div", { class: "story-time" },
        h("span", { class: "dim" }, open ? "Since the first missed beat" : incident.affected.length ? "Until the last instance was back" : "Until it was over"),
        h("b", { "data-elapsed": open ? incident.id : null }, open ? elapsedText(incident, ctx.ages) : duration(recoveryOf(incident))),
        h("span", { class: "dim" }, "began ", moment(incident.wall))),
      h("div", {}, stagesView(incident, ctx.ages)),
      h("div", { class: "story-proof" }, proofBadge(incident), proof && h("p", { class: "dim" }, proof.text))),
    h("div", { class: "story-phases", "data-key": "phases" }, phases(incident)),
    h("div", { class: "columns story", "data-key": "story" },
      section("steps", "Every step", { note: "Seconds since the first missed beat." }, h("div", { class: "panel-box" }, timeline(incident, { slowest: slowestStep(incident) }))),
      section("recovery", "How each instance came back", {}, recovery(incident, ctx))),
  ];
}

function recovery(incident, ctx) {
  if (!incident.affected.length) return h("p", { class: "none" }, "Nothing ran there that had to come back.");
  const at = (id, name) => incident.steps.filter((step) => step.instance === id && step.name === name).at(-1)?.at;
  const rows = incident.affected.map((id) => ({
    id, node: ctx.status.instances.find((one) => one.id === id)?.node ?? "", placed: at(id, "placed"), back: at(id, "recovered"),
    waiting: incident.waiting[id] ?? "", done: incident.recovered.includes(id),
  }));
  const last = rows.filter((row) => row.done).sort((a, b) => b.back - a.back)[0];
  return table("Recovery of each instance", [
    ["Instance", (row) => [link(to("instances", row.id), row.id), row.waiting && h("small", { class: "trouble tone-warn" }, prose(row.waiting))], (row) => row.id],
    ["Placed", (row) => (row.placed === undefined ? "–" : offset(row.placed)), (row) => row.placed ?? Infinity, { align: "end" }],
    ["Back", (row) => (row.back === undefined ? (incident.state === "open" ? "…" : "–") : [h("b", {}, offset(row.back)), rows.length > 1 && row === last && h("small", { class: "from" }, "the last")]), (row) => row.back ?? Infinity, { align: "end" }],
    ["Now on", (row) => nodeLink(row.node, "–"), (row) => row.node],
  ], rows, { noun: "instance", key: (row) => row.id, sort: "Back", tools: [dim(`${incident.recovered.length} of ${count(rows.length, "instance")} back`)] });
}
