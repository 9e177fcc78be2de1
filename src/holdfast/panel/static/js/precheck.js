// What a maintenance would do, before anything is done.

import { h, icon, pill, prose } from "./dom.js";
import { capital, count } from "./words.js";

const HOW = {
  live: { tone: "ok", icon: "move", label: "live, without interruption" },
  restart: { tone: "warn", icon: "power", label: "stopped, then started there" },
  rest: { tone: "idle", icon: "pause", label: "is stopped, gets another home" },
};

export function precheckView(precheck) {
  const stays = Object.entries(precheck.stays);
  return h("div", { class: "precheck", "data-testid": "precheck" },
    h("p", {}, precheck.moves.length ? `${count(precheck.moves.length, "instance")} ${precheck.moves.length === 1 ? "leaves" : "leave"} ${precheck.node}:` : `Nothing has to leave ${precheck.node}.`),
    precheck.moves.length > 0 && h("ul", { class: "precheck-moves" }, precheck.moves.map((move) => h("li", {},
      h("b", {}, move.instance), h("span", {}, icon("move"), " ", move.to), pill(HOW[move.how] ?? { tone: "idle", icon: "move", label: move.how })))),
    stays.length > 0 && h("div", { class: "warning strong" }, icon("alert"), h("div", {}, h("p", {}, `${count(stays.length, "instance")} cannot leave, so the node does not become free:`),
      h("ul", {}, stays.map(([id, why]) => h("li", {}, h("b", {}, id), ` ${why}`))))),
    h("p", { class: `guarantee-line tone-${precheck.during.survivable ? "ok" : "warn"}` }, icon(precheck.during.survivable ? "shield" : "shield-off"),
      h("span", {}, h("b", {}, "Meanwhile "), prose(precheck.during.text), ".")),
    precheck.warnings.filter((text) => !text.includes(precheck.during.text)).map((text) => h("p", { class: "warning" }, icon("alert"), h("span", {}, prose(capital(text))))));
}
