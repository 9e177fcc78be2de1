// One instance, explained: why it is where it is, why it waits, and what speaks for or against each node.

import { h, icon, pill, prose } from "../dom.js";
import { eventsSection } from "../events.js";
import { explainSection } from "../explain.js";
import { EXCLUSIVITY } from "../instances.js";
import { address, buttons, facts, link, nodeLink } from "../parts.js";
import { to } from "../router.js";
import { instanceOf, instanceTools } from "../service_actions.js";
import { emptyView } from "../states.js";
import { cores, instanceLook, kindWord, memory, sentence } from "../words.js";

const found = (ctx) => ctx.status && instanceOf(ctx, ctx.params.id);

export const page = {
  title: (params) => params.id,
  crumbs: () => [["All services", "#/services"]],
  mark: (ctx) => found(ctx) && pill(instanceLook(found(ctx))),
  tools: (ctx) => (found(ctx) ? buttons(ctx, instanceTools(ctx.status, found(ctx))) : []),
  view: (ctx) => {
    const one = found(ctx);
    if (!one) return emptyView("question", "There is no such instance", "It may have been deleted, or its service has got other parts.", h("a", { href: "#/services" }, "All services"));
    return [factsView(one), reasons(one), explainSection(ctx, one), eventsSection(ctx, (event) => event.instance === one.id)];
  },
};

const servicePage = ({ kind, service }) => (kind === "panel" ? "#/panel" : to(kind, ...(kind === "iscsi" ? ["volumes"] : []), service.split("/").at(-1)));

const factsView = (one) => facts([
  ["Service", link(servicePage(one), `${one.kind}/${one.service.split("/").at(-1)}`), kindWord(one.kind)],
  ["Node", nodeLink(one.node)],
  one.address && ["Address", address(one.address), one.network],
  ["Exclusivity", one.exclusivity, EXCLUSIVITY[one.exclusivity]],
  (one.cpu > 0 || one.memory_mib > 0) && ["Needs", `${cores(one.cpu)}, ${memory(one.memory_mib)}`],
  ["Priority", one.priority, one.preemptible && "may be stopped to make room"],
  ["Placement", `epoch ${one.epoch}`],
  one.locked && ["Locked", one.locked === "*" ? "yes" : one.locked],
]);

function reasons(one) {
  const well = one.state === "running" && one.healthy;
  const look = instanceLook(one);
  const words = one.waiting || (well ? "" : one.detail);
  return h("div", { class: "why-cards", "data-key": "why" },
    h("div", { class: "why-card" }, h("h2", {}, one.node ? `Why on ${one.node}` : "Why on no node"),
      h("p", {}, one.node ? prose(one.reason ? sentence(one.reason) : "Nothing was noted when it was placed there.") : "Nothing has placed it yet.")),
    words && h("div", { class: `why-card tone-${look.tone}`, "data-testid": "waiting" }, h("h2", {}, icon(look.icon), one.waiting ? "Why it waits" : look.label), h("p", {}, prose(sentence(words)))));
}
