// The form of everything that is created, changed and deleted. It explains, validates while typing, shows what the change does to
// the guarantee before it is made (by asking the server for a dry run), and shows a refusal at the field it is about.

import { problemText, tell } from "../../dialogs.js";
import { h, icon, prose } from "../../dom.js";
import { Effect } from "./effect.js";
import { inputOf } from "./inputs.js";
import { send } from "./requests.js";
import { showSecrets } from "./secrets.js";

const dialog = () => document.getElementById("dialog");

/**
 * form: {title, text, ha, fields, confirm, tone, wide, request(values) → {method, path, body, query}, force, effect, done, secrets}
 *
 * `fields`: inputs (see inputs.js) and {section, note, advanced, fields}. `ha`: what high availability means for it, a sentence.
 * `effect`: "typing" – a dry run as soon as the form is complete and the person rests; "asked" – by a button, where a dry run
 * costs something; none – it has no effect on the guarantee. `force`: "body" or "query", where the server can be overruled.
 * `secrets(result, values)`: what is shown once, [[label, value]]; `done(result, values)` after it, and `next(result, values)`: the
 * address of the page to go to.
 * Resolves with the server's answer, or null on cancel.
 */
export function openForm(form, ctx) {
  return new Promise((resolve) => {
    const open = new OpenForm(form, ctx);
    dialog().classList.toggle("wide", Boolean(form.wide));
    dialog().replaceChildren(open.element);
    dialog().addEventListener("close", () => {
      open.end();
      open.element.remove();
      dialog().classList.remove("wide");
      resolve(open.result);
    }, { once: true });
    dialog().showModal();
    (open.inputs.find((input) => input.asked)?.control.querySelector?.("input") ?? open.inputs[0]?.control ?? open.go).focus();
  });
}

class OpenForm {
  constructor(form, ctx) {
    this.form = form;
    this.result = null;
    /** The page on which it was opened: who has left it meanwhile is not led away from another one. */
    this.at = location.hash;
    /** One key for all attempts: should an answer get lost, repeating it does nothing twice. */
    this.key = crypto.randomUUID();
    this.inputs = [];
    this.sections = [];
    this.errors = h("div", { class: "form-error", role: "alert", hidden: true });
    this.go = h("button", { type: "submit", class: form.tone ?? "primary" }, form.confirm);
    this.effect = form.effect ? new Effect(form, ctx.status.guarantee, (strict) => this.dryRun(strict)) : null;
    const cancel = h("button", { type: "button", class: "ghost" }, "Cancel");
    cancel.addEventListener("click", () => dialog().close());
    this.element = h("form", { method: "dialog", novalidate: true, class: "kind-form" },
      h("header", {}, h("h2", { id: "dialog-title" }, form.title), (form.text ?? []).map((text) => (typeof text === "string" ? h("p", {}, prose(text)) : text)),
        form.ha && h("p", { class: "ha-note" }, icon("shield"), h("span", {}, prose(form.ha)))),
      h("div", { class: "form-body" }, this.rows(form.fields ?? [])),
      h("footer", {}, this.errors, this.effect?.element, h("div", { class: "buttons" }, cancel, this.go)));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.arrange();
    this.effect?.later();
  }

  rows(fields) {
    return fields.filter(Boolean).map((field) => {
      if (!field.section) {
        const input = inputOf(field, () => this.changed());
        input.others = () => this.values();
        this.inputs.push(input);
        return input.element;
      }
      const inner = [field.note && h("p", { class: "hint" }, prose(field.note)), ...this.rows(field.fields)];
      const element = field.advanced
        ? h("details", { class: "form-section" }, h("summary", {}, field.section), h("div", {}, inner))
        : h("section", { class: "form-section" }, h("h3", {}, field.section), h("div", {}, inner));
      if (field.when) this.sections.push([field.when, element]);
      return element;
    });
  }

  values() {
    return Object.fromEntries(this.inputs.map((input) => [input.field.name, input.value()]));
  }

