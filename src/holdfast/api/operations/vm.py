"""Virtual machines: create, import, change, delete. (Start, stop, move and lock are those of every service.)"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from holdfast.api.operations import checks, compute
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import Desired, InstanceSpec, MoveRequest, ServiceSpec
from holdfast.errors import Conflict, HoldfastError, InvalidInput
from holdfast.ports import Store
from holdfast.services.backup_gateway.cluster import BackupCluster
from holdfast.services.vm import config as vm
from holdfast.services.vm.domain import import_domain
from holdfast.services.vm.images import Image
from holdfast.store import keys

MAX_PRIORITY = 1000
NEEDS_STOP = ("cpu", "memory_mib", "heartbeat")
"""What a running machine has for as long as it runs."""
POLICIES = ("on_power_off", "heartbeat", "hang_s", "on_hang", "on_storage_loss", "storage_loss_s")
"""Settings of the machine that can be changed; others are the instance's."""


class Images(Protocol):
    """Disk images on the shared storage, as the node that serves the API sees it. `root`: the directory below which a file
    must lie, outside of what other services keep there. Errors: InvalidInput, Conflict, DriverError."""

    async def inspect(self, path: str, root: str) -> Image: ...

    async def locate(self, path: str, root: str) -> str: ...

    async def create(self, path: str, size: int) -> None: ...

    async def copy(self, source: str, path: str, progress: Callable[[float], None]) -> None: ...

    async def remove(self, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for of a machine, new or imported."""

    priority: int = 500
    ha: bool = True
    preemptible: bool = False
    started: bool = True
    node: str = ""
    """Where it is to start; empty: by free resources."""
    policies: Mapping[str, Any] = field(default_factory=dict)
    """Fields of VmConfig (POLICIES)."""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """The rest of a new machine."""

    name: str
    cpu: float
    memory_mib: int
    disks: tuple[str, ...] = ()
    """Images to use where they are, or to copy (`copy`)."""
    copy: bool = False
    sizes: tuple[int, ...] = ()
    """Bytes of disks that are made empty."""
    networks: tuple[str, ...] = ()
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""


async def create(
    store: Store, actor: Actor, images: Images, machine: Machine, wish: Wish, progress: Callable[[float], None]
) -> Outcome:
    """Its new disks are made before anything is committed, and removed again if it is refused then. `progress` is told how
    far the copies are, percent."""
    vm.check_name(machine.name)
    _check_priority(wish.priority)
    plan = await _disks(store, actor, images, machine)

    async def operation(draft: Draft) -> str:
        compute.existing(draft)
        bridges = [_bridge(draft, name) for name in machine.networks]
        boot = await _located(draft, images, {"kernel": machine.kernel, "initrd": machine.initrd})
        config = vm.new_config(
            draft.cluster.cluster_id,
            machine.name,
            [vm.Disk(disk.path, _format(disk.format)) for disk in plan.disks],
            bridges,
            cmdline=machine.cmdline,
            **boot,
            **wish.policies,
        )
        spec = vm.instance_spec(machine.name, config, cpu=machine.cpu, memory_mib=machine.memory_mib, **_settings(wish))
        await _add(draft, actor, spec, wish)
        return f"virtual machine {machine.name} created"

    if actor.terms.dry_run:
        return await transact(store, actor, operation)
    await operation(await Draft.open(store))  # whatever would be refused is refused before a disk is made
    made: list[str] = []
    try:
        for step in plan.steps:
            await step.make(images, _part_of(progress, len(made), len(plan.steps)))
            made.append(step.path)
        return await transact(store, actor, operation)
    except BaseException:
        for path in made:
            await images.remove(path)
        raise


def _part_of(progress: Callable[[float], None], done: int, steps: int) -> Callable[[float], None]:
    return lambda percent: progress((100 * done + percent) / steps)


@dataclass(frozen=True, slots=True)
class _Step:
    """A disk to be made: a copy, or empty."""

    path: str
    source: str = ""
    size: int = 0

    async def make(self, images: Images, progress: Callable[[float], None]) -> None:
        if self.source:
            await images.copy(self.source, self.path, progress)
        else:
            await images.create(self.path, self.size)


@dataclass(frozen=True, slots=True)
class _Plan:
    disks: tuple[Image, ...]
    steps: tuple[_Step, ...]


async def _disks(store: Store, actor: Actor, images: Images, machine: Machine) -> _Plan:
    draft = await Draft.open(store)
    directory = vm.disk_directory(draft.cluster.shared_root, machine.name)
    # Who is root on a node may copy any of its files; others only what lies on the shared storage.
    anywhere = machine.copy and actor.via == "socket"
    found = [await _inspect(draft, images, path, anywhere=anywhere) for path in machine.disks]
    if not machine.disks and not machine.sizes and not machine.kernel:
        raise InvalidInput(
            f"{machine.name} would have nothing to start from", "Give --disk IMAGE, --disk-size SIZE or --kernel FILE."
        )
    disks: list[Image] = []
    steps: list[_Step] = []
    for image in found if machine.copy else ():
        path = f"{directory}/disk{len(disks)}.qcow2"
        steps.append(_Step(path, source=image.path))
        disks.append(Image(path, "qcow2", image.size))
    if not machine.copy:
        disks += found
    for size in machine.sizes:
        path = f"{directory}/disk{len(disks)}.qcow2"
        steps.append(_Step(path, size=size))
        disks.append(Image(path, "qcow2", size))
    return _Plan(tuple(disks), tuple(steps))


async def import_xml(store: Store, actor: Actor, images: Images, xml: str, wish: Wish) -> Outcome:
    """An existing libvirt domain (`virsh dumpxml --inactive`) whose disks lie on the shared storage already. Nothing of one
    that somebody else than root on a node imports may reach beyond the guest."""
    _check_priority(wish.priority)
    trusted = actor.via == "socket"
    name, config, cpu, memory_mib = import_domain(xml, contained=not trusted, **dict(wish.policies))

    async def operation(draft: Draft) -> str:
        compute.existing(draft)
        found = [await _inspect(draft, images, disk.path) for disk in config.disks]
        disks = tuple(replace(disk, path=image.path) for disk, image in zip(config.disks, found, strict=True))
        boot = await _located(draft, images, {"kernel": config.kernel, "initrd": config.initrd})
        known = {network.bridge for network in draft.cluster.networks if network.bridge}
        for nic in config.networks:
            if nic.bridge not in known:
                text = f"`{nic.bridge}` is no bridge of a cluster network"
                advice = f"holdfast compute set --bridge NETWORK={nic.bridge}"
                if not trusted:
                    raise Conflict(text, f"An administrator says which ones guests may use: {advice}.")
                draft.warn(f"{text}: every node must have one of that name ({advice}).")
        placed = replace(config, disks=disks, kernel=boot.get("kernel", ""), initrd=boot.get("initrd", ""))
        spec = vm.instance_spec(name, placed, cpu=cpu, memory_mib=memory_mib, **_settings(wish))
        await _add(draft, actor, spec, wish)
        draft.warn("It must not run anywhere outside of Holdfast any more: undefine it there (virsh undefine).")
        return f"virtual machine {name} imported"

    return await transact(store, actor, operation)


async def _add(draft: Draft, actor: Actor, spec: InstanceSpec, wish: Wish) -> None:
    existing = draft.spec(keys.service(vm.KIND, spec.service), ServiceSpec)
    if existing is not None:
        deleting = bool(existing.config.get("deleting"))
        raise Conflict(
            f"a virtual machine `{spec.service}` {'is being deleted' if deleting else 'exists already'}",
            "Wait until it is gone, then repeat this." if deleting else "Choose another name.",
        )
    users = disk_users(draft)
    twins = {vm.from_instance(other).uuid: other.service for other in machines(draft)}
    config = vm.from_instance(spec)
    if config.uuid in twins:
        raise Conflict(
            f"`{twins[config.uuid]}` has the UUID {config.uuid} already", "Give the domain another <uuid>, or none."
        )
    for disk in config.disks:
        if disk.path in users:
            raise Conflict(
                f"{disk.path} is a disk of `{users[disk.path]}`", "Two machines would destroy it: use --copy."
            )
    draft.put(keys.service(vm.KIND, spec.service), ServiceSpec(vm.KIND, spec.service))
    draft.put(keys.instance(spec.id), spec)
    if wish.node:
        target = checks.node(draft, wish.node)
        checks.require_role(target, spec.role, f"`{spec.service}`")
        await draft.fetch(keys.move(spec.id))
        draft.put(keys.move(spec.id), MoveRequest(wish.node, actor.name))
    await admit(draft, force=wish.force)
    draft.data.update(instance=spec.id, disks=[disk.path for disk in config.disks])


async def change(store: Store, actor: Actor, name: str, changes: Mapping[str, Any], *, force: bool = False) -> Outcome:
    """`changes`: fields of InstanceSpec (cpu, memory_mib, priority, ha, preemptible) and of VmConfig (POLICIES). Cores,
    memory and heartbeat belong to the machine that was started: only a stopped one gets others."""
    if not changes:
        raise InvalidInput("there is nothing to change", "Name what: see `holdfast vm set --help`.")
    _check_priority(changes.get("priority", 0))

    async def operation(draft: Draft) -> str:
        old = find(draft, name)
        _check_not_deleting(draft, name)
        for what in NEEDS_STOP:
            if what in changes and old.desired is not Desired.STOPPED:
                raise Conflict(
                    f"`{name}` is not stopped, and its {what.partition('_')[0]} belongs to the machine that was started",
                    f"Stop it first: holdfast vm stop {name}.",
                )
        policies = {key: value for key, value in changes.items() if key in POLICIES}
        config = replace(vm.from_instance(old), **policies)
        outer = {key: value for key, value in changes.items() if key not in POLICIES}
        wanted = replace(old, **outer)
        checked = vm.instance_spec(name, config, cpu=wanted.cpu, memory_mib=wanted.memory_mib)
        changed = replace(wanted, config=checked.config)
        vm.from_instance(changed)
        draft.put(keys.instance(old.id), changed)
        await admit(draft, force=force)
        said = ", ".join(f"{key.removesuffix('_mib').replace('_', ' ')} {value}" for key, value in changes.items())
        return f"virtual machine {name}: {said}"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, name: str, *, force: bool = False) -> Outcome:
    """Stop it and let the manager remove it once it is confirmed stopped. Its disks stay (see `delete_disks`)."""

    async def operation(draft: Draft) -> str:
        return forget(draft, name, force=force)

    return await transact(store, actor, operation)


def forget(draft: Draft, name: str, *, force: bool) -> str:
    """Collect what deletes it; the sentence that says so."""
    spec = find(draft, name)
    _check_not_deleting(draft, name)
    if spec.desired != Desired.STOPPED and not force:
        raise Conflict(
            f"the virtual machine `{name}` is not stopped",
            f"Stop it first (holdfast vm stop {name}), or delete it with --force: it is ended at once.",
        )
    key = keys.service(vm.KIND, name)
    service = draft.spec(key, ServiceSpec) or ServiceSpec(vm.KIND, name)
    draft.put(keys.instance(spec.id), replace(spec, desired=Desired.STOPPED))
    draft.put(key, replace(service, config={**service.config, "deleting": True}))
    if draft.entry(keys.lock(spec.id)) is not None:  # or the next machine of that name would be locked
        draft.delete(keys.lock(spec.id))
    paths = [disk.path for disk in vm.from_instance(spec).disks]
    draft.data["disks"] = paths
    stay = f"; its disks stay: {', '.join(paths)}" if paths else ""
    return f"virtual machine {name} is being deleted{stay}"


async def delete_disks(store: Store, actor: Actor, images: Images, paths: Sequence[str]) -> Outcome:
    """For good. Refuses what a machine still uses and what does not lie on the shared storage."""

    async def operation(draft: Draft) -> str:
        users = disk_users(draft)
        for path in paths:
            image = await images.locate(path, draft.cluster.shared_root)
            _refuse_backups(draft, image)
            if image in users:
                raise Conflict(f"{path} is a disk of `{users[image]}`", "Delete that machine first.")
            if image != path:
                raise InvalidInput(f"{path} leads to {image}", "Name the file itself.")
        return f"deleted {', '.join(paths)}"

    outcome = await transact(store, actor, operation)
    for path in () if actor.terms.dry_run else paths:
        await images.remove(path)
    return outcome


# --- small things -------------------------------------------------------------------------------------------------------


async def _inspect(draft: Draft, images: Images, path: str, *, anywhere: bool = False) -> Image:
    """A disk that a machine may have. `anywhere`: it is only copied, by root."""
    image = await images.inspect(path, "/" if anywhere else draft.cluster.shared_root)
    if not anywhere:
        _refuse_backups(draft, image.path)
    return image


async def _located(draft: Draft, images: Images, wanted: Mapping[str, str]) -> dict[str, str]:
    """Files that a machine starts from; those that are not wanted stay out."""
    found = {name: await images.locate(path, draft.cluster.shared_root) for name, path in wanted.items() if path}
    for path in found.values():
        _refuse_backups(draft, path)
    return found


def _refuse_backups(draft: Draft, path: str) -> None:
    """What a backup cluster keeps on the shared storage is no disk. (Other kinds' places are known to `Images`.)"""
    for cluster in draft.specs(keys.BACKUP_CLUSTERS, BackupCluster):
        kind, _, place = cluster.backend.partition(":")
        if kind == "local" and path.startswith(f"{place.rstrip('/')}/"):
            raise InvalidInput(f"{path} belongs to the backup cluster `{cluster.name}`", "Choose another file.")


def machines(draft: Draft) -> list[InstanceSpec]:
    return [spec for spec in draft.instances.values() if spec.kind == vm.KIND]


def disk_users(draft: Draft) -> dict[str, str]:
    """Path of every disk → the machine that has it."""
    users: dict[str, str] = {}
    for spec in machines(draft):
        try:
            config = vm.from_instance(spec)
        except HoldfastError:
            continue  # of another version, or edited by hand: its driver will say so
        users |= {disk.path: spec.service for disk in config.disks}
    return users


def find(draft: Draft, name: str) -> InstanceSpec:
    found = {spec.service: spec for spec in machines(draft)}
    if name not in found:
        raise checks.not_found("virtual machine", name, found)
    return found[name]


def _check_not_deleting(draft: Draft, name: str) -> None:
    service = draft.spec(keys.service(vm.KIND, name), ServiceSpec)
    if service is not None and service.config.get("deleting"):
        raise Conflict(f"the virtual machine `{name}` is being deleted", "Wait until it is gone.")


def _check_priority(priority: int) -> None:
    if not 0 <= priority <= MAX_PRIORITY:
        raise InvalidInput(f"there is no priority {priority}", f"Choose 0 to {MAX_PRIORITY}.")


def _settings(wish: Wish) -> dict[str, Any]:
    desired = Desired.STARTED if wish.started else Desired.STOPPED
    return {"priority": wish.priority, "ha": wish.ha, "preemptible": wish.preemptible, "desired": desired}


def _bridge(draft: Draft, name: str) -> str:
    network = checks.network(draft, name)
    if not network.bridge:
        raise Conflict(
            f"guests cannot use the network `{name}`: its bridge is not known",
            f"Make a bridge of the same name on each node, and say so: holdfast compute set --bridge {name}=BRIDGE.",
        )
    return network.bridge


def _format(text: str) -> Any:
    return text
