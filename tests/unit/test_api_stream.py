"""Live updates: the pictures a stream sends."""

import asyncio

from api_world import build, memory_store, put
from test_api_status import node

from holdfast.api.context import make_context
from holdfast.api.routes.stream import pictures
from holdfast.clock import SystemClock
from holdfast.store import keys


class AnybodysRequest:
    """A request through the Unix socket."""

    scope = {"holdfast.local": True}  # noqa: RUF012


async def test_a_stream_begins_with_the_picture_and_sends_each_change_once() -> None:
    store = memory_store()
    await build(store, nodes=1)
    context = make_context("n1", store, SystemClock(), session="s1")
    task = asyncio.create_task(context.cache.run())
    stream = pictures(context, AnybodysRequest())  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(20):
            first = await anext(stream)
            assert (first.event, "n1" in str(first.data)) == ("heartbeat", True)
            event = await anext(stream)
            while '"name":"demo"' not in str(event.data):
                event = await anext(stream)
            assert event.event == "status"
            before = int(event.id or 0)
            for number in range(20):
                await put(store, {keys.node_spec("n2"): node("n2", failure_domain=str(number))})
            seen = 0
            while '"failure_domain":"19"' not in str(event.data):
                event = await anext(stream)
                seen += 1
            assert int(event.id or 0) > before
            assert seen < 20, "quick changes are sent together"
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
