// Accounts and API tokens; and oneself: password, sessions.

import { call, items, path } from "../api.js";
import { askAndTell, confirm } from "../dialogs.js";
import { h, icon, pill } from "../dom.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";
import { clockTime } from "../words.js";
import { showSecrets } from "./kinds/secrets.js";

const ROLES = [
  ["viewer", "Viewer: looks at everything but secrets, accounts and the audit"],
  ["operator", "Operator: services, moves, maintenance, drills, alarms"],
  ["admin", "Administrator: also nodes, high availability, accounts, settings"],
];
const SCOPES = [
  ["read", "read", "look at everything"], ["operate", "operate", "services of every kind"],
  ...["vm", "nfs", "iscsi", "s3", "backup"].map((kind) => [`operate:${kind}`, `operate:${kind}`, "only this kind"]),
  ["administer", "administer", "nodes, settings, accounts"], ["metrics", "metrics", "figures for Prometheus, nothing else"],
];

export const page = {
  title: () => "Users and tokens",
  lead: (ctx) => (ctx.may("administer") ? "Who may do what, by password or by API token. Everything they change stands in the audit log." : "Your own account: password, sessions, API tokens."),
  tools: (ctx) => [
    h("button", { type: "button", class: "ghost", "data-action": "password", "data-id": ctx.user?.name ?? "" }, icon("lock"), "Change my password…"),
    ctx.may("administer") && h("button", { type: "button", class: "primary", "data-action": "create" }, icon("plus"), "New user"),
  ].filter(Boolean),
  view: (ctx) => [
    ctx.may("administer") && section("users", "Users", "", whenLoaded(ctx.data("users", () => call("GET", "/api/v1/users").then(items), ctx.status.revision), (users) => usersTable(ctx.local.users = users, ctx))),
    section("tokens", "API tokens", "For programs, instead of a password: each holds only what it needs, and can be revoked by itself.",
      whenLoaded(ctx.data("tokens", () => call("GET", "/api/v1/tokens").then(items), ctx.status.revision), (tokens) => tokensTable(tokens, ctx)),
      h("button", { type: "button", class: "ghost", "data-action": "token" }, icon("plus"), "New token")),
    section("sessions", "My sessions", "Browsers and commands that are signed in as you.",
      whenLoaded(ctx.data("sessions", () => call("GET", "/api/v1/me/sessions").then(items), ctx.status.revision), (sessions) => sessionsTable(sessions, ctx)),
      h("button", { type: "button", class: "ghost", "data-action": "others" }, "End all others")),
  ],
  actions: {
    create: (_id, ctx) => create().then(() => ctx.forget("users")),
    change: (name, ctx) => change(ctx.local.users.find((one) => one.name === name)).then(() => ctx.forget("users")),
    password: (name, ctx) => setPassword(name, ctx),
    unlock: (name, ctx) => confirm({ title: `Unlock ${name}`, tone: "primary", confirm: "Unlock", text: [h("p", {}, "The wrong passwords that were tried for the account are forgotten.")],
      submit: (_values, terms) => call("POST", `/api/v1/users/${path(name)}/unlock`, undefined, terms) }).then(() => ctx.forget("users")),
    remove: (name, ctx) => confirm({ title: `Delete the user ${name}`, lost: ["Its sessions end now.", "Its API tokens are revoked."], typed: name, confirm: "Delete",
      submit: (_values, terms) => call("DELETE", `/api/v1/users/${path(name)}`, undefined, terms) }).then(() => ctx.forget()),
    token: (_id, ctx) => makeToken(ctx),
    revoke: (id, ctx) => confirm({ title: "Revoke this API token", text: [h("p", {}, "Whatever uses it is refused from now on.")], confirm: "Revoke",
      submit: (_values, terms) => call("DELETE", `/api/v1/tokens/${path(id)}`, undefined, terms) }).then(() => ctx.forget("tokens")),
    end: (id, ctx) => confirm({ title: "End this session", text: [h("p", {}, "Who uses it must sign in again.")], confirm: "End",
      submit: (_values, terms) => call("DELETE", `/api/v1/me/sessions/${path(id)}`, undefined, terms) }).then(() => ctx.forget("sessions")),
    others: (_id, ctx) => confirm({ title: "End all my other sessions", text: [h("p", {}, "Only this page stays signed in.")], confirm: "End them",
      submit: (_values, terms) => call("DELETE", "/api/v1/me/sessions", undefined, terms) }).then(() => ctx.forget("sessions")),
  },
};

const section = (id, title, note, content, tool = null) => h("section", { "data-key": id, "aria-labelledby": `${id}-title` },
  h("div", { class: "section-head" }, h("h2", { id: `${id}-title` }, title), note && h("p", {}, note), tool && h("div", { class: "tools" }, tool)), content);

const button = (action, id, words, name) => h("button", { type: "button", class: "ghost small", "data-action": action, "data-id": id, "aria-label": `${words} ${name}` }, words);
const when = (iso, none) => (iso ? h("time", { datetime: iso }, clockTime(iso)) : h("span", { class: "dim" }, none));

