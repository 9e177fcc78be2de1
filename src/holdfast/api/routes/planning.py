"""What the planner answers: explain, what-if, precheck, balance. From memory, so it works without the store."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import planning
from holdfast.api.operations.draft import Actor
from holdfast.core.rebalance import MOVES

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


@router.get("/planner/explain/{instance_id:path}")
async def explain(request: Request, caller: Caller, instance_id: str) -> Response:
    """Why it is where it is, why it waits, and for each node the reason for or against."""
    context = context_of(request)
    shown = context.cache.status.instance(instance_id)
    said = shown.waiting if shown else ""
    now = context.clock.now()
    return answer(await asyncio.to_thread(planning.explanation, context.cache.view(), instance_id, now, said=said))


@router.get("/planner/what-if")
async def what_if(request: Request, caller: Caller, fail: Annotated[list[str], Query(max_length=1000)]) -> Response:
    """These nodes fail at once: where everything goes, what does not fit and why, what the cluster survives then."""
    context = context_of(request)
    return answer(await asyncio.to_thread(planning.what_if, context.cache.view(), fail, context.clock.now()))


@router.get("/planner/guarantee")
async def guarantee(
    request: Request, caller: Caller, tolerate: Annotated[int | None, Query(ge=1, le=8)] = None
) -> Response:
    """What the cluster survives, computed now. `tolerate`: so many failures instead of what it is to survive."""
    context = context_of(request)
    view, now = context.cache.view(), context.clock.now()
    return answer(await asyncio.to_thread(planning.guarantee, view, now, tolerate))


@router.get("/planner/rebalance")
async def proposal(
    request: Request,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=1000)] = MOVES,
    restarts: Annotated[bool, Query()] = True,
) -> Response:
    """The moves that would even out the load, each with gain and cost. Nothing is done."""
    context = context_of(request)
    view, now = context.cache.view(), context.clock.now()
    return answer(await asyncio.to_thread(planning.evening, view, now, limit=limit, restarts=restarts))


@router.post("/planner/rebalance")
async def rebalance(request: Request, caller: Caller, body: requests.Rebalance) -> Response:
    """Ask for these moves."""
    context = context_of(request)
    outcome = await planning.even_out(context.store, caller, limit=body.limit, restarts=body.restarts, force=body.force)
    return await done(context, outcome)


@router.get("/nodes/{node_id}/maintenance/precheck")
async def precheck(request: Request, caller: Caller, node_id: str) -> Response:
    """What a maintenance of the node would do."""
    context = context_of(request)
    return answer(await asyncio.to_thread(planning.precheck, context.cache.view(), node_id, context.clock.now()))
