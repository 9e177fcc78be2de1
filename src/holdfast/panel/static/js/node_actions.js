// What can be done with nodes: add, change, fence devices, maintenance, remove. Forms with what each means.

import { load, segments, send } from "./api.js";
import { copyBox } from "./copy.js";
import { h, icon } from "./dom.js";
import * as check from "./form/checks.js";
import { confirmLoss } from "./form/confirm.js";
import { openForm } from "./form/form.js";
import { present } from "./form/present.js";
import { save } from "./incident_export.js";
import { warning } from "./parts.js";
import { precheckView } from "./precheck.js";
import { direct, problemText, toast } from "./say.js";
import { count, KIND_ORDER, kindWord, listed, roleWord } from "./words.js";

const at = (id, rest = "") => `/nodes/${segments(id)}${rest}`;

// --- fence devices ---

const asked = (...types) => (values) => types.includes(values.device_type);
const option = check.matching(/^[\w-]+=/, "Write `name=value` in each line.");

/** `none`: it may be left out. `name`: of the device. */
const deviceFields = ({ none = false, name = "bmc" } = {}) => [
  { name: "device_type", label: "Power fence device", span: true, value: none ? "" : "redfish",
    options: [...(none ? [["", "None now"]] : []), ["redfish", "Redfish (management controller)"], ["fence-agent", "fence-agents (IPMI, power strips, …)"], ["manual", "Manual: a person confirms"]],
    hint: "What can switch the machine off and read back that it is off. With neither device nor watchdog, Holdfast asks you when it falls silent." },
  { name: "device_name", label: "Its name", value: name, required: true, must: check.name, blame: /name/, when: (values) => values.device_type, hint: "What you call it here." },
  { name: "url", label: "Address of the controller", placeholder: "https://10.79.0.102", required: true, blame: /url/, when: asked("redfish"), hint: "Where its Redfish service answers." },
  { name: "agent", label: "Agent", placeholder: "fence_ipmilan", required: true, blame: /agent/, when: asked("fence-agent"), hint: "A program of the package fence-agents, installed on every node." },
  { name: "ip", label: "Address", placeholder: "10.79.0.9", when: asked("fence-agent"), hint: "Of the device." },
  { name: "username", label: "User name", when: asked("redfish", "fence-agent"), hint: "Who may read the power state and switch it." },
  { name: "password", label: "Password", type: "secret", when: asked("redfish", "fence-agent"), hint: "Kept encrypted, never shown again." },
  { name: "trust", label: "Trust", options: [["", "Authorities of the system"], ["fingerprint", "Its certificate's fingerprint"], ["insecure", "Whatever answers (not safe)"]], when: asked("redfish"), hint: "How the controller proves who it is." },
  { name: "fingerprint", label: "SHA-256 fingerprint", required: true, when: (values) => values.device_type === "redfish" && values.trust === "fingerprint", hint: "Of the controller's certificate." },
  { name: "more", label: "More options", type: "lines", by: "line", rows: 3, placeholder: "plug=2\nlanplus=1", must: check.each(option), when: asked("redfish", "fence-agent"), hint: "One `name=value` in each line, by the long names of the agent." },
];

const PLAIN = ["url", "agent", "ip", "username", "password", "fingerprint"];

function deviceOf({ device_type: type, device_name: name, more = [], trust, ...rest }) {
  const given = PLAIN.filter((key) => rest[key]).map((key) => [key, rest[key]]);
  const further = more.map((line) => [line.slice(0, line.indexOf("=")).trim(), line.slice(line.indexOf("=") + 1).trim()]);
  return { name, type, options: Object.fromEntries([...given, ...(trust === "insecure" ? [["insecure", "true"]] : []), ...further]) };
}

