// Head of every page: connection, who leads, who serves, who is signed in, and the banners that must not be missed.

import { h, icon, prose } from "./dom.js";
import { moment } from "./parts.js";
import { duration } from "./words.js";

/** So many lines of what was missed are shown. */
const MEANWHILE = 6;

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

/** Who is signed in, and as what. */
export function userView(user) {
  if (!user) return null;
  return h("span", { class: "chip", title: "Signed in" }, icon("user"), h("b", {}, user.name), user.role && h("span", { class: "dim" }, ` ${user.role}`));
}

export function bannersView(status, link, moved) {
  const banners = [];
  if (link.everConnected && !link.connected) {
    banners.push(banner("reconnecting", "warn", "busy", "Reconnecting…",
      `No answer from the panel${link.node ? ` (last served by ${link.node})` : ""}. What you see is the last known picture; it comes back by itself.`));
  }
  if (moved) {
    banners.push(moved.was
      ? banner("moved", "busy", "move", `Now served by ${moved.node} (was ${moved.was})`,
        `The panel moved to another node; this page followed after ${duration(moved.gap)} and you are still signed in.`, meanwhile(moved))
      : banner("back", "busy", "link", "Connected again", `Nobody answered for ${duration(moved.gap)}; ${moved.node} serves as before.`, meanwhile(moved)));
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

/** What was written into the cluster's history while this page heard nothing. */
function meanwhile({ missed, forgotten }) {
  const lines = missed.slice(-MEANWHILE);
  return h("div", { class: "meanwhile" },
    lines.length > 0 && [h("span", {}, "Meanwhile:"), h("ol", {}, lines.map((line) => h("li", {}, moment(line.wall), " ", prose(line.text))))],
    missed.length > lines.length && h("span", { class: "dim" }, `and ${missed.length - lines.length} more before that`),
    forgotten && h("span", { class: "dim" }, "Part of what happened is not known any more."));
}

/** `more`: an element below the text; with it the banner can be dismissed. */
function banner(key, tone, picture, title, text, more = null) {
  return h("div", { class: `banner tone-${tone}`, "data-key": key, "data-testid": `banner-${key}`, role: tone === "bad" ? "alert" : "status" },
    icon(picture, picture === "busy" ? "spin" : ""),
    h("div", { class: "banner-text" }, h("strong", {}, title), h("span", {}, prose(text)), more),
    more && h("button", { class: "ghost small", type: "button", "data-action": "dismiss" }, "Dismiss"));
}
