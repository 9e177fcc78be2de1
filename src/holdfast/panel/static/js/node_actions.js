// What can be done with nodes: add, change, fence devices, maintenance, remove. Forms with what each means.

import { call, path } from "./api.js";
import { askAndTell, confirm, direct, present, toast } from "./dialogs.js";
import { h, icon, prose } from "./dom.js";
import { save } from "./incident_export.js";
import { precheckView } from "./precheck.js";
import { KIND_ORDER, count, kindWord, roleWord } from "./words.js";

const at = (id, rest = "") => `/api/v1/nodes/${path(id)}${rest}`;

const DEVICE_FIELDS = [
  { name: "device_type", label: "Power fence device", type: "select", options: [["", "None now"], ["redfish", "Redfish (management controller)"], ["fence-agent", "fence-agents (IPMI, power strips, …)"], ["manual", "Manual: a person confirms"]],
    hint: "What can switch the machine off and read back that it is off. With neither device nor watchdog, Holdfast asks you when it falls silent." },
  { name: "device_name", label: "Its name", value: "bmc", required: true, when: (values) => values.device_type },
  { name: "url", label: "Address of the controller", placeholder: "https://10.79.0.102", required: true, blame: /url/, when: (values) => values.device_type === "redfish" },
  { name: "agent", label: "Agent", placeholder: "fence_ipmilan", required: true, blame: /agent/, when: (values) => values.device_type === "fence-agent" },
  { name: "ip", label: "Address", placeholder: "10.79.0.9", when: (values) => values.device_type === "fence-agent" },
  { name: "username", label: "User name", when: (values) => ["redfish", "fence-agent"].includes(values.device_type) },
  { name: "password", label: "Password", type: "password", hint: "Kept encrypted, never shown again.", when: (values) => ["redfish", "fence-agent"].includes(values.device_type) },
  { name: "trust", label: "Trust", type: "select", options: [["", "Authorities of the system"], ["fingerprint", "Its certificate's fingerprint"], ["insecure", "Whatever answers (not safe)"]], when: (values) => values.device_type === "redfish" },
  { name: "fingerprint", label: "SHA-256 fingerprint", required: true, when: (values) => values.trust === "fingerprint" },
  { name: "more", label: "More options", type: "textarea", rows: 3, placeholder: "plug=2\nlanplus=1", hint: "One `name=value` in each line, by the long names of the agent.", when: (values) => ["redfish", "fence-agent"].includes(values.device_type) },
];

function deviceOf({ device_type: type, device_name: name, more = "", trust = "", ...rest }) {
  if (!type) return null;
  const options = {};
  for (const key of ["url", "agent", "ip", "username", "password", "fingerprint"]) if (rest[key]) options[key] = rest[key];
  if (trust === "insecure") options.insecure = "true";
  for (const line of more.split("\n")) {
    const [key, ...value] = line.split("=");
    if (key.trim()) options[key.trim()] = value.join("=").trim();
  }
  return { name, type, options };
}

