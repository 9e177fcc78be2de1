// What is shown and not asked: instructions, and what the server says once and never again.

import { copyBox } from "../copy.js";
import { h } from "../dom.js";
import { warning } from "../parts.js";
import { modal } from "./dialog.js";

/** `once`: it is closed by its button only, so that a slip of a finger loses nothing. Resolves when it is closed. */
export function present({ title, text = [], content, close = "Done", wide = false, once = false }) {
  const button = h("button", { type: "button", class: "primary" }, close);
  const element = h("div", { class: "form" },
    h("header", {}, h("h2", { id: "dialog-title" }, title), text),
    h("div", { class: `form-body${once ? " secrets" : ""}` }, content),
    h("footer", {}, h("div", { class: "buttons" }, button)));
  const shown = modal(element, { wide, leave: () => once || shown.close() });
  button.addEventListener("click", () => shown.close());
  return shown.closed;
}

/** pairs: [[label, value]] */
export const showSecrets = (title, pairs) => present({
  title, once: true, close: "I have stored it",
  text: [warning("This is shown once. Holdfast cannot show it again: store it now where it is safe.")],
  content: pairs.map(([label, value]) => copyBox(label, value, { secret: true })),
});
