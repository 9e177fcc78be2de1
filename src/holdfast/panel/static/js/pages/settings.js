// Settings of the whole cluster: what is tolerated, what becomes of dead and leaving nodes, who is told of alarms, certificates.

import { list, load, segment, send } from "../api.js";
import { h, pill, prose } from "../dom.js";
import * as check from "../form/checks.js";
import { confirmLoss } from "../form/confirm.js";
import { openForm } from "../form/form.js";
import { button, buttons, moment, mono, nodeLink, rowButtons, section, small } from "../parts.js";
import { to } from "../router.js";
import { direct } from "../say.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { capital, count, severityLook } from "../words.js";

const SHUTDOWN = [
  ["migrate", "Migrate", "Instances are moved off before the node goes down."],
  ["failover", "Fail over", "They are stopped, and started elsewhere."],
  ["freeze", "Freeze", "They are stopped, and wait for the node's return."],
  ["conditional", "Conditional", "A reboot freezes, a shutdown fails over."],
];
const WAYS = [
  ["webhook", "Webhook", "JSON to an address of yours."],
  ["email", "E-mail", "Through your mail server."],
  ["alertmanager", "Alertmanager", "Of Prometheus."],
];
const wordOf = (options, code) => options.find(([known]) => known === code)?.[1] ?? code;

export const page = {
  title: () => "Settings",
  lead: () => "What holds for the whole cluster.",
  view: (ctx) => [clusterView(ctx), receiversView(ctx), certificatesView(ctx)],
  actions: {
    power: (_id, ctx) => setPower(ctx),
    shutdown: (_id, ctx) => setShutdown(ctx),
    tolerate: (_id, ctx) => setTolerate(ctx),
    receiver: (_id, ctx) => addReceiver(ctx),
    try: (name) => direct(() => send({ method: "POST", path: `/alarms/receivers/${segment(name)}/test` }), "The test alarm was taken"),
    remove: (name, ctx) => confirmLoss({
      title: `Tell ${name} of no alarms any more`, lost: ["What is raised now is not told there again."], confirm: "Remove",
      request: () => ({ method: "DELETE", path: `/alarms/receivers/${segment(name)}` }), done: () => ctx.forget("receivers"),
    }, ctx),
    renew: (_id, ctx) => openForm({
      title: "Renew all certificates", confirm: "Renew",
      text: ["Each node gets a new certificate, by itself and without any restart. They renew themselves in time anyway; do this when a key may have been seen."],
      request: () => ({ method: "POST", path: "/certificates/renew" }), done: () => ctx.forget("certificates"),
    }, ctx),
    authority: (_id, ctx) => openForm({
      title: "Change the cluster's authority", tone: "danger", confirm: "Change it",
      text: ["A new one is made. Old and new are trusted side by side until every node has a certificate of the new one, then the old one is dropped. Nothing restarts; browsers and clients that trust the old one need the new certificate."],
      request: () => ({ method: "POST", path: "/certificates/authority" }), done: () => ctx.forget("certificates"),
    }, ctx),
  },
};

// --- the cluster ---

const setting = (ctx, name, value, words, action) => h("div", { class: "setting", "data-key": action },
  h("div", {}, h("strong", {}, name), h("p", { class: "dim" }, words)), h("b", { class: "setting-value" }, value),
  button(ctx, { action, words: "Change…", label: `Change… ${name}`, may: "administer", small: true }));

function clusterView(ctx) {
  const { cluster, compute } = ctx.status;
  return section("cluster-box", "Cluster", { note: `${cluster.name}, timing profile ${cluster.profile}. The profile is fixed for the life of the cluster.` },
    h("div", { class: "panel-box settings" },
      compute ? setting(ctx, "Failures that are tolerated", count(compute.tolerate, "node"), "So many may fail at once, and there is still room for everything. What would break this is refused.", "tolerate")
        : h("p", { class: "dim" }, "There is no compute cluster yet, so no failures to tolerate: ", h("a", { href: to("vm") }, "create one"), "."),
      setting(ctx, "Dead nodes", cluster.dead_node_power_on ? "are switched on again" : "stay off", "After a node was switched off by a fence device and its instances are back elsewhere. A node that was found off stays off.", "power"),
      setting(ctx, "Nodes that are shut down", wordOf(SHUTDOWN, cluster.shutdown_policy), "What becomes of the instances of a node that is shut down or rebooted on purpose.", "shutdown")),
    h("p", { class: "dim small-print" }, "Addresses, store and high availability of the panel: ", h("a", { href: to("panel") }, "Admin panel"), ". Accounts and API tokens: ", h("a", { href: to("users") }, "Users and tokens"), "."));
}

