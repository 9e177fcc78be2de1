// The inputs of a form, made from descriptions:
//   {name, label, hint, type, value, required, must, options, when, blame, placeholder}
// type: text (default), number, secret, area (text of several lines), lines (several items), switch (yes or no), select (one of
// some, the default where there are options), choice (one of a few, each explained), several (some of many).
// `make()` makes up a secret. `span`: it takes the whole width of a wide form. `confirms`: it is no more than a word to confirm. must(value, values) says what is wrong ("" if nothing); when(values): the field is asked only then; `blame` matches refusals
// of the server that belong to it. Every field has a `hint`: one sentence that says what it is.

import { h, icon, prose } from "../dom.js";

const PATIENCE_MS = 500;
/** More choices than these are filtered. */
const MANY = 12;

/** One input: {field, element, control, value(), mark(text), check(values, strict)}. `changed()` is called after each change. */
export function inputOf(field, changed) {
  const type = field.type ?? (field.options ? "select" : "text");
  const written = ["text", "number", "secret", "area", "lines"].includes(type);
  const made = MAKERS[type](field);
  const error = h("p", { class: "field-error", id: `field-${field.name}-error` });
  const element = made.frame(error);
  let timer = 0;
  const mark = (text) => {
    clearTimeout(timer);
    error.replaceChildren(...(text ? [icon("alert"), h("span", {}, prose(text))] : []));
    made.control.setAttribute("aria-invalid", text ? "true" : "false");
  };
  const input = { field, element, control: made.control, value: made.value, mark, asked: true };
  /** strict: also that something is missing. */
  input.check = (values, strict = true) => {
    const value = made.value();
    const empty = value === "" || value === null || (Array.isArray(value) && value.length === 0);
    const wrong = empty && field.required ? (strict ? "This is needed." : "") : empty && !Array.isArray(value) ? "" : field.must?.(value, values) ?? "";
    mark(wrong);
    return wrong === "" && !(empty && field.required);
  };
  const soon = () => {
    mark("");
    changed();
    timer = setTimeout(() => input.check(input.others(), false), PATIENCE_MS);
  };
  element.addEventListener("input", soon);
  element.addEventListener("change", () => {
    if (!written) changed();
    if (made.control.getAttribute("aria-invalid") !== "true") input.check(input.others(), false);
  });
  return input;
}

const ids = (field) => ({ id: `field-${field.name}`, name: field.name, "aria-describedby": `field-${field.name}-hint field-${field.name}-error` });
const hintOf = (field) => h("p", { class: "hint", id: `field-${field.name}-hint` }, prose(field.hint ?? ""));
const labelOf = (field) => h("label", { for: `field-${field.name}` }, field.label, !field.required && !field.options && h("span", { class: "dim" }, " optional"));
const plain = { autocomplete: "off", spellcheck: "false", autocapitalize: "none" };
const boxed = (field, control, extra = null) => (error) => h("div", { class: `field${field.span ? " span" : ""}`, "data-field": field.name }, labelOf(field), control, extra, hintOf(field), error);

function textual(field, type) {
  const control = h("input", { ...ids(field), ...plain, type, required: field.required, placeholder: field.placeholder, inputmode: field.inputmode });
  control.value = field.value ?? "";
  return { control, value: () => control.value.trim(), frame: boxed(field, control) };
}

