"""What a node knew of the others in a store that was lost, and what it tells the restored one (agent/known_nodes.py)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.agent.known_nodes import Memory, on_disk
from holdfast.clock import SystemClock
from holdfast.core.model import Beat, BeatPhase, Fence, NodeSpec, Role
from holdfast.core.restored import KnownNodes, Restored
from holdfast.errors import StoreUnavailable
from holdfast.ports import Delete, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import Faults, MemoryCluster, MemoryStore
from holdfast.store.mirror import Mirror

HANG_S = 20.0
FLOOR = 5_000_000
BEAT = Beat("s-n4", "boot", "machine-n4", 1, 1, BeatPhase.ACTIVE, None, 4, 8192)


def spec(name: str, *roles: Role) -> NodeSpec:
    return NodeSpec(name, roles or (Role.COMPUTE,), {"management": f"10.0.0.{name[1:]}"})


class Node:
    """n2; its disk outlives its agents."""

    def __init__(self, path: Path) -> None:
        self.file = path / "known-nodes.json"
        self.faults = Faults()

    @asynccontextmanager
    async def agent(self, cluster: MemoryCluster) -> AsyncIterator[Memory]:
        store = MemoryStore(cluster, SystemClock(), faults=self.faults)
        mirror = Mirror(store)
        memory = Memory("n2", store, mirror, *on_disk(self.file))
        tasks = [asyncio.create_task(mirror.run()), asyncio.create_task(memory.run())]
        try:
            async with asyncio.timeout(HANG_S):
                await mirror.ready.wait()
                yield memory
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def known(self) -> KnownNodes | None:
        return decode(self.file.read_bytes(), KnownNodes) if self.file.exists() else None

    async def knows(self, life: int, *names: str) -> None:
        while (known := self.known()) is None or (known.life, sorted(known.nodes)) != (life, sorted(names)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def put(cluster: MemoryCluster, values: dict[str, object]) -> int:
    return cluster.txn([], [Put(key, encode(value)) for key, value in values.items()], ()).revision


def lost() -> tuple[MemoryCluster, int]:
    """A store, and its revision when its backup was made: n1 and n2 were there, n3 was removed before, n4 added after it."""
    cluster = MemoryCluster()
    put(cluster, {keys.node_spec("n1"): spec("n1"), keys.node_spec("n2"): spec("n2")})
    put(cluster, {keys.node_spec("n3"): spec("n3")})
    cluster.txn([], [Delete(keys.node_spec("n3"))], ())
    made_at = cluster.revision
    put(cluster, {keys.node_spec("n4"): spec("n4", Role.MANAGEMENT, Role.COMPUTE), keys.beat("n4"): BEAT})
    return cluster, made_at


def restored(backup_revision: int, floor: int = FLOOR, former: int = 0) -> MemoryCluster:
    cluster = MemoryCluster()
    life = Restored("now", "then", backup_revision, "n1", floor, former_floor=former)
    put(cluster, {keys.RESTORED: life, keys.node_spec("n1"): spec("n1"), keys.node_spec("n2"): spec("n2")})
    return cluster


def nodes_of(cluster: MemoryCluster) -> list[str]:
    return [keys.last_part(entry.key) for entry in cluster.list(keys.NODE_SPECS).entries]


async def test_a_node_that_was_added_since_the_backup_is_told_of_and_unheard(tmp_path: Path) -> None:
    node, (old, made_at) = Node(tmp_path), lost()
    async with node.agent(old):
        await node.knows(0, "n1", "n2", "n4")
    new = restored(made_at)
    async with node.agent(new) as memory:
        await memory.tell()
        assert nodes_of(new) == ["n1", "n2", "n4"]
        entries = {key: new.get(key) for key in (keys.node_spec("n4"), keys.fence("n4"), keys.beat("n4"))}
        told = {key: entry.value for key, entry in entries.items() if entry is not None}
        assert decode(told[keys.node_spec("n4")], NodeSpec).roles == (Role.COMPUTE,)  # the store has other members
        assert decode(told[keys.fence("n4")], Fence) == Fence(FLOOR)
        beat = decode(told[keys.beat("n4")], Beat)
        assert (beat.session, beat.boot_id, beat.machine_id, beat.watchdog) == ("", "", "machine-n4", None)
        await node.knows(FLOOR, "n1", "n2", "n4")  # from now on it remembers this life


async def test_until_it_has_told_a_node_forgets_nothing(tmp_path: Path) -> None:
    node, (old, made_at) = Node(tmp_path), lost()
    async with node.agent(old):
        await node.knows(0, "n1", "n2", "n4")
    new = restored(made_at)
    async with node.agent(new) as memory:
        node.faults.unavailable = True
        with pytest.raises(StoreUnavailable):
            await memory.tell()
        put(new, {keys.node_spec("n5"): spec("n5")})
        await asyncio.sleep(0.05)  # whatever is to be written is written
        known = node.known()
        assert known is not None
        assert "n4" in known.nodes
        node.faults.unavailable = False
        await memory.tell()
        assert "n4" in nodes_of(new)


@pytest.mark.parametrize("why", ["the backup had it removed", "removed in this life", "it is known", "same life"])
async def test_what_is_not_told(tmp_path: Path, why: str) -> None:
    node, (old, made_at) = Node(tmp_path), lost()
    async with node.agent(old):
        await node.knows(0, "n1", "n2", "n4")
    new = restored(old.revision if why == "the backup had it removed" else made_at)
    if why == "removed in this life":
        put(new, {keys.fence("n4"): Fence(FLOOR + 7)})
    elif why == "it is known":
        put(new, {keys.node_spec("n4"): spec("n4"), keys.fence("n4"): Fence(FLOOR), keys.beat("n4"): BEAT})
    elif why == "same life":
        node.file.write_bytes(encode(KnownNodes(FLOOR, decode(node.file.read_bytes(), KnownNodes).nodes)))
    before = new.revision
    async with node.agent(new) as memory:
        await memory.tell()
        assert new.revision == before


async def test_of_a_life_that_is_not_the_backups_everything_is_told(tmp_path: Path) -> None:
    """It was away during a whole life of the store: what was removed in it is not known. Better once too often."""
    node, (old, _) = Node(tmp_path), lost()
    async with node.agent(old):
        await node.knows(0, "n1", "n2", "n4")
    new = restored(10**9, floor=3 * FLOOR, former=FLOOR)
    async with node.agent(new) as memory:
        await memory.tell()
        assert "n4" in nodes_of(new)


async def test_a_damaged_file_is_no_memory(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.file.write_bytes(b"{")
    async with node.agent(restored(1)) as memory:
        assert not memory.was("machine-n2")
        await memory.tell()
        await node.knows(FLOOR, "n1", "n2")


async def test_it_knows_which_machine_it_was(tmp_path: Path) -> None:
    node, (old, _) = Node(tmp_path), lost()
    put(old, {keys.beat("n2"): Beat("s", "b", "machine-n2", 1, 1, BeatPhase.ACTIVE)})
    async with node.agent(old) as memory:
        await node.knows(0, "n1", "n2", "n4")
        assert memory.was("machine-n2")
        assert not memory.was("another")
