// What if these nodes failed? Choose them on the map, by mouse or keyboard, and see where everything would go.

import { load } from "../api.js";
import { sizeBars } from "../capacity.js";
import { h, icon, prose } from "../dom.js";
import { mapView } from "../map.js";
import { buttons, dim, link, nodeLink, section, small } from "../parts.js";
import { to } from "../router.js";
import { problemView, waitingView } from "../states.js";
import { table } from "../table.js";
import { drawRoutes } from "../travel.js";
import { capital, count, listed } from "../words.js";

let shown = null;

export const page = {
  title: () => "What if",
  lead: () => "Choose nodes and see what would happen if all of them failed at once: the planner answers, nothing is done.",
  tools: (ctx) => (chosen(ctx).size ? buttons(ctx, [{ action: "clear", words: "Choose none", may: "read" }]) : []),
  enter: (ctx) => { ctx.local.chosen = new Set((ctx.query.fail ?? "").split(",").filter(Boolean)); },
  view: (ctx) => {
    const failed = [...chosen(ctx)].sort();
    const item = failed.length && failed.length < ctx.status.nodes.length ? answerOf(failed, ctx) : null;
    const answer = item?.value ?? null;
    shown = hypothesis(ctx.status, failed, answer);
    return [
      h("div", { class: "live what-if", "data-key": "live" },
        h("div", { class: "live-side", "data-key": "side", "aria-live": "polite" }, side(failed, item, ctx.status)),
        h("div", { class: "live-map", "data-key": "map" }, mapView({ ...ctx, ...shown }, { select: { chosen: chosen(ctx), action: "choose" } }))),
      answer && failed.length ? details(answer) : null,
    ];
  },
  actions: {
    choose: (id, ctx, event) => {
      const set = chosen(ctx);
      if (event.target.checked) set.add(id);
      else set.delete(id);
      remember(set);
      ctx.redraw();
    },
    clear: (_id, ctx) => {
      chosen(ctx).clear();
      remember(chosen(ctx));
      ctx.redraw();
    },
  },
  afterDraw: (root, ctx) => {
    sizeBars(root);
    // What a person has ticked counts, not what it was ticked as when the page was drawn first.
    for (const box of root.querySelectorAll(".chooser input")) box.checked = chosen(ctx).has(box.dataset.id);
    const map = root.querySelector("[data-map]");
    if (map && shown) drawRoutes(map, shown.status, shown.moves);
  },
};

const chosen = (ctx) => (ctx.local.chosen ??= new Set());

/** The address tells what was chosen, so that it can be sent to somebody. */
const remember = (set) => history.replaceState(null, "", set.size ? `#/what-if?fail=${[...set].sort().join(",")}` : "#/what-if");

const answerOf = (failed, ctx) => ctx.data(`what-if ${failed.join(",")}`,
  () => load("/planner/what-if", { fail: failed }), ctx.status.revision);

/** The picture as it would be, and what would have moved, in the shape that the map takes. */
function hypothesis(status, failed, answer) {
  const down = new Set(failed);
  const from = new Map();
  const targets = new Map(Object.entries(answer?.placements ?? {}));
  for (const [id, [, target]] of Object.entries(answer?.moved ?? {})) targets.set(id, target);
  const stopped = new Set(answer?.stopped ?? []);
  const instances = status.instances.map((one) => {
    const target = targets.get(one.id);
    if (target && target !== one.node) {
      if (one.node) from.set(one.id, one.node);
      return { ...one, node: target, healthy: false, state: answer.moved[one.id] ? "would-make-room" : "would-go" };
    }
    if (stopped.has(one.id)) return { ...one, state: "would-stop" };
    if (answer?.unplaced[one.id]) {
      if (one.node) from.set(one.id, one.node);
      return { ...one, node: "", healthy: false, state: "no-room" };
    }
    return down.has(one.node) && answer ? { ...one, state: "would-end" } : one;
  });
  const nodes = status.nodes.map((node) => (down.has(node.id) ? { ...node, state: "would-fail", note: "" } : node));
  const place = new Map(instances.map((one) => [one.id, one.node]));
  const moves = {
    fresh: [],
    from: (id) => from.get(id) ?? "",
    left: (node) => [...from].filter(([, was]) => was === node).map(([id]) => [id, place.get(id) || "no room"]),
  };
  return { status: { ...status, nodes, instances, open_incidents: [] }, moves };
}

