// Pieces that the pages of all kinds are made of.

import { h, icon, pill, prose } from "../../dom.js";
import { button } from "../../parts.js";
import { emptyView } from "../../states.js";
import { instanceLook } from "../../words.js";

/** What the kind is for and what it needs first, where there is none yet. `needs`: [[is it there, words, link?]]. */
export function emptyKind(ctx, { picture, title, text, needs = [], action = null }) {
  return h("div", { class: "empty-kind", "data-key": "empty", "data-testid": "empty" }, emptyView(picture, title, text,
    needs.length > 0 && h("ul", { class: "needs" }, needs.map(([there, words, href]) =>
      h("li", { class: there ? "tone-ok" : "tone-warn" }, icon(there ? "check" : "alert"), h("span", { class: "hidden" }, there ? "There: " : "Still needed: "),
        h("span", {}, prose(words), !there && href && [" ", h("a", { href }, "Go there")])))),
    action && button(ctx, { tone: "primary", picture: "plus", ...action })));
}

/** States of what is more than one instance, and of what is none. */
export const LOOKS = {
  ok: { tone: "ok", icon: "check", label: "Serves" },
  degraded: { tone: "warn", icon: "alert", label: "Degraded" },
  down: { tone: "bad", icon: "cross", label: "Down" },
  stopped: { tone: "idle", icon: "pause", label: "Stopped" },
  deleting: { tone: "busy", icon: "busy", label: "Being deleted" },
  detached: { tone: "idle", icon: "pause", label: "Detached" },
  detaching: { tone: "busy", icon: "busy", label: "Being detached" },
  started: { tone: "ok", icon: "check", label: "Started" },
};

export const lookOf = (instance, deleting = false) => (deleting ? LOOKS.deleting : LOOKS[instance.state] ?? instanceLook(instance));

/** The state of an instance, with what it waits for under it. */
export function stateCell(instance, deleting = false) {
  const well = instance.state === "running" && instance.healthy;
  const why = instance.waiting || (well ? "" : (instance.detail ?? instance.why ?? ""));
  return [
    pill(lookOf(instance, deleting)),
    instance.locked && h("small", { class: "dim" }, "locked"),
    instance.moving_to && h("small", { class: "from" }, instance.moving_to === "*" ? "moving away" : `moving to ${instance.moving_to}`),
    why && h("small", { class: "trouble" }, prose(why)),
  ];
}

/** Whether high availability is on, in a table. */
export const haCell = (on) => (on ? "on" : h("span", { class: "trouble tone-warn" }, "off"));

/** [healthy, all] */
export const countCell = ([healthy, all]) => h("span", { class: healthy < all ? "trouble tone-warn" : "" }, `${healthy} of ${all}`);
