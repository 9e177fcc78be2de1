"""Tasks: what operations have set going, and how far it is. From memory, so it works without the store."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api.http import actor_of, answer, context_of, done, task_known
from holdfast.api.operations import tasks
from holdfast.api.operations.draft import Actor
from holdfast.api.paging import Cursor, Limit, Page, page

router = APIRouter(prefix="/tasks")
Caller = Annotated[Actor, Depends(actor_of)]


@router.get("")
async def list_tasks(
    request: Request,
    caller: Caller,
    limit: Limit = 50,
    cursor: Cursor = "",
    running: Annotated[bool, Query(description="Only those that have not ended.")] = False,
) -> Response:
    """Newest first."""
    cache = context_of(request).cache
    found = page(tasks.ids(cache.source, running=running), lambda one: one, limit=limit, cursor=cursor)
    return answer(Page([tasks.show(cache.source, cache.status, one) for one in found.items], found.next))


@router.get("/{task_id}")
async def show_task(request: Request, caller: Caller, task_id: str) -> Response:
    """One task with its steps; `last` is the newest."""
    cache = context_of(request).cache
    await task_known(context_of(request), task_id)
    return answer(tasks.show(cache.source, cache.status, task_id))


@router.post("/{task_id}/cancel")
async def cancel_task(request: Request, caller: Caller, task_id: str) -> Response:
    """Withdraw a move that has not begun, end a maintenance, break off a copy or a drill. Others are undone by what
    undoes them. `last` is the newest."""
    context = context_of(request)
    return await done(context, await tasks.cancel(context.store, caller, tasks.named(context.cache.source, task_id)))
