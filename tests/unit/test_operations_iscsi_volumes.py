"""Operations on iSCSI volumes, with real files: above all that nothing is lost and nothing is left half done."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_world import ROOT, contents, memory_store, put
from iscsi_world import CLIENT, NoDevices, say, with_storage

from holdfast.api.operations import iscsi_groups, iscsi_volumes, nodes, planning, services
from holdfast.api.operations.draft import Actor, Draft, Outcome
from holdfast.api.operations.iscsi_groups import NewGroup
from holdfast.api.permissions import Role
from holdfast.core.model import Desired, InstanceSpec
from holdfast.core.policy import ComputeSpec
from holdfast.errors import (
    Conflict,
    DriverError,
    HoldfastError,
    InvalidInput,
    NotFound,
    NotPermitted,
    StoreUnavailable,
    StoreUnknownOutcome,
)
from holdfast.ports import Delete
from holdfast.services.iscsi.config import VolumeRecord, from_instance
from holdfast.services.iscsi.report import Guest
from holdfast.services.storage import MARKER
from holdfast.store import keys
from holdfast.store.memory import Faults, MemoryStore, WriteFault
from holdfast.store.view import people_view

MIB = 1 << 20


@dataclass
class World:
    store: MemoryStore
    faults: Faults
    root: Path
    files: NoDevices

    async def create(self, name: str = "v1", size_bytes: int = 4 * MIB, **more: Any) -> Outcome:
        size = 0 if "device" in more else size_bytes
        return await iscsi_volumes.create(self.store, ROOT, self.files, name=name, size_bytes=size, **more)

    async def attach(self, name: str = "v1", group: str = "g1", **more: Any) -> Outcome:
        return await iscsi_volumes.attach(self.store, ROOT, name=name, group=group, **more)

    async def detach(self, name: str = "v1", *, force: bool = False) -> Outcome:
        return await iscsi_volumes.detach(self.store, ROOT, self.files, name, force=force)

    async def removed(self, name: str = "v1") -> None:
        """The manager's part of a detachment."""
        await self.store.txn([], [Delete(keys.instance(f"iscsi/{name}")), Delete(keys.service("iscsi", name))])

    async def resize(self, size_bytes: int, name: str = "v1") -> Outcome:
        return await iscsi_volumes.resize(self.store, ROOT, self.files, name, size_bytes)

    async def delete(self, name: str = "v1", *, yes: bool = True) -> Outcome:
        return await iscsi_volumes.delete(self.store, ROOT, self.files, name, yes=yes)

    async def record(self, name: str = "v1") -> VolumeRecord:
        return iscsi_volumes.find_volume(await Draft.open(self.store), name)

    async def instance(self, name: str = "v1") -> InstanceSpec:
        return (await Draft.open(self.store)).instances[f"iscsi/{name}"]

    def file(self, name: str = "v1") -> Path:
        return self.root / "iscsi" / "volumes" / f"{name}.img"

    def write(self, offset: int, data: bytes = b"x", name: str = "v1") -> None:
        with self.file(name).open("r+b") as file:
            file.seek(offset)
            file.write(data)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    faults = Faults()
    store = memory_store(faults)
    await with_storage(store, tmp_path)
    made = World(store, faults, tmp_path, NoDevices({"/dev/disk/by-id/san-1": 8 * MIB}))
    for name in ("g1", "g2"):
        await iscsi_groups.create(store, ROOT, made.files, NewGroup(name, ("n1", "n2", "n3"), initiators=[CLIENT]))
    yield made


