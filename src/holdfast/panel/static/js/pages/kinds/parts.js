// Pieces that the pages of all kinds are made of.

import { h, icon, pill, prose } from "../../dom.js";
import { emptyView } from "../../states.js";
import { table as sheet } from "../../table.js";
import { instanceLook } from "../../words.js";

/** action: {action, words, tone, id, icon, may, off}. `may`: the permission it needs (operate where it is left out). */
export function button(ctx, { action, words, tone = "ghost", id = "", picture = "", may = "operate", label = "", small = false }) {
  if (!ctx.may(may)) return null;
  return h("button", { type: "button", class: `${tone}${small ? " small" : ""}`, "data-action": action, "data-id": id, "data-key": `${action}-${id}`, "aria-label": label || null },
    picture && icon(picture), words);
}

export const buttons = (ctx, list) => list.filter(Boolean).map((one) => button(ctx, one));

/** Buttons of a row: small, and named with what they act on. */
export const rowButtons = (ctx, id, list) =>
  list.filter(Boolean).map((one) => button(ctx, { ...one, id, small: true, label: `${one.words} ${id}` }));

/** A part of a page with its own heading. */
export function section(ctx, key, title, { note = "", tools = [] }, ...content) {
  return h("section", { class: "kind-section", "data-key": key, "aria-labelledby": `${key}-title` },
    h("div", { class: "section-head" }, h("h2", { id: `${key}-title` }, title), note && h("p", {}, prose(note)),
      tools.length > 0 && h("span", { class: "section-tools" }, tools.filter(Boolean).map((one) => button(ctx, { ...one, small: true })))),
    ...content);
}

/** What the kind is for and what it needs first, where there is none yet. `needs`: [[is it there, words, link?]]. */
export function emptyKind(ctx, { picture, title, text, needs = [], action = null }) {
  return h("div", { class: "empty-kind", "data-key": "empty", "data-testid": "empty" }, emptyView(picture, title, text,
    needs.length > 0 && h("ul", { class: "needs" }, needs.map(([there, words, href]) =>
      h("li", { class: there ? "tone-ok" : "tone-warn" }, icon(there ? "check" : "alert"), h("span", { class: "hidden" }, there ? "There: " : "Still needed: "),
        h("span", {}, prose(words), !there && href && [" ", h("a", { href }, "Go there")])))),
    action && button(ctx, { tone: "primary", picture: "plus", ...action })));
}

/** [[term, what]]; what is empty is left out. */
export function facts(rows) {
  const shown = rows.filter(Boolean).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0));
  return h("dl", { class: "facts-list", "data-key": "facts" }, shown.map(([term, value]) => h("div", { "data-key": term }, h("dt", {}, term), h("dd", {}, value))));
}

/** What high availability means for this item, and whether it is on. */
export function haBox(on, text, words = on ? "Highly available" : "Not highly available") {
  return h("div", { class: `ha-box tone-${on ? "ok" : "warn"}`, "data-key": "ha", "data-testid": "ha" }, icon(on ? "shield" : "shield-off"),
    h("div", {}, h("strong", {}, words), h("p", {}, prose(text))));
}

/**
 * A table. `columns`: [[head, cell(row), value(row)?]], the first is the row's heading; by values they are sorted and filtered,
 * where there is none by the cell's text. `key(row)` tells rows apart; `actions(row)`: its buttons.
 */
export function table(label, columns, rows, { key, actions = null, none = "" }) {
  const value = (cell) => (row) => h("span", {}, cell(row)).textContent;
  return sheet({
    id: label, label, rows, key, actions, empty: none, attributes: (row) => ({ "data-row": key(row) }),
    columns: columns.map(([head, cell, sorted]) => ({ key: head.toLowerCase().replace(/\W+/g, "-"), label: head, cell, value: sorted ?? value(cell) })),
  });
}

export const dim = (text) => h("span", { class: "dim" }, text);
export const link = (href, text) => h("a", { class: "name", href }, text);
export const mono = (text) => h("code", {}, text);

/** States of what is more than one instance, and of what is none. */
export const LOOKS = {
  ok: { tone: "ok", icon: "check", label: "Serves" },
  degraded: { tone: "warn", icon: "alert", label: "Degraded" },
  down: { tone: "bad", icon: "cross", label: "Down" },
  stopped: { tone: "idle", icon: "pause", label: "Stopped" },
  deleting: { tone: "busy", icon: "busy", label: "Being deleted" },
  detached: { tone: "idle", icon: "pause", label: "Detached" },
  detaching: { tone: "busy", icon: "busy", label: "Being detached" },
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

export const nodeCell = (name) => (name ? h("a", { href: `#/nodes/${encodeURIComponent(name)}` }, name) : dim("none"));
