// The fields of a form, made from a description.
//
// {name, label, hint, type, value, required, options, placeholder, must, blame, when}
//   type      text (default), number, password, textarea, select, checkbox, checks (several of `options`), note
//   options   [[value, words, hint?], …] for select and checks
//   must      text → what is wrong with it, "" if nothing
//   blame     matches those refusals of the API that belong to this field (where its name does not stand in the refusal)
//   when      values → whether the field is shown; what is not shown is not checked and not sent

import { h, icon, prose } from "./dom.js";

const CONTROLS = { textarea, select, checkbox, checks, note };

/** A set of fields: {elements, values(), check(), blame(problem)}. */
export function makeFields(descriptions, onChange = () => {}) {
  const fields = descriptions.map((description) => field(description));
  const shown = () => fields.filter((one) => !one.element.hidden);
  const values = () => Object.fromEntries(shown().filter((one) => one.value).map((one) => [one.name, one.value()]));
  const arrange = () => {
    const all = Object.fromEntries(fields.filter((one) => one.value).map((one) => [one.name, one.value()]));
    for (const one of fields) one.element.hidden = one.when ? !one.when(all) : false;
  };
  for (const one of fields) {
    one.element.addEventListener("input", () => {
      one.mark?.("");
      arrange();
      onChange();
    });
  }
  arrange();
  return { elements: fields.map((one) => one.element), values, check: () => check(shown()), blame: (problem) => blame(shown(), problem) };
}

function check(fields) {
  const wrong = fields.filter((one) => one.check && !one.check());
  wrong[0]?.focus();
  return wrong.length === 0;
}

/** Show the refusal at the field it is about; false if that cannot be told. */
function blame(fields, problem) {
  if (![400, 409, 422].includes(problem.status)) return false;
  const named = problem.members?.field ?? problem.members?.errors?.[0]?.field ?? /^`([\w.]+)`/.exec(problem.text)?.[1]?.split(".")[0];
  const guilty = fields.find((one) => one.mark && one.name === named) ?? fields.find((one) => one.mark && one.blame?.test(problem.text));
  if (!guilty) return false;
  guilty.mark([problem.text, problem.advice].filter(Boolean).join(". "));
  guilty.focus();
  return true;
}

function field(description) {
  return (CONTROLS[description.type] ?? (description.options ? select : input))(description);
}

function note({ name = "", text, when }) {
  return { name, when, element: h("div", { class: "field note-field" }, text) };
}

/** What all controls share: label, hint, the place for what is wrong. */
function dress({ name, label, hint = "", required, when, blame: guilt }, control, { optional = true } = {}) {
  const error = h("p", { class: "field-error", id: `field-${name}-error` });
  const element = h("div", { class: "field" },
    h("label", { for: `field-${name}` }, label, optional && !required && h("span", { class: "dim" }, " optional")),
    control, h("p", { class: "hint", id: `field-${name}-hint` }, prose(hint)), error);
  const mark = (message) => {
    error.replaceChildren(...(message ? [icon("alert"), h("span", {}, ...prose(message))] : []));
    control.setAttribute("aria-invalid", message ? "true" : "false");
  };
  return { name, when, blame: guilt, element, mark, focus: () => control.focus() };
}

const common = ({ name, required }) => ({ id: `field-${name}`, name, required, "aria-describedby": `field-${name}-hint field-${name}-error` });

function checked(one, { required, must }, value) {
  one.value = value;
  one.check = () => {
    const text = value();
    const wrong = required && text === "" ? "This is needed." : (text === "" && !required ? "" : (must?.(text) ?? ""));
    one.mark(wrong);
    return wrong === "";
  };
  return one;
}

function input(description) {
  const { type = "text", value = "", placeholder = "", min, max, step } = description;
  const control = h("input", { ...common(description), type, value, placeholder, min, max, step,
    autocomplete: type === "password" ? "new-password" : "off", spellcheck: "false", autocapitalize: "none" });
  return checked(dress(description, control), description, () => (type === "password" ? control.value : control.value.trim()));
}

function textarea(description) {
  const control = h("textarea", { ...common(description), rows: description.rows ?? 4, placeholder: description.placeholder ?? "", spellcheck: "false" });
  control.value = description.value ?? "";
  return checked(dress(description, control), description, () => control.value.trim());
}

function select(description) {
  const { options, value = "" } = description;
  const control = h("select", common(description), options.map(([code, words]) => h("option", { value: code, selected: String(code) === String(value) }, words)));
  return checked(dress(description, control, { optional: false }), description, () => control.value);
}

function checkbox({ name, label, hint = "", value = false, when, must, blame: guilt }) {
  const control = h("input", { id: `field-${name}`, name, type: "checkbox", checked: value, "aria-describedby": `field-${name}-hint field-${name}-error` });
  const error = h("p", { class: "field-error", id: `field-${name}-error` });
  const element = h("div", { class: "field check" }, control,
    h("div", {}, h("label", { for: `field-${name}` }, label), h("p", { class: "hint", id: `field-${name}-hint` }, prose(hint)), error));
  const mark = (message) => {
    error.replaceChildren(...(message ? [icon("alert"), h("span", {}, ...prose(message))] : []));
    control.setAttribute("aria-invalid", message ? "true" : "false");
  };
  const one = { name, when, blame: guilt, element, mark, focus: () => control.focus(), value: () => control.checked };
  one.check = () => {
    const wrong = must?.(control.checked) ?? "";
    mark(wrong);
    return wrong === "";
  };
  return one;
}

function checks({ name, label, hint = "", options, value = [], required, must, when, blame: guilt }) {
  const boxes = options.map(([code, words, more]) => {
    const box = h("input", { type: "checkbox", name, value: code, checked: value.includes(code) });
    return { box, element: h("label", { class: "choice" }, box, h("span", {}, words, more && h("small", { class: "dim" }, more))) };
  });
  const error = h("p", { class: "field-error", id: `field-${name}-error` });
  const element = h("fieldset", { class: "field", id: `field-${name}`, "aria-describedby": `field-${name}-error` },
    h("legend", {}, label, !required && h("span", { class: "dim" }, " optional")),
    hint && h("p", { class: "hint" }, prose(hint)),
    h("div", { class: "choices" }, boxes.map((one) => one.element)), error);
  const mark = (message) => error.replaceChildren(...(message ? [icon("alert"), h("span", {}, ...prose(message))] : []));
  const chosen = () => boxes.filter((one) => one.box.checked).map((one) => one.box.value);
  const check = () => {
    const wrong = required && chosen().length === 0 ? "Choose at least one." : (must?.(chosen()) ?? "");
    mark(wrong);
    return wrong === "";
  };
  return { name, when, blame: guilt, element, mark, focus: () => boxes[0]?.box.focus(), value: chosen, check };
}
