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
};

/** Services are started and stopped as a whole; most have one instance. */
function serviceOf(id, status) {
  const service = status.services.find((one) => one.instances.includes(id));
  return service ? `${service.kind}/${service.name}` : id;
}

const ROLES = { panel: "management", vm: "compute", nfs: "storage", iscsi: "storage", s3: "s3", backup: "backup" };

async function moveInstance(id, status) {
  const instance = status.instances.find((one) => one.id === id);
  const role = ROLES[instance.kind];
  const targets = status.nodes.filter((node) => node.id !== instance.node && node.state === "up" && (!role || node.roles.includes(role)));
  const options = [["", "Let Holdfast choose"], ...targets.map((node) => [node.id, `${node.id}, ${count(node.instances.length, "instance")} there`])];
  const live = instance.kind === "vm";
  await askAndTell({
    title: `Move ${id}`,
    text: [
      h("p", {}, "It runs on ", h("b", {}, instance.node || "no node"), live ? " now." : " now. It is stopped there cleanly, then started on the other node; clients wait for a moment."),
      targets.length === 0 && h("p", { class: "warning" }, icon("alert"), "No other node that is up may carry it."),
    ].filter(Boolean),
    fields: [
      { name: "node", label: "To", options, hint: "Only nodes that are up and have the role are listed." },
      ...(live ? [{ name: "live", label: "Live, without an interruption", type: "checkbox", value: true, hint: "Otherwise it is stopped there and started on the other node." }] : []),
    ],
    confirm: "Move",
    submit: ({ node, live: alive = false }, terms) => api.move(id, node, alive, terms),
  }, `${id} moves`);
}

async function stopInstance(id, status) {
  const service = serviceOf(id, status);
  await askAndTell({
    title: `Stop ${service}`,
    text: [h("p", {}, "Clients lose it until it is started again; the data stays. It will not be restarted after a failure while it is stopped.")],
    confirm: "Stop",
    tone: "danger",
    submit: (_values, terms) => api.stop(service, terms),
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
