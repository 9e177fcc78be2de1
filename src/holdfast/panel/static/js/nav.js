// The navigation: a sidebar where there is room, a bar at the lower edge and a menu on phones.

import { h, icon } from "./dom.js";
import { registered } from "./router.js";

/**
 * Entries whose page is not registered in router.js, or that need a permission which the person has not, are not shown.
 * `badge(status)`: {count, tone, words} or null.
 */
const SECTIONS = [
  { title: "", entries: [
    { path: "", label: "Overview", icon: "home", bar: true },
    { path: "incidents", label: "Incidents", icon: "pulse", bar: true, badge: (status) => badge(status.open_incidents.length, "bad", "open") },
    { path: "alarms", label: "Alarms", icon: "bell", badge: (status) => badge(raised(status), "warn", "raised") },
  ] },
  { title: "Cluster", entries: [
    { path: "nodes", label: "Nodes", icon: "node", bar: true, badge: (status) => badge(status.nodes.filter((node) => node.state !== "up").length, "warn", "not up") },
    { path: "services", label: "All services", short: "Services", icon: "grid", bar: true },
    { path: "vm", label: "Virtual machines", icon: "vm" },
    { path: "nfs", label: "NFS volumes", icon: "nfs" },
    { path: "iscsi", label: "iSCSI volumes", icon: "iscsi" },
    { path: "s3", label: "S3 object storage", icon: "s3" },
    { path: "backup", label: "Backup gateways", icon: "backup" },
    { path: "panel", label: "Admin panel", icon: "panel" },
    { path: "networks", label: "Networks and names", icon: "network" },
    { path: "rules", label: "Placement rules", icon: "rule" },
  ] },
  { title: "Operate", entries: [
    { path: "what-if", label: "What-if", icon: "fork" },
    { path: "maintenance", label: "Maintenance", icon: "wrench", badge: (status) => badge(status.nodes.filter((node) => node.maintenance).length, "busy", "under way") },
    { path: "drill", label: "Drill", icon: "target" },
    { path: "tasks", label: "Tasks", icon: "tasks" },
  ] },
  { title: "Administer", entries: [
    { path: "audit", label: "Audit log", icon: "book", needs: "administer" },
    { path: "users", label: "Users and tokens", icon: "user" },
    { path: "settings", label: "Settings", icon: "gear" },
  ] },
];

const badge = (count, tone, words) => (count ? { count, tone, words } : null);
const raised = (status) => (status.alarms ?? []).filter((alarm) => alarm.state === "raised").length;

const shown = (may) => SECTIONS
  .map((section) => ({ ...section, entries: section.entries.filter((entry) => registered(entry.path) && (!entry.needs || may(entry.needs))) }))
  .filter((section) => section.entries.length > 0);

/** `path`: of the page that is open; `status` may be null; `may(permission)`. */
export function navView(status, path, may) {
  return shown(may).map((section) =>
    h("div", { class: "nav-section", "data-key": section.title || "top" },
      section.title && h("h2", {}, section.title),
      h("ul", {}, section.entries.map((entry) => h("li", {}, link(entry, status, path, entry.label))))));
}

/** The few entries of the bar on phones; the rest is in the menu. */
export function barView(status, path, may) {
  const entries = shown(may).flatMap((section) => section.entries);
  return [
    ...entries.filter((entry) => entry.bar).slice(0, 4).map((entry) => link(entry, status, path, entry.short ?? entry.label)),
    h("button", { type: "button", class: "nav-link", "data-action": "menu", "aria-haspopup": "dialog" }, icon("menu"), h("span", {}, "Menu")),
  ];
}

function link(entry, status, path, words) {
  const here = entry.path === "" ? path === "" : path === entry.path || path.startsWith(`${entry.path}/`);
  const mark = status && entry.badge?.(status);
  return h("a", { class: "nav-link", href: `#/${entry.path}`, "aria-current": here ? "page" : null },
    icon(entry.icon), h("span", {}, words),
    mark && h("span", { class: `badge tone-${mark.tone}` }, mark.count, h("span", { class: "hidden" }, ` ${mark.words}`)));
}
