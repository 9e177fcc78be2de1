// What the page of every service shows, of whatever kind: its instances, and what happened to it.

import { eventsSection } from "../../events.js";
import { instanceOf } from "../../service_actions.js";

export const serviceOf = (ctx, kind, name) => ctx.status.services.find((one) => one.kind === kind && one.name === name);
export const instancesOf = (ctx, service) => (service?.instances ?? []).map((id) => instanceOf(ctx, id)).filter(Boolean);
export const wanted = (instances) => instances.some((one) => one.desired === "started");

/** What the history says of it. Operators' changes name a service by its name alone. */
export function serviceEvents(ctx, kind, name, instances) {
  const ids = new Set(instances.map((one) => one.id));
  return eventsSection(ctx, (event) => {
    if (ids.has(event.instance) || event.text.includes(`${kind}/${name}`)) return true;
    const done = event.text.slice(event.text.indexOf(": ") + 2);
    return event.kind === "operator" && kind !== "panel" && done.split(/[^a-z0-9-]+/).includes(name);
  });
}
