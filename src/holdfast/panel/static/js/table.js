// Tables that stay quick with thousands of rows: filtered and sorted as data, and only one leaf of rows is drawn.
//
// table("Nodes", columns, rows, {…}): `columns` are [head, cell(row), value(row)?, {align: "end"}?]: by its value (text or number)
// a column is sorted and filtered; left out, it is the text of the cell. The first is the row's heading. What a person has chosen
// (order, filter, leaf) is kept, also while they are on another page.

import { h, icon } from "./dom.js";
import { requestDraw } from "./draw.js";

const LEAF = 50;
/** So many rows and more get a field to filter them. */
const FILTER_FROM = 8;

const wishes = new Map();
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function wishOf(id, sort, descending) {
  if (!wishes.has(id)) wishes.set(id, { sort, descending, filter: "", leaf: 0 });
  return wishes.get(id);
}

const named = (text) => text.toLowerCase().replace(/\W+/g, "-");
const textOf = (cell) => (row) => h("span", {}, cell(row)).textContent;
const columnOf = ([label, cell, value = textOf(cell), more = {}]) => ({ key: named(label), label, cell, value, ...more });

/**
 * `label`: what it lists, for those who do not see it; `key(row)`: tells rows apart; `attributes(row)`: more attributes; `sort`: the
 * head of the column to begin with, "-x" for descending, "" for the order given; `tools`: elements beside the filter; `empty`: what
 * stands there without rows; `actions(row)`: buttons at the end of the row, null where nobody may; `noun`: one row, in words.
 */
export function table(label, heads, rows, { key, id = named(label), attributes = () => ({}), sort = "", tools = [], empty = "There is none yet.", actions = null, noun = "row" }) {
  const columns = heads.map(columnOf);
  const wish = wishOf(id, named(sort.replace(/^-/, "")), sort.startsWith("-"));
  const found = arranged(rows, columns, wish);
  const leaves = Math.max(1, Math.ceil(found.length / LEAF));
  wish.leaf = Math.min(wish.leaf, leaves - 1);
  const shown = found.slice(wish.leaf * LEAF, (wish.leaf + 1) * LEAF);
  const head = rows.length >= FILTER_FROM || wish.filter || tools.length ? toolbar(id, label, rows, found, wish, tools, noun) : null;
  if (rows.length === 0) return h("div", { class: "table-block", "data-key": `table-${id}` }, tools.length ? head : null, typeof empty === "string" ? h("p", { class: "none" }, empty) : empty);
  return h("div", { class: "table-block", "data-key": `table-${id}` },
    head,
    h("div", { class: "table-frame" },
      h("table", { "aria-label": label },
        h("thead", {}, h("tr", {}, columns.map((column) => heading(id, column, wish)), actions && h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")))),
        h("tbody", {}, shown.map((row) => rowView(row, columns, key, attributes, actions)))),
      found.length === 0 && h("p", { class: "none-found" }, `Nothing matches “${wish.filter}”.`)),
    leaves > 1 && pager(id, wish, leaves, found.length));
}

function arranged(rows, columns, wish) {
  const words = wish.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = (row) => columns.map((column) => column.value(row) ?? "").join(" ").toLowerCase();
  const found = words.length ? rows.filter((row) => { const all = texts(row); return words.every((word) => all.includes(word)); }) : [...rows];
  const column = columns.find((one) => one.key === wish.sort);
  if (column) {
    const keyed = found.map((row) => [column.value(row) ?? "", row]);
    keyed.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : order.compare(String(a), String(b))));
    if (wish.descending) keyed.reverse();
    return keyed.map(([, row]) => row);
  }
  return found;
}

function toolbar(id, label, rows, found, wish, tools, noun) {
  const counted = `${found.length.toLocaleString("en")}${found.length === rows.length ? "" : ` of ${rows.length.toLocaleString("en")}`} ${rows.length === 1 ? noun : `${noun}s`}`;
  return h("div", { class: "table-tools", "data-key": "tools" },
    (rows.length >= FILTER_FROM || wish.filter) && h("label", { class: "filter" }, icon("search"), h("span", { class: "hidden" }, `Filter ${label}`),
      h("input", { type: "search", value: wish.filter, placeholder: "Filter", "data-table-filter": id, autocomplete: "off", spellcheck: "false" })),
    tools,
    h("span", { class: "counted dim", "aria-live": "polite" }, counted));
}

function heading(id, column, wish) {
  const mine = wish.sort === column.key;
  const aria = mine ? (wish.descending ? "descending" : "ascending") : null;
  const content = h("button", { type: "button", class: "sort", "data-table-sort": id, "data-column": column.key }, column.label, icon(mine && wish.descending ? "down" : "up"));
  return h("th", { scope: "col", "aria-sort": aria, class: `col-${column.key}${column.align === "end" ? " end" : ""}` }, content);
}

function rowView(row, columns, key, attributes, actions) {
  const cell = (column, index) => {
    const content = column.cell(row);
    const classes = `col-${column.key}${column.align === "end" ? " end" : ""}`;
    return index === 0 ? h("th", { scope: "row", class: classes }, content) : h("td", { "data-label": column.label, class: classes }, content);
  };
  return h("tr", { "data-key": key(row), "data-row": key(row), ...attributes(row) }, columns.map(cell), actions && h("td", { class: "actions" }, actions(row)));
}

function pager(id, wish, leaves, total) {
  const button = (step, words, picture, off) =>
    h("button", { type: "button", class: "ghost small", "data-table-leaf": id, "data-step": step, disabled: off }, icon(picture), words);
  const from = wish.leaf * LEAF + 1;
  return h("div", { class: "pager", "data-key": "pager" },
    button(-1, "Previous", "left", wish.leaf === 0),
    h("span", { class: "dim" }, `${from}–${Math.min(total, from + LEAF - 1)} of ${total.toLocaleString("en")}`),
    button(1, "Next", "right", wish.leaf === leaves - 1));
}

document.addEventListener("click", (event) => {
  const sort = event.target.closest("[data-table-sort]");
  if (sort) {
    const wish = wishes.get(sort.dataset.tableSort);
    wish.descending = wish.sort === sort.dataset.column && !wish.descending;
    wish.sort = sort.dataset.column;
    requestDraw();
  }
  const leaf = event.target.closest("[data-table-leaf]");
  if (leaf) {
    wishes.get(leaf.dataset.tableLeaf).leaf += Number(leaf.dataset.step);
    requestDraw();
  }
});
document.addEventListener("input", (event) => {
  const id = event.target.dataset?.tableFilter;
  if (id === undefined) return;
  Object.assign(wishes.get(id), { filter: event.target.value, leaf: 0 });
  requestDraw();
});
