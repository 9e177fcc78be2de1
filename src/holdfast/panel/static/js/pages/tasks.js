// Long operations, running and ended. The cards at the lower edge follow those that this page began; here are all.

import { api, call, items } from "../api.js";
import { direct } from "../dialogs.js";
import { h, icon, pill, prose } from "../dom.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { ended, progressView } from "../tasks.js";
import { capital, clockTime } from "../words.js";

const LOOK = {
  running: { tone: "busy", icon: "busy", label: "Running" },
  done: { tone: "ok", icon: "check", label: "Done" },
  failed: { tone: "bad", icon: "cross", label: "Failed" },
  cancelled: { tone: "idle", icon: "cross", label: "Cancelled" },
  interrupted: { tone: "warn", icon: "alert", label: "Interrupted" },
};

export const page = {
  title: () => "Tasks",
  lead: () => "What takes longer than a moment: how far it is, and what it waits for. Tasks go on when this page is closed and when the panel moves.",
  view: (ctx) => whenLoaded(ctx.data("tasks", () => call("GET", "/api/v1/tasks?limit=200").then(items), ctx.status.revision), (tasks) => listView(tasks, ctx)),
  actions: {
    cancel: (id, ctx) => direct(() => api.cancelTask(id), "The task is cancelled").then(() => ctx.forget("tasks")),
  },
};

const lookOf = (task) => (task.failing && task.state === "running" ? { tone: "warn", icon: "alert", label: "Tries again" } : LOOK[task.state] ?? LOOK.running);

const listView = (tasks, ctx) => table({
  id: "tasks", label: "Tasks", noun: "task", rows: tasks, key: (task) => task.id, sort: "",
  attributes: (task) => ({ "data-task": task.id }),
  empty: emptyView("tasks", "No task yet", "Creating, moving, freeing a node: whatever takes a while is followed here."),
  columns: [
    { key: "text", label: "What", value: (task) => task.text, cell: (task) => [h("span", {}, prose(capital(task.text))), task.detail && h("small", { class: "dim" }, prose(task.detail))] },
    { key: "state", label: "State", value: (task) => task.state, cell: (task) => [pill(lookOf(task)), !ended(task) && progressView(task)] },
    { key: "by", label: "By", value: (task) => task.by },
    { key: "wall", label: "Began", value: (task) => task.wall, cell: (task) => h("time", { datetime: task.wall }, clockTime(task.wall)) },
    { key: "ended", label: "Ended", value: (task) => task.ended, cell: (task) => (task.ended ? h("time", { datetime: task.ended }, clockTime(task.ended)) : h("span", { class: "dim" }, "–")) },
  ],
  actions: ctx.may("operate") ? (task) => task.cancellable && [h("button", { type: "button", class: "ghost small", "data-action": "cancel", "data-id": task.id, "aria-label": `Cancel ${task.text}` }, icon("cross"), "Cancel")] : null,
});
