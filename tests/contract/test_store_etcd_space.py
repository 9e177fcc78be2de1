"""The etcd store when history is compacted under a watcher, and when space runs out."""

import asyncio
from pathlib import Path

import pytest
from etcd_members import Members, running
from relay import relayed

from holdfast.errors import StoreFull, StoreUnavailable
from holdfast.ports import Delete, Put
from holdfast.store.etcd import EtcdAdmin, EtcdStore

HANG_S = 90.0


async def test_compaction_under_a_watcher(etcd_single: Members) -> None:
    """What it missed while it was cut off is gone from the history: it gets everything anew."""
    direct = EtcdStore(etcd_single.endpoints, etcd_single.tls, prefix="/compaction/")
    await direct.txn([], [Put("keep", b"1"), Put("gone", b"1")], timeout=HANG_S)
    async with relayed(etcd_single.endpoints[0]) as relay:
        store = EtcdStore([relay.url], etcd_single.tls, prefix="/compaction/")
        watch = store.watch("")
        assert {change.key for change in (await anext(watch)).changes} == {"keep", "gone"}
        await relay.cut()
        await direct.txn([], [Delete("gone")])
        result = await direct.txn([], [Put("new", b"1")])
        await EtcdAdmin(direct).compact(result.revision)
        with pytest.raises(StoreUnavailable):
            await store.get("keep", timeout=0.2)
        await relay.open()
        async with asyncio.timeout(HANG_S):
            async for batch in watch:
                if batch.snapshot:
                    break
                assert batch.changes == ()
        assert {change.key for change in batch.changes} == {"keep", "new"}
        await watch.aclose()
        await store.close()
    await direct.close()


async def test_a_watch_through_a_silent_network_loses_nothing(etcd_single: Members) -> None:
    """The only endpoint stops answering for a while without closing anything."""
    direct = EtcdStore(etcd_single.endpoints, etcd_single.tls, prefix="/silence/")
    await direct.txn([], [Put("a", b"0")], timeout=HANG_S)
    async with relayed(etcd_single.endpoints[0]) as relay:
        store = EtcdStore([relay.url], etcd_single.tls, prefix="/silence/")
        watch = store.watch("")
        assert (await anext(watch)).snapshot
        relay.swallow = True
        values = [b"%d" % n for n in range(1, 4)]
        for value in values:
            await direct.txn([], [Put("a", value)])
        with pytest.raises(StoreUnavailable):
            await store.get("a", timeout=3)
        relay.swallow = False
        seen: list[bytes] = []
        async with asyncio.timeout(HANG_S):
            async for batch in watch:
                seen += [change.entry.value for change in batch.changes if change.entry]
                if seen and seen[-1] == values[-1]:
                    break
        assert seen in (values, values[-1:])  # resumed, or listed anew after a long silence
        await watch.aclose()
        await store.close()
    await direct.close()


async def test_no_space_left(tmp_path: Path) -> None:
    """Writes are refused as such, reads and deletions work, and an administrator gets the store going again."""
    with running(tmp_path / "etcd", extra=("--quota-backend-bytes=2000000",)) as members:
        store = EtcdStore(members.endpoints, members.tls)
        await store.txn([], [Put("a", b"1")], timeout=HANG_S)
        with pytest.raises(StoreFull, match="full") as error:
            for number in range(100):
                await store.txn([], [Put("big", bytes([number]) * 100_000)])
        assert "disarm" in error.value.advice
        for refused in (store.txn([], [Put("a", b"2")]), store.lease(5)):
            with pytest.raises(StoreFull):
                await refused
        entry = await store.get("a")
        assert entry is not None and entry.value == b"1"
        admin = EtcdAdmin(store)
        assert any("NOSPACE" in trouble for trouble in (await admin.status(members.endpoints[0])).errors)
        result = await store.txn([], [Delete("big")])
        await admin.compact(result.revision)
        await admin.defragment(members.endpoints[0])
        await admin.disarm()
        assert (await store.txn([], [Put("a", b"2")])).succeeded
        assert (await admin.status(members.endpoints[0])).errors == ()
        await store.close()
