// Incidents as time lines.

import { h, icon, pill, prose } from "./dom.js";
import { moment } from "./parts.js";
import { to } from "./router.js";
import { emptyView } from "./states.js";
import { count, duration, offset, PROOFS, stepLook } from "./words.js";

/** When this page learned of the last step of each open incident, so that its clock can run between two pictures. */
export class Ages {
  constructor() {
    this.known = new Map();
  }

  observe(status) {
    for (const incident of status.open_incidents) {
      if (this.known.get(incident.id)?.steps === incident.steps.length) continue;
      this.known.set(incident.id, { steps: incident.steps.length, at: performance.now() });
    }
  }

  get(id) {
    return this.known.get(id)?.at;
  }

  /** Let all clocks on the page show the time. */
  tick(status) {
    if (!status?.open_incidents.length) return;
    for (const element of document.querySelectorAll("[data-elapsed]")) {
      const incident = status.open_incidents.find((one) => one.id === element.dataset.elapsed);
      if (incident) element.textContent = elapsedText(incident, this);
    }
  }
}

const lengthOf = (incident) => incident.steps.at(-1)?.at ?? 0;

/** Seconds from the first missed beat to the last recovered instance; the incident itself may be closed later. */
export const recoveryOf = (incident) => incident.steps.filter((step) => step.name === "recovered").at(-1)?.at ?? lengthOf(incident);

/** The three parts of a failover, each from the step that begins it to the step that ends it. */
const PHASES = [
  { name: "Detect", tone: "warn", end: ["suspect"] },
  { name: "Prove", tone: "bad", end: ["claimed"] },
  { name: "Recover", tone: "ok", end: ["recovered"] },
];

export function openIncidentsView(status, ages) {
  return status.open_incidents.map((incident) =>
    h("section", { class: "incident open", "data-key": incident.id, "data-incident": incident.id, "aria-label": `running incident on ${incident.node}` },
      h("header", {},
        icon("alert"), h("h3", {}, h("a", { href: to("incidents", incident.id) }, `${incident.node} failed`)),
        h("span", { class: "elapsed", "data-elapsed": incident.id, title: "Time since the first missed beat" }, elapsedText(incident, ages)),
        h("span", { class: "since" }, "since ", moment(incident.wall)), proofBadge(incident)),
      phases(incident),
      h("div", { class: "incident-body" }, affected(incident, status), timeline(incident, { short: true }))));
}

/** Time since the first missed beat: the last step's time plus what has passed since this page learned of it. */
export function elapsedText(incident, ages) {
  const known = ages.get(incident.id);
  const passed = known === undefined ? 0 : (performance.now() - known) / 1000;
  return duration(lengthOf(incident) + passed);
}

export function proofBadge(incident) {
  if (!incident.proof) return h("span", { class: "pill tone-warn" }, icon("clock"), "no proof yet");
  const proof = PROOFS[incident.proof] ?? { label: incident.proof, text: "" };
  return h("span", { class: "pill tone-proof", title: proof.text, "data-testid": "proof" }, icon("shield"),
    h("span", {}, h("b", {}, incident.proof), ` ${proof.label}`));
}

/** Every step with its time. `short`: steps of many instances that follow each other are one; `slowest`: index of one to mark. */
export function timeline(incident, { short = false, slowest = -1 } = {}) {
  let before = 0;
  return h("ol", { class: "steps" }, (short ? folded(incident.steps) : incident.steps).map((step, index) => {
    const look = stepLook(step.name);
    const gap = step.at - before;
    before = step.until ?? step.at;
    return h("li", { class: `tone-${look.tone}${index === slowest ? " slowest" : ""}`, "data-key": `${index}-${step.name}` },
      h("time", {}, offset(step.at)),
      h("span", { class: "dot" }, icon(look.icon)),
      h("div", {}, h("b", {}, look.label), " ", step.instance && [h("code", {}, step.instance), " "], h("span", { class: "step-text" }, prose(stepText(step)))),
      h("span", { class: "gap", title: "since the step before" }, index ? `${Math.round(gap * 1000)} ms` : "", index === slowest && h("b", {}, " slowest")));
  }));
}

/** Index of the step that took longest since the one before it; -1 where nothing took any time. */
export function slowestStep(incident) {
  let [slowest, most] = [-1, 0];
  for (const [index, step] of incident.steps.entries()) {
    const gap = index ? step.at - incident.steps[index - 1].at : 0;
    if (gap > most && step.name !== "closed") [slowest, most] = [index, gap];
  }
  return slowest;
}

