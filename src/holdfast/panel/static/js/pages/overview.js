// What a person wants to know first: does everything run, does it survive the next failure, and the map on which a failover is
// seen as it happens, with its clock beside it.

import { load } from "../api.js";
import { guaranteeView, sizeBars } from "../capacity.js";
import { h, icon } from "../dom.js";
import { eventList } from "../events.js";
import { openIncidentsView, recentIncidentsView, recoveryOf } from "../incidents.js";
import { mapView } from "../map.js";
import { section, sectionHead } from "../parts.js";
import { emptyView } from "../states.js";
import { drawRoutes, positions, travel } from "../travel.js";
import { count, duration } from "../words.js";

let before = null;

export const page = {
  title: () => "Overview",
  view: (ctx) => [
    h("div", { id: "summary", class: "summary", role: "region", "aria-label": "Summary", "data-key": "summary" }, summaryView(ctx.status)),
    liveView(ctx),
    h("div", { class: "columns", "data-key": "history" },
      section("past", "Past incidents", { tools: h("a", { class: "more", href: "#/incidents" }, "All incidents") },
        h("div", { id: "past", class: "past" }, recentIncidentsView(ctx.status))),
      section("events", "Events", {},
        h("div", { id: "events", class: "event-list", tabindex: "0" }, eventList(ctx.status.recent_events)))),
  ],
  actions: {
    beyond: (_id, ctx) => {
      ctx.local.beyond = ctx.status.compute.tolerate + 1;
      ctx.redraw();
    },
  },
  beforeDraw: (root) => { before = positions(root); },
  afterDraw: (root, ctx) => {
    sizeBars(root);
    const map = root.querySelector("[data-map]");
    if (map) drawRoutes(map, ctx.status, ctx.moves);
    if (before) travel(root, before, ctx.moves.fresh);
    before = null;
  },
};

/** The map, and beside it the incidents that run, above what holds as long as none does. Nothing jumps when one begins. */
function liveView(ctx) {
  const { status } = ctx;
  const beyond = ctx.local.beyond && ctx.data("beyond", () => load("/planner/guarantee", { tolerate: ctx.local.beyond }), ctx.local.beyond);
  return h("section", { class: "live", "aria-labelledby": "map-title", "data-key": "live" },
    sectionHead("map", "The cluster now", { note: "Nodes on their networks, and what runs on each." }),
    h("div", { class: "live-side", "data-key": "side" },
      h("div", { id: "incidents", class: "incidents", role: "region", "aria-label": "Running incidents", "data-key": "incidents" }, openIncidentsView(status, ctx.ages)),
      h("div", { class: "promises", "data-key": "promises" }, guaranteeView(status, beyond))),
    h("div", { class: "live-map", id: "nodes", "data-key": "map" }, status.nodes.length ? mapView(ctx) : emptyView("node", "No node yet", "`holdfast cluster create` makes the first one.")));
}

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
