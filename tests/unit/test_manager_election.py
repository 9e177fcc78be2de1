"""A leader whose watch falls behind (found by `holdfast sim fuzz`, seed 7191, as a crash of the manager) or ends."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from holdfast.clock import ManualClock
from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import StoreRejected
from holdfast.manager.election import UNSEEN_S, Election, LostLeadership
from holdfast.manager.loop import Manager
from holdfast.ports import Compare, Op, PowerFence, Put, TxnResult, WatchBatch
from holdfast.store import keys
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror


class LateWatch(MemoryStore):
    """Its watch delivers nothing after the first listing until the leader resigns; then all at once, before the answer."""

    def __init__(self, cluster: MemoryCluster, clock: ManualClock) -> None:
        super().__init__(cluster, clock)
        self.delivers = asyncio.Event()
        self.delivers.set()

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        result = await super().txn(compare, then, otherwise, timeout=timeout)
        if any(isinstance(op, Put) and op.key == keys.MANAGER_TERM for op in then) and len(then) == 1:
            self.delivers.set()
            for _ in range(20):
                await asyncio.sleep(0)
        return result

    async def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        async for batch in super().watch(prefix):
            await self.delivers.wait()
            yield batch


async def test_a_watch_that_delivers_while_a_deaf_leader_resigns() -> None:
    clock = ManualClock()
    store = LateWatch(MemoryCluster(clock), clock)
    mirror = Mirror(store)
    following = asyncio.create_task(mirror.run())
    await mirror.ready.wait()
    election = Election(store, mirror, clock, "n1", "session-1", lambda _node: None, lambda _node: False)
    assert await election.try_take_over()
    await clock.settle()
    store.delivers.clear()
    await election.renew()
    await clock.advance(UNSEEN_S + 1)
    with pytest.raises(LostLeadership, match="delivered nothing for 6 s"):
        await election.renew()
    following.cancel()


class RefusedWatch(MemoryStore):
    """Its watch is refused after the first listing, as by a store that was replaced."""

    async def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        async for batch in super().watch(prefix):
            yield batch
            if not batch.snapshot:
                raise StoreRejected("the store belongs to another cluster", "")


class NoDevices:
    def open(self, device: FenceDeviceSpec) -> PowerFence:
        raise AssertionError("there is no fence device")


async def test_a_manager_that_cannot_follow_the_store_any_more_ends_and_says_why() -> None:
    clock = ManualClock()
    manager = Manager(RefusedWatch(MemoryCluster(clock), clock), clock, "n1", "session-1", NoDevices(), {})
    running = asyncio.create_task(manager.run())
    await clock.advance(10)
    assert running.done(), "a manager goes on though it hears nothing"
    with pytest.raises(StoreRejected, match="another cluster"):
        running.result()
