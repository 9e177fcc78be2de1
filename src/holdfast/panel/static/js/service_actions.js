// What can be done with any service and any instance, from every page: start, stop, move, lock; and the word that a node is dead.

import { segments, send } from "./api.js";
import { h, prose } from "./dom.js";
import { confirmLoss } from "./form/confirm.js";
import { openForm } from "./form/form.js";
import { warning } from "./parts.js";
import { count, KIND_ROLE } from "./words.js";

export const instanceOf = (ctx, id) => ctx.status.instances.find((one) => one.id === id);

/** "nfs/home" of an instance: services are started and stopped as a whole. */
export function serviceIdOf(status, instance) {
  const service = status.services.find((one) => one.instances.includes(instance));
  return service ? `${service.kind}/${service.name}` : instance;
}

/** Nodes that may carry it, besides the one where it is: [[id, words]]. */
export const targets = (ctx, instance) => ctx.status.nodes
  .filter((node) => node.id !== instance.node && node.state === "up" && node.roles.includes(KIND_ROLE[instance.kind]))
  .map((node) => [node.id, `${node.id}, ${count(node.instances.length, "instance")} there`]);

/** A gateway has a home, and the background part moves with nothing: they need no operator. The panel moves with its address. */
export const movable = (one) => one.desired === "started" && (one.kind !== "panel" || Boolean(one.address)) && one.exclusivity !== "everywhere";

const COSTS = {
  vm: "A live move interrupts it for a fraction of a second. A restart shuts its guest down and starts it there.",
  nfs: "It is stopped cleanly, then started there with its address and its locks: clients wait for a moment, nothing is lost.",
  iscsi: "Another node's path becomes active: clients' multipath follows, their I/O waits for a moment.",
  s3: "The server is stopped cleanly, then started there with its address: what it keeps is answered with 503 for a second or two.",
  backup: "The gateway is stopped and started there; clients repeat what they were doing.",
  panel: "The page is served by another node then, and follows by itself. You stay signed in.",
};

function move(id, ctx) {
  const instance = instanceOf(ctx, id);
  const nodes = targets(ctx, instance);
  return openForm({
    title: `Move ${id}`,
    text: [`It runs on ${instance.node || "no node"} now. ${COSTS[instance.kind] ?? ""}`,
      instance.locked && warning(`It is locked${instance.locked === "*" ? "" : `: ${instance.locked}`}. It moves once it is unlocked.`),
      nodes.length === 0 && warning("No other node that is up has the role for it.")],
    fields: [
      { name: "node", label: "To", options: [["", "Let Holdfast choose"], ...nodes], blame: /node|on `/, hint: "Only nodes that are up and have the role are listed; rules and room decide too." },
      instance.kind === "vm" && { name: "how", label: "How", type: "choice", options: [["live", "Live", "Memory is copied while the guest runs on."], ["restart", "Restart", "Shut down here, started there; for guests that cannot be migrated."]], hint: "What its clients notice." },
    ],
    confirm: "Move",
    request: ({ node, how }) => ({ method: "POST", path: `/instances/${segments(id)}/move`, body: { node, live: how === "live" } }),
  }, ctx);
}

const start = (id, ctx) => openForm({
  title: `Start ${id}`,
  text: ["It is started on the node that fits best, and recovered after a failure from then on."],
  confirm: "Start", effect: "typing", force: "query",
  request: () => ({ method: "POST", path: `/services/${segments(id)}/start` }),
}, ctx);

const stop = (id, ctx) => openForm({
  title: `Stop ${id}`, tone: "danger",
  text: ["Clients lose it until it is started again; the data stays. It is not restarted after a failure while it is stopped."],
  confirm: "Stop",
  request: () => ({ method: "POST", path: `/services/${segments(id)}/stop` }),
}, ctx);

const lock = (id, ctx) => openForm({
  title: `Lock ${id}`,
  text: ["No planned move touches it until it is unlocked: no maintenance, no rebalancing, no operator. Recovery after its node's death goes on."],
  fields: [{ name: "reason", label: "Why", hint: "Shown to whoever wants to move it, for example: a backup runs." }],
  confirm: "Lock",
  request: (body) => ({ method: "POST", path: `/instances/${segments(id)}/lock`, body }),
  done: () => ctx.forget("explain"),
}, ctx);

const unlock = (id, ctx) => openForm({
  title: `Unlock ${id}`, text: ["It may be moved again. A move that was asked for meanwhile is made now."], confirm: "Unlock",
  request: () => ({ method: "DELETE", path: `/instances/${segments(id)}/lock` }),
  done: () => ctx.forget("explain"),
}, ctx);

const AT_RISK = { nfs: "files and locks of the volume", vm: "its disks" };

async function confirmDead(id, ctx) {
  const path = `/nodes/${segments(id)}/confirm-dead`;
  // Without a yes nothing is written, and the refusal says what a wrong word would do.
  const harm = await send({ method: "POST", path, body: { yes: false } }).then(() => "", (problem) => problem.text);
  const strict = ctx.status.instances.filter((one) => one.node === id && one.exclusivity === "strict");
  return confirmLoss({
    title: `Confirm that ${id} is dead`,
    text: [warning(harm, true),
      strict.length > 0 && h("ul", { class: "at-risk" }, strict.map((one) =>
        h("li", {}, h("b", {}, one.id), `: ${AT_RISK[one.kind] ?? "its data"}`, one.address && h("span", { class: "dim" }, `, at ${one.address}`)))),
      h("p", {}, prose(`Go and look: ${id} must be switched off, or unplugged, and must stay off until it has been claimed. Your word is recorded as the proof (P5).`))],
    fields: [{ name: "reason", label: "How do you know?", hint: "Kept in the incident, for example: pulled both power cords." }],
    type: id, confirm: `${id} is dead`, told: `${id} is confirmed dead; recovery goes on`,
    request: ({ reason }) => ({ method: "POST", path, body: { reason, yes: true } }),
  }, ctx);
}

/** data-action → function(id, ctx). Every page has them. `start` and `stop` take the id of a service, the others of an instance. */
export const ACTIONS = { "service-start": start, "service-stop": stop, "instance-move": move, "instance-lock": lock, "instance-unlock": unlock, "confirm-dead": confirmDead, "explain-again": (_id, ctx) => ctx.forget("explain") };

/** For buttons (parts.js): what may be done with this instance now. */
export function instanceTools(status, one) {
  const service = status.services.find((known) => known.instances.includes(one.id));
  if (service?.deleting) return [];
  return [
    movable(one) && { action: "instance-move", id: one.id, words: "Move…" },
    movable(one) && (one.locked ? { action: "instance-unlock", id: one.id, words: "Unlock…" } : { action: "instance-lock", id: one.id, words: "Lock…" }),
    one.kind !== "panel" && startStop(serviceIdOf(status, one.id), one.desired === "started"),
  ];
}

export const startStop = (service, started) => (started
  ? { action: "service-stop", id: service, words: "Stop…" } : { action: "service-start", id: service, words: "Start…" });