  /** Show what is asked for in the present state of the form, and nothing else. */
  arrange() {
    const values = this.values();
    for (const [when, element] of this.sections) element.hidden = !when(values);
    for (const input of this.inputs) {
      input.element.hidden = Boolean(input.field.when) && !input.field.when(values);
      input.asked = !input.element.hidden && !input.element.closest("[hidden]");
    }
  }

  changed() {
    this.arrange();
    this.errors.hidden = true;
    this.effect?.later();
  }

  asked() {
    return this.inputs.filter((input) => input.asked);
  }

  request(values) {
    const request = this.form.request(values);
    if (!this.form.force || !this.effect?.forced) return request;
    return this.form.force === "body"
      ? { ...request, body: { ...request.body, force: true } }
      : { ...request, query: { ...request.query, force: true } };
  }

  /** Says what is missing only where the person has asked (`strict`). */
  async dryRun(strict) {
    const values = this.values();
    if (!this.asked().map((input) => input.check(values, strict)).every(Boolean)) return this.effect.waiting();
    const serial = this.effect.asking();
    try {
      const outcome = await send(this.request(values), { dryRun: true });
      if (this.effect.isLatest(serial)) this.effect.show(outcome);
    } catch (problem) {
      if (!this.effect.isLatest(serial)) return;
      const blamed = this.blamed(problem);
      this.effect.refused(problem, Boolean(blamed));
      blamed?.mark(whole(problem));
    }
  }

  async submit() {
    if (this.go.disabled) return;
    const values = this.values();
    const wrong = this.asked().filter((input) => !input.check(values));
    if (wrong.length) {
      reveal(wrong[0]);
      return;
    }
    this.busy(true);
    try {
      const request = this.request(values);
      this.result = (await send(request, { key: request.method === "POST" ? this.key : "" })) ?? {};
      await closed();
      await this.tell(values);
    } catch (problem) {
      this.refuse(problem);
    } finally {
      this.busy(false);
    }
  }

  async tell(values) {
    const { form, result } = this;
    const secrets = form.secrets?.(result, values) ?? [];
    if (result.text) tell(result);
    if (secrets.length) await showSecrets(form.secretTitle ?? form.title, secrets);
    form.done?.(result, values);
    const next = form.next?.(result, values);
    if (next && location.hash === this.at) location.hash = next;
  }

  busy(on) {
    this.go.disabled = on;
    this.element.setAttribute("aria-busy", String(on));
  }

  refuse(problem) {
    this.effect?.refused(problem, false);
    const blamed = this.blamed(problem);
    if (blamed) {
      blamed.mark(whole(problem));
      reveal(blamed);
    } else if (!this.effect?.shows(problem)) {
      this.errors.replaceChildren(icon("alert"), problemText(problem));
      this.errors.hidden = false;
      this.errors.scrollIntoView({ block: "nearest" });
    }
    // Otherwise it stands where the effect on the guarantee is shown, with the way to insist.
  }

  /** The input that the refusal is about: which the server names, or its sentence, or its advice, or whose value it repeats. */
  blamed(problem) {
    if ([0, 401, 403, 412, 429].includes(problem.status) || problem.members?.worst) return null;
    const named = problem.members?.field ?? /^`([\w.]+)`:/.exec(problem.text)?.[1];
    const asked = this.asked();
    const said = (text) => asked.find((input) => input.field.blame?.test(text));
    const repeated = () => asked.find((input) => [input.value()].flat().some((value) => typeof value === "string" && value.length > 2 && problem.text.includes(value)));
    return asked.find((input) => input.field.name === named) ?? said(problem.text) ?? said(problem.advice) ?? repeated() ?? null;
  }

  end() {
    this.effect?.end();
  }
}

/** Close the dialog, and wait until everybody knows: what is shown next is not to be taken for it. */
function closed() {
  return new Promise((resolve) => {
    dialog().addEventListener("close", resolve, { once: true });
    dialog().close();
  });
}

function reveal(input) {
  const folded = input.element.closest("details");
  if (folded) folded.open = true;
  const control = input.control.matches("fieldset") ? input.control.querySelector("input") : input.control;
  control?.focus();
}

const whole = (problem) => `${problem.text}${/[.!?]$/.test(problem.text) ? "" : "."} ${problem.advice}`.trim();
