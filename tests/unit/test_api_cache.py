"""The picture of the cluster stays current though a watch breaks without a word."""

import asyncio
from collections.abc import AsyncIterator

from api_world import build, memory_store, put

from holdfast.api.cache import StatusCache
from holdfast.clock import SystemClock
from holdfast.core.model import ClusterSpec
from holdfast.ports import WatchBatch
from holdfast.store import keys
from holdfast.store.memory import MemoryStore


class FallsSilent:
    """A store whose first watch delivers a snapshot and then nothing; it does not end either."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.watches = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def watch(self, prefix: str) -> AsyncIterator[WatchBatch]:
        self.watches += 1
        first = self.watches == 1
        async for batch in self._store.watch(prefix):
            yield batch
            if first:
                await asyncio.Event().wait()


async def test_a_watch_that_is_silent_while_the_store_changes_is_begun_anew() -> None:
    store = memory_store()
    await build(store)
    silent = FallsSilent(store)
    cache = StatusCache(silent, SystemClock(), probe_period_s=0.02)  # type: ignore[arg-type]
    task = asyncio.create_task(cache.run())
    try:
        assert await cache.wait_revision(1, 10)
        await put(store, {keys.CLUSTER: ClusterSpec("renamed", "c1")})
        async with asyncio.timeout(20):
            while cache.status.cluster.name != "renamed":
                await cache.wait_newer(cache.version)
        assert silent.watches == 2
        async with asyncio.timeout(20):
            while cache.status.store_problem:
                await cache.wait_newer(cache.version)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_watch_is_left_alone_while_nothing_happens() -> None:
    store = memory_store()
    await build(store)
    silent = FallsSilent(store)
    cache = StatusCache(silent, SystemClock(), probe_period_s=0.01)  # type: ignore[arg-type]
    task = asyncio.create_task(cache.run())
    try:
        assert await cache.wait_revision(1, 10)
        for _ in range(30):
            await store.list(keys.CLUSTER)
            await asyncio.sleep(0.01)
        assert (silent.watches, cache.status.store_problem) == (1, "")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
