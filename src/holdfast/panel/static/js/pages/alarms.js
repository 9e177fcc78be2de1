// What is wrong now, the most severe first, with what to do about each; and what was wrong.

import { call, items, path } from "../api.js";
import { askAndTell } from "../dialogs.js";
import { h, icon, pill, prose } from "../dom.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, clockTime, severityLook } from "../words.js";

const RANK = { error: 2, warning: 1, info: 0 };

export const page = {
  title: () => "Alarms",
  lead: () => "What is wrong now, found by the leading manager. An alarm clears by itself when its cause is gone.",
  tools: (ctx) => (ctx.may("administer") ? [h("button", { type: "button", class: "ghost", "data-action": "receivers" }, icon("bell"), "Who is told")] : []),
  view: (ctx) => [
    openView(ctx),
    h("section", { "data-key": "past", "aria-labelledby": "past-title" },
      h("div", { class: "section-head" }, h("h2", { id: "past-title" }, "What was wrong"), h("p", {}, "Alarms that are over are kept for a while.")),
      whenLoaded(ctx.data("cleared", () => call("GET", "/api/v1/alarms?cleared=true&limit=500").then(items), tokenOf(ctx.status)), (all) => pastView(all))),
  ],
  actions: {
    receivers: (_id, ctx) => ctx.go(to("settings")),
    acknowledge: (id, ctx) => acknowledge(ctx.status.alarms.find((one) => one.id === id)),
  },
};

const tokenOf = (status) => status.alarms.map((one) => `${one.id}${one.state}`).join(" ");

function openView(ctx) {
  const alarms = [...ctx.status.alarms].sort((a, b) => RANK[b.severity] - RANK[a.severity] || (a.raised_at < b.raised_at ? 1 : -1));
  if (alarms.length === 0) return h("div", { "data-key": "open" }, emptyView("check", "No alarm", "Fence devices, watchdogs, the store, certificates, clocks, addresses, gateways and the guarantee are looked at all the time."));
  return h("ul", { class: "alarms", "data-key": "open" }, alarms.map((alarm) => alarmView(alarm, ctx)));
}

function alarmView(alarm, ctx) {
  const look = severityLook(alarm.severity);
  const acknowledged = alarm.state === "acknowledged";
  return h("li", { class: `alarm panel-box tone-${acknowledged ? "idle" : look.tone}`, "data-key": alarm.id, "data-alarm": alarm.id },
    icon(look.icon),
    h("div", { class: "alarm-text" },
      h("div", { class: "alarm-head" }, h("strong", {}, subjectView(alarm, ctx.status)), pill(look), acknowledged && pill({ tone: "idle", icon: "check", label: "Acknowledged" }),
        h("time", { class: "dim", datetime: alarm.raised_at }, `since ${clockTime(alarm.raised_at)}`)),
      h("p", {}, prose(capital(alarm.text))),
      alarm.advice && h("p", { class: "dim" }, prose(capital(alarm.advice))),
      acknowledged && h("p", { class: "dim" }, `${alarm.acknowledged_by} looks after it since ${clockTime(alarm.acknowledged_at)}${alarm.note ? `: ${alarm.note}` : "."}`)),
    !acknowledged && ctx.may("operate") && h("button", { type: "button", class: "ghost", "data-action": "acknowledge", "data-id": alarm.id, "aria-label": `Acknowledge… ${alarm.subject}` }, "Acknowledge…"));
}

/** The subject, as the way to its page where it has one. */
function subjectView(alarm, status) {
  const { subject } = alarm;
  if (status.nodes.some((node) => node.id === subject)) return h("a", { href: to("nodes", subject) }, subject);
  if (status.instances.some((one) => one.id === subject)) return h("a", { href: to("instances", subject) }, subject);
  return subject === "cluster" ? "The cluster" : subject;
}

const acknowledge = (alarm) => askAndTell({
  title: `Acknowledge: ${alarm.subject}`,
  text: [h("p", {}, prose(capital(alarm.text))), h("p", {}, "It stays until its cause is gone, and is told again only if it gets worse.")],
  fields: [{ name: "note", label: "Note", placeholder: "disk ordered, arrives tomorrow", hint: "What others should know: who does what about it." }],
  confirm: "I look after it",
  submit: (values, terms) => call("POST", `/api/v1/alarms/${path(alarm.id)}/acknowledge`, values, terms),
}, "The alarm is acknowledged");

function pastView(all) {
  return table({
    id: "cleared", label: "Alarms that are over", noun: "alarm", rows: all.filter((one) => one.state === "cleared"), key: (one) => one.id, sort: "-cleared",
    empty: "Nothing yet.",
    columns: [
      { key: "subject", label: "About", value: (one) => one.subject },
      { key: "severity", label: "Severity", value: (one) => one.severity, cell: (one) => pill(severityLook(one.severity)) },
      { key: "text", label: "What", value: (one) => one.text, cell: (one) => prose(capital(one.text)) },
      { key: "raised", label: "Raised", value: (one) => one.raised_at, cell: (one) => h("time", { datetime: one.raised_at }, clockTime(one.raised_at)) },
      { key: "cleared", label: "Cleared", value: (one) => one.cleared_at, cell: (one) => h("time", { datetime: one.cleared_at }, clockTime(one.cleared_at)) },
    ],
  });
}