async def test_a_volume_is_a_sparse_file_with_names_that_never_change(world: World) -> None:
    made = await world.create(size_bytes=1 << 40)
    status = world.file().stat()
    assert (status.st_size, status.st_blocks, status.st_mode & 0o777) == (1 << 40, 0, 0o600)
    attached = await world.attach()
    assert (attached.data["lun"], attached.data["wwid"]) == (1, made.data["wwid"])
    unit = from_instance(await world.instance()).volume
    assert (unit.serial, unit.wwid, unit.path) == (made.data["serial"], made.data["wwid"], str(world.file()))
    path = await world.instance()
    assert (path.nodes, path.networks) == (("n1", "n2", "n3"), ("public",))
    await world.detach()
    await world.removed()
    again = await world.attach(group="g2", lun=77)
    assert (again.data["serial"], again.data["lun"]) == (made.data["serial"], 77)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "v1"}, Conflict, "exists already"),
        ({"name": "../v"}, InvalidInput, "../v"),
        ({"name": "V2"}, InvalidInput, "V2"),
        ({"size_bytes": 0}, InvalidInput, "either a size"),
        ({"size_bytes": 1000}, InvalidInput, "multiple of 512"),
        ({"device": "/dev/null"}, InvalidInput, "/dev/null is not a block device"),
        ({"device": "/dev/no/such"}, InvalidInput, "cannot be found"),
        ({"device": "/dev/disk/by-id/san-1"}, Conflict, "is the volume `san` already"),
    ],
)
async def test_a_wrong_volume_is_refused_and_changes_nothing(
    world: World, arguments: dict[str, Any], error: type[HoldfastError], words: str
) -> None:
    await world.create()
    await world.create("san", device="/dev/disk/by-id/san-1")
    before, files = await contents(world.store), sorted(world.file().parent.iterdir())
    with pytest.raises(error) as caught:
        await world.create(**{"name": "v2", **arguments})
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(world.store) == before
    assert sorted(world.file().parent.iterdir()) == files


async def test_a_file_that_is_there_is_never_taken(world: World) -> None:
    world.file().parent.mkdir(parents=True)
    world.file().write_bytes(b"somebody's")
    with pytest.raises(Conflict, match="exists already"):
        await world.create()
    assert world.file().read_bytes() == b"somebody's"


async def test_no_file_is_made_where_the_shared_storage_is_not(world: World) -> None:
    (world.root / MARKER).unlink()
    with pytest.raises(DriverError, match="not mounted"):
        await world.create()
    assert not world.file().exists()


async def test_a_file_goes_with_the_refusal_of_the_store_but_not_with_a_doubt(world: World) -> None:
    world.faults.next_writes.append(WriteFault.REFUSED)
    with pytest.raises(StoreUnavailable):
        await world.create()
    assert not world.file().exists()
    world.faults.next_writes.append(WriteFault.LATE)
    with pytest.raises(StoreUnknownOutcome):
        await world.create()
    assert world.file().exists()
    world.store.cluster.deliver_late()
    assert (await world.record()).path == str(world.file())


# --- attach, detach -----------------------------------------------------------------------------------------------------


async def test_the_lowest_free_lun_is_given_and_kept(world: World) -> None:
    for name in ("a", "b", "c", "d"):
        await world.create(name)
    luns = [(await world.attach(name, lun=lun)).data["lun"] for name, lun in (("a", 2), ("b", None), ("c", None))]
    assert luns == [2, 1, 3]
    await world.detach("b")
    assert (await world.attach("d")).data["lun"] == 4, "LUN 1 is not yet known to be free"
    await world.removed("b")
    assert (await world.attach("b")).data["lun"] == 1
    assert (await world.record("c")).lun == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "v1"}, Conflict, "attached to `g1` already, as LUN 1"),
        ({"name": "v1", "group": "g2"}, Conflict, "One group at a time"),
        ({"name": "v2", "lun": 1}, Conflict, "is the volume `v1`. The next free one is 2"),
        ({"name": "v2", "lun": 0}, InvalidInput, "0 is not a LUN"),
        ({"name": "v2", "lun": 256}, InvalidInput, "256 is not a LUN"),
        ({"name": "v2", "group": "g9"}, NotFound, "target group `g9` does not exist"),
        ({"name": "v9"}, NotFound, "volume `v9` does not exist"),
    ],
)
async def test_a_wrong_attachment_is_refused_and_changes_nothing(
    world: World, arguments: dict[str, Any], error: type[HoldfastError], words: str
) -> None:
    await world.create("v1")
    await world.create("v2")
    await world.attach()
    before = await contents(world.store)
    with pytest.raises(error) as caught:
        await world.attach(**arguments)
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(world.store) == before


