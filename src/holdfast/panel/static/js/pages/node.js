// One node: what it is, what runs on it, how full it is, and what could prove its death.

import { segments, send } from "../api.js";
import { byNode, loadBars, sizeBars } from "../capacity.js";
import { h, icon, pill, prose } from "../dom.js";
import { eventsSection } from "../events.js";
import { instancesView } from "../instances.js";
import { confirmButton } from "../map.js";
import * as act from "../node_actions.js";
import { address, buttons, dim, facts, roles, section, sectionButtons } from "../parts.js";
import { stagesView } from "../stages.js";
import { emptyView, problemView, waitingView } from "../states.js";
import { capital, count, nodeLook, PROOFS, roleWord } from "../words.js";

const found = (ctx) => ctx.status.nodes.find((one) => one.id === ctx.params.id);

export const page = {
  title: (params) => params.id,
  crumbs: () => [["Nodes", "#/nodes"]],
  mark: (ctx) => found(ctx) && pill(nodeLook(found(ctx).state)),
  tools: (ctx) => (found(ctx) ? tools(found(ctx), ctx) : []),
  view: (ctx) => {
    const node = found(ctx);
    if (!node) return emptyView("node", "There is no such node", "It may have been removed.");
    const incident = ctx.status.open_incidents.find((one) => one.node === node.id);
    return [
      (node.note || node.health.quarantined) && h("div", { class: `banner tone-${nodeLook(node.state).tone}`, "data-key": "note" }, icon(nodeLook(node.state).icon),
        h("div", { class: "banner-text" }, h("strong", {}, nodeLook(node.state).label), h("span", {}, prose(capital(node.health.quarantined || node.note))))),
      incident && h("div", { class: "node-incident tone-bad", "data-key": "incident" }, stagesView(incident, ctx.ages, { clock: true })),
      factsView(node, ctx.status),
      h("div", { class: "columns", "data-key": "columns" }, room(node, ctx), proofs(node, ctx)),
      section("instances", "Instances here", {},
        instancesView(ctx, { label: "Instances here", node: false, instances: byNode(ctx.status).get(node.id) ?? [], empty: emptyView("grid", "Nothing is placed here", nothingHere(node)) })),
      eventsSection(ctx, (event) => event.node === node.id),
    ];
  },
  actions: {
    "fence-test": (id, ctx) => {
      ctx.local.test = { loading: true };
      ctx.redraw();
      send({ method: "POST", path: `/nodes/${segments(id)}/fence-test` }).then(
        (devices) => { ctx.local.test = { devices }; }, (error) => { ctx.local.test = { error }; }).finally(ctx.redraw);
    },
    "fence-add": (id, ctx) => act.addDevice(found(ctx), ctx),
    "fence-remove": (name, ctx) => act.removeDevice(found(ctx), ctx, name),
    "set-node": (id, ctx) => act.setNode(found(ctx), ctx),
    "remove-node": (id, ctx) => act.removeNode(found(ctx), ctx),
    "return-node": (id) => act.returnNode(id),
    maintenance: (id, ctx) => act.enterMaintenance(id, ctx),
    "end-maintenance": (id, ctx) => act.endMaintenance(found(ctx), ctx),
  },
  afterDraw: sizeBars,
};

const tools = (node, ctx) => [
  confirmButton(node, ctx),
  ...buttons(ctx, [
    node.health.quarantined && { action: "return-node", id: node.id, words: "Return from quarantine", tone: "primary", picture: "check" },
    node.maintenance ? { action: "end-maintenance", id: node.id, words: "End maintenance…", tone: "primary", picture: "wrench" }
      : ["up", "quarantined"].includes(node.state) && { action: "maintenance", id: node.id, words: "Maintenance…", picture: "wrench" },
    ["released", "claimed", "never-seen"].includes(node.state) && { action: "remove-node", id: node.id, words: "Remove…", tone: "danger", picture: "trash", may: "administer" }]),
];

const nothingHere = (node) => (node.state === "up" ? "It is free for what comes: new services, and those of a node that fails." : "What it carried is elsewhere, or waits for room.");

