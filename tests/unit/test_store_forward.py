"""A daemon's own transactions tell that the store went back in time, and nothing else does."""

import asyncio

import pytest

from holdfast.clock import ManualClock
from holdfast.errors import StoreUnknownOutcome
from holdfast.ports import Get, Put
from holdfast.store.forward import ForwardStore
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster


def make() -> tuple[MemoryCluster, ForwardStore, list[str]]:
    clock, alarms = ManualClock(), list[str]()
    cluster = MemoryCluster(clock)
    return cluster, ForwardStore(MemoryStore(cluster, clock), lambda: alarms.append("back")), alarms


async def test_a_restore_is_noticed_by_the_next_transaction_and_once() -> None:
    cluster, store, alarms = make()
    saved = cluster.backup()
    await store.txn([], [Put("a", b"1")])
    cluster.restore(saved)
    with pytest.raises(StoreUnknownOutcome, match="went back in time"):
        await store.txn([], [Get("a")])
    assert alarms == ["back"]
    await store.txn([], [Put("a", b"2")])
    assert alarms == ["back"], "it goes on from there, for whoever has to tell people"


async def test_what_a_watch_has_shown_counts_too() -> None:
    cluster, store, alarms = make()
    saved = cluster.backup()
    cluster.txn([], [Put("a", b"1")], [])
    watch = store.watch("")
    await anext(watch)
    cluster.restore(saved)
    with pytest.raises(StoreUnknownOutcome):
        await store.txn([], [Get("a")])
    assert alarms
    await watch.aclose()


async def test_an_answer_that_was_overtaken_is_no_regress() -> None:
    """Two at once: the first one's answer comes last, and shows a lower revision than the second one's did."""
    cluster, store, alarms = make()

    class Overtaken(MemoryStore):
        async def txn(self, *arguments, **named):  # type: ignore[no-untyped-def]
            result = await super().txn(*arguments, **named)
            await answers.get() if result.revision == 2 else None
            return result

    answers: asyncio.Queue[None] = asyncio.Queue()
    store = ForwardStore(Overtaken(cluster, ManualClock()), lambda: alarms.append("back"))
    first = asyncio.create_task(store.txn([], [Put("a", b"1")]))
    await asyncio.sleep(0)
    second = await store.txn([], [Put("b", b"1")])
    answers.put_nowait(None)
    assert (await first).revision < second.revision
    assert not alarms
