// What stands where something is missing: while it loads, when it is empty, when it failed.

import { h, icon, prose } from "./dom.js";

export const waitingView = (words = "Loading…") =>
  h("p", { class: "waiting", role: "status" }, icon("busy", "spin"), words);

/** A friendly nothing: what would be here, and how to begin. */
export const emptyView = (picture, title, text, ...more) =>
  h("div", { class: "empty" }, icon(picture), h("strong", {}, title), text && h("p", {}, prose(text)), ...more);

export const problemView = (problem, title = "This could not be loaded") =>
  h("div", { class: "banner tone-bad", role: "alert" }, icon("alert"),
    h("div", { class: "banner-text" },
      h("strong", {}, title),
      h("span", {}, prose([problem.text ?? problem.message ?? String(problem), problem.advice].filter(Boolean).join(". ")))),
    h("button", { type: "button", class: "ghost small", "data-action": "reload" }, "Try again"));

/** Draws `{value, error, loading}` of ctx.data: the value once it is there, else what there is to say. */
export function whenLoaded(item, view, words) {
  if (item.value !== undefined) return view(item.value);
  return item.error ? problemView(item.error) : waitingView(words);
}
