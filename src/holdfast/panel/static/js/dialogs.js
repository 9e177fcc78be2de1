// One modal dialog for all questions: it explains, asks, shows what is about to happen, calls the API, and puts what the API
// refused beside the field meant. And the short messages at the lower edge.

import { Problem } from "./api.js";
import { h, icon, prose } from "./dom.js";
import { makeFields } from "./fields.js";
import { outcomeView, refusalView } from "./outcome.js";
import { capital } from "./words.js";

const dialog = () => document.getElementById("dialog");

/**
 * Show a form. `text`: what it is about, elements; `fields`: descriptions (fields.js); `confirm`: label of the button.
 *
 * `submit(values, terms)` does the work and may throw Problem; `terms` goes to `call` as it is. `dryRun(values, terms)`: asks
 * first what would happen (the same call: `terms` says that nothing is changed); then the first press of the button shows it,
 * with warnings and the effect on the guarantee, and the second one does it. `mayForce`: what is refused for the guarantee's
 * sake may be insisted on. Resolves with what `submit` has returned, or null on cancel.
 */
export function ask({ title, text = [], fields = [], confirm, tone = "primary", submit, dryRun = null, mayForce = false, wide = false }) {
  return new Promise((resolve) => {
    const key = crypto.randomUUID();
    let result = null;
    let reviewed = dryRun === null;
    let forced = false;
    const errors = h("div", { class: "form-error", role: "alert", hidden: true });
    const review = h("div", { class: "review", role: "status", hidden: true });
    const go = h("button", { type: "submit" });
    const label = () => {
      go.textContent = reviewed ? confirm : "Review";
      go.className = reviewed ? (forced ? "danger" : tone) : "primary";
    };
    const again = () => {
      errors.hidden = true;
      if (dryRun === null) return;
      reviewed = false;
      review.hidden = true;
      label();
    };
    const form = makeFields(fields, again);
    const element = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: "dialog-title" }, title),
      h("div", { class: "dialog-text" }, text), ...form.elements, review, errors,
      h("div", { class: "buttons" }, h("button", { type: "button", class: "ghost", "data-cancel": true }, "Cancel"), go));
    label();
    const press = async () => {
      const values = form.values();
      if (!reviewed) {
        const outcome = await dryRun(values, { dryRun: true, force: forced });
        review.replaceChildren(outcomeView(outcome));
        review.hidden = false;
        reviewed = true;
        label();
        review.scrollIntoView({ block: "nearest" });
        return;
      }
      result = (await submit(values, { key, force: forced })) ?? {};
      dialog().close();
    };
    const refuse = (problem) => {
      const force = mayForce && !forced && problem.members.worst ? () => {
        forced = true;
        again();
        element.requestSubmit(go);
      } : null;
      if (problem.members.worst) errors.replaceChildren(refusalView(problem, force));
      else if (form.blame(problem)) return;
      else errors.replaceChildren(icon("alert"), problemText(problem));
      errors.hidden = false;
      errors.scrollIntoView({ block: "nearest" });
    };
    element.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (go.disabled || !form.check()) return;
      go.disabled = true;
      errors.hidden = true;
      try {
        await press();
      } catch (error) {
        refuse(error instanceof Problem ? error : new Problem(0, String(error)));
      } finally {
        go.disabled = false;
      }
    });
    show(element, wide, () => resolve(result));
  });
}

function show(element, wide, onClose) {
  element.querySelector("[data-cancel]")?.addEventListener("click", () => dialog().close());
  dialog().replaceChildren(element);
  dialog().classList.toggle("wide", wide);
  dialog().addEventListener("close", onClose, { once: true });
  dialog().showModal();
  element.querySelector("input, select, textarea")?.focus();
}

/** As `ask`, and tells what was done together with the API's warnings. Resolves with the outcome, or null. */
export async function askAndTell(form, done) {
  const result = await ask(form);
  if (result !== null) tell(result, done);
  return result;
}

/** What an operation has done, as short messages; the task that it began is followed. */
export function tell(outcome, done) {
  document.dispatchEvent(new CustomEvent("holdfast-task", { detail: outcome?.task ?? "" }));
  toast("ok", outcome?.text ? capital(outcome.text) : done);
  for (const warning of outcome?.warnings ?? []) toast("warn", ...prose(capital(warning)));
}

/**
 * Ask before something is taken away. `lost`: what is lost, one element or text each, named; `typed`: what has to be typed.
 * The rest as in `ask`.
 */
export function confirm({ text = [], lost = [], typed = "", fields = [], tone = "danger", ...rest }) {
  return askAndTell({
    ...rest,
    tone,
    text: [
      ...text,
      lost.length > 0 && h("ul", { class: "at-risk" }, lost.map((one) => h("li", {}, one))),
    ].filter(Boolean),
    fields: [
      ...(typed ? [{ name: "typed", label: `Type ${typed} to confirm`, required: true, must: (given) => (given === typed ? "" : `Type exactly ${typed}.`) }] : []),
      ...fields,
    ],
  }, rest.done ?? "Done");
}

/** Show something that is shown once, e.g. a secret; closes by its button only. */
export function present({ title, content, close = "Done", wide = false }) {
  return new Promise((resolve) => {
    show(h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), content,
      h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", "data-cancel": true }, close))), wide, resolve);
  });
}

/** Do it at once, and say how it went. */
export async function direct(action, done) {
  try {
    const outcome = await action();
    tell(outcome, done);
    return outcome;
  } catch (problem) {
    toast("bad", problemText(problem));
    return null;
  }
}

export function problemText(problem) {
  return h("div", {}, h("strong", {}, prose(problem.text ?? String(problem))), problem.advice && h("span", {}, prose(problem.advice)));
}



/** A short message at the lower edge that goes away by itself. */
export function toast(tone, ...content) {
  const close = h("button", { type: "button", class: "plain", "aria-label": "Dismiss" }, icon("cross"));
  const element = h("div", { class: `toast tone-${tone}`, role: "status" }, icon(tone === "ok" ? "check" : "alert"), h("div", {}, ...content), close);
  close.addEventListener("click", () => element.remove());
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), tone === "ok" ? 5000 : 15000);
}
