"""Drills: begin one, look at what it and the former ones have found. Reading comes from memory."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api import requests_drill as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done, task_known
from holdfast.api.operations import drill, tasks
from holdfast.api.operations.draft import Actor
from holdfast.core.drill import Drill
from holdfast.store import keys

router = APIRouter(prefix="/drills")
Caller = Annotated[Actor, Depends(actor_of)]


@router.post("", status_code=202)
async def begin_drill(request: Request, caller: Caller, body: requests.BeginDrill) -> Response:
    """Look at everything a failover rests on. The answer names the task that follows it; what it finds stands at
    /drills/{id}, under the same id. One at a time in the whole cluster."""
    context = context_of(request)
    begun = await drill.begin(
        context.works, context.means, caller, nodes=body.nodes, instance=body.instance, kill=body.kill
    )
    return await done(context, begun, 202)


@router.get("")
async def list_drills(request: Request, caller: Caller) -> Response:
    """The last twenty, newest first."""
    context = context_of(request)
    return answer({"items": [_shown(context, one) for one in drill.listed(context.cache.source)], "next": ""})


@router.get("/{drill_id}")
async def show_drill(request: Request, caller: Caller, drill_id: str) -> Response:
    """One drill with its checks; `last` is the newest."""
    context = context_of(request)
    await task_known(context, drill_id)
    return answer(_shown(context, drill.show(context.cache.source, drill_id)))


def _shown(context: ApiContext, one: Drill) -> dict[str, Any]:
    source = context.cache.source
    followed = source.revision_of(keys.task(one.id)) > 0  # tasks are forgotten before drills where much is done
    return {
        "drill": one,
        "grade": one.grade,
        "task": tasks.show(source, context.cache.status, one.id) if followed else None,
    }
