"""The store in memory, for unit tests and the simulator: the same contract as etcd, with its anomalies on demand.

Nothing here has a clock or randomness of its own. `MemoryCluster` is the shared truth, each `MemoryStore` one client of
it with its own `Faults`. Who holds them decides what goes wrong and when.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from holdfast.errors import StoreRejected, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Change, Clock, Compare, Entry, Op, Snapshot, TxnResult, WatchBatch
from holdfast.store.checks import check_key, check_txn, writes
from holdfast.store.memory_cluster import Backup, MemoryCluster

__all__ = ["Backup", "Faults", "MemoryCluster", "MemoryStore", "WriteFault"]

T = TypeVar("T")


class WriteFault(StrEnum):
    """What becomes of one write."""

    REFUSED = "refused"
    """StoreUnavailable: certainly not applied."""
    LOST = "lost"
    """StoreUnknownOutcome, and it was not applied."""
    APPLIED = "applied"
    """StoreUnknownOutcome, and it was applied."""
    LATE = "late"
    """StoreUnknownOutcome, and it is applied only when somebody calls `MemoryCluster.deliver_late`."""


@dataclass(slots=True)
class Faults:
    """What is wrong between one client and the store. All fields may be changed at any time."""

    unavailable: bool = False
    """Every call fails at once with StoreUnavailable; watches are silent and resume afterwards."""
    partitioned: bool = False
    """Nothing gets through and nothing is answered: calls last their whole time-out; watches are silent."""
    next_writes: deque[WriteFault] = field(default_factory=deque)
    """Fate of the next transactions that write, one each; afterwards all is well again."""
    request_delay_s: float = 0.0
    """Each call reaches the store only after this time; beyond the caller's time-out it arrives late."""
    reply_delay_s: float = 0.0
    """Each answer takes this time; beyond the time-out the call is applied and its outcome unknown."""
    watch_delay_s: float = 0.0
    """Watches see each change this much later, so that a view is stale while reads are not."""
    lose_watch_events: bool = False
    """Watches deliver nothing; once this ends they notice the loss and deliver a snapshot."""


