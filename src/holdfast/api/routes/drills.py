"""Drills: begin one, follow it, cancel it, look at the former ones. Reading comes from memory."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api import requests_drill as requests
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import drill
from holdfast.api.operations.draft import Actor
from holdfast.core.drill import Drill

router = APIRouter(prefix="/drills")
Caller = Annotated[Actor, Depends(actor_of)]


@router.post("", status_code=202)
async def begin_drill(request: Request, caller: Caller, body: requests.BeginDrill) -> Response:
    """Look at everything a failover rests on; follow it at /drills/{id}. One at a time in the whole cluster."""
    begun = await context_of(request).drills.begin(caller, nodes=body.nodes, instance=body.instance, kill=body.kill)
    return answer(_shown(begun), 202)


@router.get("")
async def list_drills(request: Request, caller: Caller) -> Response:
    """The last twenty, newest first."""
    return answer({"items": [_shown(one) for one in drill.listed(context_of(request).cache.source)], "next": ""})


@router.get("/{drill_id}")
async def show_drill(request: Request, caller: Caller, drill_id: str) -> Response:
    """One drill with its checks; `last` is the newest."""
    return answer(_shown(drill.show(context_of(request).cache.source, drill_id)))


@router.post("/{drill_id}/cancel")
async def cancel_drill(request: Request, caller: Caller, drill_id: str) -> Response:
    """It ends soon. A test instance stays where it is then."""
    context = context_of(request)
    return await done(context, await drill.cancel(context.store, caller, drill_id))


def _shown(one: Drill) -> dict[str, Any]:
    return {"drill": one, "grade": one.grade}
