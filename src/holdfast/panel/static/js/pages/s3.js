// S3 clusters: object storage whose name and object servers move, with gateways that clients find by name.

import { load, segment } from "../api.js";
import { copyBox } from "../copy.js";
import { h, icon, pill, prose } from "../dom.js";
import { dim, facts, haBox, link, mono, nodeLink, rowButtons, section } from "../parts.js";
import { to } from "../router.js";
import { startStop } from "../service_actions.js";
import { whenLoaded } from "../states.js";
import { table } from "../table.js";
import { nodeLook } from "../words.js";
import { listPage, onePage } from "./kinds/kind.js";
import { countCell, haCell, LOOKS, stateCell } from "./kinds/parts.js";
import { S3_ACTIONS, userKey } from "./kinds/s3_forms.js";
import { instancesOf, serviceEvents, serviceOf, wanted } from "./kinds/service.js";
import { listText } from "./kinds/wording.js";

const HA = "If a node fails, its name and object servers start on the others with their addresses, once it is proven dead; its gateway leaves DNS within seconds and another node answers at its address. Requests meanwhile are answered with 503 and repeated by clients, never with wrong data.";

const clusters = (ctx) => ctx.status.s3_clusters;
const cluster = (ctx, name) => clusters(ctx).find((one) => one.name === name);
const picture = (ctx, one) => ctx.data("s3-one", () => load(`/s3/clusters/${segment(one.name)}`), ctx.status.revision);

const kind = {
  path: "s3", icon: "s3", title: "S3 object storage", noun: "cluster",
  lead: "Buckets and objects for programs that speak S3. Gateways on several nodes, found by name; the servers behind them move when a node fails.",
  tools: () => [{ action: "s3-create", words: "New S3 cluster", tone: "primary", picture: "plus" }],
  items: (ctx) => ctx.data("s3", () => load("/s3"), ctx.status.revision),
  key: (line) => line.name,
  columns: () => [
    ["Cluster", (line) => [line.state === "deleting" ? line.name : link(to("s3", line.name), line.name), h("small", { class: "dim" }, line.domain)]],
    ["State", (line) => pill(LOOKS[line.state] ?? LOOKS.degraded)],
    ["Nodes", (line) => listText(line.nodes)],
    ["Gateways", (line) => countCell(line.gateways)],
    ["Servers", (line) => [countCell([line.name_servers[0] + line.object_servers[0], line.name_servers[1] + line.object_servers[1]])]],
    ["HA", (line) => haCell(line.ha)],
    ["Users", (line) => line.users],
  ],
  rowTools: (line) => (line.state === "deleting" ? [] : [{ action: "s3-user-create", words: "New user…" }, { action: "s3-delete", words: "Delete…", tone: "danger" }]),
  empty: (ctx) => (clusters(ctx).length || ctx.status.services.some((one) => one.kind === "s3") ? null : {
    title: "No S3 cluster yet",
    text: "An S3 cluster gives programs buckets under one name. It survives the loss of a node from three nodes on.",
    needs: [[ctx.status.nodes.length >= 3, "three nodes or more that see the shared storage"], [Boolean(ctx.status.management.virtual_ip), "a highly available admin panel, or its own HA stays off.", "#/panel"],
      [true, "a name for the gateways, best in a zone that Holdfast keeps"]],
    action: { action: "s3-create", words: "New S3 cluster" },
  }),
  one: {
    what: "S3 cluster",
    find: (ctx, { name }) => cluster(ctx, name),
    look: (one, ctx) => (serviceOf(ctx, "s3", one.name)?.deleting ? LOOKS.deleting : LOOKS[picture(ctx, one).value?.line.state] ?? null),
    tools: (one, ctx) => [
      { action: "s3-user-create", id: one.name, words: "New user…", tone: "primary", picture: "plus" },
      { action: "s3-nodes-add", id: one.name, words: "Add nodes…" },
      { action: "s3-rebalance", id: one.name, words: "Rebalance…" },
      startStop(`s3/${one.name}`, wanted(instancesOf(ctx, serviceOf(ctx, "s3", one.name)))),
      { action: "s3-delete", id: one.name, words: "Delete…", tone: "danger" }],
    view: (ctx, one) => whenLoaded(picture(ctx, one), (found) => clusterView(ctx, one, found)),
  },
  actions: S3_ACTIONS,
};

