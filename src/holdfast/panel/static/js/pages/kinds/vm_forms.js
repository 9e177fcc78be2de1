// Creating, importing, changing and deleting a virtual machine.

import { segment } from "../../api.js";
import * as check from "../../form/checks.js";
import { confirmLoss } from "../../form/confirm.js";
import { openForm } from "../../form/form.js";
import { to } from "../../router.js";
import { instanceOf, targets } from "../../service_actions.js";
import { changed, sizeInput } from "./wording.js";

const HA = "If its node fails, it is started on another node from its disks on the shared storage. Planned moves are live.";

const machineNames = (ctx) => ctx.status.instances.filter((one) => one.kind === "vm").map((one) => one.service);

const name = (ctx) => ({
  name: "name", label: "Name", span: true, required: true, placeholder: "web-1", blame: /name of a virtual|exists already|being deleted|being created/i,
  must: check.all(check.name, (text) => (text.length > 48 ? "Use 48 characters at most." : ""), check.fresh(machineNames(ctx), "a machine")), hint: "Small letters, digits and hyphens.",
});

const size = (vm, locked = "") => [
  { name: "cpu", label: "Cores", type: "number", required: true, value: String(vm?.cpu ?? 1), must: check.between(0.01, 1024), blame: /cores|its cpu/i, hint: locked || "Parts of a core are possible. The planner counts with them." },
  { name: "memory", label: "Memory", required: true, value: vm ? sizeInput(vm.memory_mib * 1024 ** 2) : "1GiB", must: check.memory, blame: /MiB of memory|its memory/i, hint: locked || "Like 2GiB; it is reserved for the machine." },
];

const importance = (vm) => [
  { name: "ha", label: "Highly available", type: "switch", value: vm?.ha ?? true, hint: "Off: after its node's death it waits for that node." },
  { name: "priority", label: "Priority", type: "number", required: true, value: String(vm?.priority ?? 500), must: check.all(check.whole, check.between(0, 1000)), blame: /priority/i, hint: "0 to 1000. The higher is recovered first, and finds room first." },
  { name: "preemptible", label: "Preemptible", type: "switch", value: vm?.preemptible ?? false, hint: "It may be stopped where a machine of higher priority has no room after a failure; it does not count for the guarantee then." },
];

function policies(vm, stopped = true) {
  const config = vm?.config ?? {};
  return {
    section: "When something happens to it", advanced: true, fields: [
      { name: "on_power_off", label: "Its guest shuts itself down", type: "select", value: config.on_power_off ?? "stop", options: [["stop", "It stays off"], ["restart", "It is started again"]], hint: "Whether that is what somebody wanted, or a failure." },
      stopped && { name: "heartbeat", label: "Heartbeat", type: "select", value: config.heartbeat ?? "none", options: [["none", "None: a hung guest is not noticed"], ["agent", "The QEMU guest agent is asked"], ["port", "The guest writes to a port"]], blame: /heartbeat/i, hint: "How a hung guest is noticed." },
      { name: "on_hang", label: "Its guest hangs", type: "select", value: config.on_hang ?? "reset", options: [["reset", "Reset it"], ["ignore", "Only report it"]], when: (values) => (values.heartbeat ?? config.heartbeat ?? "none") !== "none", hint: "What is done when the heartbeat is missing." },
      { name: "hang_s", label: "Seconds without a heartbeat", type: "number", value: String(config.hang_s ?? 20), must: check.between(2.1, 3600), when: (values) => (values.heartbeat ?? config.heartbeat ?? "none") !== "none", blame: /hang/i, hint: "Counted from the first beat after it has booted." },
      { name: "on_storage_loss", label: "Its node loses the shared storage", type: "select", value: config.on_storage_loss ?? "restart", options: [["restart", "Restart it where the storage is"], ["ignore", "Leave it until the storage is back"]], hint: "Its disks cannot be read or written then." },
      { name: "storage_loss_s", label: "Seconds without the storage", type: "number", value: String(config.storage_loss_s ?? 60), must: check.between(2.1, 3600), when: (values) => values.on_storage_loss === "restart", blame: /storage_loss/i, hint: "Longer than a storage is away that only moves to another server." },
    ].filter(Boolean),
  };
}

