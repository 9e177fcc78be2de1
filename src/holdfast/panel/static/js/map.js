// The map of the cluster: a card per node with the instances on it. When an instance changes its node it travels there.

import { h, icon, pill, prose } from "./dom.js";
import { instanceLook, kindIcon, nodeLook, roleWord } from "./words.js";

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

export function nodesView(status, link, moves) {
  const cards = status.nodes.map((node) => card(node, status, link, moves));
  const homeless = status.instances.filter((instance) => !instance.node && instance.desired === "started");
  if (homeless.length) {
    cards.push(h("section", { class: "node homeless", "data-key": "homeless", "data-node": "" },
      h("header", {}, h("h3", {}, "On no node"), h("span", { class: "pill tone-warn" }, icon("clock"), "Waiting")),
      h("p", { class: "note" }, "Wanted, but there is no node for them yet."),
      h("ul", { class: "tokens" }, homeless.map((instance) => token(instance, moves)))));
  }
  return cards;
}

function card(node, status, link, moves) {
  const look = nodeLook(node.state);
  const mine = status.instances.filter((instance) => instance.node === node.id);
  const left = moves.left(node.id);
  const dead = node.state === "claimed" || node.state === "suspect";
  return h("section", { class: `node state-${node.state} tone-${look.tone}`, "data-key": node.id, "data-node": node.id, "aria-label": `node ${node.id}` },
    h("header", {},
      h("h3", {}, icon("node"), node.id),
      node.id === status.manager.node && h("span", { class: "mark", title: "Its manager decides" }, icon("crown"), "leads"),
      node.id === link.node && h("span", { class: "mark", title: "Serves this page" }, icon("panel"), "this page"),
      pill(look, "state")),
    h("p", { class: "facts" }, Object.values(node.addresses).join(" · "), node.failure_domain && h("span", {}, ` · ${node.failure_domain}`)),
    h("p", { class: "roles" }, node.roles.map((role) => h("span", { class: "role" }, roleWord(role)))),
    node.note && h("p", { class: "note" }, prose(node.note)),
    h("ul", { class: "tokens", "aria-label": `instances on ${node.id}` },
      mine.map((instance) => token(instance, moves)),
      left.map(([id, to]) => h("li", { class: "nothing", "data-key": `left-${id}` }, id, icon("move"), to)),
      mine.length + left.length === 0 && h("li", { class: "nothing", "data-key": "nothing" }, "nothing placed here")),
    h("footer", {}, safety(node), dead && confirmButton(node)));
}

function token(instance, moves) {
  const look = instanceLook(instance);
  const from = moves.from(instance.id);
  return h("li", { class: `token tone-${look.tone}${from ? " moved" : ""}`, "data-key": instance.id, "data-token": instance.id },
    icon(kindIcon(instance.kind), "kind"),
    h("span", { class: "token-name" }, instance.id, from && h("small", {}, `from ${from}`)),
    h("span", { class: "token-state" }, icon(look.icon, look.tone === "busy" ? "spin" : ""), look.label));
}

/** What can prove that the node is dead, should it fall silent. */
function safety(node) {
  const devices = node.fence_devices.map((device) => `${device.name} (${device.type})`).join(", ");
  const dog = node.watchdog;
  return [
    h("span", { class: dog ? "proofline" : "proofline missing", title: dog ? `${dog.device}, ${dog.identity}` : "The node is never claimed on time alone" },
      icon(dog ? "shield" : "shield-off"), dog ? `watchdog ${dog.timeout_s} s` : "no watchdog"),
    h("span", { class: devices ? "proofline" : "proofline missing" }, icon("plug"), devices || "no power fencing"),
  ];
}

function confirmButton(node) {
  if (node.confirmed_dead) return h("span", { class: "proofline" }, icon("check"), "confirmed dead by an operator");
  if (node.state !== "suspect") return null;
  return h("button", { class: "danger small", type: "button", "data-action": "confirm-dead", "data-id": node.id }, "Confirm dead…");
}

/** Where each token is on the screen, before a change. */
export function positions(root) {
  const found = new Map();
  for (const element of root.querySelectorAll("[data-token]")) found.set(element.dataset.token, element.getBoundingClientRect());
  return found;
}

/** Let the tokens of `ids` travel from where they were to where they are. */
export function travel(root, before, ids) {
  if (reduced.matches) return;
  for (const id of ids) {
    const element = root.querySelector(`[data-token="${CSS.escape(id)}"]`);
    const old = before.get(id);
    if (!element || !old) continue;
    const now = element.getBoundingClientRect();
    const start = `translate(${old.left - now.left}px, ${old.top - now.top}px)`;
    element.classList.add("travelling");
    const animation = element.animate(
      [{ transform: start, easing: "cubic-bezier(.5,0,.1,1)" }, { transform: "none" }],
      { duration: 900 },
    );
    animation.finished.catch(() => null).finally(() => element.classList.remove("travelling"));
  }
}
