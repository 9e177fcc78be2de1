// Accounts and API tokens; and oneself: password, sessions.

import { list, segment } from "../api.js";
import { h, pill } from "../dom.js";
import { confirmLoss } from "../form/confirm.js";
import { openForm } from "../form/form.js";
import { button, buttons, moment, rowButtons, section, small } from "../parts.js";
import { emptyView, whenLoaded } from "../states.js";
import { table } from "../table.js";

const ROLES = [
  ["viewer", "Viewer", "Looks at everything but secrets, accounts and the audit."],
  ["operator", "Operator", "Services, moves, maintenance, drills, alarms."],
  ["admin", "Administrator", "Also nodes, high availability, accounts, settings."],
];
const SCOPES = [
  ["read", "read", "look at everything"], ["operate", "operate", "services of every kind"],
  ...["vm", "nfs", "iscsi", "s3", "backup"].map((kind) => [`operate:${kind}`, `operate:${kind}`, "only this kind"]),
  ["administer", "administer", "nodes, settings, accounts"], ["metrics", "metrics", "figures for Prometheus, nothing else"],
];
const roleOf = (user) => ROLES.find(([role]) => role === user.role)?.[1] ?? user.role;

export const page = {
  title: () => "Users and tokens",
  lead: (ctx) => (ctx.may("administer") ? "Who may do what, by password or by API token. Everything they change stands in the audit log." : "Your own account: password, sessions, API tokens."),
  tools: (ctx) => buttons(ctx, [
    { action: "password", id: ctx.user?.name, words: "Change my password…", picture: "lock", may: "read" },
    { action: "create", words: "New user", tone: "primary", picture: "plus", may: "administer" }]),
  view: (ctx) => [
    ctx.may("administer") && section("users", "Users", {}, whenLoaded(ctx.data("users", () => list("/users"), ctx.status.revision), (users) => usersTable(ctx.local.users = users, ctx))),
    section("tokens", "API tokens", {
      note: "For programs, instead of a password: each holds only what it needs, and can be revoked by itself.",
      tools: button(ctx, { action: "token", words: "New token", picture: "plus", may: "read" }),
    }, whenLoaded(ctx.data("tokens", () => list("/tokens"), ctx.status.revision), (tokens) => tokensTable(tokens, ctx))),
    section("sessions", "My sessions", { note: "Browsers and commands that are signed in as you.", tools: button(ctx, { action: "others", words: "End all others…", may: "read" }) },
      whenLoaded(ctx.data("sessions", () => list("/me/sessions"), ctx.status.revision), (sessions) => sessionsTable(sessions, ctx))),
  ],
  actions: {
    create: (_id, ctx) => create(ctx),
    change: (name, ctx) => change(ctx.local.users.find((one) => one.name === name), ctx),
    password: (name, ctx) => setPassword(name, ctx),
    unlock: (name, ctx) => openForm({
      title: `Unlock ${name}`, text: ["The wrong passwords that were tried for the account are forgotten."], confirm: "Unlock",
      request: () => ({ method: "POST", path: `/users/${segment(name)}/unlock` }), done: () => ctx.forget("users"),
    }, ctx),
    remove: (name, ctx) => confirmLoss({
      title: `Delete the user ${name}`, lost: ["Its sessions end now.", "Its API tokens are revoked."], stays: ["What it did stands in the audit log."], type: name, confirm: "Delete user",
      request: () => ({ method: "DELETE", path: `/users/${segment(name)}` }), done: () => ctx.forget(),
    }, ctx),
    token: (_id, ctx) => makeToken(ctx),
    revoke: (id, ctx) => confirmLoss({
      title: "Revoke this API token", lost: ["Whatever uses it is refused from now on."], confirm: "Revoke",
      request: () => ({ method: "DELETE", path: `/tokens/${segment(id)}` }), done: () => ctx.forget("tokens"),
    }, ctx),
    end: (id, ctx) => openForm({
      title: "End this session", text: ["Who uses it must sign in again."], confirm: "End session", tone: "danger",
      request: () => ({ method: "DELETE", path: `/me/sessions/${segment(id)}` }), done: () => ctx.forget("sessions"),
    }, ctx),
    others: (_id, ctx) => openForm({
      title: "End all my other sessions", text: ["Only this page stays signed in."], confirm: "End them", tone: "danger",
      request: () => ({ method: "DELETE", path: "/me/sessions" }), done: () => ctx.forget("sessions"),
    }, ctx),
  },
};

const usersTable = (users, ctx) => table("Users", [
  ["Name", (one) => [one.name, one.name === ctx.user?.name && small("you")]],
  ["Role", roleOf],
  ["State", (one) => pill(one.disabled ? { tone: "idle", icon: "lock", label: "Disabled" } : { tone: "ok", icon: "check", label: "Active" })],
  ["Since", (one) => moment(one.created), (one) => one.created],
], users, {
  noun: "user", key: (one) => one.name, sort: "Name",
  actions: (one) => rowButtons(ctx, one.name, [
    { action: "change", words: "Change…", may: "administer" },
    one.name !== ctx.user?.name && { action: "password", words: "Password…", may: "administer" },
    { action: "unlock", words: "Unlock…", may: "administer" },
    one.name !== ctx.user?.name && { action: "remove", words: "Delete…", tone: "danger", may: "administer" }]),
});

