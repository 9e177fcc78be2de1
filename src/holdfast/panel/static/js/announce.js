// What those hear who do not see the map: each stage of a failover, as it happens, in one sentence.

import { recoveryOf } from "./incidents.js";
import { count, duration, PROOFS, stepLook } from "./words.js";

/** Too many of one sort are counted instead of named. */
const NAMED = 3;
const TOLD = ["suspect", "proven-dead", "claimed", "placed", "recovered", "waiting"];

export class Announcer {
  /** `say(text)`: puts it into the live region. */
  constructor(say) {
    this.say = say;
    /** incident id → number of steps told */
    this.told = null;
  }

  /** Tell what is new in this picture; the first one only sets the beginning. */
  observe(status) {
    const all = [...status.open_incidents, ...status.recent_incidents];
    const first = this.told === null;
    const before = this.told ?? new Map();
    this.told = new Map(all.map((one) => [one.id, one.steps.length]));
    if (first) return;
    const sentences = all.flatMap((one) => {
      const known = before.get(one.id);
      if (known === undefined && one.state === "closed" && !status.open_incidents.length) return [];
      return sentencesOf(one, one.steps.slice(known ?? 0));
    });
    if (sentences.length) this.say(sentences.join(". "));
  }
}

function sentencesOf(incident, steps) {
  const closed = steps.some((step) => step.name === "closed");
  const told = TOLD.flatMap((name) => {
    const mine = steps.filter((step) => step.name === name);
    if (!mine.length) return [];
    if (name === "suspect") return `${incident.node} is suspect`;
    if (name === "proven-dead") return `${incident.node} is proven dead, ${PROOFS[incident.proof]?.label ?? "with a proof"}`;
    if (name === "claimed") return `${incident.node} is claimed`;
    const ids = [...new Set(mine.map((step) => step.instance).filter(Boolean))];
    return ids.length ? `${ids.length > NAMED ? count(ids.length, "instance") : ids.join(", ")}: ${stepLook(name).label.toLowerCase()}` : [];
  });
  if (closed) told.push(`The incident of ${incident.node} is closed after ${duration(recoveryOf(incident))}`);
  return told;
}
