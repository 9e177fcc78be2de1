// What the server says once and never again: shown until the person closes it, kept nowhere.

import { h, icon } from "../../dom.js";

/** pairs: [[label, value]]. Closed only by its button, so that a slip of a finger loses nothing. */
export function showSecrets(title, pairs) {
  return new Promise((resolve) => {
    const dialog = document.getElementById("dialog");
    const close = h("button", { type: "button", class: "primary" }, "I have stored it");
    const stay = (event) => event.preventDefault();
    dialog.replaceChildren(h("div", { class: "kind-form secrets" },
      h("header", {}, h("h2", { id: "dialog-title" }, title),
        h("p", { class: "warning" }, icon("alert"), h("span", {}, "This is shown once. Holdfast cannot show it again: store it now where it is safe."))),
      h("div", { class: "form-body" }, pairs.map(([label, value]) => copyBox(label, value, { secret: true }))),
      h("footer", {}, h("div", { class: "buttons" }, close))));
    dialog.addEventListener("cancel", stay);
    dialog.addEventListener("close", () => {
      dialog.removeEventListener("cancel", stay);
      resolve();
    }, { once: true });
    close.addEventListener("click", () => {
      dialog.replaceChildren();
      dialog.close();
    });
    dialog.showModal();
    dialog.querySelector("button")?.focus();
  });
}

/** Text to take along, with a button that copies it. */
export function copyBox(label, value, { secret = false, key = label } = {}) {
  return h("div", { class: "copy-box", "data-key": `copy-${key}`, "data-secret": secret },
    h("div", { class: "copy-head" }, h("span", {}, label),
      h("button", { type: "button", class: "ghost small", "data-copy": true, "aria-label": `Copy ${label}` }, "Copy")),
    h("pre", { tabindex: "0", "aria-label": label }, value));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.closest(".copy-box").querySelector("pre").textContent;
  const copied = await write(text);
  button.textContent = copied ? "Copied" : "Select it and copy";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
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
