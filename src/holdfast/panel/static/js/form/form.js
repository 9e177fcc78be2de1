// The one form: for everything that is created, changed, done and taken away. It explains, validates while a person types, shows
// what becomes of the guarantee before it is done (by asking the server for a dry run), shows a refusal at the field it is about,
// and loses nothing that was typed.

import { send } from "../api.js";
import { h, icon, prose, render } from "../dom.js";
import { changed } from "../pages/kinds/wording.js";
import { problemText, tell, toast } from "../say.js";
import { modal } from "./dialog.js";
import { Effect } from "./effect.js";
import { inputOf } from "./inputs.js";
import { showSecrets } from "./present.js";

/**
 * form: {title, text, ha, fields, confirm, tone, wide, request(values), effect, changes, force, told, secrets, secretTitle, done,
 * next}
 *
 * `text`: sentences and elements. `ha`: what high availability means for it, a sentence. `fields`: inputs (see inputs.js) and
 * {section, note, advanced, when, fields}. `request(values)` → {method, path, body, query}, of the fields that are shown.
 * `effect`: "typing" – a dry run as soon as the form is complete and the person rests; "asked" – by a button, where a dry run
 * costs something; none – it has no effect on the guarantee. `changes`: the form shows what is there, and nothing is asked until
 * that is changed. `force`: "body" or "query", where the server can be overruled. `told`: what is said afterwards where the server
 * says nothing. `secrets(result, values)`: what is shown once, [[label, value]]; `done(result, values)` after it, and
 * `next(result, values)`: the address of the page to go to. Resolves with the server's answer, or null on cancel.
 */
export async function openForm(form, ctx) {
  const open = new OpenForm(form, ctx);
  open.modal = modal(open.element, { wide: form.wide, focus: open.first(), leave: () => open.leave() });
  await open.modal.closed;
  open.end();
  return open.result;
}

