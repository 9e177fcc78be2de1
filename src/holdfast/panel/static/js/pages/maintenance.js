// Taking nodes out of service and back: with a look at what it means, progress, and the way back at any time.

import { byNode } from "../capacity.js";
import { h, icon, pill, prose } from "../dom.js";
import { openForm } from "../form/form.js";
import { endMaintenance, enterMaintenance } from "../node_actions.js";
import { button, buttons, dim, nodeLink, rowButtons, section } from "../parts.js";
import { to } from "../router.js";
import { emptyView } from "../states.js";
import { table } from "../table.js";
import { capital, count, instanceLook, nodeLook } from "../words.js";

export const page = {
  title: () => "Maintenance",
  lead: () => "Free a node before you work on it. What can move live moves live, and returns when you are done.",
  tools: (ctx) => buttons(ctx, [ctx.status.pause
    ? { action: "resume", words: "Resume high availability…", tone: "primary", may: "administer" }
    : { action: "pause", words: "Pause high availability…", picture: "pause", may: "administer" }]),
  view: (ctx) => {
    const busy = ctx.status.nodes.filter((node) => node.maintenance);
    const returning = ctx.status.nodes.filter((node) => !node.maintenance && node.returning.length);
    return [
      ctx.status.pause && pauseView(ctx.status.pause),
      busy.length + returning.length === 0 && h("div", { "data-key": "none" }, emptyView("wrench", "No node is in maintenance", "Choose one below: first you see what would move where, and what would be survived meanwhile.")),
      h("div", { class: "maintenances", "data-key": "busy" }, busy.map((node) => progressView(node, ctx)), returning.map((node) => returningView(node, ctx.status))),
      section("others", "Nodes in service", {}, others(ctx)),
    ];
  },
  actions: {
    enter: (id, ctx) => enterMaintenance(id, ctx),
    end: (id, ctx) => endMaintenance(ctx.status.nodes.find((node) => node.id === id), ctx),
    pause: (_id, ctx) => openForm({
      title: "Pause high availability", tone: "danger",
      text: ["For work on network, store or power: nothing is fenced, claimed, placed or moved until you resume. What fails meanwhile is recovered only then."],
      fields: [
        { name: "mode", label: "What agents do", type: "choice", options: [["freeze", "Freeze", "Restart in place what ends."], ["ignore", "Ignore", "Leave instances alone altogether."]], hint: "With what runs on their node." },
        { name: "reason", label: "Why", hint: "Shown to everybody until it is resumed." },
      ],
      confirm: "Pause", told: "High availability is paused",
      request: (body) => ({ method: "POST", path: "/ha/pause", body }),
    }, ctx),
    resume: (_id, ctx) => openForm({
      title: "Resume high availability", confirm: "Resume", text: ["What has failed meanwhile is recovered now."], told: "High availability goes on",
      request: () => ({ method: "DELETE", path: "/ha/pause" }),
    }, ctx),
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
      node.maintenance.operator && dim(`by ${node.maintenance.operator}`)),
    h("progress", { max: Math.max(1, gone + here.length), value: free ? Math.max(1, gone) : gone, "aria-label": `progress of ${node.id}` }),
    h("p", {}, `${gone} of ${count(gone + here.length, "instance")} moved off. `, node.maintenance.bring_back ? "They return when it ends." : "They stay where they are when it ends."),
    here.length > 0 && h("ul", { class: "still-here" }, here.map((one) => h("li", { "data-key": one.id },
      h("a", { href: to("instances", one.id) }, one.id), pill(instanceLook(one)), h("span", { class: "dim" }, one.locked ? "locked: it does not leave" : prose(one.waiting ? capital(one.waiting) : one.moving_to ? "on its way" : "waits for its turn"))))),
    h("div", { class: "buttons" }, button(ctx, { action: "end", id: node.id, words: free ? "End maintenance…" : "Cancel…", tone: free ? "primary" : "ghost" })));
}

const returningView = (node, status) => h("section", { class: "maintenance panel-box tone-busy", "data-key": `back-${node.id}`, "aria-label": `return to ${node.id}` },
  h("header", {}, h("h3", {}, h("a", { href: to("nodes", node.id) }, node.id)), pill({ tone: "busy", icon: "busy", label: "Being filled again" })),
  h("p", {}, "These return: ", node.returning.map((id, index) => [index ? ", " : "", h("b", {}, id), status.instances.find((one) => one.id === id)?.node === node.id ? " (back)" : ""])));

function others(ctx) {
  const rows = ctx.status.nodes.filter((node) => !node.maintenance);
  return table("Nodes in service", [
    ["Node", (node) => nodeLink(node.id)],
    ["State", (node) => pill(nodeLook(node.state))],
    ["Instances", (node) => (byNode(ctx.status).get(node.id) ?? []).length, undefined, { align: "end" }],
  ], rows, {
    noun: "node", key: (node) => node.id, sort: "Node",
    empty: "Every node is in maintenance.",
    actions: ctx.may("operate") ? (node) => rowButtons(ctx, node.id, [{ action: "enter", words: "Maintenance…", off: !["up", "quarantined"].includes(node.state) }]) : null,
  });
}
