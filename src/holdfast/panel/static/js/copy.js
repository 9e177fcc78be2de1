// Text to take along, with a button that copies it.

import { h, icon, render } from "./dom.js";

const SAID_MS = 2000;

export function copyBox(label, value, { secret = false } = {}) {
  return h("div", { class: "copy-box", "data-key": `copy-${label}`, "data-secret": secret },
    h("div", { class: "copy-head" }, h("span", {}, label),
      h("button", { type: "button", class: "ghost small", "data-copy": true, "aria-label": `Copy ${label}` }, icon("copy"), "Copy")),
    h("pre", { tabindex: "0", "aria-label": label }, value));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const copied = await write(button.closest(".copy-box").querySelector("pre").textContent);
  render(button, icon(copied ? "check" : "alert"), copied ? "Copied" : "Select it and copy");
  setTimeout(() => render(button, icon("copy"), "Copy"), SAID_MS);
});

/** The clipboard where the browser lets us, else the old way by a selection. */
async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "hidden", readonly: true, "aria-hidden": "true" });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.value = text;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
