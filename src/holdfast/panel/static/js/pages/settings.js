// Settings of the whole cluster: what is tolerated, what becomes of dead and leaving nodes, who is told of alarms, certificates.

import { call, items, path } from "../api.js";
import { askAndTell, confirm, direct } from "../dialogs.js";
import { h, icon, pill, prose } from "../dom.js";
import { to } from "../router.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, clockTime, count, severityLook } from "../words.js";

const SHUTDOWN = [
  ["migrate", "Migrate: instances are moved off before the node goes down"],
  ["failover", "Fail over: they are stopped, and started elsewhere"],
  ["freeze", "Freeze: they are stopped, and wait for the node's return"],
  ["conditional", "Conditional: a reboot freezes, a shutdown fails over"],
];
const WAYS = { webhook: "Webhook", email: "E-mail", alertmanager: "Alertmanager" };

export const page = {
  title: () => "Settings",
  lead: () => "What holds for the whole cluster.",
  view: (ctx) => [clusterView(ctx), receiversView(ctx), certificatesView(ctx)],
  actions: {
    power: (_id, ctx) => setPower(ctx.status.cluster),
    shutdown: (_id, ctx) => setShutdown(ctx.status.cluster),
    tolerate: (_id, ctx) => setTolerate(ctx.status.compute),
    receiver: (_id, ctx) => addReceiver().then(() => ctx.forget("receivers")),
    try: (name) => direct(() => call("POST", `/api/v1/alarms/receivers/${path(name)}/test`), "The test alarm was taken"),
    remove: (name, ctx) => confirm({ title: `Tell ${name} of no alarms any more`, text: [h("p", {}, "What is raised now is not told there again.")], confirm: "Remove",
      submit: (_values, terms) => call("DELETE", `/api/v1/alarms/receivers/${path(name)}`, undefined, terms) }).then(() => ctx.forget("receivers")),
    renew: (_id, ctx) => confirm({ title: "Renew all certificates", tone: "primary", text: [h("p", {}, "Each node gets a new certificate, by itself and without any restart. They renew themselves in time anyway; do this when a key may have been seen.")], confirm: "Renew",
      submit: (_values, terms) => call("POST", "/api/v1/certificates/renew", undefined, terms) }).then(() => ctx.forget("certificates")),
    authority: (_id, ctx) => confirm({ title: "Change the cluster's authority", text: [h("p", {}, "A new one is made. Old and new are trusted side by side until every node has a certificate of the new one, then the old one is dropped. Nothing restarts; browsers and clients that trust the old one need the new certificate.")], confirm: "Change it",
      submit: (_values, terms) => call("POST", "/api/v1/certificates/authority", undefined, terms) }).then(() => ctx.forget("certificates")),
  },
};

const box = (id, title, note, tool, ...content) => h("section", { "data-key": id, "aria-labelledby": `${id}-title` },
  h("div", { class: "section-head" }, h("h2", { id: `${id}-title` }, title), note && h("p", {}, note), tool && h("div", { class: "tools" }, tool)), ...content);

const setting = (ctx, name, value, words, action) => h("div", { class: "setting", "data-key": action },
  h("div", {}, h("strong", {}, name), h("p", { class: "dim" }, words)), h("b", { class: "setting-value" }, value),
  ctx.may("administer") && h("button", { type: "button", class: "ghost small", "data-action": action, "aria-label": `Change… ${name}` }, "Change…"));

function clusterView(ctx) {
  const { cluster, compute } = ctx.status;
  return box("cluster-box", "Cluster", `${cluster.name}, timing profile ${cluster.profile}. The profile is fixed for the life of the cluster.`, null,
    h("div", { class: "panel-box settings" },
      compute ? setting(ctx, "Failures that are tolerated", count(compute.tolerate, "node"), "So many may fail at once, and there is still room for everything. What would break this is refused.", "tolerate")
        : h("p", { class: "dim" }, "There is no compute cluster yet, so no failures to tolerate: ", h("a", { href: to("vm") }, "create one"), "."),
      setting(ctx, "Dead nodes", cluster.dead_node_power_on ? "are switched on again" : "stay off", "After a node was switched off by a fence device and its instances are back elsewhere. A node that was found off stays off.", "power"),
      setting(ctx, "Nodes that are shut down", SHUTDOWN.find(([code]) => code === cluster.shutdown_policy)?.[1].split(":")[0] ?? cluster.shutdown_policy, "What becomes of the instances of a node that is shut down or rebooted on purpose.", "shutdown")),
    h("p", { class: "dim small-print" }, "Addresses, store and high availability of the panel: ", h("a", { href: to("panel") }, "Admin panel"), ". Accounts and API tokens: ", h("a", { href: to("users") }, "Users and tokens"), "."));
}

