// Drills: find out before it is needed whether a failover would work. Nothing is disturbed, but for an instance that is named.

import { api, list } from "../api.js";
import { h, icon, pill, prose } from "../dom.js";
import { openForm } from "../form/form.js";
import { button, buttons, moment, section } from "../parts.js";
import { direct } from "../say.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { progressView } from "../tasks.js";
import { capital, count, duration } from "../words.js";

const GRADE = {
  ok: { tone: "ok", icon: "check", label: "Fine" },
  warning: { tone: "warn", icon: "alert", label: "Warning" },
  failed: { tone: "bad", icon: "cross", label: "Failed" },
};
const STATE = {
  running: { tone: "busy", icon: "busy", label: "Running" },
  cancelled: { tone: "idle", icon: "cross", label: "Cancelled" },
  interrupted: { tone: "warn", icon: "alert", label: "Interrupted" },
};
const SECTIONS = { nodes: "Nodes", fencing: "Fence devices", watchdogs: "Watchdogs", addresses: "Service addresses", storage: "Shared storage", dns: "DNS", room: "Room", store: "Store", certificates: "Certificates", clocks: "Clocks", failover: "Fail-over" };
const LOOK_MS = 700;

export const page = {
  title: () => "Drill",
  lead: () => "Finds out before it is needed whether a failover would work. It reads and disturbs nothing, unless you name an instance that is to fail over for real.",
  tools: (ctx) => buttons(ctx, [{ action: "begin", words: "Start a drill…", tone: "primary", picture: "target" }]),
  view: (ctx) => whenLoaded(ctx.data("drills", () => list("/drills"), `${ctx.status.revision} ${ctx.local.tick ?? 0}`), (drills) => listView(drills, ctx)),
  enter(ctx) { timer = setInterval(() => running && tick(ctx), LOOK_MS); },
  leave() { clearInterval(timer); },
  actions: {
    begin: (_id, ctx) => begin(ctx),
    cancel: (id, ctx) => direct(() => api.cancelTask(id), "The drill ends soon").then(() => ctx.forget("drills")),
    open: (id, ctx) => { ctx.local.shown = id; ctx.redraw(); },
  },
};

/** Whether the newest drill that is known goes on; while it does, it is looked at often. */
let running = false;
let timer = 0;

function tick(ctx) {
  ctx.local.tick = (ctx.local.tick ?? 0) + 1;
  ctx.forget("drills");
}

function listView(drills, ctx) {
  running = drills.some((one) => one.drill.state === "running");
  if (drills.length === 0) return emptyView("target", "No drill yet", "A drill looks at fence devices, watchdogs, addresses, storage, DNS, room and store, on every node. It takes some seconds; make one after each change of hardware.");
  const shown = drills.find((one) => one.drill.id === ctx.local.shown) ?? drills[0];
  return [drillView(shown, ctx), pastView(drills, shown)];
}

function drillView({ drill, grade, task }, ctx) {
  const look = drill.state === "done" ? GRADE[grade] : STATE[drill.state] ?? STATE.running;
  const goes = drill.state === "running";
  const sections = [...new Set(drill.checks.map((check) => check.section))];
  return h("div", { class: "drill", "data-key": "drill", "data-drill": drill.id, "data-state": drill.state },
    h("div", { class: `panel-box drill-head tone-${look.tone}`, "data-key": "head" },
      h("div", {}, h("h2", {}, pill(look), ` ${verdict(drill)}`),
        h("p", { class: "dim" }, `by ${drill.operator}, `, moment(drill.wall), `, made by ${drill.by}`, drill.nodes.length > 0 && `, only ${drill.nodes.join(", ")}`, drill.elapsed_s > 0 && `, ${duration(drill.elapsed_s)}`),
        drill.why && h("p", {}, prose(capital(drill.why))),
        goes && task && progressView(task),
        goes && task?.detail && h("p", { role: "status" }, prose(capital(task.detail)))),
      goes && task?.cancellable && button(ctx, { action: "cancel", id: task.id, words: "Cancel" })),
    drill.steps.length > 0 && h("section", { class: "panel-box", "data-key": "steps" }, h("h3", {}, `${drill.instance}: ${drill.kill ? "its process was ended" : "moved away and back"}`),
      h("ol", { class: "drill-steps" }, drill.steps.map((step, index) => h("li", { "data-key": `${index}` }, h("b", {}, `+${step.at.toFixed(2)} s`), h("span", {}, prose(capital(step.text))))))),
    h("div", { class: "drill-sections", "data-key": "sections" }, sections.map((name) => checksView(name, drill.checks.filter((check) => check.section === name)))));
}