class OpenForm {
  constructor(form, ctx) {
    this.form = form;
    this.result = null;
    this.working = false;
    /** The page on which it was opened: who has left it meanwhile is not led away from another one. */
    this.at = location.hash;
    /** One key for all attempts: should an answer get lost, repeating it does nothing twice. */
    this.key = crypto.randomUUID();
    this.inputs = [];
    this.sections = [];
    this.errors = h("div", { class: "form-error", role: "alert", hidden: true });
    this.go = h("button", { type: "submit", class: form.tone ?? "primary" }, form.confirm);
    this.buttons = h("div", { class: "buttons" }, h("button", { type: "button", class: "ghost", "data-cancel": true }, "Cancel"), this.go);
    this.discard = this.discardView();
    this.effect = form.effect || form.force ? new Effect(form, ctx.status.guarantee, (strict) => this.dryRun(strict)) : null;
    this.element = h("form", { method: "dialog", novalidate: true, class: "form" },
      h("header", {}, h("h2", { id: "dialog-title" }, form.title),
        (form.text ?? []).filter(Boolean).map((text) => (typeof text === "string" ? h("p", {}, prose(text)) : text)),
        form.ha && h("p", { class: "ha-note" }, icon("shield"), h("span", {}, prose(form.ha)))),
      h("div", { class: "form-body" }, this.rows(form.fields ?? [])),
      h("footer", {}, this.errors, this.effect?.element, this.discard, this.buttons));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.arrange();
    this.before = this.typed();
    this.effect?.later();
    this.onUnload = (event) => this.touched() && event.preventDefault();
    addEventListener("beforeunload", this.onUnload);
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

  /** Where a person begins. */
  first() {
    const input = this.inputs.find((one) => one.asked);
    return input ? controlOf(input) : this.go;
  }

  values(inputs = this.inputs) {
    return Object.fromEntries(inputs.map((input) => [input.field.name, input.value()]));
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
    this.keep();
    this.effect?.later();
  }

  asked() {
    return this.inputs.filter((input) => input.asked);
  }

  // --- leaving ---

  /** What would be lost. A word that only confirms is soon typed again. */
  typed() {
    return JSON.stringify(this.values(this.inputs.filter((input) => !input.field.confirms)));
  }

  touched() {
    return !this.working && this.result === null && this.typed() !== this.before;
  }

  leave() {
    if (!this.touched()) this.modal.close();
    else if (this.discard.hidden) {
      this.from = document.activeElement;
      this.discard.hidden = false;
      this.buttons.hidden = true;
      this.discard.querySelector("button").focus();
    } else this.keep();
  }

  keep() {
    if (this.discard.hidden) return;
    this.discard.hidden = true;
    this.buttons.hidden = false;
    if (this.discard.contains(document.activeElement) || document.activeElement === document.body) this.from?.focus();
  }

  discardView() {
    const keep = h("button", { type: "button", class: "ghost" }, "Go on typing");
    const away = h("button", { type: "button", class: "danger" }, "Discard");
    keep.addEventListener("click", () => this.keep());
    away.addEventListener("click", () => this.modal.close());
    return h("div", { class: "discard tone-warn", role: "alertdialog", "aria-label": "Discard what you have typed?", hidden: true },
      icon("alert"), h("span", {}, "What you have typed is not saved."), keep, away);
  }

  // --- asking the server ---

  request() {
    const request = this.form.request(this.values(this.asked()));
    if (!this.form.force || !this.effect?.forced) return request;
    return this.form.force === "body"
      ? { ...request, body: { ...request.body, force: true } }
      : { ...request, query: { ...request.query, force: true } };
  }

  /** Says what is missing only where the person has asked (`strict`). */
  async dryRun(strict) {
    const values = this.values();
    if (this.form.changes && this.typed() === this.before) return this.effect.unchanged();
    const needed = this.asked().filter((input) => !input.field.confirms);
    if (!needed.map((input) => input.check(values, strict)).every(Boolean)) return this.effect.waiting();
    const serial = this.effect.asking();
    try {
      const outcome = await send(this.request(), { dryRun: true });
      if (this.effect.isLatest(serial)) this.effect.show(outcome);
    } catch (problem) {
      if (!this.effect.isLatest(serial)) return;
      const blamed = this.blamed(problem);
      this.effect.refused(problem, Boolean(blamed));
      blamed?.mark(whole(problem));
    }
  }

  async submit() {
    if (this.working) return;
    const values = this.values();
    const wrong = this.asked().filter((input) => !input.check(values));
    if (wrong.length) {
      reveal(wrong[0]);
      return;
    }
    this.busy(true);
    try {
      const request = this.request();
      this.result = (await send(request, { key: request.method === "POST" ? this.key : "" })) ?? {};
    } catch (problem) {
      this.busy(false);
      if (this.gone) toast("bad", problemText(problem));
      else this.refuse(problem);
      return;
    }
    this.modal.close();
    await this.tell(this.values(this.asked()));
  }

  async tell(values) {
    const { form, result } = this;
    const secrets = form.secrets?.(result, values) ?? [];
    if (result.text || form.told) tell(result, form.told);
    if (secrets.length) await showSecrets(form.secretTitle ?? form.title, secrets);
    await form.done?.(result, values);
    const next = form.next?.(result, values);
    if (next && location.hash === this.at) location.hash = next;
  }

  /** It keeps the focus: a button that is disabled loses it. */
  busy(on) {
    this.working = on;
    this.go.setAttribute("aria-disabled", String(on));
    this.element.setAttribute("aria-busy", String(on));
    render(this.go, on && icon("busy", "spin"), this.form.confirm);
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
    const named = problem.members?.field ?? problem.members?.errors?.[0]?.field ?? /^`([\w.]+)`:/.exec(problem.text)?.[1];
    const asked = this.asked();
    const said = (text) => asked.find((input) => input.field.blame?.test(text));
    const repeated = () => asked.find((input) => [input.value()].flat().some((value) => typeof value === "string" && value.length > 2 && problem.text.includes(value)));
    return asked.find((input) => input.field.name === named?.split(".")[0]) ?? said(problem.text) ?? said(problem.advice) ?? repeated() ?? null;
  }

  end() {
    this.gone = true;
    removeEventListener("beforeunload", this.onUnload);
    this.effect?.end();
  }
}

const controlOf = (input) => (input.control.matches("fieldset") ? input.control.querySelector("input") : input.control);

function reveal(input) {
  const folded = input.element.closest("details");
  if (folded) folded.open = true;
  controlOf(input)?.focus();
}

const whole = (problem) => `${problem.text}${/[.!?]$/.test(problem.text) ? "" : "."} ${problem.advice}`.trim();
