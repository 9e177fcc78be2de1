// How full nodes are, from the picture alone: what is placed there against what the machine has.

import { h, icon, prose } from "./dom.js";
import { capital, cores, count, kindWord, listed, memory } from "./words.js";

const groups = new WeakMap();

/** Node → the instances on it ("": on none), once for each picture. */
export function byNode(status) {
  if (!groups.has(status)) groups.set(status, grouped(status.instances));
  return groups.get(status);
}

function grouped(instances) {
  const found = new Map();
  for (const one of instances) {
    if (!found.has(one.node)) found.set(one.node, []);
    found.get(one.node).push(one);
  }
  return found;
}

/** {cpu, memory}: {used, total, part}, and slots: [{kind, used, total, part}]; total without what the operator keeps free. */
export function loadOf(node, status) {
  const mine = byNode(status).get(node.id) ?? [];
  const running = mine.filter((instance) => instance.desired === "started");
  const computes = status.compute?.nodes.includes(node.id);
  const reserve = computes ? status.compute : { reserve_cpu: 0, reserve_memory_mib: 0 };
  return {
    cpu: amount(sum(running, "cpu"), Math.max(0, node.cpu - reserve.reserve_cpu)),
    memory: amount(sum(running, "memory_mib"), Math.max(0, node.memory_mib - reserve.reserve_memory_mib)),
    slots: Object.entries(node.slots).map(([kind, total]) => ({ kind, ...amount(mine.filter((one) => one.kind === kind).length, total) })),
  };
}

const sum = (instances, what) => instances.reduce((total, instance) => total + (instance[what] ?? 0), 0);
const amount = (used, total) => ({ used, total, part: total > 0 ? used / total : used > 0 ? 1 : 0 });

/** Of all nodes that are up together. */
export function clusterLoad(status) {
  const up = status.nodes.filter((node) => node.state === "up");
  const loads = up.map((node) => loadOf(node, status));
  const total = (what) => amount(loads.reduce((all, load) => all + load[what].used, 0), loads.reduce((all, load) => all + load[what].total, 0));
  return { cpu: total("cpu"), memory: total("memory"), nodes: up.length };
}

const toneOf = (part) => (part > 1 ? "bad" : part > 0.9 ? "warn" : "idle");

/** One bar with its words; `fill` is set as a width by `sizeBars`. */
export function bar(label, load, format, extra = "") {
  const words = `${format(load.used)} of ${format(load.total)}`;
  return h("div", { class: `load tone-${toneOf(load.part)} ${extra}`.trim(), role: "img", "aria-label": `${label}: ${words}`, title: `${label}: ${words}` },
    h("span", { class: "load-name" }, label), h("i", {}, h("b", { "data-fill": Math.min(1, load.part).toFixed(3) })), h("span", { class: "load-words" }, words));
}

export function loadBars(node, status) {
  const load = loadOf(node, status);
  if (!node.cpu && !node.memory_mib && load.slots.length === 0) return null;
  return [
    node.cpu > 0 && bar("CPU", load.cpu, short),
    node.memory_mib > 0 && bar("Memory", load.memory, memory),
    load.slots.map((slot) => bar(`${kindWord(slot.kind)} slots`, slot, String)),
  ];
}

const short = (number) => String(Math.round(number * 10) / 10);

/** Widths through the object model: the content security policy forbids style attributes. */
export function sizeBars(root) {
  for (const fill of root.querySelectorAll("[data-fill]")) fill.style.width = `${100 * fill.dataset.fill}%`;
}

/** Whether the cluster survives what it is to survive, in one sentence or two. */
export function guaranteeWords(status) {
  const { guarantee, compute } = status;
  if (!compute) {
    return { tone: "idle", icon: "shield", title: "Fails over by role",
      text: "There is no compute cluster, so no room is computed: each service comes back as long as another node with its role is up." };
  }
  const of = compute.nodes.length;
  if (!guarantee) return { tone: "idle", icon: "clock", title: "The guarantee is being computed", text: `Whether any ${compute.tolerate} of ${of} nodes may fail.` };
  if (guarantee.holds) {
    return { tone: "ok", icon: "shield", title: `Survives any ${guarantee.tolerate} of ${of} nodes`,
      text: `Whichever ${guarantee.tolerate === 1 ? "node fails" : `${guarantee.tolerate} nodes fail`}, there is room for everything elsewhere.` };
  }
  const lost = guarantee.unplaced.length > 0 && `If ${listed(guarantee.worst)} ${guarantee.worst.length === 1 ? "fails" : "fail"}, ${listed(guarantee.unplaced)} ${guarantee.unplaced.length === 1 ? "does" : "do"} not fit.`;
  const now = guarantee.waiting.length > 0 && `Already now there is no room for ${listed(guarantee.waiting)}.`;
  return { tone: "bad", icon: "shield-off", title: `Does not survive any ${guarantee.tolerate} of ${of} nodes`,
    text: [now, lost].filter(Boolean).join(" ") || capital(guarantee.text) };
}

/** The guarantee and how full the cluster is, beside each other. `beyond`: what one failure more would do, once asked for. */
export function guaranteeView(status, beyond) {
  const words = guaranteeWords(status);
  const load = clusterLoad(status);
  const worst = status.guarantee?.worst ?? [];
  return [
    h("div", { class: `promise tone-${words.tone}`, "data-testid": "guarantee" }, icon(words.icon),
      h("div", {},
        h("h2", {}, words.title),
        h("p", {}, prose(words.text)),
        beyond?.value && h("p", { class: "beyond" }, prose(beyondWords(beyond.value))),
        h("div", { class: "promise-tools" },
          worst.length > 0 && h("a", { href: `#/what-if?fail=${worst.join(",")}` }, `See what happens if ${listed(worst)} ${worst.length === 1 ? "fails" : "fail"}`),
          status.compute && !beyond?.value && h("button", { type: "button", class: "link", "data-action": "beyond", disabled: beyond?.loading },
            beyond?.loading ? "Computing…" : `And if ${count(status.compute.tolerate + 1, "node")} failed?`)))),
    h("div", { class: "cluster-load" },
      h("h2", {}, "Capacity"),
      h("p", { class: "dim" }, `of the ${count(load.nodes, "node")} that ${load.nodes === 1 ? "is" : "are"} up`),
      load.cpu.total > 0 && bar("CPU", load.cpu, cores, "big"),
      load.memory.total > 0 && bar("Memory", load.memory, memory, "big"),
      slotLine(status)),
  ];
}

function beyondWords(assurance) {
  if (assurance.survivable) return `It would survive any ${assurance.tolerate} as well.`;
  const homeless = Object.keys(assurance.unplaced);
  return homeless.length ? `If ${listed(assurance.worst)} fail, ${listed(homeless)} ${homeless.length === 1 ? "does" : "do"} not fit.` : capital(assurance.text);
}

function slotLine(status) {
  const kinds = new Map();
  for (const node of status.nodes) {
    for (const { kind, used, total } of loadOf(node, status).slots) {
      const all = kinds.get(kind) ?? { used: 0, total: 0 };
      kinds.set(kind, { used: all.used + used, total: all.total + total });
    }
  }
  return [...kinds].map(([kind, { used, total }]) => bar(`${kindWord(kind)} slots`, amount(used, total), String, "big"));
}
