// Which page belongs to which address. A new page is one line in ROUTES, and one in SECTIONS of nav.js if people are to find it
// in the navigation. docs/panel.md tells how a page is made.
//
// Pages are loaded when they are first needed, so that the first one is painted without waiting for the others; these follow
// when the browser is idle, so that nothing is missing when the server is away later.

/** [pattern, loader]: ":name" takes one part of the path, "*name" all that is left (ids such as "nfs/home" have slashes). */
const ROUTES = [
  ["", () => import("./pages/overview.js")],
  ["vm", () => import("./pages/vm.js")],
  ["vm/:name", () => import("./pages/vm.js").then(({ one }) => ({ page: one }))],
  ["nfs", () => import("./pages/nfs.js")],
  ["nfs/:name", () => import("./pages/nfs.js").then(({ one }) => ({ page: one }))],
  ["iscsi", () => import("./pages/iscsi.js")],
  ["iscsi/volumes/:name", () => import("./pages/iscsi.js").then(({ volume }) => ({ page: volume }))],
  ["iscsi/groups/:name", () => import("./pages/iscsi.js").then(({ targetGroup }) => ({ page: targetGroup }))],
  ["s3", () => import("./pages/s3.js")],
  ["s3/:name", () => import("./pages/s3.js").then(({ one }) => ({ page: one }))],
  ["backup", () => import("./pages/backup.js")],
  ["backup/:name", () => import("./pages/backup.js").then(({ one }) => ({ page: one }))],
  ["panel", () => import("./pages/panel.js")],
  ["networks", () => import("./pages/networks.js")],
  ["rules", () => import("./pages/rules.js")],
  ["incidents", () => import("./pages/incidents.js")],
  ["incidents/*id", () => import("./pages/incident.js")],
  ["nodes", () => import("./pages/nodes.js")],
  ["nodes/:id", () => import("./pages/node.js")],
  ["services", () => import("./pages/services.js")],
  ["instances/*id", () => import("./pages/instance.js")],
  ["what-if", () => import("./pages/what-if.js")],
  ["maintenance", () => import("./pages/maintenance.js")],
  ["drill", () => import("./pages/drill.js")],
  ["tasks", () => import("./pages/tasks.js")],
  ["alarms", () => import("./pages/alarms.js")],
  ["audit", () => import("./pages/audit.js")],
  ["users", () => import("./pages/users.js")],
  ["settings", () => import("./pages/settings.js")],
];

const ENTRIES = ROUTES.map(([pattern, load]) => ({ pattern, parts: pattern.split("/"), load, module: null }));

/** "#/nodes/n1?tab=x" → {path: "nodes/n1", query: {tab: "x"}}, decoded. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?");
  return { path: path.replace(/\/+$/, ""), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** {entry, params} of the page at this path, or null. */
export function match(path) {
  const given = path.split("/").map(decode);
  for (const entry of ENTRIES) {
    const params = fit(entry.parts, given);
    if (params) return { entry, params };
  }
  return null;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function fit(parts, given) {
  const params = {};
  for (const [index, part] of parts.entries()) {
    if (part.startsWith("*")) {
      if (given.length <= index) return null;
      params[part.slice(1)] = given.slice(index).join("/");
      return params;
    }
    if (given[index] === undefined) return null;
    if (part.startsWith(":")) params[part.slice(1)] = given[index];
    else if (part !== given[index]) return null;
  }
  return given.length === parts.length ? params : null;
}

/** Whether somebody has made the page of a navigation entry. */
export const registered = (pattern) => ENTRIES.some((entry) => entry.pattern === pattern);

/** The page of an entry. Rejects while it cannot be fetched. */
export async function load(entry) {
  entry.module ??= (await entry.load()).page;
  return entry.module;
}

/** Fetch all pages, one after the other. */
export async function prefetch() {
  for (const entry of ENTRIES) await load(entry).catch(() => null);
}

/** The address of a page: to("nodes", "n1") → "#/nodes/n1". Slashes within an argument stay. */
export const to = (...parts) => `#/${parts.map((part) => String(part).split("/").map(encodeURIComponent).join("/")).join("/")}`;
