"""Figures for Prometheus, under the path that it asks for by itself."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api.http import context_of, known
from holdfast.api.operations.draft import Actor
from holdfast.store.measured import MeasuredStore

router = APIRouter()
Caller = Annotated[Actor, Depends(known)]


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, caller: Caller) -> Response:
    """Of the cluster, from memory, and of this process. Needs an API token with the scope `metrics` or `read`."""
    from holdfast.api.metrics import families  # noqa: PLC0415 - loaded when somebody asks for figures
    from holdfast.metrics import CONTENT_TYPE, render  # noqa: PLC0415

    context = context_of(request)
    status, source = context.cache.status, context.cache.snapshot()
    store = context.store if isinstance(context.store, MeasuredStore) else None
    # Sums over all instances: not while others wait for the event loop.
    text = await asyncio.to_thread(render, lambda: families(status, source, store))
    return Response(text, headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE)
