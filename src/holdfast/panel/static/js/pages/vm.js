// Virtual machines and the compute cluster that carries them.

import { load, segment } from "../api.js";
import { h, prose } from "../dom.js";
import { explainSection } from "../explain.js";
import { instancesSection } from "../instances.js";
import { dim, facts, haBox, link, mono, nodeLink, section, sectionButtons } from "../parts.js";
import { to } from "../router.js";
import { instanceOf, startStop } from "../service_actions.js";
import { whenLoaded } from "../states.js";
import { cores, memory } from "../words.js";
import { compute, COMPUTE_ACTIONS, computeSection, guaranteeBox } from "./kinds/compute.js";
import { listPage, onePage } from "./kinds/kind.js";
import { haCell, lookOf, stateCell } from "./kinds/parts.js";
import { serviceEvents, serviceOf } from "./kinds/service.js";
import { VM_ACTIONS } from "./kinds/vm_forms.js";

const machines = (ctx) => ctx.status.instances.filter((one) => one.kind === "vm");
const deleting = (ctx, vm) => Boolean(serviceOf(ctx, "vm", vm.service)?.deleting);
const recovered = (ctx, vm) => vm.ha && compute(ctx)?.ha !== false;
const stopped = (vm) => vm.desired !== "started";

function haText(ctx, vm) {
  if (compute(ctx)?.ha === false) return "High availability of all virtual machines is off: after its node's death it waits for that node.";
  if (!vm.ha) return "It is created without high availability: after its node's death it waits for that node.";
  return `If its node fails, it is started on another node from its disks on the shared storage, once the node is proven dead; priority ${vm.priority}, the higher ones first. Planned moves are live: its guest runs on.`;
}

function onPowerOff(config) {
  return config.on_power_off === "restart" ? "it is started again" : "it stays off";
}

function heartbeat(config) {
  if (!config.heartbeat || config.heartbeat === "none") return "not watched: a hung guest is not noticed";
  const how = config.heartbeat === "agent" ? "the QEMU guest agent is asked" : "the guest writes to a port";
  return `${how}; ${config.on_hang === "ignore" ? "only reported" : "reset"} after ${config.hang_s} s of silence`;
}

const storageLoss = (config) => (config.on_storage_loss === "ignore" ? "it stays as it is" : `restarted elsewhere after ${config.storage_loss_s ?? 60} s`);

function console_(ctx, vm) {
  const item = ctx.data(`console-${vm.service}`, () => load(`/vms/${segment(vm.service)}/console`, { lines: 100 }), "once");
  return section("console", "Console", { note: "The end of what its guest wrote to the serial console.", tools: sectionButtons(ctx, [{ action: "vm-console", words: "Read again", may: "read" }]) },
    item.error?.status === 404 ? h("p", { class: "none" }, "It has written nothing yet.") : whenLoaded(item, (found) => found.lines.length
      ? h("pre", { class: "console", tabindex: "0", "aria-label": "Console" }, found.lines.join("\n"))
      : h("p", { class: "none" }, "It has written nothing yet.")));
}

const kind = {
  path: "vm", icon: "vm", title: "Virtual machines",
  lead: "Machines whose disks lie on the shared storage: restarted elsewhere when their node fails, moved live when it is planned.",
  tools: (ctx) => compute(ctx) && [
    { action: "vm-import", words: "Import…" },
    { action: "vm-create", words: "New machine", tone: "primary", picture: "plus" }],
  above: (ctx) => compute(ctx) && guaranteeBox(ctx),
  items: machines,
  none: "There is no machine yet. Create one, or import a libvirt domain.", noun: "machine",
  key: (vm) => vm.service,
  columns: (ctx) => [
    ["Machine", (vm) => [link(to("vm", vm.service), vm.service), vm.preemptible && h("small", { class: "dim" }, "preemptible")]],
    ["State", (vm) => stateCell(vm, deleting(ctx, vm))],
    ["Node", (vm) => nodeLink(vm.node)],
    ["Size", (vm) => [cores(vm.cpu), h("small", { class: "dim" }, memory(vm.memory_mib))]],
    ["Priority", (vm) => vm.priority],
    ["HA", (vm) => haCell(recovered(ctx, vm))],
  ],
  rowTools: (vm, ctx) => (deleting(ctx, vm) ? [] : [
    !stopped(vm) && { action: "instance-move", id: vm.id, words: "Move…" },
    startStop(vm.id, !stopped(vm))]),
  below: (ctx) => compute(ctx) && computeSection(ctx),
  empty: (ctx) => (compute(ctx) ? null : {
    title: "No compute cluster yet",
    text: "It says which nodes carry machines, and how many of them may fail while everything still fits. Holdfast then refuses what would break that promise.",
    needs: [[ctx.status.nodes.length >= 2, "two nodes or more that see the shared storage and have QEMU and libvirt"]],
    action: { action: "compute-create", words: "Create the compute cluster", may: "administer" },
  }),
  one: {
    what: "virtual machine",
    find: (ctx, { name }) => instanceOf(ctx, `vm/${name}`),
    look: (vm, ctx) => lookOf(vm, deleting(ctx, vm)),
    tools: (vm, ctx) => (deleting(ctx, vm) ? [] : [
      !stopped(vm) && { action: "instance-move", id: vm.id, words: "Move…" },
      startStop(`vm/${vm.service}`, !stopped(vm)),
      { action: "vm-change", id: vm.service, words: "Change…" },
      { action: "vm-delete", id: vm.service, words: "Delete…", tone: "danger" }]),
    view: (ctx, vm) => [
      haBox(recovered(ctx, vm), haText(ctx, vm)),
      facts([
        ["Wanted", vm.desired], ["Size", `${cores(vm.cpu)}, ${memory(vm.memory_mib)}`],
        ["Priority", `${vm.priority}${vm.preemptible ? ", may be stopped where a higher one needs room" : ""}`],
        ["Locked", vm.locked && (vm.locked === "*" ? "yes" : vm.locked)],
        ["Disks", (vm.config.disks ?? []).length > 0 && h("ul", {}, vm.config.disks.map((disk) => h("li", {}, mono(disk.path), dim(` ${disk.format}`))))],
        ["Networks", (vm.config.networks ?? []).length > 0 && h("ul", {}, vm.config.networks.map((nic) => h("li", {}, mono(nic.bridge), dim(` ${nic.mac}`))))],
        ["Kernel", vm.config.kernel && [mono(vm.config.kernel), vm.config.cmdline && h("small", { class: "dim" }, ` ${vm.config.cmdline}`)]],
        ["Its guest shuts down", onPowerOff(vm.config)], ["Its guest hangs", heartbeat(vm.config)], ["Its storage is lost", storageLoss(vm.config)],
        ["UUID", mono(vm.config.uuid)]]),
      vm.detail && !vm.healthy && h("p", { class: "trouble tone-warn" }, prose(vm.detail)),
      instancesSection(ctx, [vm], { title: "Placement" }),
      explainSection(ctx, vm),
      ctx.may("operate") && console_(ctx, vm),
      serviceEvents(ctx, "vm", vm.service, [vm]),
    ],
  },
  actions: { ...COMPUTE_ACTIONS, ...VM_ACTIONS, "vm-console": (_id, ctx) => ctx.forget("console") },
};

export const page = listPage(kind);
export const one = onePage(kind);
