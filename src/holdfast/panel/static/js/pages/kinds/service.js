// What every service has, of whatever kind: instances on nodes, why they are there, what happened to them, and what can be done
// with them: start, stop, move, lock.

import { h, icon, prose } from "../../dom.js";
import { to } from "../../router.js";
import { whenLoaded } from "../../states.js";
import { count, clockTime, severityLook } from "../../words.js";
import { confirmStep } from "./confirm.js";
import { openForm } from "./form.js";
import { dim, link, nodeCell, section, stateCell, table, rowButtons } from "./parts.js";
import { load, segments } from "./requests.js";

export const ROLES = { panel: "management", vm: "compute", nfs: "storage", iscsi: "storage", s3: "s3", backup: "backup" };

export const serviceOf = (ctx, kind, name) => ctx.status.services.find((one) => one.kind === kind && one.name === name);
export const instanceOf = (ctx, id) => ctx.status.instances.find((one) => one.id === id);
export const instancesOf = (ctx, service) => (service?.instances ?? []).map((id) => instanceOf(ctx, id)).filter(Boolean);
export const wanted = (instances) => instances.some((one) => one.desired === "started");

/** Nodes that may carry it, besides the one where it is: [[id, words]]. */
export function targets(ctx, instance) {
  const role = ROLES[instance.kind];
  return ctx.status.nodes
    .filter((node) => node.id !== instance.node && node.state === "up" && node.roles.includes(role))
    .map((node) => [node.id, `${node.id}, ${count(node.instances.length, "instance")} there`]);
}

/** Start or stop, for the tools of a page. */
export const startStop = (kind, name, started) => ({
  action: started ? "service-stop" : "service-start", id: `${kind}/${name}`, words: started ? "Stop…" : "Start…",
});

const COSTS = {
  vm: "A live move interrupts it for a fraction of a second. A restart shuts its guest down and starts it there.",
  nfs: "It is stopped cleanly, then started there with its address and its locks: clients wait for a moment, nothing is lost.",
  iscsi: "Another node's path becomes active: clients' multipath follows, their I/O waits for a moment.",
  s3: "The server is stopped cleanly, then started there with its address: what it keeps is answered with 503 for a second or two.",
  backup: "The gateway is stopped and started there; clients repeat what they were doing.",
  panel: "The page is served by another node then, and follows by itself. You stay signed in.",
};

