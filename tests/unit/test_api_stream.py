"""Live updates: what a stream sends, and how it goes on where another one stopped."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from api_world import build, memory_store, put
from test_api_status import node

from holdfast.api.context import ApiContext, make_context
from holdfast.api.operations.draft import Actor
from holdfast.api.routes.stream import updates
from holdfast.clock import SystemClock
from holdfast.core.history import Event
from holdfast.ports import Delete, Store
from holdfast.store import keys


class AnybodysRequest:
    """A request through the Unix socket."""

    scope = {"holdfast.local": True, "holdfast.actor": Actor("root", "socket")}  # noqa: RUF012


@dataclass
class Sent:
    name: str
    id: int
    data: Any


@dataclass
class Panel:
    """A panel process on some node."""

    context: ApiContext

    @asynccontextmanager
    async def stream(self, since: int = 0) -> AsyncIterator[AsyncIterator[Sent]]:
        chunks = cast(AsyncGenerator[bytes, None], updates(self.context, AnybodysRequest(), since))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(60):
                yield events(chunks)
        finally:
            await chunks.aclose()


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Sent]:
    async for chunk in chunks:
        for block in chunk.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            yield Sent(fields["event"], int(fields.get("id", 0)), json.loads(fields["data"]))


@asynccontextmanager
async def panel(store: Store, name: str) -> AsyncIterator[Panel]:
    context = make_context(name, store, SystemClock(), session=f"s-{name}")
    task = asyncio.create_task(context.cache.run())
    try:
        assert await context.cache.wait_revision(1, 60)
        yield Panel(context)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell(store: Store, *texts: str) -> None:
    """So many lines of history in one commit."""
    revision = (await store.list("")).revision
    lines = {keys.event(revision * 10 + number): Event("test", "", text) for number, text in enumerate(texts)}
    await put(store, lines)


async def take(stream: AsyncIterator[Sent], count: int, name: str = "event") -> list[Sent]:
    found: list[Sent] = []
    async for sent in stream:
        found += [sent] if sent.name == name else []
        if len(found) == count:
            return found
    raise AssertionError("the stream has ended")


async def test_a_stream_begins_with_the_picture_and_sends_each_change_once() -> None:
    store = memory_store()
    await build(store, nodes=1)
    async with panel(store, "n1") as one, one.stream() as stream:
        first = await anext(stream)
        assert (first.name, first.data) == ("heartbeat", {"node": "n1", "session": "s-n1"})
        [picture] = await take(stream, 1, "status")
        assert picture.data["cluster"]["name"] == "demo"
        for number in range(20):
            await put(store, {keys.node_spec("n2"): node("n2", failure_domain=str(number))})
        seen, last = 0, picture
        while "19" not in [one["failure_domain"] for one in last.data["nodes"]]:
            [last] = await take(stream, 1, "status")
            seen += 1
        assert last.id > picture.id
        assert seen < 20, "quick changes are sent together"


async def test_the_picture_is_encoded_once_for_all_readers() -> None:
    store = memory_store()
    await build(store, nodes=1)
    async with panel(store, "n1") as one:
        cache = one.context.cache
        assert cache.frame is cache.frame
        before = cache.frame
        await put(store, {keys.node_spec("n2"): node("n2")})
        assert await cache.wait_revision((await store.list("")).revision, 60)
        assert cache.frame is not before


async def test_history_is_told_line_by_line_and_goes_on_at_another_node() -> None:
    store = memory_store()
    await build(store, nodes=1)
    async with panel(store, "n1") as one, panel(store, "n2") as two:
        async with one.stream() as stream:
            await take(stream, 1, "status")
            await tell(store, "first")
            [seen] = await take(stream, 1)
            assert (seen.data["text"], seen.id) == ("first", seen.data["id"])
        await tell(store, "second")
        await tell(store, "third", "fourth")
        async with two.stream(seen.id) as stream:
            missed = await take(stream, 3)
            assert [line.data["text"] for line in missed] == ["second", "third", "fourth"]
            assert [line.id for line in missed] == [missed[0].data["id"], 0, missed[2].data["id"]], (
                "cut off between twins"
            )
            [picture] = await take(stream, 1, "status")
            assert picture.id >= missed[2].id
            await tell(store, "fifth")
            assert (await take(stream, 1))[0].data["text"] == "fifth"
        async with two.stream(missed[0].id) as stream:
            assert [line.data["text"] for line in await take(stream, 3)] == ["third", "fourth", "fifth"]


async def test_a_node_that_knows_less_waits_and_what_is_forgotten_is_named() -> None:
    store = memory_store()
    await build(store, nodes=1)
    await tell(store, "old")
    began = (await store.list("")).revision
    async with panel(store, "n1") as one:
        later = asyncio.create_task(tell(store, "while it resumed"))
        async with one.stream(began + 1) as stream:
            await later
            await tell(store, "after it")
            assert (await take(stream, 1))[0].data["text"] == "after it"
        await store.txn([], [Delete(keys.event((began - 1) * 10))])
        assert await one.context.cache.wait_revision((await store.list("")).revision, 60)
        async with one.stream(1) as stream:
            [gap] = await take(stream, 1, "gap")
            assert gap.data["since"] == 1
            assert [line.data["text"] for line in await take(stream, 2)] == ["while it resumed", "after it"]


async def test_an_id_of_another_life_of_the_store_is_a_gap() -> None:
    store = memory_store()
    await build(store, nodes=1)
    async with panel(store, "n1") as one, one.stream(10**15) as stream:
        [gap] = await take(stream, 1, "gap")
        assert gap.data["since"] == 10**15
        await take(stream, 1, "status")
        await tell(store, "new")
        assert (await take(stream, 1))[0].data["text"] == "new"


async def test_a_stream_ends_with_its_process() -> None:
    store = memory_store()
    await build(store, nodes=1)
    async with panel(store, "n1") as one, one.stream() as stream:
        await take(stream, 1, "status")
        one.context.cache.close()
        assert [sent.name async for sent in stream if sent.name != "status"] in ([], ["heartbeat"])
