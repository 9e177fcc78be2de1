// Motion on the map: instances travel to their new node, and lines show from where to where they went.

const SVG = "http://www.w3.org/2000/svg";
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
/** So many travel one by one; more of them would only be a flicker. */
const MOST = 80;
const STEP_MS = 12;

/** Where each instance is on the screen, before a change. */
export function positions(root) {
  const found = new Map();
  for (const element of root.querySelectorAll("[data-token]")) found.set(element.dataset.token, element.getBoundingClientRect());
  return found;
}

/** Let the instances `ids` travel from where they were to where they are. */
export function travel(root, before, ids) {
  if (reduced.matches) return;
  for (const [index, id] of ids.slice(0, MOST).entries()) {
    const element = root.querySelector(`[data-token="${CSS.escape(id)}"]`);
    const old = before.get(id);
    if (!element || !old) continue;
    const now = element.getBoundingClientRect();
    const start = `translate(${old.left - now.left}px, ${old.top - now.top}px)`;
    element.classList.add("travelling");
    const animation = element.animate(
      [{ transform: start, easing: "cubic-bezier(.5,0,.1,1)" }, { transform: "none" }],
      { duration: 900, delay: index * STEP_MS, fill: "backwards" },
    );
    animation.finished.catch(() => null).finally(() => element.classList.remove("travelling"));
  }
}

/** Lines over the map from where instances were to where they are; gone when the move is old. */
export function drawRoutes(map, status, moves) {
  let layer = map.querySelector(":scope > .routes");
  if (!layer) {
    layer = element("svg", { class: "routes", "aria-hidden": "true" });
    layer.dataset.key = "routes";
    map.append(layer);
  }
  const ground = map.getBoundingClientRect();
  const found = routes(status, moves, !map.classList.contains("dense"));
  const place = (selector) => {
    const there = map.querySelector(selector);
    return there && box(atRest(there), ground);
  };
  const lines = [...found].flatMap(([key, route]) => {
    const from = (route.id && place(`[data-left="${CSS.escape(route.id)}"]`)) || place(`[data-node="${CSS.escape(route.from)}"]`);
    const to = (route.id && place(`[data-token="${CSS.escape(route.id)}"]`)) || place(`[data-node="${CSS.escape(route.to)}"]`);
    return from && to ? [line(key, route, from, to)] : [];
  });
  layer.setAttribute("width", ground.width);
  layer.setAttribute("height", ground.height);
  layer.replaceChildren(...lines);
}

/** Where it is, or will be once it has stopped travelling. */
function atRest(element) {
  const rect = element.getBoundingClientRect();
  const { e, f } = new DOMMatrix(getComputedStyle(element).transform);
  return { left: rect.left - e, top: rect.top - f, width: rect.width, height: rect.height };
}

/** One for each instance, or, where there are many, one for each pair of nodes, thicker for more instances. */
function routes(status, moves, single) {
  const found = new Map();
  for (const instance of status.instances) {
    const from = moves.from(instance.id);
    if (!from || !instance.node || from === instance.node) continue;
    const key = single ? instance.id : `${from}>${instance.node}`;
    const route = found.get(key) ?? { from, to: instance.node, id: single ? instance.id : "", count: 0, arrived: 0 };
    route.count += 1;
    if (instance.healthy) route.arrived += 1;
    found.set(key, route);
  }
  return found;
}

const box = (rect, ground) => ({ x: rect.left - ground.left + rect.width / 2, y: rect.top - ground.top + rect.height / 2, w: rect.width / 2 + 2, h: rect.height / 2 + 2 });

/** From the edge of one box to the edge of the other, in a slight bow. */
function line(pair, { id, count, arrived }, from, to) {
  const [start, end] = id ? sides(from, to) : [edge(from, to), edge(to, from)];
  const [dx, dy] = [end.x - start.x, end.y - start.y];
  const bow = { x: (start.x + end.x) / 2 - dy * 0.14, y: (start.y + end.y) / 2 + dx * 0.14 };
  const width = Math.min(6, 1.8 + Math.log2(count));
  const done = arrived === count;
  const angle = Math.atan2(end.y - bow.y, end.x - bow.x) * 180 / Math.PI;
  const group = element("g", { class: `route${done ? " done" : ""}` });
  group.dataset.route = pair;
  group.append(
    element("path", { d: `M${start.x} ${start.y}Q${bow.x} ${bow.y} ${end.x} ${end.y}`, "stroke-width": width }),
    element("path", { class: "head", d: "M-9 -5L0 0L-9 5Z", transform: `translate(${end.x} ${end.y}) rotate(${angle})` }),
  );
  return group;
}

/** The sides of two rows that look at each other; of rows below each other the right ones. */
function sides(one, other) {
  const beside = Math.abs(other.x - one.x) > one.w;
  const right = other.x > one.x || !beside;
  const end = beside ? !right : right;
  return [{ x: one.x + (right ? one.w : -one.w), y: one.y }, { x: other.x + (end ? other.w : -other.w), y: other.y }];
}

/** Where the straight line from the middle of one box to the other leaves it. */
function edge(one, other) {
  const [dx, dy] = [other.x - one.x, other.y - one.y];
  const scale = Math.min(dx ? one.w / Math.abs(dx) : Infinity, dy ? one.h / Math.abs(dy) : Infinity);
  return { x: one.x + dx * Math.min(1, scale), y: one.y + dy * Math.min(1, scale) };
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
