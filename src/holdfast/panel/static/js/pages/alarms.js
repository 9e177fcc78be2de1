// What is wrong now, the most severe first, with what to do about each; and what was wrong.

import { list, segments } from "../api.js";
import { h, icon, pill, prose } from "../dom.js";
import { openForm } from "../form/form.js";
import { button, buttons, link, moment, nodeLink, section } from "../parts.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, sentence, severityLook } from "../words.js";

const RANK = { error: 2, warning: 1, info: 0 };

export const page = {
  title: () => "Alarms",
  lead: () => "What is wrong now, found by the leading manager. An alarm clears by itself when its cause is gone.",
  tools: (ctx) => buttons(ctx, [{ action: "receivers", words: "Who is told", picture: "bell", may: "administer" }]),
  view: (ctx) => [
    openView(ctx),
    section("past", "What was wrong", { note: "Alarms that are over are kept for a while." },
      whenLoaded(ctx.data("cleared", () => list("/alarms", { cleared: true, limit: 500 }), tokenOf(ctx.status)), pastView)),
  ],
  actions: {
    receivers: (_id, ctx) => ctx.go(to("settings")),
    acknowledge: (id, ctx) => acknowledge(ctx.status.alarms.find((one) => one.id === id), ctx),
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
        h("span", { class: "dim" }, "since ", moment(alarm.raised_at))),
      h("p", {}, prose(sentence(alarm.text))),
      alarm.advice && h("p", { class: "dim" }, prose(sentence(alarm.advice))),
      acknowledged && h("p", { class: "dim" }, `${alarm.acknowledged_by} looks after it since `, moment(alarm.acknowledged_at), alarm.note ? `: ${alarm.note}` : ".")),
    !acknowledged && button(ctx, { action: "acknowledge", id: alarm.id, words: "Acknowledge…", label: `Acknowledge… ${alarm.subject}` }));
}

/** The subject, as the way to its page where it has one. */
function subjectView(alarm, status) {
  const { subject } = alarm;
  if (status.nodes.some((node) => node.id === subject)) return nodeLink(subject);
  if (status.instances.some((one) => one.id === subject)) return link(to("instances", subject), subject);
  return subject === "cluster" ? "The cluster" : subject;
}

const acknowledge = (alarm, ctx) => openForm({
  title: `Acknowledge: ${alarm.subject}`,
  text: [sentence(alarm.text), "It stays until its cause is gone, and is told again only if it gets worse."],
  fields: [{ name: "note", label: "Note", placeholder: "disk ordered, arrives tomorrow", hint: "What others should know: who does what about it." }],
  confirm: "I look after it", told: "The alarm is acknowledged",
  request: (body) => ({ method: "POST", path: `/alarms/${segments(alarm.id)}/acknowledge`, body }),
}, ctx);

const pastView = (all) => table("Alarms that are over", [
  ["About", (one) => one.subject],
  ["Severity", (one) => pill(severityLook(one.severity))],
  ["What", (one) => prose(capital(one.text))],
  ["Raised", (one) => moment(one.raised_at), (one) => one.raised_at],
  ["Cleared", (one) => moment(one.cleared_at), (one) => one.cleared_at],
], all.filter((one) => one.state === "cleared"), { noun: "alarm", key: (one) => one.id, sort: "-Cleared", empty: "No alarm has been over yet." });
