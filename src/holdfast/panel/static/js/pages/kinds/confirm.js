// Confirming what cannot be undone: says what is lost and what stays, and asks for the name to be typed.

import { h, icon, prose } from "../../dom.js";
import { exactly } from "./checks.js";
import { openForm } from "./form.js";

/** `lost`, `stays`: sentences. `fields`: further ones. `request(values)` as in form.js. */
export function confirmLoss({ title, lost = [], stays = [], type, confirm, fields = [], ...form }, ctx) {
  return openForm({
    title,
    text: [
      lost.length > 0 && losses("alert", "tone-bad", "This is lost", lost),
      stays.length > 0 && losses("check", "tone-ok", "This stays", stays),
    ].filter(Boolean),
    fields: [...fields, type && { name: "typed", label: `Type ${type} to confirm`, required: true, must: exactly(type), hint: "So that nothing is lost by a slip." }].filter(Boolean),
    confirm,
    tone: "danger",
    ...form,
  }, ctx);
}

function losses(picture, tone, head, texts) {
  return h("div", { class: `losses ${tone}` }, h("strong", {}, icon(picture), head), h("ul", {}, texts.filter(Boolean).map((text) => h("li", {}, prose(text)))));
}

/** A change that loses nothing for ever, and needs no more than a yes. */
export const confirmStep = ({ title, text, confirm, tone = "primary", ...form }, ctx) => openForm({ title, text, confirm, tone, fields: [], ...form }, ctx);