const setTolerate = (ctx) => openForm({
  title: "Failures that are tolerated",
  fields: [{ name: "tolerate", label: "Nodes that may fail at once", type: "number", required: true, value: String(ctx.status.compute.tolerate), must: check.whole, blame: /tolerate|nodes/, hint: "There must be room for everything on the nodes that are left." }],
  confirm: "Save", told: "The setting is changed", effect: "typing", changes: true, force: "body",
  request: ({ tolerate }) => ({ method: "PUT", path: "/compute", body: { tolerate: Number(tolerate) } }),
}, ctx);

const setPower = (ctx) => openForm({
  title: "Dead nodes",
  fields: [{ name: "dead_node_power_on", label: "Switch them on again", type: "switch", value: ctx.status.cluster.dead_node_power_on, hint: "So that redundancy returns by itself. Switch it off if you want to look first." }],
  confirm: "Save", told: "The setting is changed",
  request: (body) => ({ method: "PUT", path: "/cluster", body }),
}, ctx);

const setShutdown = (ctx) => openForm({
  title: "Nodes that are shut down",
  fields: [{ name: "policy", label: "Their instances", type: "choice", options: SHUTDOWN, value: ctx.status.cluster.shutdown_policy, hint: "When a node is shut down or rebooted on purpose, not when it fails." }],
  confirm: "Save", told: "The setting is changed",
  request: (body) => ({ method: "PUT", path: "/cluster/shutdown-policy", body }),
}, ctx);

// --- receivers of alarms ---

function receiversView(ctx) {
  if (!ctx.may("administer")) return null;
  return section("receivers", "Who is told of alarms", {
    note: "At least once each, again when it gets worse and when it is over; what fails is tried again.",
    tools: button(ctx, { action: "receiver", words: "New receiver", picture: "plus", may: "administer" }),
  }, whenLoaded(ctx.data("receivers", () => list("/alarms/receivers"), ctx.status.revision), (rows) => table("Receivers of alarms", [
    ["Name", (one) => one.name],
    ["By", (one) => [wordOf(WAYS, one.type), small(Object.entries(one.options).filter(([name]) => name !== "ca").map(([, value]) => value).join(", "))]],
    ["From", (one) => pill(severityLook(one.min_severity))],
    ["Deliveries", (one) => (one.error ? [pill({ tone: "bad", icon: "alert", label: "Failing" }), h("small", {}, prose(capital(one.error)))] : pill({ tone: "ok", icon: "check", label: "Fine" }))],
  ], rows, {
    noun: "receiver", key: (one) => one.name, sort: "Name",
    empty: emptyView("bell", "Nobody is told", "Alarms stand on this panel only. Add a webhook, an e-mail address or an Alertmanager."),
    actions: (one) => rowButtons(ctx, one.name, [{ action: "try", words: "Test", may: "administer" }, { action: "remove", words: "Remove…", tone: "danger", may: "administer" }]),
  })));
}

const is = (...ways) => (values) => ways.includes(values.way);
const mail = check.matching(/^[^@\s,]+@[^@\s,]+$/, "Write it like admin@example.com.");