class MemoryStore:
    """One client of a MemoryCluster (implements ports.Store)."""

    def __init__(
        self,
        cluster: MemoryCluster,
        clock: Clock,
        *,
        faults: Faults | None = None,
        default_timeout_s: float = 2.0,
        progress_s: float = 0.5,
    ) -> None:
        """`progress_s`: how often an idle watch gives a sign of life."""
        self.cluster = cluster
        self.faults = faults if faults is not None else Faults()
        self._clock = clock
        self._default_timeout_s = default_timeout_s
        self._progress_s = progress_s
        self._cluster_id: int | None = None
        self._closed = False
        cluster.attach(clock)

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        check_key(key)
        return await self._call(lambda: self.cluster.get(key), f"read {key}", timeout, write=False)

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        return await self._call(lambda: self.cluster.list(prefix), f"list {prefix}", timeout, write=False)

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        check_txn(compare, then, otherwise)
        parts = (tuple(compare), tuple(then), tuple(otherwise))
        write = writes(then, otherwise)
        return await self._call(lambda: self.cluster.txn(*parts), "write", timeout, write=write, txn=True)

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        return await self._call(lambda: self.cluster.grant(ttl_s), "grant a lease", timeout, write=True)

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        return await self._call(lambda: self.cluster.keep_alive(lease), "renew a lease", timeout, write=True)

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None:
        await self._call(lambda: self.cluster.expire(lease), "revoke a lease", timeout, write=True)

    async def close(self) -> None:
        self._closed = True
        self.cluster.wake()

    async def _call(
        self, action: Callable[[], T], what: str, timeout: float | None, *, write: bool, txn: bool = False
    ) -> T:
        """Carry one call to the cluster and back, through this client's faults."""
        limit = self._default_timeout_s if timeout is None else timeout
        await asyncio.sleep(0)  # as with a real store, others run between a call and its answer
        faults = self.faults
        if self._closed or faults.unavailable:
            raise StoreUnavailable(f"the store cannot be reached to {what}", "It is asked again by itself.")
        if faults.partitioned:
            await self._clock.sleep(limit)
            raise self._silence(what, limit, write)
        fate = faults.next_writes.popleft() if txn and write and faults.next_writes else None
        if fate is WriteFault.REFUSED:
            raise StoreUnavailable(f"the store refused to {what}", "It is asked again by itself.")
        if faults.request_delay_s >= limit or fate in (WriteFault.LOST, WriteFault.LATE):
            if write and fate is not WriteFault.LOST:
                self.cluster.send_late(action)
            await self._clock.sleep(limit)
            raise self._silence(what, limit, write)
        if faults.request_delay_s:
            await self._clock.sleep(faults.request_delay_s)
        self._check_cluster()
        result = action()
        left = limit - faults.request_delay_s
        if faults.reply_delay_s >= left or fate is WriteFault.APPLIED:
            await self._clock.sleep(left)
            raise self._silence(what, limit, write)
        if faults.reply_delay_s:
            await self._clock.sleep(faults.reply_delay_s)
        return result

    def _silence(self, what: str, limit: float, write: bool) -> StoreUnavailable | StoreUnknownOutcome:
        text = f"the store did not answer within {limit:g} s when asked to {what}"
        if write:
            return StoreUnknownOutcome(text, "It may or may not have happened; read again before going on.")
        return StoreUnavailable(text, "It is asked again by itself.")

    def _check_cluster(self) -> None:
        if self._cluster_id is None:
            self._cluster_id = self.cluster.cluster_id
        if self._cluster_id != self.cluster.cluster_id:
            raise StoreRejected(
                f"the store belongs to another cluster (id {self.cluster.cluster_id}, expected {self._cluster_id})",
                "If it was restored on purpose, restart this daemon; otherwise mend the list of endpoints.",
            )

    async def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        """Ends only when the store is closed."""
        cluster, clock, faults = self.cluster, self._clock, self.faults
        event = cluster.subscribe()
        seen: tuple[int, int] | None = None  # incarnation and revision delivered last
        last_sign = clock.now()
        try:
            while not self._closed:
                event.clear()
                if faults.lose_watch_events:
                    seen = None
                target = (cluster.incarnation, cluster.revision)
                if faults.watch_delay_s and target != seen:
                    await clock.sleep(faults.watch_delay_s)
                if self._mute():
                    await self._wait(event)
                    continue
                batch = self._batch(prefix, seen, target)
                seen = (cluster.incarnation, batch.revision)
                if batch.changes or batch.snapshot or clock.now() - last_sign >= self._progress_s:
                    last_sign = clock.now()
                    yield batch
                if seen == (cluster.incarnation, cluster.revision):
                    await self._wait(event)
        finally:
            cluster.unsubscribe(event)

    def _mute(self) -> bool:
        return self.faults.unavailable or self.faults.partitioned or self.faults.lose_watch_events

    async def _wait(self, event: asyncio.Event) -> None:
        """Until something changed, at most until the next sign of life is due."""
        try:
            async with self._clock.timeout(self._progress_s):
                await event.wait()
        except TimeoutError:
            self.cluster.expire_leases()

    def _batch(self, prefix: str, seen: tuple[int, int] | None, target: tuple[int, int]) -> WatchBatch:
        """What is new since `seen`, up to `target`; a snapshot where the history does not reach back."""
        cluster = self.cluster
        self._check_cluster()
        if (
            seen is None
            or seen[0] != cluster.incarnation
            or target[0] != cluster.incarnation
            or seen[1] < cluster.compacted
        ):
            snapshot = cluster.list(prefix)
            changes = tuple(Change(entry.key, entry, entry.mod_revision) for entry in snapshot.entries)
            return WatchBatch(changes, snapshot.revision, snapshot=True)
        found = cluster.changes_after(seen[1], target[1])
        return WatchBatch(tuple(c for c in found if c.key.startswith(prefix)), target[1])