export function addDevice(node, ctx) {
  const names = node.fence_devices.map((device) => device.name);
  return openForm({
    title: `Fence devices of ${node.id}`, wide: true,
    text: [`It must be able to switch the machine off and to say that it is off; that reading is the proof.${names.length ? ` It is tried after ${listed(names)}; a device of the same name is replaced.` : ""}`],
    fields: deviceFields({ name: names.includes("bmc") ? `bmc-${names.length + 1}` : "bmc" }),
    confirm: "Set device", told: "The device is set; test it now",
    request: (values) => {
      const device = deviceOf(values);
      return { method: "PUT", path: at(node.id, "/fence-devices"), body: { devices: [device], keep: names.filter((name) => name !== device.name) } };
    },
    done: () => forgetTest(ctx),
  }, ctx);
}

export function removeDevice(node, ctx, name) {
  const lost = node.fence_devices.find((device) => device.name === name);
  const keep = node.fence_devices.filter((device) => device !== lost).map((device) => device.name);
  return confirmLoss({
    title: `Remove the fence device ${name} of ${node.id}`,
    lost: [`${name} (${lost.type}) with its password`,
      keep.length === 0 && `${node.id} cannot be switched off any more when it fails. ${node.watchdog ? "Its watchdog remains: failovers wait for it." : "Without a watchdog nothing strict moves before you confirm its death."}`],
    stays: [keep.length > 0 && `${listed(keep)} can still switch it off.`],
    confirm: "Remove", told: "Removed",
    request: () => ({ method: "PUT", path: at(node.id, "/fence-devices"), body: { devices: [], keep } }),
    done: () => forgetTest(ctx),
  }, ctx);
}

function forgetTest(ctx) {
  ctx.local.test = null;
  ctx.redraw();
}

// --- members ---

const domain = (value = "") => ({ name: "failure_domain", label: "Failure domain", value, placeholder: "rack-a", blame: /domain/i, hint: "What fails together. Empty: a domain of its own." });