const MAKERS = {
  text: (field) => textual(field, "text"),
  number: (field) => {
    const made = textual({ inputmode: "decimal", ...field }, "text");
    return { ...made, value: () => (made.control.value.trim() === "" ? "" : made.control.value.trim()) };
  },
  secret: (field) => {
    const made = textual(field, "password");
    made.control.setAttribute("autocomplete", "new-password");
    const show = h("button", { type: "button", class: "ghost small", "aria-pressed": "false", "aria-label": `Show ${field.label}` }, "Show");
    const reveal = (open) => {
      made.control.type = open ? "text" : "password";
      show.textContent = open ? "Hide" : "Show";
      show.setAttribute("aria-pressed", String(open));
    };
    show.addEventListener("click", () => reveal(made.control.type === "password"));
    const make = field.make && h("button", { type: "button", class: "ghost small", "aria-label": `Make up ${field.label}` }, "Make up");
    if (make) make.addEventListener("click", () => {
      made.control.value = field.make();
      reveal(true);
      made.control.dispatchEvent(new Event("input", { bubbles: true }));
    });
    return { control: made.control, value: () => made.control.value, frame: boxed(field, h("div", { class: "with-button" }, made.control, make, show)) };
  },
  area: (field) => {
    const control = h("textarea", { ...ids(field), ...plain, rows: field.rows ?? 4, required: field.required, placeholder: field.placeholder });
    control.value = field.value ?? "";
    return { control, value: () => control.value.trim(), frame: boxed(field, control, field.file ? fileOf(field, control) : null) };
  },
  /** Several, by commas, spaces or lines → array. `by`: lines only, where an item holds commas. */
  lines: (field) => {
    const control = h("textarea", { ...ids(field), ...plain, rows: field.rows ?? 2, required: field.required, placeholder: field.placeholder });
    control.value = (field.value ?? []).join(field.by === "line" ? "\n" : ", ");
    const apart = field.by === "line" ? /\n+/ : /[\s,]+/;
    return { control, value: () => control.value.split(apart).map((item) => item.trim()).filter(Boolean), frame: boxed(field, control) };
  },
  switch: (field) => {
    const control = h("input", { ...ids(field), type: "checkbox", role: "switch", checked: Boolean(field.value) });
    const frame = (error) => h("div", { class: "field switch-field", "data-field": field.name },
      h("label", { class: "switch", for: `field-${field.name}` }, control, h("span", {}, field.label)), hintOf(field), error);
    return { control, value: () => control.checked, frame };
  },
  select: (field) => {
    const control = h("select", ids(field), field.options.map(([code, words]) => h("option", { value: code, selected: code === (field.value ?? "") }, words)));
    return { control, value: () => control.value, frame: boxed(field, control) };
  },
  /** One of a few, each explained: options [[code, words, sentence]]. */
  choice: (field) => group(field, "radio", field.options, [field.value ?? field.options[0][0]],
    (inputs) => inputs.find((one) => one.checked)?.value ?? ""),
  /** Some of many: options [[code, words, remark]]. */
  several: (field) => group(field, "checkbox", field.options, field.value ?? [],
    (inputs) => inputs.filter((one) => one.checked).map((one) => one.value)),
};

function group(field, type, options, chosen, value) {
  const inputs = options.map(([code]) => h("input", { type, name: `field-${field.name}`, value: code, checked: chosen.includes(code), id: `field-${field.name}-${code}` }));
  const rows = options.map(([code, words, more], index) => h("label", { class: "option", for: `field-${field.name}-${code}` }, inputs[index],
    h("span", {}, h("b", {}, words), more && h("small", { class: "dim" }, more))));
  const search = options.length <= MANY ? "" : h("input", { type: "search", class: "option-filter", placeholder: "Filter", "aria-label": `Filter ${field.label}` });
  if (search) search.addEventListener("input", (event) => {
    event.stopPropagation();
    rows.forEach((row, index) => { row.hidden = !inputs[index].checked && !options[index].slice(0, 3).join(" ").toLowerCase().includes(search.value.toLowerCase()); });
  });
  const control = h("fieldset", { class: `field options ${type}`, "data-field": field.name, id: `field-${field.name}`, "aria-describedby": `field-${field.name}-hint field-${field.name}-error` });
  const frame = (error) => {
    control.append(h("legend", {}, field.label, type === "checkbox" && !field.required && h("span", { class: "dim" }, " optional")), hintOf(field), search,
      h("div", { class: `option-list ${type}${search ? " many" : ""}` }, rows.length ? rows : h("p", { class: "dim" }, field.none ?? "There is none.")), error);
    return control;
  };
  return { control, value: () => value(inputs), frame };
}

/** Read a file of the person's machine into the text; it goes nowhere else. */
function fileOf(field, control) {
  const file = h("input", { type: "file", class: "file", accept: field.file, "aria-label": `Read ${field.label} from a file` });
  file.addEventListener("change", async () => {
    control.value = (await file.files[0]?.text()) ?? "";
    control.dispatchEvent(new Event("input", { bubbles: true }));
  });
  return file;
}
