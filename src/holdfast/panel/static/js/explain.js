// Why an instance is where it is, and what speaks for or against each other node: from the code that decides.

import { load, segments } from "./api.js";
import { h, icon, prose } from "./dom.js";
import { nodeLink, section, sectionButtons } from "./parts.js";
import { whenLoaded } from "./states.js";
import { sentence } from "./words.js";

export function explainSection(ctx, instance) {
  const token = [instance.node, instance.epoch, instance.desired, instance.waiting, instance.locked, ctx.status.nodes.map((node) => node.state).join()].join("|");
  const item = ctx.data(`explain-${instance.id}`, () => load(`/planner/explain/${segments(instance.id)}`), token);
  return section("explain", "Why there, and where else", { note: "Each node as the planner judges it now, the best first.", tools: sectionButtons(ctx, [{ action: "explain-again", words: "Ask again", may: "read" }]) },
    whenLoaded(item, (found) => h("div", { class: "explain", "data-testid": "explain" },
      found.waiting && h("p", { class: "trouble tone-warn" }, icon("clock"), h("span", {}, prose(sentence(found.waiting)))),
      h("ol", { class: "verdicts" }, found.verdicts.map((one) => verdictView(one, one.node === instance.node))))));
}

const verdictView = (one, here) => h("li", { class: one.refused ? "refused" : "", "data-key": one.node, "data-verdict": one.node },
  h("span", { class: `rank tone-${one.refused ? "idle" : one.rank === 1 ? "ok" : "busy"}`, title: one.refused ? "No" : one.rank === 1 ? "First choice" : "Possible" }, one.refused ? icon("cross") : one.rank || "·"),
  h("span", {}, nodeLink(one.node), here && h("span", { class: "dim" }, " here now"), h("br"), prose(sentence(one.text))));