export function addNode(ctx) {
  const { networks } = ctx.status.cluster;
  const roles = ["compute", "storage", "s3", "backup"];
  const id = check.matching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, "Use up to 32 small letters, digits and hyphens, with a letter or digit first and last.");
  return openForm({
    title: "Add a node", wide: true,
    text: ["It becomes a member now; it joins when you run the command that is shown afterwards, on its machine. A management node is added as any other, then named in the management high availability."],
    fields: [
      { name: "id", label: "Name", required: true, placeholder: "n5", must: check.all(id, check.fresh(ctx.status.nodes.map((node) => node.id), "a node")), blame: /^node `|exists already/i, hint: "1 to 32 small letters, digits and hyphens." },
      domain(),
      { name: "roles", label: "Roles", type: "several", required: true, value: ["compute", "storage"], options: roles.map((role) => [role, roleWord(role)]), blame: /role/, hint: "What it may carry. They can be changed later." },
      ...networks.map(({ name, cidrs }) => ({ name: `address-${name}`, label: `Address in ${name}`, required: name === "management", must: check.ip, blame: new RegExp(`address|${name}`), hint: `In ${cidrs.join(" or ")}.${name === "management" ? "" : " Empty: it is not on this network."}` })),
      { section: "If it fails", fields: deviceFields({ none: true }) },
      { section: "Joining", fields: [{ name: "token_s", label: "How it joins", options: [["3600", "A join token, good for one hour"], ["86400", "A join token, good for one day"], ["0", "A bundle: a file with its key"]], span: true,
        hint: "A token works once; a bundle needs no connection to this cluster when it is made use of." }] },
    ],
    confirm: "Add node", told: "The node is added",
    request: (values) => ({ method: "POST", path: "/nodes", body: {
      id: values.id, roles: values.roles, failure_domain: values.failure_domain,
      addresses: Object.fromEntries(networks.map(({ name }) => [name, values[`address-${name}`]]).filter(([, address]) => address)),
      fence_devices: values.device_type ? [deviceOf(values)] : [], token_s: Number(values.token_s),
    } }),
    done: (outcome, values) => showJoin(values.id, outcome.data ?? {}),
  }, ctx);
}

/** What lets the machine join is shown once. */
function showJoin(id, { token, bundle }) {
  const file = `${id}.bundle`;
  const download = !token && h("button", { type: "button", class: "primary" }, icon("download"), "Save the bundle");
  if (download) download.addEventListener("click", () => save(file, "application/octet-stream", Uint8Array.from(atob(bundle), (char) => char.charCodeAt(0))));
  return present({
    title: `Let ${id} join`, wide: true, once: true, close: "I have it",
    text: [warning(token ? "The token is shown once. Whoever has it can join as this node until it is used or expires." : "The bundle is shown once. It is as secret as a root password: it holds the node's private key.", true)],
    content: [download && h("div", {}, download),
      copyBox(`Run this on ${id}`, token ? `holdfast node join --token ${token}` : `holdfast node join ${file} && rm ${file}`, { secret: true }),
      copyBox("Then, there", "systemctl enable --now holdfast-guard holdfast-agent")],
  });
}

export const setNode = (node, ctx) => openForm({
  title: `Slots and domain of ${node.id}`, wide: true,
  text: ["How many instances of a kind it carries at most. Nothing is moved off when there are more than slots; no other one is placed there."],
  fields: [
    ...KIND_ORDER.filter((kind) => kind !== "panel").map((kind) => ({ name: kind, label: `${kindWord(kind)} slots`, type: "number", value: String(node.slots[kind] ?? ""), placeholder: "no limit", must: check.whole, hint: "Empty: no limit but cpu and memory." })),
    domain(node.failure_domain),
  ],
  confirm: "Save", effect: "typing", changes: true, force: "body",
  request: ({ failure_domain: wanted, ...slots }) => {
    const limits = Object.entries(slots).map(([kind, text]) => [kind, text === "" ? null : Number(text)]);
    const changed = Object.fromEntries(limits.filter(([kind, value]) => value !== (node.slots[kind] ?? null)));
    return { method: "PUT", path: at(node.id), body: { slots: changed, ...(wanted === node.failure_domain ? {} : { failure_domain: wanted }) } };
  },
  done: ctx.redraw,
}, ctx);

export const removeNode = (node, ctx) => confirmLoss({
  title: `Remove ${node.id}`,
  lost: [`${node.id} as a member, with its roles and addresses`, node.fence_devices.length > 0 && `its ${count(node.fence_devices.length, "fence device")}`, "Its certificate is worth nothing any more: to have it back, it is added and joined anew."],
  type: node.id, confirm: "Remove node", told: `${node.id} is removed`, effect: "typing", force: "query",
  request: () => ({ method: "DELETE", path: at(node.id) }), next: () => "#/nodes",
}, ctx);

export const returnNode = (id) => direct(() => send({ method: "POST", path: at(id, "/return") }), `${id} may carry instances again`);

// --- maintenance ---

export async function enterMaintenance(id, ctx) {
  let precheck;
  try {
    precheck = await load(at(id, "/maintenance/precheck"));
  } catch (problem) {
    return toast("bad", problemText(problem));
  }
  return openForm({
    title: `Maintenance of ${id}`, wide: true, text: [precheckView(precheck)],
    fields: [{ name: "bring_back", label: "Bring back afterwards", type: "switch", value: true, hint: "What is moved off returns when the maintenance ends." }],
    confirm: "Begin maintenance", told: `${id} is in maintenance`, force: "body",
    request: (body) => ({ method: "POST", path: at(id, "/maintenance"), body }),
  }, ctx);
}

export function endMaintenance(node, ctx) {
  const { moved, bring_back: back } = node.maintenance;
  return openForm({
    title: `End the maintenance of ${node.id}`, text: ["It may carry instances again. Nothing more leaves it, also if not all has left yet."],
    fields: [moved.length > 0 && { name: "bring_back", label: "Bring back what was moved off", type: "switch", value: back, hint: moved.join(", ") }],
    confirm: "End maintenance", told: `The maintenance of ${node.id} is over`,
    request: ({ bring_back = back }) => ({ method: "DELETE", path: at(node.id, "/maintenance"), query: { bring_back } }),
    done: ctx.redraw,
  }, ctx);
}