const tokensTable = (tokens, ctx) => table("API tokens", [
  ["Name", (one) => one.name],
  ...(ctx.may("administer") ? [["Owner", (one) => one.owner]] : []),
  ["May", (one) => one.scopes.join(", ")],
  ["Expires", (one) => moment(one.expires, "never"), (one) => one.expires ?? ""],
  ["Last used", (one) => [moment(one.last_used, "never"), one.last_address && small(one.last_address)], (one) => one.last_used],
], tokens, {
  noun: "token", key: (one) => one.id, sort: "Name", attributes: (one) => ({ "data-row": one.name }),
  empty: emptyView("lock", "No API token", "Make one for a script, for Prometheus or for a backup of the cluster's state."),
  actions: (one) => rowButtons(ctx, one.id, [{ action: "revoke", words: "Revoke…", tone: "danger", may: "read" }], one.name),
});

const sessionsTable = (sessions, ctx) => table("My sessions", [
  ["With", (one) => [h("span", { title: one.agent }, program(one.agent)), one.id === ctx.user?.session && small("this page")], (one) => one.agent],
  ["From", (one) => one.address],
  ["Since", (one) => moment(one.began), (one) => one.began],
], sessions, {
  noun: "session", key: (one) => one.id, sort: "-Since",
  actions: (one) => (one.id === ctx.user?.session ? null : rowButtons(ctx, one.id, [{ action: "end", words: "End…", may: "read" }], one.address)),
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

// --- forms ---

const long = (text) => (text.length >= 10 ? "" : "At least ten characters; four random words are good.");
const roleField = (value) => ({ name: "role", label: "Role", type: "choice", options: ROLES, value, blame: /role|admin/, hint: "What the account may do, by password and by its API tokens." });

const create = (ctx) => openForm({
  title: "New user",
  fields: [
    { name: "name", label: "Name", required: true, blame: /name|account|user/, hint: "To sign in with. It cannot be changed later." },
    roleField("operator"),
    { name: "password", label: "Password", type: "secret", required: true, must: long, blame: /password/, hint: "At least ten characters. The person can change it." },
  ],
  confirm: "Create user", told: "The user is created",
  request: (body) => ({ method: "POST", path: "/users", body }), done: () => ctx.forget("users"),
}, ctx);

const change = (user, ctx) => openForm({
  title: `Change ${user.name}`, text: ["All sessions of the account end, so that nobody goes on with what was taken away."],
  fields: [roleField(user.role), { name: "disabled", label: "Disabled", type: "switch", value: user.disabled, blame: /disable/, hint: "Cannot sign in, and its API tokens are refused." }],
  confirm: "Save", told: "The user is changed",
  request: (body) => ({ method: "PUT", path: `/users/${segment(user.name)}`, body }), done: () => ctx.forget("users"),
}, ctx);

const setPassword = (name, ctx) => openForm({
  title: name === ctx.user?.name ? "Change my password" : `Set the password of ${name}`,
  text: ["All sessions of the account end; this page stays signed in if it is yours."],
  fields: [
    { name: "old", label: "Your present password", type: "secret", required: true, blame: /present|wrong|your own/i, hint: "So that nobody changes it at a desk that was left." },
    { name: "password", label: "New password", type: "secret", required: true, must: long, blame: /password/, hint: "At least ten characters." }],
  confirm: "Set password", told: "The password is set",
  request: (body) => ({ method: "PUT", path: `/users/${segment(name)}/password`, body }), done: () => ctx.forget("sessions"),
}, ctx);

function makeToken(ctx) {
  const mine = ctx.user?.permissions ?? [];
  return openForm({
    title: "New API token", text: ["It acts as you, within its scopes, until it expires or you revoke it. It is shown once."],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "prometheus", blame: /name/, hint: "What it is for: it stands in the audit log." },
      { name: "scopes", label: "It may", type: "several", required: true, options: SCOPES.filter(([scope]) => mine.includes(scope)), blame: /scope/, hint: "No more than it needs." },
      { name: "days", label: "Expires after", options: [["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["", "never"]], value: "90", blame: /days/, hint: "It is refused from then on." },
    ],
    confirm: "Make token", told: "The token is made",
    request: ({ days, ...values }) => ({ method: "POST", path: "/tokens", body: { ...values, days: days ? Number(days) : null } }),
    secretTitle: "The new API token", secrets: (outcome) => [["Token", outcome.data.token]],
    done: () => ctx.forget("tokens"),
  }, ctx);
}