function side(failed, item, status) {
  if (!failed.length) {
    const worst = status.guarantee?.worst ?? [];
    return h("div", { class: "promise tone-idle", "data-key": "none" }, icon("fork"), h("div", {},
      h("h2", {}, "No node chosen"),
      h("p", {}, "Tick nodes on the map. With the keyboard: Tab to a node, Space to choose it."),
      worst.length > 0 && h("p", { class: "promise-tools" }, h("a", { href: `#/what-if?fail=${worst.join(",")}` }, `The worst that is to be survived: ${listed(worst)}`))));
  }
  if (!item) return h("div", { class: "promise tone-warn", "data-key": "all" }, icon("alert"), h("div", {}, h("h2", {}, "All nodes"), h("p", {}, "Leave at least one that is to carry something.")));
  if (item.error && item.value === undefined) return problemView(item.error);
  if (item.value === undefined) return waitingView("Planning…");
  return verdict(item.value, failed);
}

function verdict(answer, failed) {
  const homeless = Object.keys(answer.unplaced);
  const fits = homeless.length === 0;
  return [
    h("div", { class: `promise tone-${fits ? "ok" : "bad"}`, "data-key": "verdict", "data-testid": "what-if" }, icon(fits ? "shield" : "shield-off"), h("div", {},
      h("h2", {}, fits ? "Everything finds a place" : `${count(homeless.length, "instance")} ${homeless.length === 1 ? "does" : "do"} not fit`),
      h("p", {}, `If ${listed(failed)} ${failed.length === 1 ? "fails" : "fail at once"}: `, sentence(answer)))),
    h("div", { class: `promise tone-${answer.after.survivable ? "ok" : "warn"}`, "data-key": "after" }, icon(answer.after.survivable ? "shield" : "alert"), h("div", {},
      h("h2", {}, "Afterwards"), h("p", {}, prose(capital(answer.after.text)), "."))),
  ];
}

function sentence({ placements, moved, stopped, unplaced }) {
  const parts = [
    `${count(Object.keys(placements).length, "instance")} ${Object.keys(placements).length === 1 ? "starts" : "start"} elsewhere`,
    Object.keys(moved).length && `${count(Object.keys(moved).length, "other")} ${Object.keys(moved).length === 1 ? "is" : "are"} moved to make room`,
    stopped.length && `${stopped.length} of less priority ${stopped.length === 1 ? "is" : "are"} stopped`,
    Object.keys(unplaced).length && `${listed(Object.keys(unplaced))} ${Object.keys(unplaced).length === 1 ? "waits" : "wait"} for room`,
  ].filter(Boolean);
  return `${listed(parts)}.`;
}

/** In words what the map draws, and for whatever does not fit the reason of each node. */
function details(answer) {
  const rows = [
    ...Object.entries(answer.placements).map(([id, node]) => ({ id, what: "Starts elsewhere", node, order: 1 })),
    ...Object.entries(answer.moved).map(([id, [from, node]]) => ({ id, what: "Moved to make room", from, node, order: 2 })),
    ...answer.stopped.map((id) => ({ id, what: "Stopped to make room", node: "", order: 3 })),
  ];
  const homeless = Object.entries(answer.unplaced);
  return [
    homeless.length > 0 && section("unplaced", "Does not fit", { note: "And why each node refuses it." },
      h("div", { class: "unplaced" }, homeless.map(([id, reasons]) => h("details", { "data-key": id, open: homeless.length <= 3 },
        h("summary", {}, h("b", {}, id), dim(` refused by ${count(Object.keys(reasons).length, "node")}`)),
        h("dl", { class: "node-reasons" }, Object.entries(reasons).map(([node, why]) => h("div", {}, h("dt", {}, node), h("dd", {}, prose(why))))))))),
    section("placed", "Where everything goes", {}, table("What would happen", [
      ["Instance", (row) => link(to("instances", row.id), row.id), (row) => row.id],
      ["What happens", (row) => row.what, (row) => `${row.order} ${row.what}`],
      ["To", (row) => [nodeLink(row.node, "nowhere"), row.from && small(`from ${row.from}`)], (row) => row.node],
    ], rows, { noun: "instance", key: (row) => row.id, empty: "Nothing runs on these nodes." })),
  ];
}