export const ACTIONS = {
  "service-move": (id, ctx) => {
    const instance = instanceOf(ctx, id);
    const nodes = targets(ctx, instance);
    return openForm({
      title: `Move ${id}`,
      text: [`It runs on ${instance.node || "no node"} now. ${COSTS[instance.kind] ?? ""}`,
        instance.locked && `It is locked${instance.locked === "*" ? "" : `: ${instance.locked}`}. It moves once it is unlocked.`,
        nodes.length === 0 && "No other node that is up has the role for it."].filter(Boolean),
      fields: [
        { name: "node", label: "To", type: "select", options: [["", "Let Holdfast choose"], ...nodes], blame: /node|on `/, hint: "Only nodes that are up and have the role are listed; rules and room decide too." },
        instance.kind === "vm" && { name: "how", label: "How", type: "choice", options: [["live", "Live", "Memory is copied while the guest runs on."], ["restart", "Restart", "Shut down here, started there; for guests that cannot be migrated."]] },
      ],
      confirm: "Move",
      request: ({ node, how }) => ({ method: "POST", path: `/instances/${segments(id)}/move`, body: { node, live: how === "live" } }),
    }, ctx);
  },
  "service-start": (id, ctx) => openForm({
    title: `Start ${id}`,
    text: ["It is started on the node that fits best, and recovered after a failure from then on."],
    confirm: "Start", effect: "typing", force: "query",
    request: () => ({ method: "POST", path: `/services/${segments(id)}/start` }),
  }, ctx),
  "service-stop": (id, ctx) => confirmStep({
    title: `Stop ${id}`,
    text: ["Clients lose it until it is started again; the data stays. It is not restarted after a failure while it is stopped."],
    confirm: "Stop", tone: "danger",
    request: () => ({ method: "POST", path: `/services/${segments(id)}/stop` }),
  }, ctx),
  "service-lock": (id, ctx) => openForm({
    title: `Lock ${id}`,
    text: ["No planned move touches it until it is unlocked: no maintenance, no rebalancing, no operator. Recovery after its node's death goes on."],
    fields: [{ name: "reason", label: "Why", hint: "Shown to whoever wants to move it, for example: backup runs." }],
    confirm: "Lock",
    request: ({ reason }) => ({ method: "POST", path: `/instances/${segments(id)}/lock`, body: { reason } }),
  }, ctx),
  "service-unlock": (id, ctx) => confirmStep({
    title: `Unlock ${id}`, text: ["It may be moved again. A move that was asked for meanwhile is made now."], confirm: "Unlock",
    request: () => ({ method: "DELETE", path: `/instances/${segments(id)}/lock` }),
  }, ctx),
  "explain-again": (_id, ctx) => ctx.forget("explain"),
};

/** The instances of a service in a table. `columns` may put further ones before the reason. */
export function instancesSection(ctx, instances, { title = "Instances", note = "", deleting = false, columns = [] } = {}) {
  return section(ctx, "instances", title, { note },
    table("Instances", [
      ["Instance", (one) => [link(to("instances", one.id), one.id), h("small", { class: "dim" }, one.exclusivity)]],
      ["Node", (one) => [nodeCell(one.node), ctx.moves.from(one.id) && h("small", { class: "from" }, `from ${ctx.moves.from(one.id)}`)]],
      ["Address", (one) => (one.address ? [h("span", { class: "address" }, one.address), h("small", { class: "dim" }, one.network)] : dim("none"))],
      ["State", (one) => stateCell(one, deleting)],
      ...columns,
      ["Why there", (one) => h("span", { class: "reason" }, prose(one.reason || "It is placed nowhere."))],
    ], instances, {
      key: (one) => one.id, none: "It has no instance yet.",
      actions: (one) => (deleting ? null : rowButtons(ctx, one.id, movable(one) ? [
        { action: "service-move", words: "Move…" },
        one.locked ? { action: "service-unlock", words: "Unlock…" } : { action: "service-lock", words: "Lock…" }] : [])),
    }));
}

/** A gateway has a home, and the background part moves with nothing: they need no operator. The panel moves with its address. */
const movable = (one) => one.desired === "started" && (one.kind !== "panel" || one.address) && one.exclusivity !== "everywhere";

/** For each node, what speaks for or against it: from the code that decides. */
export function explainSection(ctx, instance) {
  const token = [instance.node, instance.epoch, instance.desired, instance.waiting, ctx.status.nodes.map((node) => node.state).join()].join("|");
  const item = ctx.data(`explain-${instance.id}`, () => load(`/planner/explain/${segments(instance.id)}`), token);
  return section(ctx, "explain", "Why there, and where else", { note: "Each node as the planner judges it now.", tools: [{ action: "explain-again", words: "Ask again", may: "read" }] },
    whenLoaded(item, (found) => h("div", { class: "explain", "data-testid": "explain" },
      found.waiting && h("p", { class: "trouble tone-warn" }, icon("clock"), h("span", {}, prose(found.waiting))),
      h("ol", { class: "verdicts" }, found.verdicts.map((one) => h("li", { class: one.refused ? "refused" : "", "data-key": one.node },
        h("span", { class: `rank tone-${one.refused ? "idle" : one.rank === 1 ? "ok" : "busy"}` }, one.refused ? icon("cross") : one.rank || "·"),
        h("span", {}, h("b", {}, one.node), " ", prose(one.text))))))));
}

/** Operators' changes name a service by its name alone. */
function isAbout(event, { kind, name }, instances) {
  if (instances.some((one) => one.id === event.instance) || event.text.includes(`${kind}/${name}`)) return true;
  const done = event.text.slice(event.text.indexOf(": ") + 2);
  return event.kind === "operator" && kind !== "panel" && done.split(/[^a-z0-9-]+/).includes(name);
}

/** What the history says of it. */
export function eventsSection(ctx, service, instances) {
  const mine = ctx.status.recent_events.filter((event) => isAbout(event, service, instances));
  return section(ctx, "events", "Events", { note: "The latest; all of them are with the incidents." },
    mine.length === 0 ? h("p", { class: "none" }, "Nothing happened to it lately.")
      : h("ul", { class: "events kind-events" }, mine.slice(0, 20).map((event) => {
        const look = severityLook(event.severity);
        return h("li", { class: `tone-${look.tone}` }, h("time", { datetime: event.wall }, clockTime(event.wall)), h("span", { class: "dot" }, icon(look.icon)), h("span", {}, prose(event.text)));
      })));
}
