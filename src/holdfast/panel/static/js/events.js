// What happened: lines of the cluster's history, the latest first.

import { h, icon, prose } from "./dom.js";
import { moment, section } from "./parts.js";
import { severityLook } from "./words.js";

export function eventList(events, { most = 30, none = "Nothing has happened yet." } = {}) {
  if (!events.length) return h("p", { class: "none" }, none);
  return h("ol", { class: "events" }, events.slice(0, most).map((event) => {
    const look = severityLook(event.severity);
    return h("li", { class: `tone-${look.tone}`, "data-key": `${event.wall}-${event.kind}-${event.text}` },
      moment(event.wall),
      h("span", { class: "dot", title: look.label }, icon(look.icon), h("span", { class: "hidden" }, look.label)),
      h("span", {}, prose(event.text)));
  }));
}

/** A part of the page of one thing. `isAbout(event)`: whether it is told of there. */
export const eventsSection = (ctx, isAbout) => section("events", "Lately", { note: "The latest; a failover as a whole is among the incidents." },
  h("div", { class: "event-list", tabindex: "0" }, eventList(ctx.status.recent_events.filter(isAbout), { most: 20, none: "Nothing happened to it lately." })));
