// Who changed what, from where, with what was there before and after.

import { load } from "../api.js";
import { h, pill, prose } from "../dom.js";
import { save } from "../incident_export.js";
import { button, buttons, dim, moment, small } from "../parts.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, count } from "../words.js";

const LEAF = 200;
const LOOK = {
  change: { tone: "busy", icon: "edit", label: "Change" },
  login: { tone: "ok", icon: "user", label: "Login" },
  logout: { tone: "idle", icon: "out", label: "Logout" },
  "login-failed": { tone: "warn", icon: "alert", label: "Failed login" },
  "login-refused": { tone: "bad", icon: "lock", label: "Login refused" },
  refused: { tone: "bad", icon: "shield-off", label: "Refused" },
  "join-refused": { tone: "bad", icon: "lock", label: "Join refused" },
};

export const page = {
  title: () => "Audit log",
  lead: () => "Each change with who made it, from where, and what was there before. Secrets are never kept here.",
  tools: (ctx) => buttons(ctx, [{ action: "export", words: "Export JSON", picture: "download", may: "administer" }]),
  view: (ctx) => [
    h("div", { class: "kind-links", "data-key": "filter", role: "group", "aria-label": "Which entries" }, [["", "Everything"], ...Object.entries(LOOK).map(([code, look]) => [code, look.label])].map(([code, words]) =>
      h("button", { type: "button", class: "chip-button", "data-action": "only", "data-id": code, "aria-pressed": String((ctx.local.only ?? "") === code) }, words))),
    whenLoaded(known(ctx), (found) => [listView(found.items), found.next && h("div", { class: "buttons", "data-key": "more" }, button(ctx, { action: "more", words: "Older entries", may: "administer" }))]),
  ],
  actions: {
    only: (code, ctx) => { Object.assign(ctx.local, { only: code, older: [], next: null }); ctx.redraw(); },
    more: (_id, ctx) => more(ctx),
    export: (_id, ctx) => {
      const found = known(ctx).value;
      if (found) save("holdfast-audit.json", "application/json", JSON.stringify(found.items, null, 2));
    },
  },
};

const leafOf = (only, cursor = "") => load("/audit", { limit: LEAF, operation: only, cursor });

/** The newest leaf, live, and the older ones that were asked for. */
function known(ctx) {
  const { only = "", older = [], next = null } = ctx.local;
  const item = ctx.data(`audit ${only}`, () => leafOf(only), ctx.status.revision);
  if (item.value === undefined || older.length === 0) return item;
  const seen = new Set(item.value.items.map((one) => one.id));
  return { ...item, value: { items: [...item.value.items, ...older.filter((one) => !seen.has(one.id))], next } };
}

async function more(ctx) {
  const found = known(ctx).value;
  const leaf = await leafOf(ctx.local.only, found.next).catch(() => null);
  if (leaf === null) return;
  Object.assign(ctx.local, { older: [...found.items, ...leaf.items], next: leaf.next });
  ctx.redraw();
}

const listView = (entries) => table("Audit log", [
  ["When", (one) => moment(one.wall), (one) => one.wall],
  ["Who", (one) => [h("b", {}, one.who || "unknown"), one.role && small(one.role)], (one) => `${one.who} ${one.role}`],
  ["From", (one) => [one.address || "this node", one.via && small(one.via)], (one) => `${one.via} ${one.address}`],
  ["Sort", (one) => pill(LOOK[one.operation] ?? LOOK.change)],
  ["What", (one) => [h("span", {}, prose(capital(one.text))), changesView(one)], (one) => [one.text, ...one.changes.map((change) => change.key)].join(" ")],
], entries, { noun: "entry", key: (one) => one.id, empty: emptyView("book", "Nothing yet", "What people and programs change is listed here.") });

function changesView(one) {
  if (one.changes.length === 0) return null;
  return h("details", { class: "changes" }, h("summary", {}, `${count(one.changes.length, "record")} changed`),
    one.changes.map((change) => h("div", { class: "change" }, h("code", {}, change.key),
      h("dl", {}, h("dt", {}, "before"), h("dd", {}, valueView(change.before)), h("dt", {}, "after"), h("dd", {}, valueView(change.after))))),
    one.more > 0 && h("p", { class: "dim" }, `and ${one.more} more`));
}

const valueView = (value) => (value === null || value === undefined ? dim("nothing") : h("pre", { tabindex: "0" }, JSON.stringify(value, null, 1)));
