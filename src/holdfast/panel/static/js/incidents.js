// Incidents as time lines, and the list of events.

import { h, icon, pill, prose } from "./dom.js";
import { PROOFS, clockTime, count, duration, offset, severityLook, stepLook } from "./words.js";

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
        icon("alert"), h("h3", {}, `${incident.node} failed`),
        proofBadge(incident),
        h("span", { class: "since" }, `since ${clockTime(incident.wall)}`),
        h("span", { class: "elapsed", "data-elapsed": incident.id, title: "Time since the first missed beat" }, elapsedText(incident, ages))),
      phases(incident, ages),
      h("div", { class: "incident-body" }, timeline(incident), affected(incident, status))));
}

/** Time since the first missed beat: the last step's time plus what has passed since this page learned of it. */
export function elapsedText(incident, ages) {
  const known = ages.get(incident.id);
  const passed = known === undefined ? 0 : (performance.now() - known) / 1000;
  return duration(lengthOf(incident) + passed);
}

function proofBadge(incident) {
  if (!incident.proof) return h("span", { class: "pill tone-warn" }, icon("clock"), "no proof yet");
  const proof = PROOFS[incident.proof] ?? { label: incident.proof, text: "" };
  return h("span", { class: "pill tone-proof", title: proof.text, "data-testid": "proof" }, icon("shield"),
    h("span", {}, h("b", {}, incident.proof), ` ${proof.label}`));
}

function timeline(incident) {
  let before = 0;
  return h("ol", { class: "steps" }, incident.steps.map((step, index) => {
    const look = stepLook(step.name);
    const gap = step.at - before;
    before = step.at;
    return h("li", { class: `tone-${look.tone}`, "data-key": `${index}-${step.name}` },
      h("time", {}, offset(step.at)),
      h("span", { class: "dot" }, icon(look.icon)),
      h("div", {}, h("b", {}, look.label), step.instance && h("code", {}, step.instance), h("span", { class: "step-text" }, prose(stepText(step)))),
      h("span", { class: "gap", title: "since the step before" }, index ? `${Math.round(gap * 1000)} ms` : ""));
  }));
}

/** The instance stands before the text already. */
const stepText = (step) => (step.instance && step.text.startsWith(step.instance) ? step.text.slice(step.instance.length).trim() : step.text);

function affected(incident, status) {
  if (!incident.affected.length) return null;
  const items = incident.affected.map((id) => {
    const waiting = incident.waiting[id];
    const back = incident.recovered.includes(id);
    const now = status.instances.find((instance) => instance.id === id);
    const look = back ? { tone: "ok", icon: "check", label: now?.node ? `back on ${now.node}` : "back" }
      : waiting ? { tone: "warn", icon: "clock", label: "waiting" }
      : { tone: "busy", icon: "busy", label: "being recovered" };
    return h("li", { "data-key": id }, h("span", { class: "name" }, id), pill(look), waiting && h("p", {}, prose(waiting)));
  });
  return h("div", { class: "affected" }, h("h4", {}, "Affected"), h("ul", {}, items));
}

/** Widths by time, so that the slowest part is seen at once. */
function phases(incident, ages) {
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

export function pastIncidentsView(status, ages) {
  if (!status.recent_incidents.length) return h("p", { class: "empty" }, "No incident so far.");
  return status.recent_incidents.map((incident) =>
    h("details", { class: "incident past", "data-key": incident.id, "data-incident": incident.id },
      h("summary", {},
        h("span", { class: "when" }, clockTime(incident.wall)),
        h("b", {}, incident.node),
        proofBadge(incident),
        h("span", { class: "took" }, incident.affected.length
          ? [`${count(incident.recovered.length, "instance")} back in `, h("b", {}, duration(recoveryOf(incident)))]
          : "nothing was affected")),
      phases(incident, ages),
      h("div", { class: "incident-body" }, timeline(incident), affected(incident, status))));
}

export function eventsView(status) {
  if (!status.recent_events.length) return h("p", { class: "empty" }, "Nothing has happened yet.");
  return h("ol", { class: "events" }, status.recent_events.slice(0, 30).map((event) => {
    const look = severityLook(event.severity);
    return h("li", { class: `tone-${look.tone}`, "data-key": `${event.wall}-${event.kind}-${event.text}` },
      h("time", { datetime: event.wall }, clockTime(event.wall)),
      h("span", { class: "dot", title: look.label }, icon(look.icon), h("span", { class: "hidden" }, look.label)),
      h("span", {}, prose(event.text)));
  }));
}
