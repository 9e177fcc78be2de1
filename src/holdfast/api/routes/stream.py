"""Live updates as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, context_of
from holdfast.errors import NotPermitted, StoreError
from holdfast.store import codec

router = APIRouter()

COALESCE_S = 0.1
"""At most one picture in this time, however fast the cluster changes."""
HEARTBEAT_S = 5.0
"""A reader that hears nothing for longer knows that the connection is dead."""


@router.get("/stream", dependencies=[Depends(actor_of)])
async def stream(request: Request) -> Response:
    """Event `status`: the whole ClusterStatus, at once and on each change; event `heartbeat`: who serves."""
    return EventSourceResponse(pictures(context_of(request), request), ping=3600, headers={"cache-control": "no-store"})


async def pictures(context: ApiContext, request: Request) -> AsyncIterator[ServerSentEvent]:
    heartbeat = codec.encode({"node": context.node, "session": context.session}).decode()
    yield ServerSentEvent(data=heartbeat, event="heartbeat", retry=500)
    version = -1
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                version = await context.cache.wait_newer(version)
        except TimeoutError:
            if not await _still_allowed(request):
                return
            yield ServerSentEvent(data=heartbeat, event="heartbeat")
            continue
        picture = context.cache.status
        yield ServerSentEvent(data=codec.encode(picture).decode(), event="status", id=str(picture.revision))
        await context.clock.sleep(COALESCE_S)


async def _still_allowed(request: Request) -> bool:
    """A session that has ended meanwhile gets no more pictures."""
    try:
        await actor_of(request)
    except NotPermitted:
        return False
    except StoreError:
        return True  # it was allowed when it began, and the store cannot be asked
    return True
