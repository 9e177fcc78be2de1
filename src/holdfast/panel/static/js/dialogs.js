// One modal dialog for all forms: it explains, asks, calls the API, and shows what the API refused beside the field meant.

import { h, icon, prose } from "./dom.js";
import { Problem } from "./api.js";

const dialog = () => document.getElementById("dialog");

/**
 * Show a form. `fields`: [{name, label, hint, type, value, required, options, must, blame}], where must(text) says what is
 * wrong with it ("" if nothing) and `blame` matches those refusals of the API that belong to the field; `confirm`: label of
 * the button; `submit(values)` does the work and may throw Problem. Resolves with its result, or null on cancel.
 */
export function ask({ title, text = [], fields = [], confirm, tone = "primary", submit }) {
  return new Promise((resolve) => {
    let result = null;
    const errors = h("div", { class: "form-error", role: "alert", hidden: true });
    const inputs = fields.map(fieldView);
    const go = h("button", { type: "submit", class: tone }, confirm);
    const form = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: "dialog-title" }, title),
      ...text, errors, ...inputs.map((input) => input.element),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "ghost", "data-cancel": true }, "Cancel"), go));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (go.disabled || !checkAll(inputs)) return;
      go.disabled = true;
      errors.hidden = true;
      try {
        result = (await submit(Object.fromEntries(inputs.map((input) => [input.name, input.value()])))) ?? {};
        dialog().close();
      } catch (problem) {
        showProblem(problem, inputs, errors);
      } finally {
        go.disabled = false;
      }
    });
    form.querySelector("[data-cancel]").addEventListener("click", () => dialog().close());
    dialog().replaceChildren(form);
    dialog().addEventListener("close", () => resolve(result), { once: true });
    dialog().showModal();
    form.querySelector("input, select, textarea")?.focus();
  });
}

function fieldView({ name, label, hint = "", type = "text", value = "", required = false, options = null, must = null, placeholder = "", blame = null }) {
  const id = `field-${name}`;
  const described = `${id}-hint ${id}-error`;
  const common = { id, name, required, "aria-describedby": described };
  const control = options
    ? h("select", common, options.map(([code, words]) => h("option", { value: code, selected: code === value }, words)))
    : h("input", { ...common, type, value, placeholder, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const error = h("p", { class: "field-error", id: `${id}-error` });
  control.addEventListener("input", () => mark(""));
  const mark = (message) => {
    error.replaceChildren(...(message ? [icon("alert"), h("span", {}, prose(message))] : []));
    control.setAttribute("aria-invalid", message ? "true" : "false");
  };
  const element = h("div", { class: "field" },
    h("label", { for: id }, label, !required && !options && h("span", { class: "dim" }, " optional")),
    control, h("p", { class: "hint", id: `${id}-hint` }, hint), error);
  const check = () => {
    const text = control.value.trim();
    const wrong = required && text === "" ? "This is needed." : (must?.(text) ?? "");
    mark(wrong);
    return wrong === "";
  };
  return { name, element, control, mark, check, blame, value: () => control.value.trim() };
}

function checkAll(inputs) {
  const wrong = inputs.filter((input) => !input.check());
  wrong[0]?.control.focus();
  return wrong.length === 0;
}

/** Beside the field that is to blame where that can be told, else above the fields. */
function showProblem(error, inputs, errors) {
  const problem = error instanceof Problem ? error : new Problem(0, String(error));
  const whole = `${problem.text}. ${problem.advice}`;
  const blamed = [409, 422].includes(problem.status) && inputs.find((input) => input.blame?.test(problem.text));
  if (blamed) {
    blamed.mark(whole);
    blamed.control.focus();
  } else {
    errors.replaceChildren(icon("alert"), problemText(problem));
    errors.hidden = false;
  }
}

export function problemText(problem) {
  return h("div", {}, h("strong", {}, prose(problem.text)), problem.advice && h("span", {}, prose(problem.advice)));
}

/** A short message at the lower edge that goes away by itself. */
export function toast(tone, ...content) {
  const element = h("div", { class: `toast tone-${tone}`, role: "status" }, icon(tone === "ok" ? "check" : "alert"), h("div", {}, ...content));
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), tone === "ok" ? 5000 : 12000);
}