const factsView = (node, status) => facts([
  ["Roles", node.roles.length ? roles(node.roles.map(roleWord)) : dim("none")],
  ...Object.entries(node.addresses).map(([network, one]) => [capital(network), [address(one), node.lost_networks?.includes(network) && h("small", { class: "trouble tone-bad" }, "not reached")]]),
  ["Failure domain", node.failure_domain || dim("of its own")],
  ["Fence epoch", node.fence_epoch],
  node.id === status.manager.node && ["Manager", `leads, term ${status.manager.term}`],
  ["Leaving", node.leaving],
  ["Failures lately", node.health.failures.length || null],
]);

function room(node, ctx) {
  const bars = loadBars(node, ctx.status);
  return section("room", "Room", { tools: sectionButtons(ctx, [{ action: "set-node", id: node.id, words: "Slots and domain…", picture: "edit", may: "administer" }]) },
    h("div", { class: "panel-box" },
      bars ? h("div", { class: "loads roomy" }, bars) : h("p", { class: "dim" }, "Nothing is known of its machine yet."),
      Object.keys(node.slots).length === 0 && h("p", { class: "dim small-print" }, "Any number of instances of each kind, as long as cpu and memory last.")));
}

/** What may be believed, should it fall silent. */
function proofs(node, ctx) {
  const dog = node.watchdog;
  const line = (proof, ready, text, ...more) => h("li", { class: `proof-line tone-${ready ? "ok" : "warn"}`, "data-key": proof },
    icon(ready ? "shield" : "shield-off"), h("div", {}, h("b", {}, `${proof} ${PROOFS[proof].label}`), h("span", { class: "dim" }, text), ...more));
  const devices = node.fence_devices;
  return section("proofs", "What could prove its death", {
    tools: sectionButtons(ctx, [devices.length > 0 && { action: "fence-test", id: node.id, words: "Test devices", picture: "plug", off: ctx.local.test?.loading }]) },
    h("ul", { class: "panel-box proof-list" },
      line("P1", devices.length > 0, devices.length ? "Tried in this order until one has verifiably switched it off." : "No device can switch it off.",
        devices.length > 0 && h("ol", { class: "devices" }, devices.map((device) => deviceView(device, ctx))),
        testSummary(ctx.local.test),
        h("div", { class: "device-tools" }, sectionButtons(ctx, [{ action: "fence-add", id: node.id, words: devices.length ? "Add or replace…" : "Add device…", picture: "plus", may: "administer" }]))),
      line("P4", Boolean(dog), dog ? `${dog.identity || "watchdog"} at ${dog.device} resets it within ${dog.timeout_s} s; attested with its last beat.` : "No watchdog is attested: it is never claimed on time alone."),
      line("P2", true, "Counts whenever the machine comes back with a new boot."),
      line("P3", true, "Counts whenever it is shut down cleanly."),
      line("P5", true, node.confirmed_dead ? "An operator has confirmed its death." : "Your word, when nothing else can prove it.")));
}

function deviceView(device, ctx) {
  const result = ctx.local.test?.devices?.find((one) => one.name === device.name);
  return h("li", { "data-key": device.name },
    h("span", { class: "device-name" }, h("b", {}, device.name), h("span", { class: "dim" }, device.type),
      ctx.may("administer") && h("button", { type: "button", class: "plain", "data-action": "fence-remove", "data-id": device.name, "aria-label": `Remove ${device.name}` }, icon("trash"))),
    result && h("span", { class: `device-result tone-${result.ok ? "ok" : "bad"}` }, icon(result.ok ? "check" : "cross"), prose([capital(result.text), result.advice].filter(Boolean).join(". "))));
}

function testSummary(test) {
  if (!test) return null;
  if (test.loading) return waitingView("Reading the power state through each device; nothing is switched…");
  return test.error ? problemView(test.error, "The test could not be made") : h("p", { class: "dim small-print", role: "status" }, `${count(test.devices.filter((one) => one.ok).length, "device")} of ${test.devices.length} answered as expected. Nothing was switched.`);
}
