// Backup clusters: gateways for restic's REST protocol, in front of one back-end.

import { load, segment } from "../api.js";
import { copyBox } from "../copy.js";
import { h, pill } from "../dom.js";
import { facts, haBox, link, mono, nodeLink, rowButtons, section } from "../parts.js";
import { to } from "../router.js";
import { startStop } from "../service_actions.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { nodeLook } from "../words.js";
import { BACKUP_ACTIONS } from "./kinds/backup_forms.js";
import { listPage, onePage } from "./kinds/kind.js";
import { countCell, haCell, LOOKS, stateCell } from "./kinds/parts.js";
import { instancesOf, serviceEvents, serviceOf, wanted } from "./kinds/service.js";
import { listText } from "./kinds/wording.js";

const HA = "Clients find the gateways by name. If a node fails, its gateway leaves DNS within seconds and another node takes its address: connections are reset, clients repeat the request and the backup goes on. Nothing half-uploaded is ever seen.";

const clusters = (ctx) => ctx.status.backup_clusters;
const cluster = (ctx, name) => clusters(ctx).find((one) => one.name === name);
const picture = (ctx, one) => ctx.data("backup-one", () => load(`/backup/clusters/${segment(one.name)}`), ctx.status.revision);

const kind = {
  path: "backup", icon: "backup", title: "Backup gateways", noun: "cluster",
  lead: "Where restic and its relatives back up to: gateways on several nodes, found by name, in front of one back-end.",
  tools: () => [{ action: "backup-create", words: "New backup cluster", tone: "primary", picture: "plus" }],
  items: (ctx) => ctx.data("backup", () => load("/backup"), ctx.status.revision),
  key: (line) => line.name,
  columns: () => [
    ["Cluster", (line) => [line.state === "deleting" ? line.name : link(to("backup", line.name), line.name), h("small", { class: "dim" }, line.url)]],
    ["State", (line) => pill(LOOKS[line.state] ?? LOOKS.degraded)],
    ["Gateways", (line) => countCell(line.gateways)],
    ["Nodes", (line) => listText(line.nodes)],
    ["Back-end", (line) => mono(line.backend)],
    ["HA", (line) => haCell(line.ha)],
    ["Users", (line) => line.users],
  ],
  rowTools: (line) => (line.state === "deleting" ? [] : [{ action: "backup-user-create", words: "New user…" }, { action: "backup-delete", words: "Delete…", tone: "danger" }]),
  empty: (ctx) => (clusters(ctx).length || ctx.status.services.some((one) => one.kind === "backup") ? null : {
    title: "No backup cluster yet",
    text: "Machines back up through any of its gateways into one place: the shared storage, an NFS server, an S3 bucket or an SFTP server. While one gateway lives, backups and restores go on.",
    needs: [[ctx.status.nodes.length >= 2, "two nodes or more, so that a gateway is left when one fails"], [true, "a place for the backups, and what opens it"], [true, "a name for the gateways, best in a zone that Holdfast keeps"]],
    action: { action: "backup-create", words: "New backup cluster" },
  }),
  one: {
    what: "backup cluster",
    find: (ctx, { name }) => cluster(ctx, name),
    look: (one, ctx) => (serviceOf(ctx, "backup", one.name)?.deleting ? LOOKS.deleting : LOOKS[picture(ctx, one).value?.line.state] ?? null),
    tools: (one, ctx) => [
      { action: "backup-user-create", id: one.name, words: "New user…", tone: "primary", picture: "plus" },
      { action: "backup-nodes-add", id: one.name, words: "Add nodes…" },
      { action: "backup-change", id: one.name, words: "Change…" },
      startStop(`backup/${one.name}`, wanted(instancesOf(ctx, serviceOf(ctx, "backup", one.name)))),
      { action: "backup-delete", id: one.name, words: "Delete…", tone: "danger" }],
    view: (ctx, one) => whenLoaded(picture(ctx, one), (found) => clusterView(ctx, one, found)),
  },
  actions: {
    ...BACKUP_ACTIONS,
    "backup-client": (id, ctx) => {
      ctx.local.client = id.slice(id.indexOf("/") + 1);
      ctx.redraw();
    },
  },
};

function clusterView(ctx, one, found) {
  return [
    haBox(!found.ha_off, found.ha_off ? `It is off: ${found.ha_off}.` : HA),
    facts([
      ["Address", mono(found.line.url)], ["Back-end", mono(one.backend)], ["Network", one.network],
      ["Append-only", one.append_only ? "yes: no user deletes or changes what was stored" : "by user"],
      ["Certificate", one.own_certificate ? "the operator's own" : "of the cluster's authority; clients are given it"]]),
    section("gateways", "Gateways", {}, table("Gateways", [
      ["Home", (gateway) => nodeLink(gateway.home)], ["State", (gateway) => stateCell(gateway)],
      ["Serves on", (gateway) => [nodeLink(gateway.node), gateway.node && gateway.node !== gateway.home && h("small", { class: "from" }, "away from home")]],
      ["Address", (gateway) => h("span", { class: "address" }, gateway.address)],
      ["Home node", (gateway) => pill(nodeLook(gateway.home_state))],
    ], found.gateways, { key: (gateway) => gateway.home, actions: (gateway) => rowButtons(ctx, `${one.name}/${gateway.home}`, [{ action: "backup-node-release", words: "Release…", tone: "danger" }]) })),
    section("users", "Users", { note: "Each has repositories of its own, and sees nobody else's." }, table("Users of the cluster", [
      ["User", (user) => h("span", { class: "name" }, user.name)], ["May", (user) => (user.append_only ? "add backups, delete nothing" : "add and delete backups")],
    ], one.users, { key: (user) => user.name, empty: "Nobody may use it yet: make a user.", actions: (user) => rowButtons(ctx, `${one.name}/${user.name}`, [
      { action: "backup-client", words: "Set up…", may: "read" }, { action: "backup-user-rotate", words: "New password…" },
      { action: "backup-user-change", words: "Change…" }, { action: "backup-user-delete", words: "Delete…", tone: "danger" }]) })),
    clientSection(ctx, one),
    serviceEvents(ctx, "backup", one.name, instancesOf(ctx, serviceOf(ctx, "backup", one.name))),
  ];
}

/** What a client of one user sets. */
function clientSection(ctx, one) {
  const names = one.users.map((user) => user.name);
  const user = names.includes(ctx.local.client) ? ctx.local.client : names[0];
  if (!user) return null;
  const item = ctx.data(`client-${user}`, () => load(`/backup/clusters/${segment(one.name)}/users/${segment(user)}/client-config`), `${one.own_certificate}${one.domain}${one.port}`);
  return section("client", `Set up a client of ${user}`, { note: "The password stands nowhere: put in the one that was shown." }, whenLoaded(item, (found) => h("div", { class: "copy-boxes" },
    copyBox("Environment", [`RESTIC_REPOSITORY=${found.repository}`, ...Object.entries(found.environment).map(([name, value]) => `${name}=${value}`)].join("\n")),
    found.ca && copyBox(`Certificate: ${found.ca_file}`, found.ca.trim()),
    copyBox("Repository for restic before 0.17", found.repository_with_password),
    copyBox("Options of each command", found.options.join("\n")),
    copyBox("Kernel settings (sysctl)", Object.entries(found.sysctl).map(([name, value]) => `${name} = ${value}`).join("\n")))));
}

export const page = listPage(kind);
export const one = onePage(kind);