/** More than three steps of the same name in a row become one that counts them. */
function folded(steps) {
  const runs = [];
  for (const step of steps) {
    if (step.instance && runs.at(-1)?.[0].name === step.name && runs.at(-1)[0].instance) runs.at(-1).push(step);
    else runs.push([step]);
  }
  return runs.flatMap((run) => (run.length <= 3 ? run
    : [{ ...run[0], instance: "", until: run.at(-1).at, text: `${count(run.length, "instance")} until ${offset(run.at(-1).at)}` }]));
}

/** The instance stands before the text already. */
const stepText = (step) => (step.instance && step.text.startsWith(step.instance) ? step.text.slice(step.instance.length).trim() : step.text);

/** So many instances are named at a running incident; the rest is counted. */
const NAMED = 8;

function affected(incident, status) {
  if (!incident.affected.length) return null;
  const back = new Set(incident.recovered);
  // Those that are still missed come first.
  const order = [...incident.affected].sort((a, b) => back.has(a) - back.has(b));
  const named = order.length <= NAMED ? order : order.slice(0, NAMED - 1);
  const items = named.map((id) => {
    const waiting = incident.waiting[id];
    const now = status.instances.find((instance) => instance.id === id);
    const look = back.has(id) ? { tone: "ok", icon: "check", label: now?.node ? `back on ${now.node}` : "back" }
      : waiting ? { tone: "warn", icon: "clock", label: "waiting" }
      : { tone: "busy", icon: "busy", label: "being recovered" };
    return h("li", { "data-key": id }, h("a", { class: "name", href: to("instances", id) }, id), pill(look), waiting && h("p", {}, prose(waiting)));
  });
  return h("div", { class: "affected" },
    h("h4", {}, `${back.size} of ${count(incident.affected.length, "instance")} back`),
    h("ul", {}, items, named.length < order.length && h("li", { class: "dim", "data-key": "more" }, `and ${order.length - named.length} more`)));
}

/** Widths by time, so that the slowest part is seen at once. */
export function phases(incident) {
  const parts = [];
  let begin = 0;
  for (const phase of PHASES) {
    const ends = incident.steps.filter((step) => phase.end.includes(step.name));
    const closed = incident.state === "closed";
    const done = ends.length > 0 && (phase.name !== "Recover" || closed || incident.recovered.length === incident.affected.length);
    if (!done && closed) continue; // e.g. the node came back before anything had to be proven
    const end = Math.max(begin, done ? ends.at(-1).at : lengthOf(incident));
    parts.push({ ...phase, seconds: end - begin, done });
    if (!done) break;
    begin = end;
  }
  return h("div", { class: "phases", "data-key": "phases" }, parts.map((part) =>
    h("div", { class: `phase tone-${part.tone}${part.done ? "" : " going"}`, "data-grow": Math.max(part.seconds, 0.001).toFixed(3) },
      h("i", {}), h("span", {}, `${part.name} `, h("b", {}, part.done ? duration(part.seconds) : "…")))));
}

/** The strict content security policy forbids style attributes in markup; widths are set through the object model. */
export function sizePhases(root) {
  for (const bar of root.querySelectorAll("[data-grow]")) bar.style.flexGrow = bar.dataset.grow;
}

/** One line for each of the last ones. */
export function recentIncidentsView(status) {
  if (!status.recent_incidents.length) return emptyView("pulse", "No incident so far", "When a node fails, its whole story is kept here: every step with its time, the proof, and when each instance was back.");
  return status.recent_incidents.slice(0, 8).map((incident) =>
    h("a", { class: "past-line", href: to("incidents", incident.id), "data-key": incident.id, "data-incident": incident.id },
      h("span", { class: "when" }, moment(incident.wall)), h("b", {}, incident.node), proofBadge(incident),
      h("span", { class: "took" }, outcomeWords(incident))));
}

/** Whether it goes on. */
export const incidentLook = (incident) => (incident.state === "closed" ? { tone: "ok", icon: "check", label: "Closed" } : { tone: "bad", icon: "alert", label: "Open" });

/** "2 instances back in 1.98 s" */
export const outcomeWords = (incident) => (incident.affected.length
  ? [`${count(incident.recovered.length, "instance")} back in `, h("b", {}, duration(recoveryOf(incident)))]
  : "nothing was affected");
