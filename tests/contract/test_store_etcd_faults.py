"""The etcd store against three real members that die, freeze and come back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from etcd_members import Member, Members, running
from relay import relayed

from holdfast.errors import StoreError, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Compare, Entry, Put
from holdfast.store.etcd import EtcdAdmin, EtcdStore

HANG_S = 90.0

MakeStore = Callable[..., EtcdStore]


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Members]:
    with running(tmp_path / "etcd", 3) as members:
        yield members


@pytest_asyncio.fixture(loop_scope="session")
async def make(trio: Members) -> AsyncIterator[MakeStore]:
    made: list[EtcdStore] = []

    def store(*endpoints: str) -> EtcdStore:
        made.append(EtcdStore(endpoints or trio.endpoints, trio.tls))
        return made[-1]

    yield store
    await asyncio.gather(*(store.close() for store in made))


async def leader_of(members: Members, store: EtcdStore) -> Member:
    await store.txn([], [Put("ready", b"")], timeout=HANG_S)
    found = await EtcdAdmin(store).leader()
    listed = {info.id: info.name for info in await EtcdAdmin(store).members()}
    return members.named(listed[found])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)


async def read(store: EtcdStore, key: str) -> Entry | None:
    """Ask until there is an answer, as whoever faces an unknown outcome does."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                return await store.get(key)
            except StoreUnavailable:
                continue


class Writer:
    """Creates numbered keys one after the other; knows for each whether it was acknowledged."""

    def __init__(self, store: EtcdStore, name: str) -> None:
        self._store = store
        self._name = name
        self.acknowledged: dict[str, int] = {}
        self.resolved: dict[str, bool] = {}
        """Keys of unknown outcome → whether they were there when read again."""
        self.refused: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"w/{self._name}/{number:05}"
            try:
                result = await self._store.txn([Compare(key, 0)], [Put(key, b"x")])
                assert result.succeeded, "a key of one's own was created by somebody else: a write was sent twice"
                self.acknowledged[key] = result.revision
            except StoreUnknownOutcome:
                self.resolved[key] = await read(self._store, key) is not None
            except StoreUnavailable:
                self.refused.add(key)


async def test_leader_killed_during_writes(trio: Members, make: MakeStore) -> None:
    """No acknowledged write is lost, none is applied twice, none that was certainly refused appears."""
    leader = await leader_of(trio, make())
    turned = [trio.endpoints[n:] + trio.endpoints[:n] for n in range(3)]
    writers = [Writer(make(*endpoints), f"writer{n}") for n, endpoints in enumerate(turned)]
    stop = asyncio.Event()
    seen: list[tuple[str, int]] = []

    async def watch() -> None:
        async for batch in make(leader.client_url, *trio.endpoints).watch("w/"):
            assert not batch.snapshot or not seen
            seen.extend((change.key, change.revision) for change in batch.changes)

    tasks = [asyncio.create_task(writer.run(stop)) for writer in writers]
    watching = asyncio.create_task(watch())

    async def each_acknowledged(count: int) -> None:
        goals = [len(writer.acknowledged) + count for writer in writers]
        await until(lambda: all(len(w.acknowledged) >= goal for w, goal in zip(writers, goals, strict=True)))

    await each_acknowledged(20)
    leader.kill()
    await each_acknowledged(50)
    stop.set()
    await asyncio.gather(*tasks)
    snapshot = await make().list("w/", timeout=HANG_S)
    there = {entry.key: entry.mod_revision for entry in snapshot.entries}
    for writer in writers:
        assert writer.acknowledged.items() <= there.items()
        assert not writer.refused & there.keys()
        assert all((key in there) == found for key, found in writer.resolved.items())
    await until(lambda: watching.done() or len(seen) >= len(there))
    assert dict(seen) == there
    assert len(seen) == len(there)
    watching.cancel()
    await asyncio.wait({watching})


async def test_frozen_member_is_left_by_calls_and_watches(trio: Members, make: MakeStore) -> None:
    """Its connections stand and its kernel acknowledges everything, but nothing answers any more."""
    writer, reader = make(trio.endpoints[1], trio.endpoints[2]), make(trio.endpoints[0])
    await writer.txn([], [Put("a", b"1")], timeout=HANG_S)
    assert await reader.get("a", timeout=HANG_S) is not None
    reader.update_endpoints(trio.endpoints)
    watch = reader.watch("a")
    assert (await anext(watch)).snapshot
    trio.members[0].freeze()
    assert await reader.get("a", timeout=HANG_S) is not None
    while True:
        try:
            revision = (await writer.txn([], [Put("a", b"2")], timeout=5)).revision
            break
        except StoreUnknownOutcome:
            continue  # it was the leader
    async with asyncio.timeout(HANG_S):
        async for batch in watch:
            assert not batch.snapshot
            if batch.revision >= revision:
                break
    await watch.aclose()


