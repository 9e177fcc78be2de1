// The map of the cluster: nodes on the wires of their networks, the instances on them, and a failover as it happens.
//
// A few nodes are cards that say everything in words; many are tiles, with one small sign per instance. Cards and tiles carry
// the wires at the same heights, so that the pieces of a row join to the networks.

import { byNode, loadBars } from "./capacity.js";
import { h, icon, pill, prose } from "./dom.js";
import { elapsedText } from "./incidents.js";
import { to } from "./router.js";
import { stagesView } from "./stages.js";
import { count, instanceLook, kindIcon, nodeLook, roleWord } from "./words.js";

/** More nodes than this are drawn as tiles. */
const CARDS = 12;
/** More than this are drawn still smaller. */
const TINY = 32;
/** More instances on a tile than this are drawn without a picture. */
const SIGNS = 24;

const order = new Intl.Collator(undefined, { numeric: true });

/** Of the picture in ctx. `select`: {chosen: Set, action}: nodes can be chosen instead of opened. */
export function mapView(ctx, { select = null } = {}) {
  const { status } = ctx;
  const dense = status.nodes.length > CARDS;
  const nodes = [...status.nodes].sort((a, b) => order.compare(a.id, b.id));
  const wires = networksOf(status);
  const homeless = (byNode(status).get("") ?? []).filter((instance) => instance.desired === "started");
  const draw = (node) => nodeView(node, ctx, { dense, wires, select });
  return h("div", { class: `map${dense ? " dense" : ""}${nodes.length > TINY ? " tiny" : ""}`, "data-map": true, "data-key": "map" },
    dense ? domains(nodes).map(([domain, nodes]) => domainView(domain, nodes.map(draw))) : h("div", { class: "map-nodes", "data-key": "nodes" }, nodes.map(draw)),
    homeless.length > 0 && homelessView(homeless, ctx, dense));
}

/** The cluster's networks in the order in which they were named, management first; each has a colour by its place. */
function networksOf(status) {
  const named = status.cluster.networks?.map((network) => network.name) ?? [];
  const used = status.nodes.flatMap((node) => Object.keys(node.addresses));
  return [...new Set(["management", ...named, ...used])].filter((name) => named.includes(name) || used.includes(name));
}

function domains(nodes) {
  const found = new Map();
  for (const node of nodes) {
    if (!found.has(node.failure_domain)) found.set(node.failure_domain, []);
    found.get(node.failure_domain).push(node);
  }
  return [...found].sort(([a], [b]) => order.compare(a, b));
}

const domainView = (domain, nodes) => h("section", { class: "domain", "data-key": `domain-${domain}`, "aria-label": domain || "without a failure domain" },
  domain && h("h3", {}, domain, h("span", { class: "dim" }, count(nodes.length, "node"))),
  h("div", { class: "map-nodes" }, nodes));

function nodeView(node, ctx, { dense, wires, select }) {
  const { status } = ctx;
  const look = nodeLook(node.state);
  const incident = status.open_incidents.find((one) => one.node === node.id);
  const chosen = select?.chosen.has(node.id);
  const classes = `node state-${node.state} tone-${look.tone}${incident ? " failing" : ""}${chosen ? " chosen" : ""}`;
  const content = dense ? tile(node, ctx, look, incident) : card(node, ctx, look, incident);
  return h("section", { class: classes, "data-key": node.id, "data-node": node.id, "aria-label": `node ${node.id}, ${look.label}` },
    select && chooser(node, select),
    wiresView(node, wires, dense),
    ...content);
}

/** A real check box behind the whole node: by mouse and by keyboard. */
const chooser = (node, { chosen, action }) => h("label", { class: "chooser", "data-key": "chooser" },
  h("input", { type: "checkbox", checked: chosen.has(node.id), "data-on-change": action, "data-id": node.id, "aria-label": `${node.id} fails` }));

function wiresView(node, wires, dense) {
  return h("ul", { class: "wires", "aria-label": `networks of ${node.id}`, "data-key": "wires" }, wires.map((network, index) => {
    const address = node.addresses[network];
    const lost = node.lost_networks?.includes(network) || (network === "management" && ["suspect", "claimed"].includes(node.state));
    const words = address ? `${network} ${address}${lost ? ", not reached" : ""}` : `not on ${network}`;
    return h("li", { class: `wire wire-${index % 5}${address ? "" : " none"}${lost ? " lost" : ""}`, title: words },
      h("i", {}), dense ? h("span", { class: "hidden" }, words) : address && h("span", {}, h("b", {}, network), ` ${address}`, lost && h("em", {}, " not reached")));
  }));
}

