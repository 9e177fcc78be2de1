// Head of the page: connection, who leads, who serves, the counts, and the banners that must not be missed.

import { h, icon, prose } from "./dom.js";
import { count, duration } from "./words.js";

export function connectionView(link) {
  if (link.connected) {
    return [
      h("span", { class: "chip", title: "The node whose process serves this page" }, icon("panel"), h("span", { class: "chip-word" }, "served by "), h("b", {}, link.node || "?")),
      h("span", { class: "pill tone-ok", role: "status", "data-testid": "connection" }, h("span", { class: "pulse" }), "Live"),
    ];
  }
  const words = link.everConnected ? "Reconnecting…" : "Connecting…";
  return [
    h("span", { class: "chip dim" }, icon("panel"), h("span", { class: "chip-word" }, "served by "), h("b", {}, link.node || "?")),
    h("span", { class: "pill tone-warn", role: "status", "data-testid": "connection" }, icon("busy", "spin"), words),
  ];
}

export function leaderView(status) {
  const { node, term } = status.manager;
  if (!node) return [h("span", { class: "chip tone-warn", "data-testid": "leader" }, icon("crown"), "nobody leads")];
  return [
    h("span", { class: "chip", title: "The node whose manager decides, and its term", "data-testid": "leader" },
      icon("crown"), h("span", { class: "chip-word" }, "led by "), h("b", {}, node), h("span", { class: "dim" }, ` term ${term}`)),
  ];
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

export const lengthOf = (incident) => incident.steps.at(-1)?.at ?? 0;

/** Seconds from the first missed beat to the last recovered instance; the incident itself may be closed later. */
export const recoveryOf = (incident) => incident.steps.filter((step) => step.name === "recovered").at(-1)?.at ?? lengthOf(incident);

export function bannersView(status, link, moved) {
  const banners = [];
  if (link.everConnected && !link.connected) {
    banners.push(banner("reconnecting", "warn", "busy", "Reconnecting…",
      `No answer from the panel${link.node ? ` (last served by ${link.node})` : ""}. What you see is the last known picture; it comes back by itself.`));
  }
  if (moved) {
    banners.push(banner("moved", "busy", "move", `Now served by ${moved.node} (was ${moved.was})`,
      `The panel moved to another node; this page followed after ${duration(moved.gap)} and you are still signed in.`, true));
  }
  if (status?.hold) {
    banners.push(banner("hold", "bad", "pause", "Holding: nothing is moved", status.hold));
  }
  if (status?.store_problem) {
    banners.push(banner("store", "warn", "alert", "This picture may be old", status.store_problem));
  }
  for (const problem of status?.problems ?? []) {
    banners.push(banner(`problem-${problem}`, "warn", "alert", "An entry of the store cannot be read", problem));
  }
  return banners;
}

function banner(key, tone, picture, title, text, closable = false) {
  return h("div", { class: `banner tone-${tone}`, "data-key": key, "data-testid": `banner-${key}`, role: tone === "bad" ? "alert" : "status" },
    icon(picture, picture === "busy" ? "spin" : ""),
    h("div", { class: "banner-text" }, h("strong", {}, title), h("span", {}, prose(text))),
    closable && h("button", { class: "ghost small", type: "button", "data-action": "dismiss" }, "Dismiss"));
}
