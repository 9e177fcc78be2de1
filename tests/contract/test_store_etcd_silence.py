"""A watch of the etcd store never falls silent for good, whatever a member or a connection does."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from scripted_member import ScriptedMember

from holdfast.ports import WatchBatch
from holdfast.store.etcd import EtcdStore
from holdfast.store.etcd.methods import RANGE, STATUS, WATCH

HANG_S = 90.0
SPACE = "/silence/"


def member(revision: int = 10) -> ScriptedMember:
    return ScriptedMember(f"{SPACE}a", revision)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in servers
            await asyncio.sleep(0.02)


async def delivers(watch: AsyncGenerator[WatchBatch, None], revisions: list[int]) -> None:
    """Exactly these changes come next, one after the other."""
    seen: list[int] = []
    async with asyncio.timeout(HANG_S):
        async for batch in watch:
            assert not batch.snapshot
            seen += [change.revision for change in batch.changes]
            if len(seen) >= len(revisions):
                break
    assert seen == revisions


async def test_a_connection_given_up_while_a_lagging_member_is_checked_does_not_end_the_watch() -> None:
    """gRPC cancels the calls of a channel that is closed, and with them whoever asks such a call anything. The watch of a
    member that lags is checked by a read; when another member answers that read at last, the stream is such a call."""
    first, second = member(), member()
    async with first.serve("127.0.0.1"), second.serve("127.0.0.2"):
        store = EtcdStore([first.url, second.url], None, prefix=SPACE)
        watch = store.watch("")
        assert (await anext(watch)).revision == 10
        first.lag = 5
        first.hang.add(RANGE)
        second.revision, second.delay_s = 12, 0.25
        await delivers(watch, [11, 12])
        assert (first.calls[WATCH], second.calls[WATCH]) == (1, 1)
        await watch.aclose()
        await store.close()


async def test_signs_of_life_go_on_after_one_was_under_way_when_its_connection_was_given_up() -> None:
    first, second = member(), member()
    async with first.serve("127.0.0.1"), second.serve("127.0.0.2"):
        store = EtcdStore([first.url, second.url], None, prefix=SPACE)
        assert await store.get("a") is not None
        first.hang.add(STATUS)
        asked = first.calls[STATUS]
        await until(lambda: first.calls[STATUS] > asked)
        store.prefer_not("127.0.0.1")
        assert await store.get("a") is not None
        await until(lambda: second.calls[STATUS] >= 3)
        await store.close()


async def test_a_stream_that_gives_signs_of_life_only_is_left_when_it_owes_changes() -> None:
    """What is owed is known by other calls. A member that does not know of it either is left; one that merely forgot the
    stream is asked anew. Both go on where the stream stopped."""

    async def owing(owes: Callable[[ScriptedMember], None], asked: tuple[int, int], host: int) -> None:
        first, second = member(), member()
        owes(first)
        async with first.serve(f"127.0.0.{host}"), second.serve(f"127.0.0.{host + 1}"):
            store = EtcdStore([first.url, second.url], None, prefix=SPACE)
            watch = store.watch("")
            assert (await anext(watch)).revision == 10
            first.revision = second.revision = 12
            next_change = asyncio.create_task(delivers(watch, [11, 12]))
            await until(lambda: first.calls[WATCH] == 1)
            assert await store.get("a") is not None
            await next_change
            assert (first.calls[WATCH], second.calls[WATCH]) == asked
            await watch.aclose()
            await store.close()

    def lags(first: ScriptedMember) -> None:
        first.lag = 2

    def forgets(first: ScriptedMember) -> None:
        first.lose = 1

    await asyncio.gather(owing(lags, (1, 1), 1), owing(forgets, (2, 0), 3))