function card(node, ctx, look, incident) {
  const { status, moves } = ctx;
  const mine = byNode(status).get(node.id) ?? [];
  const left = moves.left(node.id);
  const bars = loadBars(node, status);
  return [
    h("header", {},
      h("h3", {}, icon("node"), h("a", { href: to("nodes", node.id) }, node.id)),
      marks(node, ctx), pill(look, "state")),
    h("p", { class: "roles" }, node.failure_domain && h("span", { class: "facts" }, node.failure_domain), node.roles.map((role) => h("span", { class: "role" }, roleWord(role)))),
    incident && stagesView(incident, ctx.ages, { clock: true }),
    node.note && h("p", { class: "note" }, prose(node.note)),
    h("ul", { class: "tokens", "aria-label": `instances on ${node.id}` },
      mine.map((instance) => token(instance, moves)),
      left.map(([id, target]) => h("li", { class: "nothing", "data-key": `left-${id}`, "data-left": id }, id, icon("move"), h("b", {}, target))),
      mine.length + left.length === 0 && h("li", { class: "nothing", "data-key": "nothing" }, "nothing placed here")),
    bars && h("div", { class: "loads" }, bars),
    h("footer", {}, safety(node), confirmButton(node, ctx)),
  ];
}

function tile(node, ctx, look, incident) {
  const { status, moves } = ctx;
  const mine = byNode(status).get(node.id) ?? [];
  const left = moves.left(node.id);
  const small = mine.length > SIGNS;
  return [
    h("header", {},
      h("h3", {}, h("a", { href: to("nodes", node.id) }, node.id)),
      marks(node, ctx),
      h("span", { class: "tile-state", title: node.note || look.label }, icon(look.icon), h("span", { class: node.state === "up" ? "hidden" : "" }, look.label))),
    incident && h("p", { class: "stage-clock", "data-elapsed": incident.id }, elapsedText(incident, ctx.ages)),
    h("ul", { class: `signs${small ? " small" : ""}`, "aria-label": `${count(mine.length, "instance")} on ${node.id}` },
      mine.map((instance) => sign(instance, moves, small)),
      left.map(([id, target]) => h("li", { class: "sign gone", "data-key": `left-${id}`, title: `${id} is on ${target} now` }))),
    h("div", { class: "loads" }, loadBars(node, status)),
  ];
}

const marks = (node, { status, link }) => [
  node.id === status.manager.node && h("span", { class: "mark", title: "Its manager decides" }, icon("crown"), h("span", {}, "leads")),
  node.id === link.node && h("span", { class: "mark", title: "Serves this page" }, icon("panel"), h("span", {}, "this page")),
  node.maintenance && h("span", { class: "mark", title: "In maintenance" }, icon("wrench"), h("span", {}, "maintenance")),
];

/** An instance in words. */
function token(instance, moves) {
  const look = instanceLook(instance);
  const from = moves.from(instance.id);
  return h("li", { class: `token tone-${look.tone}${from ? " moved" : ""}`, "data-key": instance.id, "data-token": instance.id },
    icon(kindIcon(instance.kind), "kind"),
    h("span", { class: "token-name" }, h("a", { href: to("instances", instance.id) }, instance.id), from && h("small", {}, `from ${from}`)),
    h("span", { class: "token-state" }, icon(look.icon, look.icon === "busy" ? "spin" : ""), look.label));
}

/** An instance as a sign; its words are in the title, and in the lists. Not in the order of the tab key: hundreds would be. */
function sign(instance, moves, small) {
  const look = instanceLook(instance);
  const from = moves.from(instance.id);
  const words = `${instance.id}, ${look.label}${from ? `, from ${from}` : ""}`;
  return h("li", { class: `sign tone-${look.tone}${from ? " moved" : ""}`, "data-key": instance.id, "data-token": instance.id },
    h("a", { href: to("instances", instance.id), tabindex: "-1", title: words }, small ? null : icon(look.tone === "ok" ? kindIcon(instance.kind) : look.icon), h("span", { class: "hidden" }, words)));
}

function homelessView(homeless, { moves }, dense) {
  return h("section", { class: "node homeless", "data-key": "homeless", "data-node": "", "aria-label": "instances on no node" },
    h("header", {}, h("h3", {}, "On no node"), h("span", { class: "pill tone-warn" }, icon("clock"), "Waiting")),
    h("p", { class: "note" }, "Wanted, but there is no node for them yet."),
    dense && homeless.length > SIGNS ? h("ul", { class: "signs" }, homeless.map((one) => sign(one, moves, false))) : h("ul", { class: "tokens" }, homeless.map((one) => token(one, moves))));
}

/** What can prove that the node is dead, should it fall silent. */
export function safety(node) {
  const devices = node.fence_devices.map((device) => `${device.name} (${device.type})`).join(", ");
  const dog = node.watchdog;
  return [
    h("span", { class: dog ? "proofline" : "proofline missing", title: dog ? `${dog.device}, ${dog.identity}` : "The node is never claimed on time alone" },
      icon(dog ? "shield" : "shield-off"), dog ? `watchdog ${dog.timeout_s} s` : "no watchdog"),
    h("span", { class: devices ? "proofline" : "proofline missing" }, icon("plug"), devices || "no power fencing"),
  ];
}

export function confirmButton(node, ctx) {
  if (node.state !== "suspect" && node.state !== "claimed") return null;
  if (node.confirmed_dead) return h("span", { class: "proofline" }, icon("check"), "confirmed dead by an operator");
  if (node.state !== "suspect" || !ctx.may("administer")) return null;
  return h("button", { class: "danger small", type: "button", "data-action": "confirm-dead", "data-id": node.id }, "Confirm dead…");
}
