// What a person wants to know first: does everything run, does it survive the next failure, and the map in which a failover is
// seen as it happens.

import { h, icon } from "../dom.js";
import { eventsView, openIncidentsView, pastIncidentsView, recoveryOf } from "../incidents.js";
import { nodesView, positions, travel } from "../map.js";
import { instancesView } from "../instances.js";
import { count, duration } from "../words.js";

let before = null;

export const page = {
  title: () => "Overview",
  view: (ctx) => [
    h("div", { id: "summary", class: "summary", "data-key": "summary" }, summaryView(ctx.status)),
    h("div", { id: "incidents", class: "incidents", "data-key": "incidents" }, openIncidentsView(ctx.status, ctx.ages)),
    h("div", { id: "nodes", class: "nodes", "data-key": "nodes" }, nodesView(ctx.status, ctx.link, ctx.moves)),
    h("div", { id: "instances", class: "instances", "data-key": "instances" }, instancesView(ctx.status, ctx.moves)),
    h("div", { class: "columns", "data-key": "history" },
      h("section", { "aria-labelledby": "past-title" },
        h("div", { class: "section-head" }, h("h2", { id: "past-title" }, "Past incidents")),
        h("div", { id: "past", class: "past" }, pastIncidentsView(ctx.status, ctx.ages))),
      h("section", { "aria-labelledby": "events-title" },
        h("div", { class: "section-head" }, h("h2", { id: "events-title" }, "Events")),
        h("div", { id: "events", class: "event-list" }, eventsView(ctx.status)))),
  ],
  beforeDraw: (root) => { before = positions(root); },
  afterDraw: (root, ctx) => {
    if (before) travel(root, before, ctx.moves.fresh);
    before = null;
  },
};

/** The one sentence a person wants first, then the numbers behind it. */
export function summaryView(status) {
  const up = status.nodes.filter((node) => node.state === "up").length;
  const wanted = status.instances.filter((instance) => instance.desired === "started");
  const healthy = wanted.filter((instance) => instance.healthy).length;
  const open = status.open_incidents.length;
  const bad = open > 0 || status.hold !== "";
  const away = up < status.nodes.length;
  const verdict = bad
    ? { tone: "bad", icon: "alert", text: open ? `${count(open, "incident")} running` : "Holding" }
    : healthy < wanted.length
      ? { tone: "warn", icon: "alert", text: "Not everything runs" }
      : away
      ? { tone: "warn", icon: "alert", text: "Everything runs, on fewer nodes" }
      : { tone: "ok", icon: "shield", text: "Everything runs" };
  const last = status.recent_incidents.find((incident) => incident.recovered.length > 0);
  return [
    h("div", { class: `verdict tone-${verdict.tone}`, "data-testid": "verdict" }, icon(verdict.icon),
      h("div", {}, h("strong", {}, verdict.text), h("span", {}, verdictDetail(status, wanted.length - healthy)))),
    tile("Nodes up", up, status.nodes.length),
    tile("Instances healthy", healthy, wanted.length),
    h("div", { class: "tile" }, h("span", { class: "tile-name" }, "Last failover"),
      h("span", { class: "tile-value" }, last ? duration(recoveryOf(last)) : "none yet"),
      h("span", { class: "tile-note" }, last ? `${last.node}, ${count(last.recovered.length, "instance")} recovered` : "nothing has failed")),
  ];
}

function verdictDetail(status, missing) {
  if (status.hold) return "More than half of the nodes are suspect.";
  if (status.open_incidents.length) return status.open_incidents.map((incident) => `${incident.node} failed`).join(", ");
  if (missing) return `${count(missing, "instance")} wanted but not healthy`;
  const away = status.nodes.filter((node) => node.state !== "up").map((node) => node.id);
  return away.length ? `not up: ${away.join(", ")}` : `${count(status.services.length, "service")} on ${count(status.nodes.length, "node")}`;
}

function tile(name, have, of) {
  return h("div", { class: "tile" }, h("span", { class: "tile-name" }, name),
    h("span", { class: "tile-value" }, h("span", { class: have < of ? "short" : "" }, have), h("span", { class: "dim" }, ` / ${of}`)),
    h("span", { class: "meter" }, ...Array.from({ length: Math.min(of, 40) }, (_, i) => h("i", { class: i < have ? "on" : "" }))));
}

