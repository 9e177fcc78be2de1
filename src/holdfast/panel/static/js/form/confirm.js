// Confirming: what cannot be undone says what is lost and what stays, and asks for a name to be typed.

import { h, icon, prose } from "../dom.js";
import { exactly } from "./checks.js";
import { openForm } from "./form.js";

/** `lost`, `stays`: sentences or elements. `type`: what must be typed. The rest as in form.js. */
export const confirmLoss = ({ text = [], lost = [], stays = [], type, fields = [], ...form }, ctx) => openForm({
  tone: "danger",
  ...form,
  text: [...text, losses("alert", "tone-bad", "This is lost", lost), losses("check", "tone-ok", "This stays", stays)],
  fields: [...fields, type && { name: "typed", label: `Type ${type} to confirm`, required: true, confirms: true, must: exactly(type), hint: "So that nothing is lost by a slip." }],
}, ctx);

function losses(picture, tone, head, texts) {
  const shown = texts.filter(Boolean);
  return shown.length > 0 && h("div", { class: `losses ${tone}` }, h("strong", {}, icon(picture), head),
    h("ul", {}, shown.map((text) => h("li", {}, typeof text === "string" ? prose(text) : text))));
}
