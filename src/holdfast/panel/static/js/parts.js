// Pieces that all pages are made of.

import { h, icon, prose } from "./dom.js";
import { to } from "./router.js";
import { clockTime, wholeTime } from "./words.js";

export const dim = (text) => h("span", { class: "dim" }, text);
export const mono = (text) => h("code", {}, text);
export const small = (...content) => h("small", { class: "dim" }, content);
export const link = (href, text) => h("a", { class: "name", href }, text);
export const nodeLink = (id, none = "none") => (id ? h("a", { class: "node-link", href: to("nodes", id) }, id) : dim(none));
export const address = (text, none = "none") => (text ? h("span", { class: "address" }, text) : dim(none));
export const roles = (words) => h("span", { class: "roles" }, words.map((word) => h("span", { class: "role" }, word)));

/** A moment in time (ISO 8601): the time where the reader is; day, second and zone on a closer look. */
export const moment = (iso, none = "–") => (iso ? h("time", { datetime: iso, title: wholeTime(iso) }, clockTime(iso)) : dim(none));

/** What must be read before going on. */
export const warning = (content, strong = false) =>
  h("p", { class: `warning${strong ? " strong" : ""}` }, icon("alert"), h("span", {}, typeof content === "string" ? prose(content) : content));

/** A part of a page with its own heading. `tools`: elements at its right. */
export const section = (key, title, { note = "", tools = [] } = {}, ...content) =>
  h("section", { "data-key": key, "aria-labelledby": `${key}-title` }, sectionHead(key, title, { note, tools }), content);

export function sectionHead(key, title, { note = "", tools = [] } = {}) {
  const shown = [tools].flat().filter(Boolean);
  return h("div", { class: "section-head" }, h("h2", { id: `${key}-title` }, title), note && h("p", {}, typeof note === "string" ? prose(note) : note),
    shown.length > 0 && h("div", { class: "tools" }, shown));
}

/** [[term, what, remark?]]; what is empty is left out. */
export function facts(rows) {
  const empty = (value) => value === null || value === undefined || value === "" || value === false || (Array.isArray(value) && value.length === 0);
  const shown = rows.filter((row) => row && !empty(row[1]));
  return shown.length > 0 && h("dl", { class: "facts-list", "data-key": "facts" }, shown.map(([term, value, remark]) =>
    h("div", { "data-key": term }, h("dt", {}, term), h("dd", {}, value, remark && small(remark)))));
}

/**
 * A button of a page, or nothing where the person may not: {action, words, id, tone, picture, may, label, small, off}. `may`: the
 * permission it needs (operate where it is left out).
 */
export function button(ctx, { action, words, tone = "ghost", id = "", picture = "", may = "operate", label = null, small: little = false, off = false }) {
  if (!ctx.may(may)) return null;
  return h("button", { type: "button", class: `${tone}${little ? " small" : ""}`, "data-action": action, "data-id": id, "data-key": `${action}-${id}`, "aria-label": label, disabled: off },
    picture && icon(picture), words);
}

export const buttons = (ctx, list) => list.filter(Boolean).map((one) => button(ctx, one));

/** Of a section: small. */
export const sectionButtons = (ctx, list) => buttons(ctx, list.filter(Boolean).map((one) => ({ small: true, ...one })));

/** Of a row: small, and named with what they act on. */
export const rowButtons = (ctx, id, list, name = id) =>
  buttons(ctx, list.filter(Boolean).map((one) => ({ id, small: true, label: `${one.words} ${name}`, ...one })));

/** What high availability means for this item, and whether it is on. */
export const haBox = (on, text, words = on ? "Highly available" : "Not highly available") => stateBox(on ? "ok" : "warn", on, words, text && prose(text), { "data-key": "ha", "data-testid": "ha" });

/** Something that holds or does not, said largely. */
export const stateBox = (tone, holds, words, text, attributes, ...more) =>
  h("div", { class: `ha-box tone-${tone}`, ...attributes }, icon(holds ? "shield" : "shield-off"),
    h("div", {}, h("strong", {}, words), text && h("p", {}, text), more));