async def test_two_operators_attach_a_volume_once(world: World) -> None:
    await world.create()
    found = await asyncio.gather(world.attach(), world.attach(group="g2"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Conflict", "Outcome"]


async def test_the_planner_knows_active_paths(world: World) -> None:
    """They need no room, and only the group's nodes come into question."""
    await put(world.store, {keys.COMPUTE: ComputeSpec(("n1", "n4"), tolerate=1)})
    await world.create()
    await world.attach()
    await nodes.change(world.store, ROOT, "n4", failure_domain="rack2")  # admission control sees the instance
    draft = await Draft.open(world.store)
    view = people_view((await draft.before_and_after())[1], draft.revision, 0.0)
    found = planning.what_if(view, ["n1", "n2"], 0.0)
    assert found.placements["iscsi/v1"] == "n3"
    assert "iscsi/v1" in planning.what_if(view, ["n1", "n2", "n3"], 0.0).unplaced


async def test_what_may_be_in_use_is_detached_only_by_force(world: World) -> None:
    await world.create()
    await world.attach()
    say(world.root, "n2", guests=(Guest("g1", CLIENT), Guest("g2", "iqn.2026-01.com.example:other")))
    say(world.root, "n4", guests=(Guest("g1", "iqn.2026-01.com.example:old"),))
    before = await contents(world.store)
    with pytest.raises(Conflict, match=f"may be in use: {CLIENT} logged in to g1"):
        await world.detach()
    assert await contents(world.store) == before
    await services.stop(world.store, ROOT, "iscsi/v1")
    await world.detach()
    assert (await world.instance()).desired is Desired.STOPPED
    assert ((await world.record()).group, (await world.record()).lun) == ("", 0)
    for again in (world.detach(), world.attach(), world.delete(), world.resize(8 * MIB)):
        with pytest.raises(Conflict, match="being detached"):
            await again
    await world.removed()
    with pytest.raises(Conflict, match="not attached"):
        await world.detach()
    assert world.file().exists()


# --- resize -------------------------------------------------------------------------------------------------------------


async def test_an_attached_volume_grows(world: World) -> None:
    await world.create()
    await world.attach()
    world.write(MIB)
    await world.resize(8 * MIB)
    assert (world.file().stat().st_size, (await world.record()).size_bytes) == (8 * MIB, 8 * MIB)
    assert from_instance(await world.instance()).volume.size_bytes == 8 * MIB
    with pytest.raises(Conflict, match="made smaller under its clients"):
        await world.resize(4 * MIB)
    with pytest.raises(InvalidInput, match="multiple of 512"):
        await world.resize(8 * MIB + 1)
    assert "already" in (await world.resize(8 * MIB)).text


async def test_no_volume_shrinks_below_its_data(world: World) -> None:
    await world.create(size_bytes=64 * MIB)
    world.write(10 * MIB)
    before = await contents(world.store)
    with pytest.raises(Conflict, match=r"holds data up to byte 104\d{5}, beyond 10485760"):
        await world.resize(10 * MIB)
    assert (await contents(world.store), world.file().stat().st_size) == (before, 64 * MIB)
    await world.resize(11 * MIB)
    assert ((await world.record()).size_bytes, world.file().stat().st_size) == (11 * MIB, 11 * MIB)
    with world.file().open("rb") as file:
        file.seek(10 * MIB)
        assert file.read(1) == b"x"


@pytest.mark.parametrize("size", [8 * MIB, 2 * MIB])
async def test_what_the_store_refuses_is_not_done_to_the_file(world: World, size: int) -> None:
    await world.create()
    before = await contents(world.store)
    world.faults.next_writes.append(WriteFault.REFUSED)
    with pytest.raises(StoreUnavailable):
        await world.resize(size)
    assert (await contents(world.store), world.file().stat().st_size) == (before, 4 * MIB)


async def test_what_the_store_may_have_done_is_repeated(world: World) -> None:
    await world.create()
    world.faults.next_writes.append(WriteFault.LATE)
    with pytest.raises(StoreUnknownOutcome):
        await world.resize(8 * MIB)
    assert world.file().stat().st_size == 8 * MIB, "never smaller than the store may say"
    world.store.cluster.deliver_late()
    assert "already" in (await world.resize(8 * MIB)).text


async def test_a_volume_that_cannot_be_made_shorter_stays_as_it_was(world: World) -> None:
    class Stubborn(NoDevices):
        async def fit(self, root: str, path: str, size: int) -> None:
            raise DriverError("the shared storage hangs", "Check it.")

    await world.create()
    world.files = Stubborn()
    with pytest.raises(DriverError, match="hangs"):
        await world.resize(2 * MIB)
    assert (await world.record()).size_bytes == world.file().stat().st_size == 4 * MIB


async def test_devices_of_the_nodes_are_given_away_by_administrators_only(world: World) -> None:
    """A volume of a device shows its clients whatever a node keeps on it."""
    for actor in (
        Actor("otto", "session", role=Role.OPERATOR),
        Actor("ada", "token:ci", role=Role.ADMIN, scopes=("operate:iscsi",)),
    ):
        before = await contents(world.store)
        with pytest.raises(NotPermitted, match="block devices of the nodes"):
            await iscsi_volumes.create(world.store, actor, world.files, name="x", device="/dev/disk/by-id/san-1")
        assert await contents(world.store) == before
        await iscsi_volumes.create(world.store, actor, world.files, name=actor.name, size_bytes=MIB)
    ada = Actor("ada", "session", role=Role.ADMIN)
    await iscsi_volumes.create(world.store, ada, world.files, name="san", device="/dev/disk/by-id/san-1")


async def test_a_device_is_as_large_as_it_is(world: World) -> None:
    device = "/dev/disk/by-id/san-1"
    assert (await world.create("san", device=device)).data["size_bytes"] == 8 * MIB
    await world.attach("san")
    with pytest.raises(Conflict, match="has 8388608 bytes, not 16777216"):
        await world.resize(16 * MIB, "san")
    world.files.devices[device] = 16 * MIB
    await world.resize(16 * MIB, "san")
    assert (await world.record("san")).size_bytes == 16 * MIB
    await world.detach("san")
    await world.removed("san")
    assert "is left as it is" in (await world.delete("san", yes=False)).text


# --- delete -------------------------------------------------------------------------------------------------------------


async def test_a_volume_is_deleted_when_nobody_needs_it(world: World) -> None:
    await world.create()
    await world.attach()
    with pytest.raises(Conflict, match="attached to `g1`"):
        await world.delete()
    await world.detach()
    await world.removed()
    with pytest.raises(Conflict, match=r"4194304 bytes in .*v1\.img"):
        await world.delete(yes=False)
    world.faults.next_writes.append(WriteFault.REFUSED)
    with pytest.raises(StoreUnavailable):
        await world.delete()
    assert world.file().exists()
    await world.delete()
    assert not world.file().exists()
    with pytest.raises(NotFound):
        await world.delete()


async def test_a_file_that_stays_is_named(world: World) -> None:
    class Stubborn(NoDevices):
        async def remove(self, root: str, path: str) -> None:
            raise DriverError("the shared storage hangs", "Check it.")

    await world.create()
    world.files = Stubborn()
    outcome = await world.delete()
    assert "v1.img is still there, remove it by hand: the shared storage hangs" in outcome.warnings[0]
