"""iSCSI volumes: create, attach to a target group, detach, resize, delete.

What is said of a volume in the store and its file cannot change at once. The store decides, the file follows: so a file
is made and made longer before the store says so, and made shorter and removed after it.
"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, aside, transact
from holdfast.api.operations.iscsi_groups import AUTHORITY, Reports, deleting, find, instances
from holdfast.api.permissions import ADMINISTER
from holdfast.core.model import Desired, ServiceSpec
from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput, NotPermitted, StoreUnknownOutcome
from holdfast.ports import Store
from holdfast.services.iscsi.config import KIND, VolumeRecord, instance_id, instance_spec, volume_path
from holdfast.services.iscsi.engine import MAX_LUN, Volume
from holdfast.store import keys


class Files(Reports, Protocol):
    """Volumes' files on the shared storage below `root`, as the node that serves the API sees them. Errors: Conflict,
    InvalidInput, DriverError."""

    async def create(self, root: str, path: str, size: int) -> None: ...

    async def fit(self, root: str, path: str, size: int) -> None: ...

    async def written_beyond(self, root: str, path: str, size: int) -> int: ...

    async def remove(self, root: str, path: str) -> None: ...

    async def device_size(self, root: str, path: str, *, unused: bool) -> int: ...


async def create(
    store: Store, actor: Actor, files: Files, *, name: str, size_bytes: int = 0, device: str = ""
) -> Outcome:
    """A file of so many bytes, which reads as zeros, or a block device as it is."""
    checks.name(name, "volume")
    if bool(size_bytes) == bool(device):
        raise InvalidInput(
            "a volume is a new file or a block device", "Give either a size (--size) or a device (--device)."
        )
    if device and not actor.may(ADMINISTER):
        raise NotPermitted(
            f"{actor.name} may not give away block devices of the nodes: what is on them is theirs",
            "Ask an administrator, or give a size (--size).",
        )
    root = (await Draft.open(store)).cluster.shared_root
    size = await files.device_size(root, device, unused=True) if device else size_bytes
    record = VolumeRecord(name, str(uuid.uuid4()), device or volume_path(root, name), size, device=bool(device))
    _check(record)

    async def operation(draft: Draft) -> str:
        known = volumes(draft)
        if name in known:
            raise Conflict(f"a volume `{name}` exists already", "Choose another name.")
        twin = next((other.name for other in known.values() if other.path == record.path), "")
        if twin:
            raise Conflict(f"{record.path} is the volume `{twin}` already", "Choose another device.")
        draft.put(keys.iscsi_volume(name), record)
        draft.data.update(_facts(record))
        return f"volume {name} created: {record.path}"

    if actor.terms.dry_run:
        return await transact(store, actor, operation)
    await operation(await Draft.open(store))  # what would be refused is refused before a file is made
    if not device:
        await files.create(root, record.path, size)
    try:
        return await transact(store, actor, operation)
    except StoreUnknownOutcome:
        raise  # it may be a volume now: its file stays
    except BaseException:
        if not device:
            await files.remove(root, record.path)
        raise


async def attach(store: Store, actor: Actor, *, name: str, group: str, lun: int | None = None) -> Outcome:
    """Make it a logical unit of the target group, with the number given or the lowest free one. (It takes no room that the
    guarantee of the compute cluster counts with: there is nothing to admit.)"""
    if lun is not None and not 0 < lun <= MAX_LUN:
        raise InvalidInput(f"{lun} is not a LUN that can be used", f"Use one from 1 to {MAX_LUN}.")

    async def operation(draft: Draft) -> str:
        record = find_volume(draft, name)
        target = find(draft, group)
        if record.group:
            raise Conflict(
                f"the volume `{name}` is attached to `{record.group}` already, as LUN {record.lun}",
                f"One group at a time: detach it first (holdfast iscsi volume detach {name}).",
            )
        _refuse_while_detaching(draft, name)
        attached = replace(record, group=group, lun=_lun(draft, group, lun))
        draft.put(keys.iscsi_volume(name), attached)
        draft.put(keys.service(KIND, name), ServiceSpec(KIND, name))
        draft.put(keys.instance(instance_id(name)), instance_spec(attached, target))
        if not target.started:
            draft.warn(f"{group} is stopped: holdfast iscsi target-group start {group}.")
        if not target.initiators:
            draft.warn(f"Nobody may log in to {group} yet: holdfast iscsi target-group acl add {group} INITIATOR.")
        draft.data.update(_facts(attached), iqn=target.iqn)
        return f"volume {name} is LUN {attached.lun} of {group}"

    return await transact(store, actor, operation)


async def detach(store: Store, actor: Actor, files: Files, name: str, *, force: bool = False) -> Outcome:
    """Its paths go on all nodes, and its LUN is free as soon as that is confirmed. Refused while initiators are logged in to
    its group, which may be using it, unless by `force`. The data stay."""

    async def operation(draft: Draft) -> str:
        record = find_volume(draft, name)
        _refuse_while_detaching(draft, name)
        if not record.group:
            raise Conflict(f"the volume `{name}` is not attached", "There is nothing to detach.")
        spec = draft.instances[instance_id(name)]
        if not force and spec.desired is not Desired.STOPPED:
            await _refuse_in_use(draft, files, record)
        draft.put(keys.instance(spec.id), replace(spec, desired=Desired.STOPPED))
        draft.put(keys.service(KIND, name), ServiceSpec(KIND, name, {"deleting": True}))
        if draft.entry(keys.lock(spec.id)) is not None:  # or it would be locked when it is attached again
            draft.delete(keys.lock(spec.id))
        draft.put(keys.iscsi_volume(name), replace(record, group="", lun=0))
        return f"volume {name} is being detached from {record.group}; its data stay in {record.path}"

    return await transact(store, actor, operation)


async def _refuse_in_use(draft: Draft, files: Files, record: VolumeRecord) -> None:
    """What cannot be seen counts as in use."""
    end = "Let them log out first, or detach it with --force: who uses it loses it."
    try:
        reports = await files.reports(draft.cluster.shared_root)
    except DriverError as error:
        raise Conflict(f"whether `{record.name}` is in use cannot be told: {error.message}", end) from error
    there = [
        guest.initiator
        for node in find(draft, record.group).nodes
        if node in reports and (await checks.node_state(draft, node)).up
        for guest in reports[node].connections
        if guest.group == record.group
    ]
    if there:
        raise Conflict(
            f"the volume `{record.name}` may be in use: {', '.join(sorted(set(there)))} logged in to {record.group}",
            end,
        )


async def resize(store: Store, actor: Actor, files: Files, name: str, size_bytes: int) -> Outcome:
    """Larger at any time; smaller only while it is detached, and never below what was written. A device is as large as it
    is: the volume follows it."""
    root = (await Draft.open(store)).cluster.shared_root

    async def operation(draft: Draft) -> str:
        record = find_volume(draft, name)
        _refuse_while_detaching(draft, name)
        changed = replace(record, size_bytes=size_bytes)
        _check(changed)
        await _check_size(files, root, record, size_bytes)
        if size_bytes == record.size_bytes:
            return f"volume {name} has {size_bytes} bytes already"
        draft.put(keys.iscsi_volume(name), changed)
        spec = draft.instances.get(instance_id(name))
        if spec is not None:
            config = instance_spec(changed, find(draft, record.group)).config
            draft.put(keys.instance(spec.id), replace(spec, config=config))
        draft.data.update(_facts(changed))
        return f"volume {name} has {size_bytes} bytes, before {record.size_bytes}"

    draft = await Draft.open(store)
    await operation(draft)  # what would be refused is refused before the file is touched
    before = find_volume(draft, name)
    if before.device or actor.terms.dry_run:
        return await transact(store, actor, operation)
    if size_bytes > before.size_bytes:
        await files.fit(root, before.path, size_bytes)
    try:
        outcome = await transact(store, actor, operation)
    except StoreUnknownOutcome:
        raise  # the store may say so already: the file stays as long as that
    except BaseException:
        with contextlib.suppress(HoldfastError):
            await _follow(store, files, name)
        raise
    try:
        await _follow(store, files, name)
    except HoldfastError:
        if size_bytes < before.size_bytes:
            await _take_back(store, actor, before, size_bytes)
        raise
    return outcome


async def _check_size(files: Files, root: str, record: VolumeRecord, size_bytes: int) -> None:
    if record.device:
        there = await files.device_size(root, record.path, unused=False)
        if there != size_bytes:
            raise Conflict(
                f"{record.path} has {there} bytes, not {size_bytes}",
                "Change the device first, on all nodes, then repeat this.",
            )
    if size_bytes >= record.size_bytes:
        return
    if record.group:
        raise Conflict(
            f"the volume `{record.name}` is attached to `{record.group}`, and would be made smaller under its clients",
            f"Detach it first: holdfast iscsi volume detach {record.name}.",
        )
    end = 0 if record.device else await files.written_beyond(root, record.path, size_bytes)
    if end:
        raise Conflict(
            f"the volume `{record.name}` holds data up to byte {end}, beyond {size_bytes}",
            "Nothing was changed. Choose a larger size, or let its client discard what it does not need.",
        )


async def _follow(store: Store, files: Files, name: str) -> None:
    """Make the file as long as the store says, whoever else has changed either meanwhile."""
    draft = await Draft.open(store)
    record = volumes(draft).get(name)
    if record is not None and not record.device:
        await files.fit(draft.cluster.shared_root, record.path, record.size_bytes)


async def _take_back(store: Store, actor: Actor, before: VolumeRecord, size_bytes: int) -> None:
    """The file could not be made shorter: the store says again what is."""

    async def operation(draft: Draft) -> str:
        record = find_volume(draft, before.name)
        if (record.uuid, record.size_bytes, record.group) == (before.uuid, size_bytes, ""):
            draft.put(keys.iscsi_volume(before.name), replace(record, size_bytes=before.size_bytes))
        return f"volume {before.name} keeps its {before.size_bytes} bytes: its file could not be made shorter"

    await transact(store, aside(actor), operation)


async def delete(store: Store, actor: Actor, files: Files, name: str, *, yes: bool = False) -> Outcome:
    """For good, with its data (those of a device stay). Without `yes` nothing is changed: the Conflict raised says what
    would be lost."""
    gone: list[VolumeRecord] = []

    async def operation(draft: Draft) -> str:
        record = find_volume(draft, name)
        if record.group:
            raise Conflict(
                f"the volume `{name}` is attached to `{record.group}`",
                f"Detach it first: holdfast iscsi volume detach {name}.",
            )
        _refuse_while_detaching(draft, name)
        if not yes and not record.device:
            raise Conflict(
                f"all data of the volume `{name}` would be lost for ever: {record.size_bytes} bytes in {record.path}",
                f"If nobody needs them: holdfast iscsi volume delete {name} --yes.",
            )
        draft.delete(keys.iscsi_volume(name))
        gone[:] = [record]
        return f"volume {name} deleted" + (f"; {record.path} is left as it is" if record.device else " with its data")

    root = (await Draft.open(store)).cluster.shared_root
    outcome = await transact(store, actor, operation)
    if not gone[0].device and not actor.terms.dry_run:
        try:
            await files.remove(root, gone[0].path)
        except HoldfastError as error:
            left = f"Its file {gone[0].path} is still there, remove it by hand: {error.message}."
            return replace(outcome, warnings=(*outcome.warnings, left))
    return outcome


# --- small things -------------------------------------------------------------------------------------------------------


def volumes(draft: Draft) -> dict[str, VolumeRecord]:
    return {record.name: record for record in draft.specs(keys.ISCSI_VOLUMES, VolumeRecord)}


def find_volume(draft: Draft, name: str) -> VolumeRecord:
    known = volumes(draft)
    if name not in known:
        raise checks.not_found("volume", name, known)
    return known[name]


def _refuse_while_detaching(draft: Draft, name: str) -> None:
    spec = draft.instances.get(instance_id(name))
    if spec is not None and deleting(draft, spec):
        raise Conflict(f"the volume `{name}` is being detached", "Wait until that is confirmed, then repeat this.")


def _lun(draft: Draft, group: str, wanted: int | None) -> int:
    """Free: no volume has it, also none that is being detached."""
    taken = {int(spec.config["lun"]): spec.service for spec in instances(draft, group)}
    free = next(_free(taken), 0)
    if wanted in taken:
        raise Conflict(f"LUN {wanted} of `{group}` is the volume `{taken[wanted]}`", f"The next free one is {free}.")
    if not free:
        raise Conflict(f"all {MAX_LUN} LUNs of `{group}` are taken", "Attach it to another target group.")
    return wanted or free


def _free(taken: dict[int, str]) -> Iterator[int]:
    return (number for number in range(1, MAX_LUN + 1) if number not in taken)


def _check(record: VolumeRecord) -> Volume:
    """As an engine will see it. Raises InvalidInput."""
    return Volume(f"{AUTHORITY}:any", record.lun or 1, record.uuid, record.path, record.size_bytes)


def _facts(record: VolumeRecord) -> dict[str, object]:
    """What programs want to know. (Unit serial number and WWID come from the UUID, and never change.)"""
    unit = _check(record)
    return {"serial": unit.serial, "wwid": unit.wwid, "path": record.path, "size_bytes": record.size_bytes} | (
        {"lun": record.lun} if record.lun else {}
    )
