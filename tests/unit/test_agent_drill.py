"""What a drill asks of an agent (agent/drill.py): the storage is really written and read, only the named one is ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.agent.drill import DrillDuty
from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.clock import SystemClock
from holdfast.core.drill import DrillAnswer, DrillRequest
from holdfast.core.model import Goal, Placement
from holdfast.ports import Put, Unit
from holdfast.services.storage import MARKER
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

HANG_S = 20.0


@dataclass
class World:
    store: MemoryStore
    runner: MemoryRunner
    shared: Path

    async def ask(self, request: DrillRequest) -> DrillAnswer:
        await self.put(keys.drill_request("n1"), request)
        async with asyncio.timeout(HANG_S):
            while True:
                entry = await self.store.get(keys.drill_answer("n1"))
                answer = codec.decode(entry.value, DrillAnswer) if entry else None
                if answer is not None and (answer.drill, answer.kill) == (request.drill, request.kill):
                    return answer
                await asyncio.sleep(0.01)

    async def put(self, key: str, value: object) -> None:
        await self.store.txn([], [Put(key, codec.encode(value))])


@asynccontextmanager
async def world(tmp_path: Path, *, mounted: bool = True) -> AsyncIterator[World]:
    """An agent with the NFS server of vol1 and a machine."""
    clock = SystemClock()
    made = World(MemoryStore(MemoryCluster(), clock), MemoryRunner(MemoryHost()), tmp_path)
    if mounted:
        (tmp_path / MARKER).touch()
    mirror = Mirror(made.store)
    duty = DrillDuty("n1", made.store, mirror, made.runner, str(tmp_path), clock)
    for name in ("nfs/vol1", "vm/a"):
        await made.runner.start(Unit(name, ("server",)))
        await made.put(keys.placement(name), Placement("n1", 7, 1))
    tasks = [asyncio.create_task(mirror.run()), asyncio.create_task(duty.run())]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_small_file_is_written_read_and_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        answer = await made.ask(DrillRequest("d1"))
        assert answer.problem == ""
        assert set(answer.steps) == {"write", "read", "remove"}
        assert [path.name for path in tmp_path.iterdir()] == [MARKER]
        assert await made.runner.running() == ["nfs/vol1", "vm/a"]


async def test_a_storage_that_is_not_there_is_no_storage(tmp_path: Path) -> None:
    async with world(tmp_path, mounted=False) as made:
        answer = await made.ask(DrillRequest("d1"))
        assert "not mounted" in answer.problem
        assert answer.advice
        assert list(tmp_path.iterdir()) == []


async def test_only_the_named_one_is_ended_and_only_once(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        assert (await made.ask(DrillRequest("d1", "nfs/vol1", 7))).problem == ""
        assert await made.runner.running() == ["vm/a"]
        await made.runner.start(Unit("nfs/vol1", ("server",)))
        await made.put(keys.drill_request("n1"), DrillRequest("d1", "nfs/vol1", 7))  # the same again
        assert (await made.ask(DrillRequest("d2"))).problem == ""
        assert await made.runner.running() == ["nfs/vol1", "vm/a"]


@pytest.mark.parametrize("placement", [Placement("n2", 7, 1), Placement("n1", 8, 1), Placement("n1", 7, 1, Goal.STOP)])
async def test_what_is_not_placed_here_any_more_is_left_alone(tmp_path: Path, placement: Placement) -> None:
    async with world(tmp_path) as made:
        await made.put(keys.placement("nfs/vol1"), placement)
        answer = await made.ask(DrillRequest("d1", "nfs/vol1", 7))
        assert "not placed here any more" in answer.problem
        assert await made.runner.running() == ["nfs/vol1", "vm/a"]
