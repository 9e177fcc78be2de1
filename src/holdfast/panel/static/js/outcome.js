// What an operation would do, or why it is refused: its sentence, its warnings, and what becomes of the guarantee.

import { h, icon, prose } from "./dom.js";
import { capital } from "./words.js";



/** Of a dry run. */
export function outcomeView(outcome) {
  const { text, warnings = [], guarantee } = outcome ?? {};
  return h("div", { class: "outcome" },
    h("h3", {}, "What is about to happen"),
    h("p", {}, capital(text ?? "It is carried out"), "."),
    warnings.map((warning) => h("p", { class: "warning" }, icon("alert"), h("span", {}, prose(capital(warning))))),
    guarantee && h("p", { class: `guarantee-line tone-${guarantee.holds ? "ok" : "warn"}` }, icon(guarantee.holds ? "shield" : "shield-off"),
      h("span", {}, h("b", {}, guarantee.holds ? "The guarantee stays. " : "The guarantee does not hold afterwards. "), prose(capital(guarantee.text ?? "")))));
}

/** Of a refusal for the guarantee's sake: the worst failures, and what would find no room then. `force`: insists. */
export function refusalView(problem, force) {
  const { worst = [], unplaced = {}, waiting = [] } = problem.members;
  const homeless = Object.keys(unplaced);
  return h("div", { class: "refusal" },
    h("strong", {}, icon("shield-off"), " This would break the guarantee"),
    h("span", {}, prose(capital(problem.text)), "."),
    waiting.length > 0 && h("span", {}, h("b", {}, "No room already now: "), waiting.join(", ")),
    homeless.length > 0 && h("details", {}, h("summary", {}, `After the failure of ${worst.join(" and ")} no room for ${homeless.length} of the instances`),
      h("ul", {}, homeless.slice(0, 20).map((id) => h("li", {}, h("b", {}, id), reasons(unplaced[id]))))),
    problem.advice && h("span", { class: "dim" }, prose(problem.advice)),
    force && forceButton(force));
}

const reasons = (byNode) => h("ul", { class: "reasons" }, Object.entries(byNode).map(([node, why]) => h("li", {}, h("b", {}, node), ` ${why}`)));

function forceButton(force) {
  const button = h("button", { type: "button", class: "danger small" }, "Do it nevertheless");
  button.addEventListener("click", force);
  return button;
}
