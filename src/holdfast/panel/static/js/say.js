// Saying what was done or refused: short messages at the lower edge.

import { h, icon, prose } from "./dom.js";
import { capital } from "./words.js";

const FINE_MS = 5000;
const TROUBLE_MS = 15000;

/** What an operation has done; the task that it began is followed. `told`: where the server says nothing. */
export function tell(outcome, told) {
  document.dispatchEvent(new CustomEvent("holdfast-task", { detail: outcome?.task ?? "" }));
  toast("ok", outcome?.text ? capital(outcome.text) : told);
  for (const warning of outcome?.warnings ?? []) toast("warn", ...prose(capital(warning)));
}

/** Do it at once, and say how it went. */
export async function direct(action, told) {
  try {
    const outcome = await action();
    tell(outcome, told);
    return outcome;
  } catch (problem) {
    toast("bad", problemText(problem));
    return null;
  }
}

export function problemText(problem) {
  return h("div", {}, h("strong", {}, prose(problem.text ?? String(problem))), problem.advice && h("span", {}, prose(problem.advice)));
}

/** A short message that goes away by itself. */
export function toast(tone, ...content) {
  const close = h("button", { type: "button", class: "plain", "aria-label": "Dismiss" }, icon("cross"));
  const element = h("div", { class: `toast tone-${tone}`, role: "status" }, icon(tone === "ok" ? "check" : "alert"), h("div", {}, ...content), close);
  close.addEventListener("click", () => element.remove());
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), tone === "ok" ? FINE_MS : TROUBLE_MS);
}