async def test_a_write_to_a_frozen_member_is_unknown_and_reported_early(trio: Members, make: MakeStore) -> None:
    store = make(trio.endpoints[0])
    await store.txn([], [Put("a", b"1")], timeout=HANG_S)
    store.update_endpoints(trio.endpoints)
    trio.members[0].freeze()
    async with asyncio.timeout(HANG_S):
        with pytest.raises(StoreUnknownOutcome):
            await store.txn([], [Put("a", b"2")], timeout=10 * HANG_S)
    entry = await read(store, "a")
    assert entry is not None and entry.value == b"1"  # it never left the frozen member
    trio.members[0].thaw()


async def test_a_dead_connection_is_noticed_and_a_hint_is_enough(trio: Members, make: MakeStore) -> None:
    """As when the node lost its power: nothing comes back, not even a reset."""
    async with relayed(trio.endpoints[0]) as relay:
        store = make(relay.url)
        await store.txn([], [Put("a", b"1")], timeout=HANG_S)
        store.update_endpoints([relay.url, trio.endpoints[1]])
        watch = store.watch("a")
        assert (await anext(watch)).snapshot
        relay.swallow = True
        assert await store.get("a", timeout=HANG_S) is not None
        relay.swallow = False
        store.prefer_not("127.0.0.2")
        assert await store.get("a", timeout=HANG_S) is not None
        relay.swallow = True
        pending = asyncio.create_task(store.txn([], [Put("b", b"1")], timeout=10 * HANG_S))
        await asyncio.sleep(0)
        store.prefer_not("127.0.0.1")
        async with asyncio.timeout(HANG_S):
            with pytest.raises(StoreError):
                await pending
        changed = await make(trio.endpoints[2]).txn([], [Put("a", b"2")], timeout=HANG_S)
        async with asyncio.timeout(HANG_S):
            async for batch in watch:
                assert not batch.snapshot
                if batch.revision >= changed.revision:
                    break
        await watch.aclose()


async def test_whole_store_down_and_back(trio: Members, make: MakeStore) -> None:
    """While it is down nothing was sent, and calls say so; afterwards all goes on by itself, the watch without a gap."""
    store = make()
    await store.txn([], [Put("a", b"1")], timeout=HANG_S)
    watch = store.watch("a")
    assert (await anext(watch)).snapshot
    trio.stop()
    with pytest.raises(StoreError):  # the first may have been on its way
        await store.txn([], [Put("a", b"2")], timeout=0.3)
    with pytest.raises(StoreUnavailable, match="cannot connect"):
        await store.txn([], [Put("a", b"2")], timeout=0.3)
    trio.start()
    result = await store.txn([], [Put("a", b"3")], timeout=HANG_S)
    async with asyncio.timeout(HANG_S):
        async for batch in watch:
            assert not batch.snapshot
            if batch.changes:
                assert batch.revision == result.revision
                break
    await watch.aclose()


async def test_endpoints_can_be_changed_while_running(trio: Members, make: MakeStore) -> None:
    store = make(trio.endpoints[0])
    await store.txn([], [Put("a", b"1")], timeout=HANG_S)
    watch = store.watch("a")
    assert (await anext(watch)).snapshot
    store.update_endpoints(trio.endpoints[1:])
    assert store.endpoints == trio.endpoints[1:]
    trio.members[0].kill()
    await read(store, "a")
    while True:
        try:
            await store.txn([], [Put("a", b"2")], timeout=5)
            break
        except StoreUnknownOutcome:
            continue
    async with asyncio.timeout(HANG_S):
        async for batch in watch:
            assert not batch.snapshot
            if batch.changes:
                break
    await watch.aclose()


async def test_a_member_on_this_node_is_preferred(trio: Members, make: MakeStore) -> None:
    """It is taken as soon as it is listed, without a call or an event lost on the way."""
    elsewhere = trio.endpoints[0].replace("127.0.0.1", "localhost")  # a name is never taken for this node's own address
    store = make(elsewhere)
    await store.txn([], [Put("a", b"0")], timeout=HANG_S)
    watch = store.watch("a")
    assert (await anext(watch)).snapshot
    assert store.endpoint == elsewhere
    store.update_endpoints([elsewhere, trio.endpoints[1]])
    written = 0
    async with asyncio.timeout(HANG_S):
        while store.endpoint != trio.endpoints[1] or written < 100:
            await store.txn([], [Put("a", b"%d" % written)], timeout=HANG_S)
            written += 1
            await asyncio.sleep(0.01)
        seen = 0
        async for batch in watch:
            assert not batch.snapshot
            seen += len(batch.changes)
            if seen == written:
                break
    await watch.aclose()