const usersTable = (users, ctx) => table({
  id: "users", label: "Users", noun: "user", rows: users, key: (one) => one.name, sort: "name", attributes: (one) => ({ "data-row": one.name }),
  columns: [
    { key: "name", label: "Name", value: (one) => one.name, cell: (one) => [one.name, one.name === ctx.user?.name && h("small", { class: "dim" }, "you")] },
    { key: "role", label: "Role", value: (one) => one.role },
    { key: "state", label: "State", value: (one) => String(one.disabled), cell: (one) => pill(one.disabled ? { tone: "idle", icon: "lock", label: "Disabled" } : { tone: "ok", icon: "check", label: "Active" }) },
    { key: "created", label: "Since", value: (one) => one.created, cell: (one) => when(one.created, "–") },
  ],
  actions: (one) => [button("change", one.name, "Change…", one.name), one.name !== ctx.user?.name && button("password", one.name, "Password…", one.name),
    button("unlock", one.name, "Unlock…", one.name), one.name !== ctx.user?.name && button("remove", one.name, "Delete…", one.name)],
});

const tokensTable = (tokens, ctx) => table({
  id: "tokens", label: "API tokens", noun: "token", rows: tokens, key: (one) => one.id, sort: "name", attributes: (one) => ({ "data-row": one.name }),
  empty: emptyView("lock", "No API token", "Make one for a script, for Prometheus or for a backup of the cluster's state."),
  columns: [
    { key: "name", label: "Name", value: (one) => one.name },
    ...(ctx.may("administer") ? [{ key: "owner", label: "Owner", value: (one) => one.owner }] : []),
    { key: "scopes", label: "May", value: (one) => one.scopes.join(", ") },
    { key: "expires", label: "Expires", value: (one) => one.expires ?? "", cell: (one) => when(one.expires, "never") },
    { key: "used", label: "Last used", value: (one) => one.last_used, cell: (one) => [when(one.last_used, "never"), one.last_address && h("small", { class: "dim" }, one.last_address)] },
  ],
  actions: (one) => [button("revoke", one.id, "Revoke…", one.name)],
});

const sessionsTable = (sessions, ctx) => table({
  id: "sessions", label: "My sessions", noun: "session", rows: sessions, key: (one) => one.id, sort: "-began",
  columns: [
    { key: "agent", label: "With", value: (one) => one.agent, cell: (one) => [h("span", { title: one.agent }, program(one.agent)), one.id === ctx.user?.session && h("small", { class: "dim" }, "this page")] },
    { key: "address", label: "From", value: (one) => one.address },
    { key: "began", label: "Since", value: (one) => one.began, cell: (one) => when(one.began, "–") },
  ],
  actions: (one) => (one.id === ctx.user?.session ? null : [button("end", one.id, "End…", one.address)]),
});

/** "Chrome 156 on Linux" of what a browser says of itself; others, like the command line, in their own words. */
function program(agent) {
  // Edge calls itself Chrome, too, and Chrome Safari.
  const browser = /(Edg|Firefox)\/(\d+)/.exec(agent) ?? /(Chrome|Version)\/(\d+)/.exec(agent);
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(agent);
  if (!browser) return agent || "unknown";
  const name = { Edg: "Edge", Version: "Safari" }[browser[1]] ?? browser[1];
  return `${name} ${browser[2]}${system ? ` on ${system[0]}` : ""}`;
}

const password = (name, label, more = {}) => ({ name, label, type: "password", required: true, blame: /password/, ...more });
const long = (text) => (text.length >= 10 ? "" : "At least ten characters; four random words are good.");

const create = () => askAndTell({
  title: "New user",
  fields: [
    { name: "name", label: "Name", required: true, blame: /name|account|user/ },
    { name: "role", label: "Role", options: ROLES, value: "operator", blame: /role/ },
    password("password", "Password", { must: long, hint: "At least ten characters. The person can change it." }),
  ],
  confirm: "Create user",
  submit: (values, terms) => call("POST", "/api/v1/users", values, terms),
}, "The user is created");

const change = (user) => askAndTell({
  title: `Change ${user.name}`,
  text: [h("p", {}, "All sessions of the account end, so that nobody goes on with what was taken away.")],
  fields: [
    { name: "role", label: "Role", options: ROLES, value: user.role, blame: /role|admin/ },
    { name: "disabled", label: "Disabled", type: "checkbox", value: user.disabled, hint: "Cannot sign in, and its API tokens are refused." },
  ],
  confirm: "Save",
  submit: (values, terms) => call("PUT", `/api/v1/users/${path(user.name)}`, values, terms),
}, "The user is changed");

const setPassword = (name, ctx) => askAndTell({
  title: name === ctx.user?.name ? "Change my password" : `Set the password of ${name}`,
  text: [h("p", {}, "All sessions of the account end; this page stays signed in if it is yours.")],
  fields: [password("old", "Your present password", { hint: "So that nobody changes it at a desk that was left." }), password("password", "New password", { must: long })],
  confirm: "Set password",
  submit: (values, terms) => call("PUT", `/api/v1/users/${path(name)}/password`, values, terms),
}, "The password is set").then(() => ctx.forget("sessions"));

async function makeToken(ctx) {
  const mine = ctx.user?.permissions ?? [];
  const outcome = await askAndTell({
    title: "New API token",
    text: [h("p", {}, "It acts as you, within its scopes, until it expires or you revoke it. It is shown once.")],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "prometheus", blame: /name/ },
      { name: "scopes", label: "It may", type: "checks", required: true, options: SCOPES.filter(([scope]) => mine.includes(scope)), blame: /scope/ },
      { name: "days", label: "Expires after", options: [["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["", "never"]], value: "90", blame: /days/ },
    ],
    confirm: "Make token",
    submit: ({ days, ...values }, terms) => call("POST", "/api/v1/tokens", { ...values, days: days ? Number(days) : null }, terms),
  }, "The token is made");
  if (outcome?.data?.token) await showSecrets("The new API token", [["Token", outcome.data.token]]);
  ctx.forget("tokens");
}
