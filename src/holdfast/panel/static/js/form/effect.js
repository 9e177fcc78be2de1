// What a change does to the guarantee, before it is made: the server is asked to do everything but the change.

import { problemText } from "../say.js";
import { h, icon, prose, render } from "../dom.js";
import { capital, count } from "../words.js";

const REST_MS = 500;
const SHOWN = 8;

/** `before`: the present guarantee (GuaranteeWord or null). `ask(strict)` asks the server. */
export class Effect {
  constructor(form, before, ask) {
    this.form = form;
    this.before = before;
    this.ask = ask;
    this.forced = false;
    this.serial = 0;
    this.problem = null;
    this.element = h("section", { class: "effect", "aria-live": "polite", "aria-label": "Effect on the guarantee", "data-testid": "effect" });
    this.element.addEventListener("change", (event) => {
      if (event.target.matches("[data-force]")) this.forced = event.target.checked;
    });
    this.element.addEventListener("click", (event) => {
      if (event.target.closest("[data-check]")) this.ask(true);
    });
  }

  /** The form has changed: what was said of it does not count any more. */
  later() {
    clearTimeout(this.timer);
    this.serial += 1;
    this.forced = false;
    if (this.form.effect !== "typing") return this.waiting();
    this.draw("idle", "busy", [h("p", {}, "What this does to the guarantee is shown here before you save it.")]);
    this.timer = setTimeout(() => this.ask(false), REST_MS);
  }

  waiting() {
    this.problem = null;
    this.element.hidden = !this.form.effect; // then it is shown only when it stands in the way
    const asked = this.form.effect === "asked";
    this.draw("idle", "shield", [
      h("p", {}, asked ? "See what this does before it is done; it takes a moment." : "What this does to the guarantee is shown here as soon as the form is complete."),
      asked && h("button", { type: "button", class: "ghost small", "data-check": true }, "Check now"),
    ]);
  }

  /** The form says what is there already. */
  unchanged() {
    this.problem = null;
    this.draw("idle", "shield", [h("p", {}, "Nothing is changed yet.")]);
  }

  /** Returns the number of this question, by which its answer is known. */
  asking() {
    this.serial += 1;
    this.draw("idle", "busy", [h("p", {}, "Asking what the cluster would survive then…")], true);
    return this.serial;
  }

  isLatest(serial) {
    return serial === this.serial;
  }

  /** The answer of a dry run (Outcome). */
  show(outcome) {
    this.problem = null;
    const then = outcome.guarantee;
    const notes = outcome.warnings ?? [];
    const more = notes.length > 0 && h("ul", { class: "effect-notes" }, notes.map((text) => h("li", {}, prose(capital(text)))));
    const what = outcome.text && h("p", { class: "dim" }, prose(capital(outcome.text)), ".");
    if (!then) this.draw("ok", "check", [what, h("p", {}, h("b", {}, "This can be done. "), "There is no compute cluster, so no failures are promised to be survived."), more]);
    else if (then.holds) this.draw("ok", "shield", [what, h("p", {}, h("b", {}, `Afterwards ${survives(then)}. `), this.compared(then)), more]);
    else this.draw("warn", "alert", [what, h("p", {}, h("b", {}, `Afterwards the cluster does not survive ${failures(then)}. `), this.compared(then)), lacking(then), more]);
  }

  compared(then) {
    const { before } = this;
    if (!before) return "";
    if (before.holds && then.holds) return before.tolerate === then.tolerate ? "It does now, too." : `Now: any ${count(before.tolerate, "node")}.`;
    if (!before.holds) return then.holds ? "It does not now." : "It does not now, either.";
    return "It does now.";
  }

  refused(problem, atField) {
    this.problem = problem;
    if (problem.members?.worst) {
      this.draw("bad", "shield-off", [
        h("p", {}, h("b", {}, "Refused: it would break the guarantee. "), prose(problem.text), "."),
        lacking(problem.members),
        this.form.force && h("label", { class: "switch" }, h("input", { type: "checkbox", "data-force": true }),
          h("span", {}, "Do it all the same. The guarantee is broken until there is room again, and the history says who did it.")),
      ]);
    } else if (atField) this.draw("bad", "alert", [h("p", {}, "It cannot be done like this: see the field that is marked.")]);
    else this.draw("bad", "alert", [problemText(problem)]);
  }

  shows(problem) {
    return this.problem === problem;
  }

  draw(tone, picture, content, busy = false) {
    this.element.className = `effect tone-${tone}`;
    if (tone !== "idle") this.element.hidden = false;
    render(this.element, icon(picture, busy ? "spin" : ""), h("div", {}, content));
  }

  end() {
    clearTimeout(this.timer);
    this.serial += 1;
  }
}

const failures = (word) => (word.tolerate === 1 ? "the failure of any one node" : `the failure of any ${word.tolerate} nodes`);
export const survives = (word) => (word.tolerate ? `the cluster survives ${failures(word)}` : "the cluster need not survive any failure");

/** The worst set of failures, and what would find no room then: names, or instance → node → why not there. */
export function lacking({ worst = [], unplaced = [], waiting = [] }) {
  const reasons = Array.isArray(unplaced) ? {} : unplaced;
  const names = Array.isArray(unplaced) ? unplaced : Object.keys(unplaced);
  return h("dl", { class: "lacking" },
    worst.length > 0 && [h("dt", {}, "Worst failure"), h("dd", {}, worst.map((node) => h("span", { class: "role" }, node)))],
    names.length > 0 && [h("dt", {}, "No room then for"), h("dd", {}, names.slice(0, SHOWN).map((id) => homeless(id, reasons[id])), names.length > SHOWN && ` and ${names.length - SHOWN} more`)],
    waiting.length > 0 && [h("dt", {}, "No room already for"), h("dd", {}, waiting.map((id) => h("span", { class: "role" }, id)))]);
}

function homeless(id, reasons) {
  if (!reasons || Object.keys(reasons).length === 0) return h("span", { class: "role" }, id);
  return h("details", {}, h("summary", {}, id), h("ul", {}, Object.entries(reasons).map(([node, why]) => h("li", {}, h("b", {}, node), ` ${why}`))));
}