function clusterView(ctx, one, found) {
  const service = serviceOf(ctx, "s3", one.name);
  return [
    haBox(!found.ha_off, found.ha_off ? `It is off: ${found.ha_off}. Parts of a node that dies wait for that node.` : HA),
    found.notes.length > 0 && h("ul", { class: "notes", "data-key": "notes" }, found.notes.map((note) => h("li", { class: "trouble tone-warn" }, icon("alert"), h("span", {}, prose(note))))),
    facts([
      ["Endpoint", mono(found.endpoint)], ["Names", listText(found.names)], ["Region", one.region],
      ["In DNS", one.zone ? `kept by Holdfast in ${one.zone}: ${listText(one.published, "no address now")}` : "not kept by Holdfast: point the names to the gateways yourself, or make a zone"]]),
    usersSection(ctx, one),
    section("nodes", "Nodes", {}, table("Nodes of the cluster", [
      ["Node", (node) => nodeLink(node.node)], ["State", (node) => pill(nodeLook(node.state))], ["Name servers", (node) => node.name_servers], ["Object servers", (node) => node.object_servers], ["Gateways", (node) => node.gateways],
    ], found.nodes, { key: (node) => node.node, actions: (node) => rowButtons(ctx, `${one.name}/${node.node}`, [{ action: "s3-node-release", words: "Release…", tone: "danger" }]) })),
    section("parts", "Parts", { note: "Each is an instance of its own." }, table("Parts", [
      ["Part", (part) => [h("span", { class: "name" }, part.part), h("small", { class: "dim" }, part.kind)]],
      ["State", (part) => stateCell(part)], ["Node", (part) => [nodeLink(part.node), part.home && part.node && part.home !== part.node && h("small", { class: "from" }, `home is ${part.home}`)]],
      ["Address", (part) => (part.address ? h("span", { class: "address" }, part.address) : dim("none"))],
    ], found.parts, { key: (part) => part.part, actions: (part) => (part.kind === "gateway" || part.kind === "background" || service?.deleting ? null : rowButtons(ctx, `s3/${one.name}/${part.part}`, [{ action: "instance-move", words: "Move…" }])) })),
    section("client", "Use it", { note: "With the AWS command line; any S3 client works." },
      copyBox("Environment", `AWS_ENDPOINT_URL=${found.endpoint}\nAWS_DEFAULT_REGION=${one.region}\nAWS_ACCESS_KEY_ID=…\nAWS_SECRET_ACCESS_KEY=…`),
      copyBox("First bucket", `aws --endpoint-url ${found.endpoint} s3 mb s3://photos`)),
    serviceEvents(ctx, "s3", one.name, instancesOf(ctx, service)),
  ];
}

function usersSection(ctx, one) {
  return section("users", "Users", { note: "Each has access keys, and owns its buckets and objects." }, table("Users of the cluster", [
    ["User", (user) => h("span", { class: "name" }, user.name)],
    ["State", (user) => pill(user.enabled ? { tone: "ok", icon: "check", label: "Enabled" } : { tone: "idle", icon: "pause", label: "Disabled" })],
    ["Access keys", (user) => h("ul", {}, user.keys.map((key) => h("li", {}, mono(key.id), dim(key.enabled ? ` of ${key.created.slice(0, 10)}` : " disabled"))))],
  ], one.users, { key: (user) => user.name, empty: "Nobody may use it yet: make a user.", actions: (user) => rowButtons(ctx, userKey(one.name, user.name), [
    { action: "s3-user-rotate", words: "New key…" },
    user.enabled ? { action: "s3-user-disable", words: "Disable…" } : { action: "s3-user-enable", words: "Enable…" },
    { action: "s3-user-delete", words: "Delete…", tone: "danger" }]) }));
}

export const page = listPage(kind);
export const one = onePage(kind);
