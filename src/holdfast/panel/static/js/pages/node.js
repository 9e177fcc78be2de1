// One node: what it is, what runs on it, how full it is, and what could prove its death.

import { call, path } from "../api.js";
import { byNode, loadBars, sizeBars } from "../capacity.js";
import { h, icon, pill, prose } from "../dom.js";
import { instancesView } from "../instances.js";
import { confirmButton } from "../map.js";
import * as act from "../node_actions.js";
import { stagesView } from "../stages.js";
import { emptyView, problemView, waitingView } from "../states.js";
import { PROOFS, capital, clockTime, count, nodeLook, roleWord, severityLook } from "../words.js";

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
      facts(node, ctx.status),
      h("div", { class: "columns", "data-key": "columns" }, room(node, ctx), proofs(node, ctx)),
      h("section", { "data-key": "instances", "aria-labelledby": "here-title" },
        h("div", { class: "section-head" }, h("h2", { id: "here-title" }, "Instances here")),
        instancesView(ctx, { id: "node-instances", node: false, instances: byNode(ctx.status).get(node.id) ?? [], empty: emptyView("grid", "Nothing is placed here") })),
      lately(node, ctx.status),
    ];
  },
  actions: {
    "fence-test": (id, ctx) => {
      ctx.local.test = { loading: true };
      ctx.redraw();
      call("POST", `/api/v1/nodes/${path(id)}/fence-test`).then(
        (devices) => { ctx.local.test = { devices }; }, (error) => { ctx.local.test = { error }; }).finally(ctx.redraw);
    },
    "fence-add": (id, ctx) => act.addDevice(found(ctx), ctx),
    "fence-remove": (name, ctx) => act.removeDevices(found(ctx), ctx, name),
    "set-node": (id, ctx) => act.setNode(found(ctx), ctx),
    "remove-node": (id, ctx) => act.removeNode(found(ctx), ctx),
    "return-node": (id) => act.returnNode(id),
    maintenance: (id, ctx) => act.enterMaintenance(id, ctx),
    "end-maintenance": (id, ctx) => act.endMaintenance(found(ctx), ctx),
  },
  afterDraw: sizeBars,
};

function tools(node, ctx) {
  const button = (action, words, picture, tone = "ghost") => h("button", { type: "button", class: tone, "data-action": action, "data-id": node.id }, icon(picture), words);
  return [
    confirmButton(node, ctx),
    ctx.may("operate") && node.health.quarantined && button("return-node", "Return from quarantine", "check", "primary"),
    ctx.may("operate") && (node.maintenance ? button("end-maintenance", "End maintenance…", "wrench", "primary") : ["up", "quarantined"].includes(node.state) && button("maintenance", "Maintenance…", "wrench")),
    ctx.may("administer") && ["released", "claimed", "never-seen"].includes(node.state) && button("remove-node", "Remove…", "trash", "danger"),
  ].filter(Boolean);
}

function facts(node, status) {
  const fact = (name, ...value) => h("div", { "data-key": name }, h("dt", {}, name), h("dd", {}, ...value));
  return h("dl", { class: "facts-grid", "data-key": "facts" },
    fact("Roles", h("span", { class: "roles" }, node.roles.map((role) => h("span", { class: "role" }, roleWord(role))))),
    Object.entries(node.addresses).map(([network, address]) => fact(capital(network), address, node.lost_networks?.includes(network) && h("small", { class: "trouble tone-bad" }, "not reached"))),
    fact("Failure domain", node.failure_domain || h("span", { class: "dim" }, "of its own")),
    fact("Fence epoch", node.fence_epoch),
    node.id === status.manager.node && fact("Manager", `leads, term ${status.manager.term}`),
    node.leaving && fact("Leaving", node.leaving),
    node.health.failures.length > 0 && fact("Failures lately", node.health.failures.length));
}

function room(node, ctx) {
  const bars = loadBars(node, ctx.status);
  return h("section", { "aria-labelledby": "room-title", "data-key": "room" },
    h("div", { class: "section-head" }, h("h2", { id: "room-title" }, "Room"),
      ctx.may("administer") && h("button", { type: "button", class: "ghost small", "data-action": "set-node", "data-id": node.id }, icon("edit"), "Slots and domain…")),
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
  return h("section", { "aria-labelledby": "proofs-title", "data-key": "proofs" },
    h("div", { class: "section-head" }, h("h2", { id: "proofs-title" }, "What could prove its death"),
      devices.length > 0 && ctx.may("operate") && h("button", { type: "button", class: "ghost small", "data-action": "fence-test", "data-id": node.id, disabled: ctx.local.test?.loading }, icon("plug"), "Test devices")),
    h("ul", { class: "panel-box proof-list" },
      line("P1", devices.length > 0, devices.length ? "Tried in this order until one has verifiably switched it off." : "No device can switch it off.",
        devices.length > 0 && h("ol", { class: "devices" }, devices.map((device) => deviceView(device, ctx))),
        testSummary(ctx.local.test),
        ctx.may("administer") && h("div", { class: "device-tools" },
          h("button", { type: "button", class: "ghost small", "data-action": "fence-add", "data-id": node.id }, icon("plus"), devices.length ? "Add or replace…" : "Add device…"))),
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

function lately(node, status) {
  const mine = status.recent_events.filter((event) => event.node === node.id).slice(0, 12);
  return mine.length > 0 && h("section", { "data-key": "lately", "aria-labelledby": "lately-title" },
    h("div", { class: "section-head" }, h("h2", { id: "lately-title" }, "Lately")),
    h("div", { class: "event-list" }, h("ol", { class: "events" }, mine.map((event) => {
      const look = severityLook(event.severity);
      return h("li", { class: `tone-${look.tone}`, "data-key": `${event.wall}-${event.text}` },
        h("time", { datetime: event.wall }, clockTime(event.wall)), h("span", { class: "dot" }, icon(look.icon)), h("span", {}, prose(event.text)));
    }))));
}
