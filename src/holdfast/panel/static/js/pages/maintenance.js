// Taking nodes out of service and back: with a look at what it means, progress, and the way back at any time.

import { byNode } from "../capacity.js";
import { call } from "../api.js";
import { askAndTell, confirm } from "../dialogs.js";
import { h, icon, pill, prose } from "../dom.js";
import { endMaintenance, enterMaintenance } from "../node_actions.js";
import { to } from "../router.js";
import { emptyView } from "../states.js";
import { table } from "../table.js";
import { capital, count, instanceLook, nodeLook } from "../words.js";

export const page = {
  title: () => "Maintenance",
  lead: () => "Free a node before you work on it. What can move live moves live, and returns when you are done.",
  tools: (ctx) => (ctx.may("administer") ? [ctx.status.pause
    ? h("button", { type: "button", class: "primary", "data-action": "resume" }, "Resume high availability")
    : h("button", { type: "button", class: "ghost", "data-action": "pause" }, icon("pause"), "Pause high availability…")] : []),
  view: (ctx) => {
    const busy = ctx.status.nodes.filter((node) => node.maintenance);
    const returning = ctx.status.nodes.filter((node) => !node.maintenance && node.returning.length);
    return [
      ctx.status.pause && pauseView(ctx.status.pause),
      busy.length + returning.length === 0 && h("div", { "data-key": "none" }, emptyView("wrench", "No node is in maintenance", "Choose one below: first you see what would move where, and what would be survived meanwhile.")),
      h("div", { class: "maintenances", "data-key": "busy" }, busy.map((node) => progressView(node, ctx)), returning.map((node) => returningView(node, ctx.status))),
      h("section", { "data-key": "others", "aria-labelledby": "others-title" },
        h("div", { class: "section-head" }, h("h2", { id: "others-title" }, "Nodes in service")),
        others(ctx)),
    ];
  },
  actions: {
    enter: (id, ctx) => enterMaintenance(id, ctx),
    end: (id, ctx) => endMaintenance(ctx.status.nodes.find((node) => node.id === id), ctx),
    pause: () => askAndTell({
      title: "Pause high availability",
      text: [h("p", {}, "For work on network, store or power: nothing is fenced, claimed, placed or moved until you resume. What fails meanwhile is recovered only then.")],
      fields: [
        { name: "mode", label: "What agents do", type: "select", options: [["freeze", "Freeze: restart in place what ends"], ["ignore", "Ignore: leave instances alone altogether"]] },
        { name: "reason", label: "Why" },
      ],
      confirm: "Pause",
      tone: "danger",
      submit: (values, terms) => call("POST", "/api/v1/ha/pause", values, terms),
    }, "High availability is paused"),
    resume: () => confirm({
      title: "Resume high availability", tone: "primary", confirm: "Resume",
      text: [h("p", {}, "What has failed meanwhile is recovered now.")],
      submit: (_values, terms) => call("DELETE", "/api/v1/ha/pause", undefined, terms), done: "High availability goes on",
    }),
  },
};

const pauseView = (pause) => h("div", { class: "banner tone-warn", "data-key": "pause" }, icon("pause"), h("div", { class: "banner-text" },
  h("strong", {}, "High availability is paused"),
  h("span", {}, [pause.operator && `by ${pause.operator}`, `mode ${pause.mode}`, pause.reason].filter(Boolean).join(", "), ". Nothing is recovered until it is resumed.")));

function progressView(node, ctx) {
  const here = (byNode(ctx.status).get(node.id) ?? []).filter((one) => ["started", "stopped"].includes(one.desired));
  const gone = node.maintenance.moved.length;
  const free = here.length === 0;
  return h("section", { class: `maintenance panel-box tone-${free ? "ok" : "busy"}`, "data-key": node.id, "data-maintenance": node.id, "aria-label": `maintenance of ${node.id}` },
    h("header", {}, h("h3", {}, h("a", { href: to("nodes", node.id) }, node.id)),
      pill(free ? { tone: "ok", icon: "check", label: "Free: you may work on it" } : { tone: "busy", icon: "busy", label: "Being freed" }),
      h("span", { class: "dim" }, node.maintenance.operator && `by ${node.maintenance.operator}`)),
    h("progress", { max: Math.max(1, gone + here.length), value: free ? Math.max(1, gone) : gone, "aria-label": `progress of ${node.id}` }),
    h("p", {}, `${gone} of ${count(gone + here.length, "instance")} moved off. `, node.maintenance.bring_back ? "They return when it ends." : "They stay where they are when it ends."),
    here.length > 0 && h("ul", { class: "still-here" }, here.map((one) => h("li", { "data-key": one.id },
      h("a", { href: to("instances", one.id) }, one.id), pill(instanceLook(one)), h("span", { class: "dim" }, one.locked ? "locked: it does not leave" : prose(one.waiting ? capital(one.waiting) : one.moving_to ? "on its way" : "waits for its turn"))))),
    ctx.may("operate") && h("div", { class: "buttons" }, h("button", { type: "button", class: free ? "primary" : "ghost", "data-action": "end", "data-id": node.id }, free ? "End maintenance…" : "Cancel…")));
}

const returningView = (node, status) => h("section", { class: "maintenance panel-box tone-busy", "data-key": `back-${node.id}`, "aria-label": `return to ${node.id}` },
  h("header", {}, h("h3", {}, h("a", { href: to("nodes", node.id) }, node.id)), pill({ tone: "busy", icon: "busy", label: "Being filled again" })),
  h("p", {}, "These return: ", node.returning.map((id, index) => [index ? ", " : "", h("b", {}, id), status.instances.find((one) => one.id === id)?.node === node.id ? " (back)" : ""])));

function others(ctx) {
  const rows = ctx.status.nodes.filter((node) => !node.maintenance);
  return table({
    id: "maintenance", label: "Nodes in service", noun: "node", rows, key: (node) => node.id, sort: "id",
    columns: [
      { key: "id", label: "Node", value: (node) => node.id, cell: (node) => h("a", { href: to("nodes", node.id) }, node.id) },
      { key: "state", label: "State", value: (node) => node.state, cell: (node) => pill(nodeLook(node.state)) },
      { key: "instances", label: "Instances", align: "end", value: (node) => (byNode(ctx.status).get(node.id) ?? []).length },
    ],
    actions: ctx.may("operate") ? (node) => [h("button", { type: "button", class: "ghost small", "data-action": "enter", "data-id": node.id, "aria-label": `Maintenance… ${node.id}`, disabled: !["up", "quarantined"].includes(node.state) }, "Maintenance…")] : null,
  });
}