const setTolerate = (compute) => askAndTell({
  title: "Failures that are tolerated",
  fields: [{ name: "tolerate", label: "Nodes that may fail at once", type: "number", required: true, min: 0, value: compute.tolerate, blame: /tolerate|nodes/,
    must: (text) => (/^\d+$/.test(text) ? "" : "Write a whole number.") }],
  confirm: "Save",
  mayForce: true,
  dryRun: (values, terms) => putTolerate(values, terms),
  submit: (values, terms) => putTolerate(values, terms),
}, "The setting is changed");

const putTolerate = ({ tolerate }, terms) => call("PUT", "/api/v1/compute", { tolerate: Number(tolerate), force: terms.force ?? false }, { ...terms, force: false });

const setPower = (cluster) => askAndTell({
  title: "Dead nodes",
  fields: [{ name: "dead_node_power_on", label: "Switch them on again", type: "checkbox", value: cluster.dead_node_power_on, hint: "So that redundancy returns by itself. Switch it off if you want to look first." }],
  confirm: "Save",
  submit: (values, terms) => call("PUT", "/api/v1/cluster", values, terms),
}, "The setting is changed");

const setShutdown = (cluster) => askAndTell({
  title: "Nodes that are shut down",
  fields: [{ name: "policy", label: "Their instances", options: SHUTDOWN, value: cluster.shutdown_policy }],
  confirm: "Save",
  submit: (values, terms) => call("PUT", "/api/v1/cluster/shutdown-policy", values, terms),
}, "The setting is changed");

// --- receivers of alarms ---

function receiversView(ctx) {
  if (!ctx.may("administer")) return null;
  return box("receivers", "Who is told of alarms", "At least once each, again when it gets worse and when it is over; what fails is tried again.",
    h("button", { type: "button", class: "ghost", "data-action": "receiver" }, icon("plus"), "New receiver"),
    whenLoaded(ctx.data("receivers", () => call("GET", "/api/v1/alarms/receivers").then(items), ctx.status.revision), (rows) => table({
      id: "receivers", label: "Receivers of alarms", noun: "receiver", rows, key: (one) => one.name, sort: "name", attributes: (one) => ({ "data-row": one.name }),
      empty: emptyView("bell", "Nobody is told", "Alarms stand on this panel only. Add a webhook, an e-mail address or an Alertmanager."),
      columns: [
        { key: "name", label: "Name", value: (one) => one.name },
        { key: "type", label: "By", value: (one) => one.type, cell: (one) => [WAYS[one.type] ?? one.type, h("small", { class: "dim" }, Object.entries(one.options).filter(([name]) => name !== "ca").map(([, value]) => value).join(", "))] },
        { key: "severity", label: "From", value: (one) => one.min_severity, cell: (one) => pill(severityLook(one.min_severity)) },
        { key: "state", label: "Deliveries", value: (one) => one.error, cell: (one) => (one.error ? [pill({ tone: "bad", icon: "alert", label: "Failing" }), h("small", {}, prose(capital(one.error)))] : pill({ tone: "ok", icon: "check", label: "Fine" })) },
      ],
      actions: (one) => [h("button", { type: "button", class: "ghost small", "data-action": "try", "data-id": one.name, "aria-label": `Test ${one.name}` }, "Test"),
        h("button", { type: "button", class: "ghost small", "data-action": "remove", "data-id": one.name, "aria-label": `Remove… ${one.name}` }, "Remove…")],
    })));
}

const is = (way) => (values) => values.way === way;