const placing = (ctx) => ({
  section: "Start", fields: [
    { name: "started", label: "Start it at once", type: "switch", value: true, hint: "Off: it is there, and takes no room." },
    { name: "node", label: "On", type: "select", options: [["", "Where there is most room"], ...targets(ctx, { kind: "vm", node: "" })], blame: /node `/i, hint: "Only where it starts; it goes elsewhere if that node fails." },
  ],
});

function wish(values) {
  const numbers = Object.fromEntries(["hang_s", "storage_loss_s"].filter((key) => values[key]).map((key) => [key, Number(values[key])]));
  const words = Object.fromEntries(["on_power_off", "heartbeat", "on_hang", "on_storage_loss"].filter((key) => values[key]).map((key) => [key, values[key]]));
  return { priority: Number(values.priority), ha: values.ha, preemptible: values.preemptible, ...words, ...numbers };
}

const mib = (text) => Math.floor(check.bytes(text, "M") / 1024 ** 2);

function disks(ctx) {
  const images = (more) => ({ name: `images_${more}`, label: "Images", type: "lines", by: "line", required: true, when: (values) => values.disk === more, placeholder: `${ctx.status.cluster.shared_root || "/shared"}/images/debian-12.qcow2`, must: check.each(check.path), blame: /disk of|image|path|shared storage|nothing to start/i,
    hint: more === "copy" ? "Files on the shared storage, one per line. The machine gets copies of its own; these stay as they are." : "Files on the shared storage, one per line. The machine writes to them; no other machine may have them." });
  return {
    section: "Disks", fields: [
      { name: "disk", label: "It starts from", type: "choice", options: [["copy", "A copy of an image", "The usual way: a template on the shared storage is copied."], ["use", "An image as it is", "The machine takes it over."], ["new", "Empty disks", "To install a system over the network or from a kernel."], ["kernel", "A kernel", "Booted directly, with no disk."]], hint: "All disks lie on the shared storage, so that every node can start the machine." },
      images("copy"), images("use"),
      { name: "sizes", label: "Empty disks", type: "lines", value: [], placeholder: "20GiB", must: check.each(check.diskSize), when: (values) => values.disk !== "kernel", blame: /size|bytes|nothing to start/i, hint: "A new disk for each size. With images they come after them." },
      { name: "kernel", label: "Kernel", required: true, when: (values) => values.disk === "kernel", must: check.path, blame: /kernel|path/i, placeholder: "/shared/boot/vmlinuz", hint: "A file on the shared storage." },
      { name: "initrd", label: "Initial RAM disk", when: (values) => values.disk === "kernel", must: check.path, blame: /initrd/i, hint: "A file on the shared storage." },
      { name: "cmdline", label: "Kernel's command line", when: (values) => values.disk === "kernel", placeholder: "console=ttyS0", hint: "Passed to the kernel as it is." },
    ],
  };
}

function machine(values) {
  const { disk } = values;
  const kernel = disk === "kernel" ? { kernel: values.kernel, initrd: values.initrd, cmdline: values.cmdline } : {};
  return {
    name: values.name, cpu: Number(values.cpu), memory_mib: mib(values.memory), copy_disks: disk === "copy",
    disks: disk === "copy" || disk === "use" ? values[`images_${disk}`] : [],
    sizes: disk === "kernel" ? [] : values.sizes.map((text) => check.bytes(text)), networks: values.networks, ...kernel,
  };
}

const create = (_id, ctx) => openForm({
  title: "New virtual machine", wide: true, ha: HA,
  fields: [name(ctx), ...size(), disks(ctx),
    { name: "networks", label: "Networks", type: "several", options: ctx.status.cluster.networks.filter((network) => network.bridge).map((network) => [network.name, network.name, `bridge ${network.bridge}`]), blame: /network/i,
      none: "No network has a bridge for guests yet: see the compute cluster's settings.", hint: "A network card for each." },
    { section: "High availability", fields: importance() }, policies(), placing(ctx)],
  confirm: "Create machine", effect: "typing", force: "body",
  request: (values) => ({ method: "POST", path: "/vms", body: { ...machine(values), ...wish(values), started: values.started, node: values.node } }),
  // Copying disks is a task of its own, and the machine is there when it has ended.
  next: (result, values) => (values.disk === "copy" ? "#/vm" : to("vm", values.name)),
}, ctx);

const import_ = (_id, ctx) => openForm({
  title: "Import a libvirt domain", wide: true, ha: HA,
  text: ["Its disks must lie on the shared storage already. Once imported it must not run anywhere outside of Holdfast any more: undefine it there."],
  fields: [
    { name: "xml", label: "Domain XML", type: "area", rows: 8, required: true, file: ".xml", must: (text) => (/<domain[\s>]/.test(text) ? "" : "Paste what `virsh dumpxml --inactive NAME` prints."), blame: /xml|domain|disk|file|bridge|uuid|exists|name of a virtual/i, hint: "What `virsh dumpxml --inactive NAME` prints. What is not Holdfast's to decide is kept as it is there." },
    { section: "High availability", fields: importance() }, policies(),
    { section: "Start", fields: [{ ...placing(ctx).fields[0], value: false, hint: "First make sure that it runs nowhere else." }, placing(ctx).fields[1]] }],
  confirm: "Import", effect: "typing", force: "body",
  request: (values) => ({ method: "POST", path: "/vms/import", body: { xml: values.xml, ...wish(values), started: values.started, node: values.node } }),
  next: (result) => to("vm", String(result.data?.instance ?? "").replace("vm/", "")),
}, ctx);

function change(machineName, ctx) {
  const vm = instanceOf(ctx, `vm/${machineName}`);
  const stopped = vm.desired === "stopped";
  const before = { hang_s: 20, storage_loss_s: 60, ...vm.config, ...vm };
  return openForm({
    title: `Change ${machineName}`, wide: true,
    text: [stopped ? "" : "Cores, memory and heartbeat belong to the machine that was started: stop it to change them."].filter(Boolean),
    fields: [...(stopped ? size(vm) : []), { section: "High availability", fields: importance(vm) }, policies(vm, stopped)],
    confirm: "Save", effect: "typing", changes: true, force: "body",
    request: (values) => {
      const wanted = { ...wish(values), ...(stopped ? { cpu: Number(values.cpu), memory_mib: mib(values.memory) } : {}) };
      return { method: "PUT", path: `/vms/${segment(machineName)}`, body: changed(wanted, before) };
    },
  }, ctx);
}

function remove(machineName, ctx) {
  const vm = instanceOf(ctx, `vm/${machineName}`);
  const paths = (vm.config.disks ?? []).map((disk) => disk.path);
  return confirmLoss({
    title: `Delete vm/${machineName}`,
    lost: [vm.desired === "stopped" ? "The machine and its settings are forgotten." : "The machine is ended at once, and its settings are forgotten."],
    fields: [paths.length > 0 && { name: "disks", label: "Delete its disks too, for good", type: "switch", value: false, hint: `As soon as it is gone; you need not wait here. Otherwise they stay: ${paths.map((path) => `\`${path}\``).join(", ")}` }],
    type: machineName, confirm: "Delete machine",
    request: ({ disks = false }) => ({ method: "DELETE", path: `/vms/${segment(machineName)}`, query: { force: true, disks } }),
    next: () => "#/vm",
  }, ctx);
}

export const VM_ACTIONS = {
  "vm-create": create,
  "vm-import": import_,
  "vm-change": change,
  "vm-delete": remove,
};
