// Long operations, running and ended. The cards at the lower edge follow those that this page began; here are all.

import { api, list } from "../api.js";
import { h, icon, pill, prose } from "../dom.js";
import { moment, rowButtons, small } from "../parts.js";
import { direct } from "../say.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { ended, progressView } from "../tasks.js";
import { capital } from "../words.js";

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
  view: (ctx) => whenLoaded(ctx.data("tasks", () => list("/tasks", { limit: 200 }), ctx.status.revision), (tasks) => listView(tasks, ctx)),
  actions: {
    cancel: (id, ctx) => direct(() => api.cancelTask(id), "The task is cancelled").then(() => ctx.forget("tasks")),
  },
};

const lookOf = (task) => (task.failing && task.state === "running" ? { tone: "warn", icon: "alert", label: "Tries again" } : LOOK[task.state] ?? LOOK.running);

const listView = (tasks, ctx) => table("Tasks", [
  ["What", (task) => [h("span", {}, prose(capital(task.text))), task.detail && small(prose(capital(task.detail)))]],
  ["State", (task) => [pill(lookOf(task)), !ended(task) && progressView(task)], (task) => task.state],
  ["By", (task) => task.by],
  ["Began", (task) => moment(task.wall), (task) => task.wall],
  ["Ended", (task) => moment(task.ended), (task) => task.ended],
], tasks, {
  noun: "task", key: (task) => task.id, attributes: (task) => ({ "data-task": task.id }),
  empty: emptyView("tasks", "No task yet", "Creating, moving, freeing a node: whatever takes a while is followed here."),
  actions: ctx.may("operate") ? (task) => task.cancellable && rowButtons(ctx, task.id, [{ action: "cancel", words: "Cancel", picture: "cross" }], task.text) : null,
});