const addReceiver = () => askAndTell({
  title: "New receiver of alarms",
  wide: true,
  fields: [
    { name: "name", label: "Name", required: true, placeholder: "on-call", blame: /name|receiver/ },
    { name: "way", label: "By", options: Object.entries(WAYS) },
    { name: "min_severity", label: "From severity", options: [["info", "Info"], ["warning", "Warning"], ["error", "Error"]], value: "warning" },
    { name: "url", label: "Address", required: true, placeholder: "https://…", when: (values) => values.way !== "email", blame: /url|address|https/i, hint: "Kept encrypted for webhooks, since it often is a secret itself." },
    { name: "key", label: "Key", type: "password", when: is("webhook"), hint: "Signs each message (HMAC-SHA256), so that the receiver knows who sent it." },
    { name: "server", label: "Mail server", required: true, placeholder: "mail.example.com", when: is("email"), blame: /server/ },
    { name: "port", label: "Port", type: "number", value: 587, min: 1, max: 65535, when: is("email"), blame: /port/ },
    { name: "tls", label: "Encryption", options: [["starttls", "STARTTLS"], ["tls", "TLS from the start"], ["none", "None (only within this machine)"]], when: is("email"), blame: /tls/i },
    { name: "sender", label: "From", required: true, placeholder: "holdfast@example.com", when: is("email"), blame: /sender|from/ },
    { name: "to", label: "To", required: true, placeholder: "admin@example.com", hint: "Several with commas.", when: is("email"), blame: /recipient|to/ },
    { name: "user", label: "User name", when: (values) => values.way !== "webhook" },
    { name: "password", label: "Password", type: "password", when: (values) => values.way !== "webhook", hint: "Kept encrypted, never shown." },
    { name: "ca", label: "Certificate of its authority", type: "textarea", hint: "PEM. Empty: the authorities that the system trusts.", blame: /\bca\b|certificate/i },
  ],
  confirm: "Add receiver",
  submit: (values, terms) => call("POST", "/api/v1/alarms/receivers", receiverOf(values), terms),
}, "The receiver is added; test it now");

function receiverOf({ name, way, min_severity, port, to: recipients = "", ...rest }) {
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== ""));
  if (way === "email") Object.assign(given, { port: Number(port), to: recipients.split(",").map((one) => one.trim()).filter(Boolean) });
  return { name, min_severity, [way]: given };
}

// --- certificates ---

function certificatesView(ctx) {
  const tools = ctx.may("administer") && [
    h("button", { type: "button", class: "ghost", "data-action": "renew" }, "Renew all…"),
    h("button", { type: "button", class: "ghost", "data-action": "authority" }, "Change the authority…")];
  return box("certificates", "Certificates", "Store, panel, agents and managers speak to each other with these only. They renew themselves.", tools,
    whenLoaded(ctx.data("certificates", () => call("GET", "/api/v1/certificates").catch((problem) => { if (problem.status === 404) return null; throw problem; }), ctx.status.revision), (found) => (found ? trustView(found) : emptyView("lock", "Not known yet", "The agent of a management node tells it."))));
}

const trustView = (trust) => h("div", {},
  h("p", {}, "Authority ", h("code", {}, `${trust.fingerprint.slice(0, 23)}…`), ` until ${clockTime(trust.ends)}`,
    trust.phase && h("span", {}, " · being changed: ", trust.waiting_for.length ? `waiting for ${trust.waiting_for.join(", ")}` : trust.phase)),
  table({
    id: "certificates", label: "Certificates of the nodes", noun: "certificate", rows: trust.nodes, key: (one) => one.node, sort: "node",
    columns: [
      { key: "node", label: "Node", value: (one) => one.node, cell: (one) => h("a", { href: to("nodes", one.node) }, one.node) },
      { key: "ends", label: "Good until", value: (one) => one.ends, cell: (one) => h("time", { datetime: one.ends }, clockTime(one.ends)) },
      { key: "state", label: "State", value: (one) => String(one.current_authority), cell: (one) => pill(one.waiting ? { tone: "busy", icon: "busy", label: "Being renewed" } : one.current_authority ? { tone: "ok", icon: "check", label: "Current" } : { tone: "warn", icon: "clock", label: "Of the former authority" }) },
    ],
  }));
