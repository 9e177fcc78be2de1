"""The contract of the Store port: what every store does, whatever it is made of."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from store_bench import StoreBench

from holdfast.errors import InvalidInput, StoreLeaseGone, StoreUnavailable
from holdfast.ports import Change, Compare, Delete, Get, Put, Store, WatchBatch
from holdfast.store.checks import MAX_REQUEST_BYTES, MAX_TXN_OPS


async def next_with(watch: AsyncGenerator[WatchBatch, None]) -> WatchBatch:
    """The next batch that is more than a sign of life."""
    async with asyncio.timeout(30):
        async for batch in watch:
            if batch.changes or batch.snapshot:
                return batch
    raise AssertionError("the watch ended")


async def test_a_key_that_does_not_exist(store: Store) -> None:
    assert await store.get("a/b") is None
    assert (await store.list("a/")).entries == ()


async def test_put_and_get(store: Store) -> None:
    first = await store.txn([], [Put("a", b"\x00\xff")])
    entry = await store.get("a")
    assert first.succeeded
    assert entry is not None
    assert (entry.key, entry.value, entry.lease) == ("a", b"\x00\xff", 0)
    assert entry.mod_revision == entry.create_revision == first.revision
    second = await store.txn([], [Put("a", b"")])
    entry = await store.get("a")
    assert entry is not None
    assert (entry.value, entry.mod_revision, entry.create_revision) == (b"", second.revision, first.revision)
    assert second.revision == first.revision + 1


async def test_compare_and_swap(store: Store) -> None:
    created = await store.txn([Compare("a", 0)], [Put("a", b"1")])
    assert created.succeeded
    again = await store.txn([Compare("a", 0)], [Put("a", b"2")], [Get("a"), Get("none")])
    assert not again.succeeded
    assert again.gets["none"] is None
    held = again.gets["a"]
    assert held is not None and held.value == b"1" and held.mod_revision == created.revision
    assert again.revision == created.revision  # nothing was written
    both = await store.txn([Compare("a", created.revision), Compare("b", 0)], [Put("b", b"1"), Put("a", b"3")])
    assert both.succeeded
    stale = await store.txn([Compare("a", created.revision)], [Put("a", b"4")])
    assert not stale.succeeded


async def test_a_transaction_is_one_revision_and_reads_its_own_writes(store: Store) -> None:
    await store.txn([], [Put("old", b"1")])
    result = await store.txn([], [Put("a", b"1"), Delete("old"), Delete("never"), Get("a"), Get("old")])
    a = result.gets["a"]
    assert a is not None and a.mod_revision == result.revision
    assert result.gets["old"] is None
    snapshot = await store.list("")
    assert [entry.key for entry in snapshot.entries] == ["a"]
    assert snapshot.revision == result.revision


async def test_deleting_nothing_changes_nothing(store: Store) -> None:
    before = await store.txn([], [Put("a", b"1")])
    after = await store.txn([], [Delete("never")])
    assert after.succeeded
    assert after.revision == before.revision
    await store.txn([], [Delete("a")])
    recreated = await store.txn([Compare("a", 0)], [Put("a", b"2")])
    entry = await store.get("a")
    assert entry is not None and entry.create_revision == recreated.revision


async def test_list_is_sorted_and_keeps_to_its_prefix(store: Store) -> None:
    await store.txn([], [Put(key, key.encode()) for key in ("b/2", "b/10", "a/1", "b", "b0", "ü/ß")])
    assert [entry.key for entry in (await store.list("b/")).entries] == ["b/10", "b/2"]
    assert [entry.key for entry in (await store.list("ü")).entries] == ["ü/ß"]
    assert len((await store.list("")).entries) == 6


async def test_two_clients_race_and_one_wins(store_bench: StoreBench) -> None:
    clients = [store_bench.client() for _ in range(4)]
    results = await asyncio.gather(
        *(client.txn([Compare("leader", 0)], [Put("leader", b"%d" % n)]) for n, client in enumerate(clients))
    )
    assert sum(result.succeeded for result in results) == 1


async def test_counting_under_contention_loses_nothing(store_bench: StoreBench) -> None:
    await store_bench.client().txn([], [Put("n", b"0")])

    async def add(client: Store) -> None:
        done = 0
        while done < 10:
            entry = await client.get("n")
            assert entry is not None
            swap = await client.txn([Compare("n", entry.mod_revision)], [Put("n", b"%d" % (int(entry.value) + 1))])
            done += swap.succeeded

    await asyncio.gather(*(add(store_bench.client()) for _ in range(3)))
    entry = await store_bench.client().get("n")
    assert entry is not None and entry.value == b"30"


@pytest.mark.parametrize("key", ["", "/a"])
async def test_wrong_keys(store: Store, key: str) -> None:
    for call in (store.get(key), store.txn([], [Put(key, b"")]), store.txn([Compare(key, 0)], [])):
        with pytest.raises(InvalidInput, match="not a store key"):
            await call


async def test_transactions_that_are_wrong_or_too_large(store: Store) -> None:
    with pytest.raises(InvalidInput, match="'a' twice"):
        await store.txn([], [Put("a", b"1"), Delete("a")])
    with pytest.raises(InvalidInput, match="too large"):
        await store.txn([], [Put(f"k{n}", b"") for n in range(MAX_TXN_OPS + 1)])
    with pytest.raises(InvalidInput, match="too large"):
        await store.txn([], [Put("a", b"x" * MAX_REQUEST_BYTES)])
    largest = await store.txn([], [Put(f"k{n:04}", b"x" * 1000) for n in range(MAX_TXN_OPS)])
    assert largest.succeeded
    assert len((await store.list("")).entries) == MAX_TXN_OPS


async def test_leases(store: Store) -> None:
    lease = await store.lease(60)
    await store.txn([], [Put("hint", b"1", lease), Put("other", b"1", lease)])
    entry = await store.get("hint")
    assert entry is not None and entry.lease == lease
    assert await store.keep_alive(lease)
    await store.txn([], [Put("other", b"2")])  # a put without the lease takes the key out of it
    await store.revoke(lease)
    assert await store.get("hint") is None
    assert await store.get("other") is not None
    assert not await store.keep_alive(lease)
    await store.revoke(lease)
    with pytest.raises(StoreLeaseGone):
        await store.txn([], [Put("hint", b"1", lease), Put("b", b"1")])
    assert await store.get("b") is None


async def test_a_lease_that_is_gone_matters_only_in_the_branch_that_runs(store: Store) -> None:
    lease = await store.lease(60)
    await store.revoke(lease)
    result = await store.txn([], [Put("a", b"1")], [Put("a", b"2", lease)])
    assert result.succeeded
    with pytest.raises(StoreLeaseGone):
        await store.txn([Compare("a", 0)], [Put("b", b"1")], [Put("a", b"2", lease)])


async def test_a_lease_ends_by_itself(store: Store) -> None:
    lease = await store.lease(1)
    await store.txn([], [Put("hint", b"1", lease)])
    watch = store.watch("hint")
    assert (await next_with(watch)).snapshot
    batch = await next_with(watch)
    assert [(change.key, change.entry) for change in batch.changes] == [("hint", None)]
    await watch.aclose()


async def test_watch_begins_with_a_snapshot_and_goes_on_without_gap(store_bench: StoreBench) -> None:
    writer, reader = store_bench.client(), store_bench.client()
    await writer.txn([], [Put("w/a", b"1"), Put("x", b"1")])
    watch = reader.watch("w/")
    first = await next_with(watch)
    assert first.snapshot
    assert [change.key for change in first.changes] == ["w/a"]
    results = [
        await writer.txn([], [Put("w/b", b"1"), Put("w/c", b"1"), Put("x", b"2")]),
        await writer.txn([], [Delete("w/a")]),
        await writer.txn([], [Put("x", b"3")]),
        await writer.txn([], [Put("w/b", b"2")]),
    ]
    changes: list[Change] = []
    while len(changes) < 4:
        batch = await next_with(watch)
        assert not batch.snapshot
        assert all(change.revision <= batch.revision for change in batch.changes)
        changes += batch.changes
    revisions = [result.revision for result in results]
    assert [(c.key, c.entry.value if c.entry else None, c.revision) for c in changes] == [
        ("w/b", b"1", revisions[0]),
        ("w/c", b"1", revisions[0]),
        ("w/a", None, revisions[1]),
        ("w/b", b"2", revisions[3]),
    ]
    await watch.aclose()


async def test_watch_gives_signs_of_life(store: Store) -> None:
    watch = store.watch("w/")
    assert (await next_with(watch)).snapshot
    async with asyncio.timeout(30):
        batch = await anext(watch)
    assert not batch.snapshot
    assert batch.changes == ()
    await watch.aclose()


async def test_a_watch_of_everything_misses_nothing_under_load(store_bench: StoreBench) -> None:
    writer = store_bench.client()
    watch = store_bench.client().watch("")
    await next_with(watch)
    written = [(await writer.txn([], [Put(f"k{n % 7}", b"%d" % n)])).revision for n in range(100)]
    seen: list[int] = []
    while len(seen) < 100:
        seen += [change.revision for change in (await next_with(watch)).changes]
    assert seen == written
    await watch.aclose()


async def test_compaction_of_what_was_delivered_does_not_disturb_a_watch(store_bench: StoreBench) -> None:
    writer = store_bench.client()
    watch = store_bench.client().watch("")
    await next_with(watch)
    await writer.txn([], [Put("a", b"1")])
    await next_with(watch)
    result = await writer.txn([], [Put("a", b"2")])
    await next_with(watch)
    await store_bench.compact(result.revision)
    await writer.txn([], [Put("b", b"1")])
    batch = await next_with(watch)
    assert not batch.snapshot
    assert [change.key for change in batch.changes] == ["b"]
    await watch.aclose()


async def test_a_closed_store_ends_watches_and_refuses_calls(store: Store) -> None:
    watch = store.watch("")
    await next_with(watch)
    await store.close()
    async with asyncio.timeout(30):
        assert [batch async for batch in watch if batch.changes] == []
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    await store.close()
