// What a person can do from the page. Each action looks up what it acts on in the present picture.

import { api } from "./api.js";
import { ask, askAndTell, direct } from "./dialogs.js";
import { h, icon, prose } from "./dom.js";
import { count } from "./words.js";

/** data-action → function(id, status) */
export const ACTIONS = {
  move: moveInstance,
  start: (id, status) => direct(() => api.start(serviceOf(id, status)), `${id} is to be started`),
  stop: stopInstance,
  "confirm-dead": confirmDead,
  "create-nfs": createNfs,
  "delete-nfs": deleteNfs,
};

/** Services are started and stopped as a whole; most have one instance. */
function serviceOf(id, status) {
  const service = status.services.find((one) => one.instances.includes(id));
  return service ? `${service.kind}/${service.name}` : id;
}

async function moveInstance(id, status) {
  const instance = status.instances.find((one) => one.id === id);
  const role = { panel: "management", nfs: "storage" }[instance.kind];
  const targets = status.nodes.filter((node) => node.id !== instance.node && node.state === "up" && (!role || node.roles.includes(role)));
  const options = [["", "Let Holdfast choose"], ...targets.map((node) => [node.id, `${node.id}, ${count(node.instances.length, "instance")} there`])];
  await askAndTell({
    title: `Move ${id}`,
    text: [
      h("p", {}, "It runs on ", h("b", {}, instance.node || "no node"), " now. It is stopped there cleanly, then started on the other node; clients wait for a moment."),
      targets.length === 0 && h("p", { class: "warning" }, icon("alert"), "No other node that is up may carry it."),
    ].filter(Boolean),
    fields: [{ name: "node", label: "To", options, hint: "Only nodes that are up and have the role are listed." }],
    confirm: "Move",
    submit: ({ node }) => api.move(id, node),
  }, `${id} moves`);
}

async function stopInstance(id, status) {
  const service = serviceOf(id, status);
  await askAndTell({
    title: `Stop ${service}`,
    text: [h("p", {}, "Clients lose it until it is started again; the data stays. It will not be restarted after a failure while it is stopped.")],
    confirm: "Stop",
    tone: "danger",
    submit: () => api.stop(service),
  }, `${service} is to be stopped`);
}

async function confirmDead(id, status) {
  const strict = status.instances.filter((one) => one.node === id && one.exclusivity === "strict");
  const kinds = { nfs: "files and locks of the volume", vm: "its disks" };
  const warning = await api.deathWarning(id);
  await askAndTell({
    title: `Confirm that ${id} is dead`,
    text: [
      h("p", { class: "warning strong" }, icon("alert"), h("span", {}, prose(warning))),
      strict.length > 0 && h("ul", { class: "at-risk" }, strict.map((one) =>
        h("li", {}, h("b", {}, one.id), `: ${kinds[one.kind] ?? "its data"}`, one.address && h("span", { class: "dim" }, `, at ${one.address}`)))),
      h("p", {}, `Go and look: ${id} must be switched off, or unplugged, and must stay off until it has been claimed. Your word is recorded as the proof (P5).`),
    ].filter(Boolean),
    fields: [
      { name: "typed", label: `Type ${id} to confirm`, required: true, must: (text) => (text === id ? "" : `Type exactly ${id}.`) },
      { name: "reason", label: "How do you know?", hint: "Kept in the incident, for example: pulled both power cords." },
    ],
    confirm: `${id} is dead`,
    tone: "danger",
    submit: ({ reason }) => api.confirmDead(id, reason),
  }, `${id} is confirmed dead; recovery goes on`);
}

async function createNfs(_id, status) {
  if (!status.kinds.some((kind) => kind.kind === "nfs") && !(await prepareNfs(status))) return;
  await askAndTell({
    title: "New NFS volume",
    text: [h("p", {}, "A directory on the shared storage, exported by its own NFS server (NFSv4.1/4.2) at its own address. It is highly available at once: if its node fails, server, locks and address come back on another storage node.")],
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "vol1", hint: "Small letters, digits and hyphens.",
        must: (text) => (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text) ? "" : "Use small letters, digits and hyphens, with a letter or digit first and last."),
        blame: /name|exists already|being deleted/ },
      { name: "address", label: "Address", placeholder: "10.78.0.101", hint: "Where clients mount it. Empty: the next free one of the pool.", blame: /address|network/ },
      { name: "size", label: "Size", placeholder: "100GiB", hint: "A quota where the shared storage has them. Empty: no limit.",
        must: (text) => (text === "" || /^\d+(\.\d+)?\s*([KMGTP]i?B?|B)?$/i.test(text) ? "" : "Write it like 100GiB."), blame: /size/ },
      { name: "clients", label: "Clients", placeholder: "10.78.0.0/24", hint: "Networks or addresses that may mount it, separated by commas. Empty: every client that reaches it.", blame: /client|access/ },
    ],
    confirm: "Create volume",
    submit: ({ clients, ...rest }) => api.createNfs({ ...rest, access: list(clients) }),
  }, "The volume is being created");
}

/** Once per cluster, before the first volume. */
async function prepareNfs(status) {
  const able = status.nodes.filter((node) => node.state === "up" && node.addresses.public).map((node) => node.id);
  return ask({
    title: "Prepare NFS",
    text: [h("p", {}, "Needed once: which nodes may carry volumes, and which addresses volumes may take. Each volume gets one; clients keep it wherever the volume runs.")],
    fields: [
      { name: "nodes", label: "Nodes", required: true, value: able.join(", "), hint: "Two at least, separated by commas. They get the role storage.", blame: /node/ },
      { name: "addresses", label: "Addresses", required: true, placeholder: "10.78.0.101-10.78.0.150", hint: "Free addresses of the network public.", blame: /address|pool|ends|mixes/ },
    ],
    confirm: "Prepare",
    submit: ({ nodes, addresses }) => api.prepareNfs(list(nodes), list(addresses)),
  });
}

const list = (text) => text.split(/[\s,]+/).filter(Boolean);

async function deleteNfs(id, status) {
  const name = id.split("/")[1];
  await askAndTell({
    title: `Delete ${serviceOf(id, status)}`,
    text: [h("p", {}, "Its NFS server is stopped, clients lose it, and its address is given back. The files stay on the shared storage in the volume's directory.")],
    fields: [{ name: "typed", label: `Type ${name} to confirm`, required: true, must: (text) => (text === name ? "" : `Type exactly ${name}.`) }],
    confirm: "Delete volume",
    tone: "danger",
    submit: () => api.deleteNfs(name),
  }, `${id} is being deleted`);
}
