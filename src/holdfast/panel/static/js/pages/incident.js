// One incident: its time line with the slowest step marked, how each instance came back, and the whole of it to take along.

import { call, path } from "../api.js";
import { h, icon, pill, prose } from "../dom.js";
import { asMarkdown, save } from "../incident_export.js";
import { elapsedText, phases, proofBadge, recoveryOf, slowestStep, timeline } from "../incidents.js";
import { to } from "../router.js";
import { stagesView } from "../stages.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { PROOFS, clockTime, count, duration, offset } from "../words.js";

export const page = {
  title: (params, ctx) => (known(ctx) ? `${known(ctx).node} failed` : "Incident"),
  crumbs: () => [["Incidents", "#/incidents"]],
  mark: (ctx) => known(ctx) && pill(known(ctx).state === "closed" ? { tone: "ok", icon: "check", label: "Closed" } : { tone: "bad", icon: "alert", label: "Open" }),
  tools: (ctx) => (known(ctx) ? [
    h("button", { type: "button", class: "ghost", "data-action": "markdown" }, icon("download"), "Markdown"),
    h("button", { type: "button", class: "ghost", "data-action": "json" }, icon("download"), "JSON"),
  ] : []),
  view: (ctx) => {
    const live = known(ctx);
    return live ? story(live, ctx) : whenLoaded(fetched(ctx), (one) => story(one, ctx));
  },
  actions: {
    json: (_id, ctx) => save(`incident-${known(ctx).id}.json`, "application/json", `${JSON.stringify(known(ctx), null, 2)}\n`),
    markdown: (_id, ctx) => save(`incident-${known(ctx).id}.md`, "text/markdown", asMarkdown(known(ctx), ctx.status.cluster.name)),
  },
};

const fetched = (ctx) => ctx.data("incident", () => call("GET", `/api/v1/incidents/${path(ctx.params.id)}`));

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
        h("span", { class: "dim" }, `began ${clockTime(incident.wall)}`)),
      h("div", {}, stagesView(incident, ctx.ages)),
      h("div", { class: "story-proof" }, proofBadge(incident), proof && h("p", { class: "dim" }, proof.text))),
    h("div", { class: "story-phases", "data-key": "phases" }, phases(incident)),
    h("div", { class: "columns story", "data-key": "story" },
      h("section", { "aria-labelledby": "steps-title" },
        h("div", { class: "section-head" }, h("h2", { id: "steps-title" }, "Every step"), h("p", {}, "Seconds since the first missed beat.")),
        h("div", { class: "panel-box" }, timeline(incident, { slowest: slowestStep(incident) }))),
      h("section", { "aria-labelledby": "recovery-title" },
        h("div", { class: "section-head" }, h("h2", { id: "recovery-title" }, "How each instance came back")),
        recovery(incident, ctx))),
  ];
}

function recovery(incident, ctx) {
  if (!incident.affected.length) return h("p", { class: "empty" }, "Nothing ran there that had to come back.");
  const at = (id, name) => incident.steps.filter((step) => step.instance === id && step.name === name).at(-1)?.at;
  const rows = incident.affected.map((id) => ({
    id, node: ctx.status.instances.find((one) => one.id === id)?.node ?? "", placed: at(id, "placed"), back: at(id, "recovered"),
    waiting: incident.waiting[id] ?? "", done: incident.recovered.includes(id),
  }));
  const last = rows.filter((row) => row.done).sort((a, b) => b.back - a.back)[0];
  return table({
    id: "recovery", label: "Recovery of each instance", noun: "instance", rows, key: (row) => row.id, sort: "back",
    columns: [
      { key: "id", label: "Instance", value: (row) => row.id, cell: (row) => [h("a", { href: to("instances", row.id) }, row.id), row.waiting && h("small", { class: "trouble tone-warn" }, prose(row.waiting))] },
      { key: "placed", label: "Placed", align: "end", value: (row) => row.placed ?? Infinity, cell: (row) => (row.placed === undefined ? "–" : offset(row.placed)) },
      { key: "back", label: "Back", align: "end", value: (row) => row.back ?? Infinity, cell: (row) => (row.back === undefined ? (incident.state === "open" ? "…" : "–") : [h("b", {}, offset(row.back)), rows.length > 1 && row === last && h("small", { class: "from" }, "the last")]) },
      { key: "node", label: "Now on", value: (row) => row.node, cell: (row) => (row.node ? h("a", { class: "node-link", href: to("nodes", row.node) }, row.node) : "–") },
    ],
    tools: [h("span", { class: "dim" }, `${incident.recovered.length} of ${count(rows.length, "instance")} back`)],
  });
}
