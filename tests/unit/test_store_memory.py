"""The anomalies of the memory store."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import StoreFull, StoreLeaseGone, StoreRejected, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Compare, Delete, Put, WatchBatch
from holdfast.store.memory import MemoryCluster, MemoryStore, WriteFault


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def store(cluster: MemoryCluster) -> MemoryStore:
    return MemoryStore(cluster, SystemClock(), default_timeout_s=0.02, progress_s=0.01)


@pytest.fixture
def other(cluster: MemoryCluster) -> MemoryStore:
    return MemoryStore(cluster, SystemClock(), default_timeout_s=0.02, progress_s=0.01)


async def next_with(watch: AsyncGenerator[WatchBatch, None]) -> WatchBatch:
    """The next batch that is more than a sign of life."""
    async with asyncio.timeout(5):
        async for batch in watch:
            if batch.changes or batch.snapshot:
                return batch
    raise AssertionError("the watch ended")


@pytest.mark.parametrize(
    ("fate", "error", "applied"),
    [
        (WriteFault.REFUSED, StoreUnavailable, False),
        (WriteFault.LOST, StoreUnknownOutcome, False),
        (WriteFault.APPLIED, StoreUnknownOutcome, True),
    ],
)
async def test_fate_of_a_write(store: MemoryStore, fate: WriteFault, error: type[Exception], applied: bool) -> None:
    store.faults.next_writes.append(fate)
    assert await store.get("a") is None  # reads do not use it up
    with pytest.raises(error):
        await store.txn([], [Put("a", b"1")])
    assert (await store.get("a") is not None) == applied
    assert (await store.txn([], [Put("b", b"1")])).succeeded


async def test_a_late_write_is_applied_after_its_sender_gave_up_and_compares_then(
    store: MemoryStore, other: MemoryStore, cluster: MemoryCluster
) -> None:
    store.faults.next_writes.extend([WriteFault.LATE, WriteFault.LATE])
    for key in ("a", "b"):
        with pytest.raises(StoreUnknownOutcome):
            await store.txn([Compare(key, 0)], [Put(key, b"late")])
    assert await other.get("a") is None
    await other.txn([], [Put("b", b"mine")])
    assert cluster.late_writes == 2
    cluster.deliver_late()
    a, b = await other.get("a"), await other.get("b")
    assert a is not None and a.value == b"late"
    assert b is not None and b.value == b"mine"


async def test_a_partitioned_client_waits_its_time_out_and_others_go_on(store: MemoryStore, other: MemoryStore) -> None:
    watch = store.watch("")
    assert (await next_with(watch)).snapshot
    store.faults.partitioned = True
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    with pytest.raises(StoreUnknownOutcome):
        await store.txn([], [Put("a", b"1")])
    await other.txn([], [Put("b", b"1")])
    store.faults.partitioned = False
    batch = await next_with(watch)
    assert not batch.snapshot
    assert [change.key for change in batch.changes] == ["b"]
    await watch.aclose()


async def test_delays_beyond_the_time_out(store: MemoryStore, cluster: MemoryCluster) -> None:
    store.faults.reply_delay_s = 1
    with pytest.raises(StoreUnknownOutcome):
        await store.txn([], [Put("a", b"1")])
    store.faults.reply_delay_s, store.faults.request_delay_s = 0, 1
    with pytest.raises(StoreUnknownOutcome):
        await store.txn([], [Put("b", b"1")])
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    store.faults.request_delay_s = 0
    assert await store.get("a") is not None
    assert await store.get("b") is None
    cluster.deliver_late()
    assert await store.get("b") is not None


async def test_a_delayed_watch_is_stale_while_reads_are_not(store: MemoryStore) -> None:
    watch = store.watch("")
    await next_with(watch)
    store.faults.watch_delay_s = 0.05
    await store.txn([], [Put("a", b"1")])
    pending = asyncio.ensure_future(next_with(watch))
    await asyncio.sleep(0)
    assert await store.get("a") is not None
    assert not pending.done()
    assert [change.key for change in (await pending).changes] == ["a"]
    await watch.aclose()


async def test_lost_watch_events_end_in_a_snapshot(store: MemoryStore) -> None:
    await store.txn([], [Put("a", b"1"), Put("gone", b"1")])
    watch = store.watch("")
    await next_with(watch)
    store.faults.lose_watch_events = True
    pending = asyncio.ensure_future(next_with(watch))
    await store.txn([], [Delete("gone"), Put("b", b"1")])
    await asyncio.sleep(0.02)
    assert not pending.done()
    store.faults.lose_watch_events = False
    batch = await pending
    assert batch.snapshot
    assert [change.key for change in batch.changes] == ["a", "b"]
    await watch.aclose()


async def test_compaction_under_a_lagging_watcher_gives_a_snapshot(store: MemoryStore, cluster: MemoryCluster) -> None:
    watch = store.watch("")
    await next_with(watch)
    store.faults.watch_delay_s = 0.01
    for value in (b"1", b"2"):
        await store.txn([], [Put("a", value)])
    cluster.compact()
    batch = await next_with(watch)
    assert batch.snapshot
    await watch.aclose()


async def test_a_full_store_reads_and_deletes(store: MemoryStore, cluster: MemoryCluster) -> None:
    await store.txn([], [Put("a", b"1")])
    cluster.full = True
    for refused in (store.txn([], [Put("b", b"1")]), store.lease(5)):
        with pytest.raises(StoreFull):
            await refused
    assert await store.get("a") is not None
    assert (await store.txn([], [Delete("a")])).succeeded


async def test_leases_end_early_and_overstay(store: MemoryStore, cluster: MemoryCluster) -> None:
    lease = await store.lease(60)
    await store.txn([], [Put("a", b"1", lease)])
    cluster.expire(lease)
    assert await store.get("a") is None
    assert not await store.keep_alive(lease)
    with pytest.raises(StoreLeaseGone):
        await store.txn([], [Put("a", b"1", lease)])
    cluster.leases_overstay = True
    short = await store.lease(0)
    await store.txn([], [Put("a", b"1", short)])
    assert await store.get("a") is not None
    cluster.leases_overstay = False
    assert await store.get("a") is None


async def test_a_restore_takes_the_revision_back_and_watches_start_anew(
    store: MemoryStore, cluster: MemoryCluster
) -> None:
    await store.txn([], [Put("a", b"1")])
    backup = cluster.backup()
    await store.txn([], [Put("b", b"1")])
    watch = store.watch("")
    before = await next_with(watch)
    cluster.restore(backup)
    batch = await next_with(watch)
    assert batch.snapshot
    assert batch.revision < before.revision
    assert [change.key for change in batch.changes] == ["a"]
    cluster.restore(backup, foreign=True)
    with pytest.raises(StoreRejected, match="another cluster"):
        await store.get("a")
    with pytest.raises(StoreRejected, match="another cluster"):
        await next_with(watch)


async def test_closing_ends_watches_and_refuses_calls(store: MemoryStore) -> None:
    watch = store.watch("")
    await next_with(watch)
    await store.close()
    assert [batch async for batch in watch] == []
    with pytest.raises(StoreUnavailable):
        await store.get("a")