const addReceiver = (ctx) => openForm({
  title: "New receiver of alarms", wide: true,
  fields: [
    { name: "name", label: "Name", required: true, placeholder: "on-call", blame: /name|receiver/, hint: "What you call it here." },
    { name: "min_severity", label: "From severity", options: [["info", "Info"], ["warning", "Warning"], ["error", "Error"]], value: "warning", hint: "What is less severe is not told." },
    { name: "way", label: "By", type: "choice", options: WAYS, hint: "How it is told." },
    { name: "url", label: "Address", required: true, placeholder: "https://…", span: true, when: is("webhook", "alertmanager"), blame: /url|address|https/i, hint: "Kept encrypted for webhooks, since it often is a secret itself." },
    { name: "key", label: "Key", type: "secret", when: is("webhook"), hint: "Signs each message (HMAC-SHA256), so that the receiver knows who sent it." },
    { name: "server", label: "Mail server", required: true, placeholder: "mail.example.com", when: is("email"), blame: /server/, hint: "That takes mail for the recipients." },
    { name: "port", label: "Port", type: "number", value: "587", must: check.all(check.whole, check.between(1, 65535)), when: is("email"), blame: /port/, hint: "587 with STARTTLS, 465 with TLS, 25 with none." },
    { name: "tls", label: "Encryption", options: [["starttls", "STARTTLS"], ["tls", "TLS from the start"], ["none", "None (only within this machine)"]], when: is("email"), blame: /tls/i, hint: "Of the connection to the mail server." },
    { name: "sender", label: "From", required: true, placeholder: "holdfast@example.com", must: mail, when: is("email"), blame: /sender|from/, hint: "Whom recipients see as the sender." },
    { name: "to", label: "To", type: "lines", required: true, placeholder: "admin@example.com", must: check.each(mail), when: is("email"), blame: /recipient|\bto\b/, hint: "Several with commas." },
    { name: "user", label: "User name", when: is("email", "alertmanager"), hint: "Where it asks for one." },
    { name: "password", label: "Password", type: "secret", when: is("email", "alertmanager"), hint: "Kept encrypted, never shown." },
    { name: "ca", label: "Certificate of its authority", type: "area", file: ".pem,.crt", must: check.pem("CERTIFICATE"), hint: "PEM. Empty: the authorities that the system trusts.", blame: /\bca\b|certificate/i },
  ],
  confirm: "Add receiver", told: "The receiver is added; test it now",
  request: (values) => ({ method: "POST", path: "/alarms/receivers", body: receiverOf(values) }),
  done: () => ctx.forget("receivers"),
}, ctx);

function receiverOf({ name, way, min_severity, ...rest }) {
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== ""));
  if (given.port) given.port = Number(given.port);
  return { name, min_severity, [way]: given };
}

// --- certificates ---

/** None while no agent of a management node has told of them. */
const certificates = () => load("/certificates").catch((problem) => { if (problem.status === 404) return null; throw problem; });

const certificatesView = (ctx) => section("certificates", "Certificates", {
  note: "Store, panel, agents and managers speak to each other with these only. They renew themselves.",
  tools: buttons(ctx, [{ action: "renew", words: "Renew all…", may: "administer" }, { action: "authority", words: "Change the authority…", may: "administer" }]),
}, whenLoaded(ctx.data("certificates", certificates, ctx.status.revision), (found) => (found ? trustView(found) : emptyView("lock", "Not known yet", "The agent of a management node tells it."))));

const STATES = {
  waiting: { tone: "busy", icon: "busy", label: "Being renewed" },
  current: { tone: "ok", icon: "check", label: "Current" },
  former: { tone: "warn", icon: "clock", label: "Of the former authority" },
};

const trustView = (trust) => [
  h("p", { class: "section-text" }, "Authority ", mono(`${trust.fingerprint.slice(0, 23)}…`), " until ", moment(trust.ends),
    trust.phase && h("span", {}, " · being changed: ", trust.waiting_for.length ? `waiting for ${trust.waiting_for.join(", ")}` : trust.phase)),
  table("Certificates of the nodes", [
    ["Node", (one) => nodeLink(one.node)],
    ["Good until", (one) => moment(one.ends), (one) => one.ends],
    ["State", (one) => pill(STATES[one.waiting ? "waiting" : one.current_authority ? "current" : "former"])],
  ], trust.nodes, { noun: "certificate", key: (one) => one.node, sort: "Node" }),
];
