// Long operations: a card at the lower edge with progress and cancel, for as long as one lasts. The task itself is in the store:
// it goes on when the page is closed, and the page Tasks lists them all.

import { api } from "./api.js";
import { problemText, toast } from "./say.js";
import { h, icon, prose, render } from "./dom.js";

const LOOK_MS = 1000;
/** How long the end of a task is shown, in milliseconds. */
const DONE_MS = 8000;
const ENDED = ["done", "failed", "cancelled", "canceled", "interrupted"];

/** id → {task, problem, cancelling} of those that are shown. */
const followed = new Map();
let timer = 0;

/** Show the task until it has ended. `id`: `Outcome.task`; nothing happens without one. */
export function follow(id) {
  if (!id || followed.has(id)) return;
  followed.set(id, { task: null, cancelling: false });
  look();
}

async function look() {
  clearTimeout(timer);
  await Promise.all([...followed].filter(([, one]) => !ended(one.task)).map(([id, one]) => refresh(id, one)));
  draw();
  if ([...followed.values()].some((one) => !ended(one.task))) timer = setTimeout(look, LOOK_MS);
}

async function refresh(id, one) {
  try {
    one.task = await api.task(id);
    if (ended(one.task)) setTimeout(() => { followed.delete(id); draw(); }, DONE_MS);
  } catch (problem) {
    if (problem.status === 404) followed.delete(id);
    // Otherwise the panel is away for a moment: the next look tells.
  }
}

export const ended = (task) => task !== null && ENDED.includes(task.state);

const draw = () => render(document.getElementById("tasks"), [...followed].filter(([, one]) => one.task).map(([id, one]) => card(id, one)));

function card(id, { task, cancelling }) {
  const tone = { done: "ok", failed: "bad", interrupted: "warn" }[task.state] ?? (ended(task) ? "idle" : "busy");
  return h("div", { class: `task tone-${tone}`, "data-key": id },
    icon(tone === "ok" ? "check" : tone === "busy" ? "busy" : "alert", tone === "busy" ? "spin" : ""),
    h("div", { class: "task-text" },
      h("strong", {}, prose(task.text ?? task.title ?? task.kind ?? "Task")),
      progressView(task),
      task.detail && h("span", { class: "dim" }, prose(task.detail))),
    !ended(task) && task.cancellable !== false && h("button", { type: "button", class: "ghost small", disabled: cancelling, "data-task-cancel": id, "aria-label": `Cancel ${task.text ?? id}` }, "Cancel"));
}

/** A bar, and the numbers. `progress`: {done, total}, or a part from 0 to 1. */
export function progressView(task) {
  const { progress } = task;
  const part = typeof progress === "number" ? progress : progress?.total ? progress.done / progress.total : null;
  if (part === null || part === undefined) return null;
  return h("progress", { max: 1, value: part, "aria-label": "Progress" });
}

document.addEventListener("holdfast-task", (event) => follow(event.detail));
document.addEventListener("click", async (event) => {
  const id = event.target.closest("[data-task-cancel]")?.dataset.taskCancel;
  const one = id && followed.get(id);
  if (!one) return;
  one.cancelling = true;
  draw();
  try {
    await api.cancelTask(id);
    look();
  } catch (problem) {
    one.cancelling = false;
    toast("bad", problemText(problem));
    draw();
  }
});
