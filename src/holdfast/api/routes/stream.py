"""Live updates as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from holdfast.api.context import ApiContext
from holdfast.api.gate import still_allowed
from holdfast.api.history import frame
from holdfast.api.http import actor_of, context_of
from holdfast.store import codec

router = APIRouter()

COALESCE_S = 0.1
"""At most one picture in this time, however fast the cluster changes."""
COALESCE_EACH_S = 0.0025
COALESCE_MOST_S = 0.5
"""With many readers at most one in COALESCE_EACH_S for each of them, but one in COALESCE_MOST_S: sending the same to all of
them takes processor time that a failover needs."""
HEARTBEAT_S = 0.7
"""Less than the silence after which the panel's page asks /healthz whether anybody is there: that would cost more."""
ALLOWED_S = 5.0
"""A session that has ended gets no more after this time."""
CATCH_UP_S = 5.0
"""How long one that resumes waits for this process to know as much as the one before it."""
LAST_EVENT_ID = "last-event-id"


@router.get("/stream", dependencies=[Depends(actor_of)])
async def stream(request: Request) -> StreamingResponse:
    """Event `status`: the whole ClusterStatus, at once and on each change. Event `event`: a line of the cluster's history
    (EventLine). Event `heartbeat`: who serves. Event `gap`: some of the history that was asked for is forgotten.

    Ids are the store's revisions: with `Last-Event-ID` every node goes on where another one stopped."""
    given = request.headers.get(LAST_EVENT_ID, "")
    since = int(given) if given.isdecimal() and len(given) < 20 else 0
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(updates(context_of(request), request, since), 200, headers, "text/event-stream")


async def updates(context: ApiContext, request: Request, since: int = 0) -> AsyncIterator[bytes]:
    """`since`: the last id that the reader has seen; 0: it begins."""
    cache, clock = context.cache, context.clock
    heartbeat = frame("heartbeat", codec.encode({"node": context.node, "session": context.session}))
    yield b"retry: 500\n" + heartbeat
    if since and not (await cache.wait_revision(since, CATCH_UP_S) and cache.history.covers(since)):
        yield frame("gap", codec.encode({"since": since, "revision": cache.revision}))
    told = min(since or cache.revision, cache.revision)  # a greater one is of another life of the store
    version, allowed = -1, clock.now()
    cache.readers += 1
    try:
        while not cache.closing:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    version = await cache.wait_newer(version)
            except TimeoutError:
                yield heartbeat
            else:
                news = b"".join([*cache.history.frames_after(told), cache.frame])
                told = max(told, cache.revision)
                yield news
                await clock.sleep(min(max(COALESCE_S, COALESCE_EACH_S * cache.readers), COALESCE_MOST_S))
            if clock.now() - allowed >= ALLOWED_S:
                if not await still_allowed(context.auth, request):
                    return
                allowed = clock.now()
    finally:
        cache.readers -= 1
