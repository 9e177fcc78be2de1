// Making elements, and making a live part of the page equal to a freshly made one without losing focus or animations.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("../icons.svg", import.meta.url).href;

/** h("p", {class: "x", "data-key": 1}, "text", child, null): an element. Attributes that are null or false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

/** A sentence in which `commands` stand in backticks. */
export function prose(text) {
  return text.split("`").map((piece, index) => (index % 2 ? h("code", {}, piece) : piece));
}

/** A picture from icons.svg; decoration only: the meaning always stands beside it in words. */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name} ${extra}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

/** A state as colour, icon and word together. */
export function pill(look, extra = "") {
  return h("span", { class: `pill tone-${look.tone} ${extra}`.trim() }, icon(look.icon), h("span", {}, look.label));
}

/** Make the children of `target` equal to `children`. Elements with the same data-key are kept and moved, not replaced. */
export function render(target, ...children) {
  const fresh = document.createElement("div");
  fresh.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  morph(target, fresh);
}

function morph(target, fresh) {
  const keyed = new Map();
  for (const child of target.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let cursor = target.firstChild;
  for (const node of [...fresh.childNodes]) {
    const match = findMatch(node, cursor, keyed);
    if (match === null) {
      target.insertBefore(node, cursor);
      continue;
    }
    if (match === cursor) cursor = cursor.nextSibling;
    else target.insertBefore(match, cursor);
    syncNode(match, node);
  }
  while (cursor !== null) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function findMatch(node, cursor, keyed) {
  const key = node.dataset?.key;
  if (key) {
    const match = keyed.get(key) ?? null;
    keyed.delete(key);
    return match !== null && match.nodeName === node.nodeName ? match : null;
  }
  const fits = cursor !== null && cursor.nodeName === node.nodeName && !cursor.dataset?.key;
  return fits ? cursor : null;
}

function syncNode(live, fresh) {
  if (live.nodeType !== Node.ELEMENT_NODE) {
    if (live.data !== fresh.data) live.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (live.getAttribute(name) !== value) live.setAttribute(name, value);
  }
  for (const { name } of [...live.attributes]) {
    const ours = name === "open" && live.nodeName === "DETAILS"; // a person opened it
    if (!fresh.hasAttribute(name) && !ours && name !== "style") live.removeAttribute(name);
  }
  morph(live, fresh);
}