export async function addNode(ctx) {
  const networks = ctx.status.cluster.networks?.map((network) => network.name) ?? ["management"];
  const roles = ["compute", "storage", "s3", "backup"];
  const outcome = await askAndTell({
    title: "Add a node",
    wide: true,
    text: [h("p", {}, "It becomes a member now; it joins when you run the command that is shown afterwards, on its machine. A management node is added as any other, then named in the management high availability.")],
    fields: [
      { name: "id", label: "Name", required: true, placeholder: "n5", hint: "1 to 32 small letters, digits and hyphens.",
        must: (text) => (/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(text) ? "" : "Use small letters, digits and hyphens, with a letter or digit first and last."), blame: /^node `|exists already/i },
      { name: "roles", label: "Roles", type: "checks", required: true, value: ["compute", "storage"], options: roles.map((role) => [role, roleWord(role)]), blame: /role/ },
      ...networks.map((network) => ({ name: `address-${network}`, label: `Address in ${network}`, required: network === "management", blame: new RegExp(`address|${network}`) })),
      { name: "failure_domain", label: "Failure domain", placeholder: "rack-a", hint: "What fails together. Empty: a domain of its own." },
      ...DEVICE_FIELDS,
      { name: "token_s", label: "How it joins", type: "select", options: [["3600", "A join token, good for one hour"], ["86400", "A join token, good for one day"], ["0", "A bundle: a file with its key"]],
        hint: "A token works once; a bundle needs no connection to this cluster when it is made use of." },
    ],
    confirm: "Add node",
    submit: (values, terms) => call("POST", "/api/v1/nodes", {
      id: values.id, roles: values.roles, failure_domain: values.failure_domain,
      addresses: Object.fromEntries(networks.map((network) => [network, values[`address-${network}`]]).filter(([, address]) => address)),
      fence_devices: [deviceOf(values)].filter(Boolean), token_s: Number(values.token_s),
    }, terms).then((answer) => ({ ...answer, node: values.id })),
  }, "The node is added");
  if (outcome) await showJoin(outcome.node, outcome.data ?? {});
}

/** What lets the machine join is shown once. */
async function showJoin(id, { token, bundle }) {
  if (!token && !bundle) return;
  const file = `${id}.bundle`;
  const command = token ? `holdfast node join --token ${token}` : `holdfast node join ${file} && rm ${file}`;
  const commandLine = h("code", { class: "command", tabindex: "0" }, command);
  const copy = h("button", { type: "button", class: "ghost small" }, icon("copy"), "Copy");
  copy.addEventListener("click", () => navigator.clipboard.writeText(command).then(() => toast("ok", "Copied"), () => toast("warn", "The browser does not let me copy: select it by hand")));
  const download = !token && bundle ? h("button", { type: "button", class: "primary" }, icon("download"), "Save the bundle") : null;
  download?.addEventListener("click", () => save(file, "application/octet-stream", Uint8Array.from(atob(bundle), (char) => char.charCodeAt(0))));
  await present({
    title: "Let it join",
    wide: true,
    content: h("div", { class: "dialog-text" },
      h("p", { class: "warning strong" }, icon("alert"), h("span", {}, token ? "The token is shown once. Whoever has it can join as this node until it is used or expires." : "The bundle is shown once. It is as secret as a root password: it holds the node's private key.")),
      download,
      h("p", {}, `Run this on ${id}:`), h("div", { class: "command-line" }, commandLine, copy),
      h("p", { class: "dim" }, "Then, there: ", h("code", {}, "systemctl enable --now holdfast-guard holdfast-agent"), ".")),
  });
}

export function setNode(node, ctx) {
  return askAndTell({
    title: `Slots and domain of ${node.id}`,
    text: [h("p", {}, "How many instances of a kind it carries at most. Nothing is moved off when there are more than slots; no other one is placed there.")],
    fields: [
      ...KIND_ORDER.filter((kind) => kind !== "panel").map((kind) => ({ name: kind, label: `${kindWord(kind)} slots`, type: "number", min: 0, value: node.slots[kind] ?? "", placeholder: "no limit",
        must: (text) => (/^\d+$/.test(text) ? "" : "Write a whole number, or nothing for no limit.") })),
      { name: "failure_domain", label: "Failure domain", value: node.failure_domain, hint: "What fails together. Empty: a domain of its own." },
    ],
    confirm: "Save",
    mayForce: true,
    dryRun: (values, terms) => change(node, values, terms),
    submit: (values, terms) => change(node, values, terms),
  }, `${node.id} is changed`).then((outcome) => outcome && ctx.redraw());
}

function change(node, { failure_domain, ...slots }, terms) {
  const wanted = Object.fromEntries(Object.entries(slots).map(([kind, text]) => [kind, text === "" ? null : Number(text)]));
  const changed = Object.fromEntries(Object.entries(wanted).filter(([kind, value]) => value !== (node.slots[kind] ?? null)));
  const body = { slots: changed, force: terms.force ?? false, ...(failure_domain === node.failure_domain ? {} : { failure_domain }) };
  return call("PUT", at(node.id), body, { ...terms, force: false });
}

export function addDevice(node, ctx) {
  const names = node.fence_devices.map((device) => device.name);
  return askAndTell({
    title: `Fence devices of ${node.id}`,
    wide: true,
    text: [h("p", {}, "It must be able to switch the machine off and to say that it is off; that reading is the proof.",
      names.length > 0 && ` It is tried after ${names.join(" and ")}; a device of the same name is replaced.`)],
    fields: DEVICE_FIELDS.map((field) => {
      if (field.name === "device_type") return { ...field, value: "redfish", options: field.options.slice(1) };
      return field.name === "device_name" && names.includes(field.value) ? { ...field, value: `bmc-${names.length + 1}` } : field;
    }),
    confirm: "Set device",
    submit: (values, terms) => {
      const device = deviceOf(values);
      return call("PUT", at(node.id, "/fence-devices"), { devices: [device], keep: names.filter((name) => name !== device.name) }, terms);
    },
  }, "The device is set; test it now").then(() => { ctx.local.test = null; ctx.redraw(); });
}

/** One device, or all of them. */
export function removeDevices(node, ctx, name = "") {
  const lost = node.fence_devices.filter((device) => !name || device.name === name);
  const keep = node.fence_devices.filter((device) => !lost.includes(device)).map((device) => device.name);
  return confirm({
    title: name ? `Remove the fence device ${name} of ${node.id}` : `Remove the fence devices of ${node.id}`,
    text: [keep.length ? h("p", {}, `${keep.join(" and ")} can still switch it off.`) : h("p", {}, `${node.id} cannot be switched off any more when it fails. ${node.watchdog ? "Its watchdog remains: failovers wait for it." : "Without a watchdog nothing strict moves before you confirm its death."}`)],
    lost: lost.map((device) => `${device.name} (${device.type}) with its password`),
    confirm: "Remove",
    submit: (_values, terms) => call("PUT", at(node.id, "/fence-devices"), { devices: [], keep }, terms),
    done: "Removed",
  }).then(() => { ctx.local.test = null; ctx.redraw(); });
}

export async function removeNode(node, ctx) {
  const outcome = await confirm({
    title: `Remove ${node.id}`,
    text: [h("p", {}, "The cluster forgets it, and its certificate is worth nothing any more. To have it back, it is added and joined anew.")],
    lost: [`${node.id} as a member, with its roles and addresses`, node.fence_devices.length && `its ${count(node.fence_devices.length, "fence device")}`].filter(Boolean),
    typed: node.id,
    confirm: "Remove node",
    mayForce: true,
    dryRun: (_values, terms) => call("DELETE", at(node.id), undefined, terms),
    submit: (_values, terms) => call("DELETE", at(node.id), undefined, terms),
    done: `${node.id} is removed`,
  });
  if (outcome) ctx.go("#/nodes");
}

export const returnNode = (id) => direct(() => call("POST", at(id, "/return")), `${id} may carry instances again`);

export async function enterMaintenance(id, ctx) {
  let precheck;
  try {
    precheck = await call("GET", at(id, "/maintenance/precheck"));
  } catch (problem) {
    return toast("bad", prose(`${problem.text}. ${problem.advice}`));
  }
  return askAndTell({
    title: `Maintenance of ${id}`,
    wide: true,
    text: [precheckView(precheck, ctx.status)],
    fields: [{ name: "bring_back", label: "Bring back afterwards", type: "checkbox", value: true, hint: "What is moved off returns when the maintenance ends." }],
    confirm: "Begin maintenance",
    mayForce: true,
    submit: ({ bring_back }, { force, ...terms }) => call("POST", at(id, "/maintenance"), { bring_back, force: force ?? false }, terms),
  }, `${id} is in maintenance`);
}

export function endMaintenance(node, ctx) {
  const { moved, bring_back: back } = node.maintenance;
  return askAndTell({
    title: `End the maintenance of ${node.id}`,
    text: [h("p", {}, "It may carry instances again. Nothing more leaves it, also if not all has left yet.")],
    fields: moved.length ? [{ name: "bring_back", label: `Bring back what was moved off`, type: "checkbox", value: back, hint: moved.join(", ") }] : [],
    confirm: "End maintenance",
    submit: ({ bring_back = back }, terms) => call("DELETE", `${at(node.id, "/maintenance")}?bring_back=${bring_back}`, undefined, terms),
  }, `The maintenance of ${node.id} is over`).then(() => ctx.redraw());
}
