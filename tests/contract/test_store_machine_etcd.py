"""The Store contract under random calls against a real etcd: races, leases, watches, compaction, a frozen member."""

import asyncio
import itertools
from collections.abc import Awaitable
from typing import TypeVar

from etcd_members import Members
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from store_bench import StoreBench

from holdfast.errors import StoreError
from holdfast.ports import Store, WatchBatch
from store_machine import CLIENT, CLIENTS, MOST_ON_THE_WAY, WRITES, Draft, Follower, StoreMachine

T = TypeVar("T")
FROZEN_S = 0.3
SETTLE_S = 20.0
"""A watch that has not caught up with an undisturbed store after so long has lost something."""

_spaces = itertools.count(1)


class EtcdFollower:
    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, client: int, prefix: str) -> None:
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
        self._loop.run_until_complete(asyncio.wait([self._task]))


class EtcdRig:
    """Clients of a real etcd, all in one loop; each rig has a prefix of its own."""

    short_s = None

    def __init__(self, loop: asyncio.AbstractEventLoop, members: Members) -> None:
        self.loop = loop
        self.members = members
        self.bench = StoreBench("etcd", members, prefix=f"/machine{next(_spaces)}/")
        self.clients = [self.bench.client() for _ in range(CLIENTS)]
        self.followers: list[EtcdFollower] = []
        self.frozen = False

    def run(self, call: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await call

        return self.loop.run_until_complete(awaited())

    def follow(self, client: int, prefix: str) -> Follower:
        self.followers.append(EtcdFollower(self.loop, self.clients[client], client, prefix))
        return self.followers[-1]

    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.005))

    def troubled(self, client: int) -> bool:
        return self.frozen

    def close(self) -> None:
        for follower in self.followers:
            follower.end()
        for store in self.clients:
            self.run(store.close())


class EtcdStoreMachine(StoreMachine):
    rig: EtcdRig
    frozen_writes = 0

    def __init__(self) -> None:
        super().__init__()
        self.compacted = self.worlds.all[0].revision

    def may_stay_unknown(self) -> bool:
        """Must not depend on how a real store took it, so that hypothesis can repeat a run."""
        return self.frozen_writes < MOST_ON_THE_WAY

    def caught_up(self) -> bool:
        """Give watches the time they need: what they show is compared afterwards."""
        return all(
            watched.revision >= 0
            and any(watched.shows(future) for world in self.worlds.all for future in world.futures())
            for _, watched in self.watches
        )

    def let_watches_catch_up(self) -> None:
        end = self.rig.loop.time() + SETTLE_S
        self.rig.settle()
        self.take_batches()
        while not self.caught_up() and self.rig.loop.time() < end:
            self.rig.settle()
            self.take_batches()

    @precondition(lambda self: self.may_stay_unknown())
    @rule(client=CLIENT, draft=WRITES)
    def write_to_a_frozen_member(self, client: int, draft: Draft) -> None:
        self.frozen_writes += 1
        write = self.write(draft)
        store = self.rig.clients[client]
        member = self.rig.members.members[0]
        member.freeze()
        self.rig.frozen = True
        try:
            call = store.txn(write.compare, write.then, write.otherwise, timeout=FROZEN_S)
            answer = self.attempt(client, call)
        finally:
            member.thaw()
            self.rig.frozen = False
        assert isinstance(answer, StoreError)
        self.record([(write, answer)])

    @rule()
    def compact(self) -> None:
        newest = min(world.revision for world in self.worlds.all)
        if newest > self.compacted:
            self.compacted = newest
            self.rig.run(self.rig.bench.compact(newest))


def test_a_real_etcd(etcd_single: Members, store_loop: asyncio.AbstractEventLoop) -> None:
    class Machine(EtcdStoreMachine):
        def make_rig(self) -> EtcdRig:
            return EtcdRig(store_loop, etcd_single)

    profile = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=profile)
