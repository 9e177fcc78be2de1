"""The Store contract under random calls and all anomalies of the memory store, compared with a dictionary."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.ports import Store, WatchBatch
from holdfast.sim.clock import NodeClock
from holdfast.sim.loop import VirtualLoop
from holdfast.store.memory import Backup, Faults, MemoryCluster, MemoryStore, WriteFault
from store_machine import CLIENT, CLIENTS, LEASE_S, StoreMachine
from store_model import World

T = TypeVar("T")


class LeaseClock(NodeClock):
    """Measures leases only, so that they end when the test says so."""

    ahead = 0.0

    def now(self) -> float:
        return self.ahead


class MemoryFollower:
    def __init__(self, loop: VirtualLoop, store: Store, client: int, prefix: str) -> None:
        self.client = client
        self._loop = loop
        self._batches: list[WatchBatch] = []
        self._task = loop.create_task(self._read(store, prefix))

    async def _read(self, store: Store, prefix: str) -> None:
        watch = store.watch(prefix)
        try:
            async for batch in watch:
                self._batches.append(batch)
        finally:
            await watch.aclose()

    def batches(self) -> list[WatchBatch]:
        assert not self._task.done(), "the watch ended by itself"
        taken, self._batches = self._batches, []
        return taken

    def end(self) -> None:
        self._task.cancel()
        self._loop.run_until(self._loop.time() + 1)


class MemoryRig:
    """Clients of a memory store in virtual time."""

    short_s = 1.0

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.lease_clock = LeaseClock(self.loop)
        self.cluster = MemoryCluster(self.lease_clock)
        self.faults = [Faults() for _ in range(CLIENTS)]
        clock = NodeClock(self.loop)
        self.clients = [MemoryStore(self.cluster, clock, faults=faults) for faults in self.faults]
        self.followers: list[MemoryFollower] = []

    def run(self, call: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await call

        task: asyncio.Task[T] = self.loop.create_task(awaited())
        self.loop.run_until(self.loop.time() + 60, stop=task.done)
        assert task.done(), "a call lasts for ever"
        return task.result()

    def follow(self, client: int, prefix: str) -> MemoryFollower:
        self.followers.append(MemoryFollower(self.loop, self.clients[client], client, prefix))
        return self.followers[-1]

    def settle(self) -> None:
        self.loop.run_until(self.loop.time() + 0.6)

    def troubled(self, client: int) -> bool:
        return self.faults[client] != Faults()

    def close(self) -> None:
        for follower in self.followers:
            follower.end()
        assert self.loop.failures == []


class MemoryStoreMachine(StoreMachine):
    rig: MemoryRig

    def make_rig(self) -> MemoryRig:
        return MemoryRig()

    def __init__(self) -> None:
        super().__init__()
        self.saved: tuple[Backup, list[World]] | None = None

    @precondition(lambda self: self.may_stay_unknown())
    @rule(client=CLIENT, fate=st.sampled_from(WriteFault))
    def fate_of_the_next_write(self, client: int, fate: WriteFault) -> None:
        self.rig.faults[client].next_writes.append(fate)

    @rule(
        client=CLIENT,
        field=st.sampled_from(["request_delay_s", "reply_delay_s", "watch_delay_s"]),
        seconds=st.sampled_from([0.3, 1.5, 3.0]),
    )
    def slow(self, client: int, field: str, seconds: float) -> None:
        setattr(self.rig.faults[client], field, seconds)

    @rule(client=CLIENT, field=st.sampled_from(["unavailable", "partitioned", "lose_watch_events"]))
    def cut(self, client: int, field: str) -> None:
        setattr(self.rig.faults[client], field, True)

    @rule(client=CLIENT)
    def heal(self, client: int) -> None:
        faults = self.rig.faults[client]
        late = faults.watch_delay_s
        for name in Faults.__slots__:
            setattr(faults, name, getattr(Faults(), name))
        self.rig.loop.run_until(self.rig.loop.time() + late + 0.1)

    @rule(count=st.integers(1, 3))
    def late_writes_arrive(self, count: int) -> None:
        self.rig.cluster.deliver_late(count)
        if not self.rig.cluster.late_writes:
            self.worlds.nothing_is_pending()

    @rule()
    def compact(self) -> None:
        self.rig.cluster.compact()

    @rule(full=st.booleans())
    def space(self, full: bool) -> None:
        self.full = self.rig.cluster.full = full

    @rule(early=st.booleans())
    def leases_end(self, early: bool) -> None:
        """By time or, as after a fault of the store, before it."""
        cluster, leases = self.rig.cluster, self.worlds.leases()
        if not early:
            self.rig.lease_clock.ahead += 2 * LEASE_S
            cluster.expire_leases()
        for lease in leases:
            cluster.expire(lease)
            self.worlds.saw(f"end of lease {lease}", lambda w, lease=lease: w.end(lease))
        self.leases.clear()

    @rule()
    def leases_overstay(self) -> None:
        """As after a change of the leader, which arms all of them anew."""
        cluster = self.rig.cluster
        cluster.leases_overstay = True
        self.rig.lease_clock.ahead += 2 * LEASE_S
        for lease in self.worlds.leases():
            cluster.keep_alive(lease)
        cluster.leases_overstay = False

    @rule()
    def backup(self) -> None:
        self.saved = (self.rig.cluster.backup(), self.worlds.all)

    @precondition(lambda self: self.saved and self.may_stay_unknown())
    @rule()
    def restore(self) -> None:
        """From an old snapshot: revisions go back, and every watch must notice."""
        assert self.saved is not None
        backup, worlds = self.saved
        self.rig.cluster.restore(backup)
        self.worlds.restored(worlds, backup.revision)
        for _, watched in self.watches:
            watched.revision = -1


MemoryStoreMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, derandomize=True
)
TestMemoryStoreMachine = MemoryStoreMachine.TestCase