function verdict(drill) {
  const bad = drill.checks.filter((check) => check.grade === "failed").length;
  const odd = drill.checks.filter((check) => check.grade === "warning").length;
  if (drill.state === "running") return `${count(drill.checks.length, "check")} so far`;
  return bad || odd ? [bad && `${bad} failed`, odd && count(odd, "warning"), `of ${count(drill.checks.length, "check")}`].filter(Boolean).join(", ") : `All ${drill.checks.length} checks are fine`;
}

const order = { failed: 0, warning: 1, ok: 2 };

const checksView = (name, checks) => h("section", { class: "panel-box", "data-key": name, "aria-label": SECTIONS[name] ?? name },
  h("h3", {}, SECTIONS[name] ?? name),
  h("ul", { class: "checks" }, [...checks].sort((a, b) => order[a.grade] - order[b.grade]).map((check, index) => h("li", { class: `tone-${GRADE[check.grade].tone}`, "data-key": `${index}`, "data-grade": check.grade },
    icon(GRADE[check.grade].icon), h("div", {}, h("span", {}, h("span", { class: "hidden" }, `${GRADE[check.grade].label}: `), check.about && h("b", {}, `${check.about} `), prose(check.text)), check.advice && h("p", { class: "dim" }, prose(capital(check.advice)))),
    check.seconds !== null && check.seconds !== undefined && h("span", { class: "dim" }, duration(check.seconds))))));

const pastView = (drills, shown) => section("past", "Drills so far", { note: "The last twenty are kept." }, table("Drills", [
  ["When", (one) => h("button", { type: "button", class: "link", "data-action": "open", "data-id": one.drill.id }, moment(one.drill.wall)), (one) => one.drill.wall],
  ["Result", (one) => pill(one.drill.state === "done" ? GRADE[one.grade] : STATE[one.drill.state] ?? STATE.running)],
  ["Of", (one) => one.drill.instance || one.drill.nodes.join(", ") || "everything"],
  ["By", (one) => one.drill.operator],
  ["Took", (one) => (one.drill.elapsed_s ? duration(one.drill.elapsed_s) : "–"), (one) => one.drill.elapsed_s, { align: "end" }],
], drills, { noun: "drill", key: (one) => one.drill.id, sort: "-When", attributes: (one) => (one === shown ? { "aria-current": "true" } : {}) }));

function begin(ctx) {
  const running = ctx.status.instances.filter((one) => one.desired === "started" && one.node);
  return openForm({
    title: "Start a drill", wide: true,
    text: ["Reads the power state through every fence device, looks at watchdogs, addresses, storage, DNS, room and store. Nothing is switched, moved or stopped."],
    fields: [
      { name: "nodes", label: "Only these nodes", type: "several", options: ctx.status.nodes.map((node) => [node.id, node.id]), hint: "None: all." },
      { name: "instance", label: "Fail over for real", options: [["", "Nothing"], ...running.map((one) => [one.id, one.id])], blame: /instance|guarantee|stands|placed/, hint: "An instance that nobody needs: its clients notice it." },
      { name: "kill", label: "How", options: [["", "Move it away and back"], ["kill", "End its process, and see its node start it again"]], when: (values) => values.instance, hint: "What is done to it." },
    ],
    confirm: "Start", told: "The drill runs",
    request: ({ kill, ...body }) => ({ method: "POST", path: "/drills", body: { ...body, kill: kill === "kill" } }),
    done: () => { ctx.local.shown = null; ctx.forget("drills"); },
  }, ctx);
}
