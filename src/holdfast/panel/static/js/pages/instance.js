// One instance, explained: why it is where it is, why it waits, and what speaks for or against each node.

import { call, path } from "../api.js";
import { ask, direct, tell } from "../dialogs.js";
import { h, icon, pill, prose } from "../dom.js";
import { EXCLUSIVITY, instanceActions } from "../instances.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, clockTime, cores, instanceLook, kindWord, memory } from "../words.js";

const found = (ctx) => ctx.status.instances.find((one) => one.id === ctx.params.id);

export const page = {
  title: (params) => params.id,
  crumbs: () => [["All services", "#/services"]],
  mark: (ctx) => found(ctx) && pill(instanceLook(found(ctx))),
  tools: (ctx) => {
    const one = found(ctx);
    if (!one || !ctx.may("operate")) return [];
    return [
      ...instanceActions(one, ctx.status),
      h("button", { type: "button", class: "ghost small", "data-action": one.locked ? "unlock" : "lock", "data-id": one.id }, icon("lock"), one.locked ? "Unlock" : "Lock…"),
    ];
  },
  view: (ctx) => {
    const one = found(ctx);
    if (!one) return emptyView("question", "There is no such instance", "It may have been deleted, or its service has got other parts.");
    return [facts(one), trouble(one), h("section", { "data-key": "verdicts", "aria-labelledby": "verdicts-title" },
      h("div", { class: "section-head" }, h("h2", { id: "verdicts-title" }, "Node by node"), h("p", {}, "What the planner thinks of each, the best first; from the code that decides.")),
      whenLoaded(ctx.data("explain", () => call("GET", `/api/v1/planner/explain/${path(one.id)}`), ctx.status.revision), (answer) => verdicts(answer, one))),
    history(one, ctx.status)];
  },
  actions: {
    lock: async (id, ctx) => {
      const outcome = await ask({
        title: `Lock ${id}`,
        text: [h("p", {}, "It stays where it is: no planned move, no maintenance moves it, until it is unlocked. When its node dies it is recovered all the same.")],
        fields: [{ name: "reason", label: "Why", hint: "For those who wonder, for example: a backup runs." }],
        confirm: "Lock",
        submit: ({ reason }, terms) => call("POST", `/api/v1/instances/${path(id)}/lock`, { reason }, terms),
      });
      if (outcome) tell(outcome);
      ctx.forget("explain");
    },
    unlock: async (id, ctx) => {
      await direct(() => call("DELETE", `/api/v1/instances/${path(id)}/lock`));
      ctx.forget("explain");
    },
  },
};

const servicePage = ({ kind, service }) => (kind === "panel" ? "#/panel" : to(kind, ...(kind === "iscsi" ? ["volumes"] : []), service.split("/").at(-1)));

function facts(one) {
  const fact = (name, ...value) => h("div", { "data-key": name }, h("dt", {}, name), h("dd", {}, ...value));
  return h("dl", { class: "facts-grid", "data-key": "facts" },
    fact("Service", h("a", { href: servicePage(one) }, `${one.kind}/${one.service.split("/").at(-1)}`), h("small", { class: "dim" }, kindWord(one.kind))),
    fact("Node", one.node ? h("a", { href: to("nodes", one.node) }, one.node) : "none"),
    one.address && fact("Address", one.address, one.network && h("small", { class: "dim" }, ` ${one.network}`)),
    fact("Exclusivity", one.exclusivity, h("small", { class: "dim" }, EXCLUSIVITY[one.exclusivity])),
    (one.cpu > 0 || one.memory_mib > 0) && fact("Needs", `${cores(one.cpu)}, ${memory(one.memory_mib)}`),
    fact("Priority", one.priority, one.preemptible && h("small", { class: "dim" }, "may be stopped to make room")),
    fact("Placement", `epoch ${one.epoch}`),
    one.locked && fact("Locked", one.locked === "*" ? "yes" : one.locked));
}

function trouble(one) {
  const well = one.state === "running" && one.healthy;
  const look = instanceLook(one);
  const words = one.waiting || (well ? "" : one.detail);
  return h("div", { class: "why-cards", "data-key": "why" },
    h("div", { class: "why-card" }, h("h2", {}, one.node ? `Why on ${one.node}` : "Why on no node"),
      h("p", {}, one.node ? prose(one.reason ? capital(one.reason) : "Nothing was noted when it was placed there.") : "Nothing has placed it yet.")),
    words && h("div", { class: `why-card tone-${look.tone}`, "data-testid": "waiting" }, h("h2", {}, icon(look.icon), one.waiting ? "Why it waits" : look.label), h("p", {}, prose(capital(words)))));
}

function verdicts(answer, one) {
  return [
    answer.waiting && answer.waiting !== one.waiting && h("p", { class: "banner tone-idle", "data-key": "wish" }, icon("info"), h("span", {}, prose(capital(answer.waiting)))),
    table({
      id: "verdicts", label: "Nodes", noun: "node", rows: answer.verdicts, key: (verdict) => verdict.node,
      attributes: (verdict) => ({ "data-verdict": verdict.node, class: verdict.refused ? "refused" : null }),
      columns: [
        { key: "node", label: "Node", value: (verdict) => verdict.node, cell: (verdict) => h("a", { href: to("nodes", verdict.node) }, verdict.node, verdict.node === one.node && h("small", { class: "dim" }, "here now")) },
        { key: "rank", label: "Choice", value: (verdict) => verdict.rank || (verdict.refused ? 9999 : 999), cell: rank },
        { key: "text", label: "Because", value: (verdict) => verdict.text, cell: (verdict) => h("span", { class: verdict.refused ? "dim" : "" }, `${verdict.node} `, prose(verdict.text)) },
      ],
    }),
  ];
}

function rank(verdict) {
  if (verdict.refused) return pill({ tone: "idle", icon: "cross", label: "No" });
  if (verdict.rank === 1) return pill({ tone: "ok", icon: "check", label: "First choice" });
  return pill({ tone: "busy", icon: "check", label: verdict.rank ? `Choice ${verdict.rank}` : "Possible" });
}

/** What was said of it lately. */
function history(one, status) {
  const mine = status.recent_events.filter((event) => event.instance === one.id).slice(0, 10);
  if (!mine.length) return null;
  return h("section", { "data-key": "history", "aria-labelledby": "history-title" },
    h("div", { class: "section-head" }, h("h2", { id: "history-title" }, "Lately")),
    h("div", { class: "event-list" }, h("ol", { class: "events" }, mine.map((event) => h("li", { class: "tone-idle", "data-key": `${event.wall}-${event.text}` },
      h("time", { datetime: event.wall }, clockTime(event.wall)), h("span", { class: "dot" }, icon("info")), h("span", {}, prose(event.text)))))));
}
