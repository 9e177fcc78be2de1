// A failover in five stages, as a person follows it: suspect, proof, claim, new places, recovered.

import { h, icon } from "./dom.js";
import { elapsedText } from "./incidents.js";
import { PROOFS } from "./words.js";

const STAGES = [
  { name: "Suspect", steps: ["suspect"] },
  { name: "Proof", steps: ["proven-dead"] },
  { name: "Claim", steps: ["claimed"] },
  { name: "Placed", steps: ["placed", "started"] },
  { name: "Recovered", steps: ["recovered"] },
];

/** [{name, at, done, going}]: `at` in seconds since the first missed beat, when the stage was (last) reached. */
export function stagesOf(incident) {
  const whole = incident.affected.length > 0 && incident.affected.every((id) => incident.recovered.includes(id));
  const nothing = incident.affected.length === 0;
  const reached = STAGES.map((stage) => {
    const steps = incident.steps.filter((step) => stage.steps.includes(step.name));
    const begun = steps.length > 0;
    const done = stage.name === "Recovered" ? whole : stage.name === "Placed" ? begun && (whole || new Set(steps.map((step) => step.instance)).size >= incident.affected.length) : begun;
    return { name: stage.name, at: steps.at(-1)?.at ?? null, begun, done };
  });
  const shown = nothing ? reached.slice(0, 3) : reached;
  // What came out of order (a node that released itself is never suspect) is passed by, not waited for.
  const last = shown.findLastIndex((stage) => stage.done);
  return shown.map((stage, index) => ({ ...stage, passed: !stage.done && index < last, going: incident.state === "open" && index === last + 1 }));
}

/** The stages as a strip with times; `clock`: also the time that runs. */
export function stagesView(incident, ages, { clock = false } = {}) {
  const stages = stagesOf(incident);
  const proof = PROOFS[incident.proof];
  return h("div", { class: "stages-block" },
    h("ol", { class: "stages", "aria-label": `stages of the failover of ${incident.node}` }, stages.map((stage) =>
      h("li", { class: `stage${stage.done ? " done" : ""}${stage.going ? " going" : ""}${stage.passed ? " passed" : ""}`, "data-key": stage.name, "data-stage": stage.name.toLowerCase() },
        h("i", {}, stage.done && icon("check")),
        h("span", {}, stage.name === "Proof" && proof && stage.done ? incident.proof : stage.name),
        h("small", {}, stage.done || stage.begun ? `${stage.at.toFixed(2)} s` : stage.going ? "…" : "")))),
    clock && h("span", { class: "stage-clock", "data-elapsed": incident.id }, elapsedText(incident, ages)));
}
