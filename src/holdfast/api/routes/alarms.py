"""Alarms and who is told of them. Reading comes from memory, so it works without the store."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_alarms as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import alarms, receivers
from holdfast.api.operations.draft import Actor
from holdfast.errors import ConfigError, InvalidInput

router = APIRouter(prefix="/alarms")
Caller = Annotated[Actor, Depends(actor_of)]


def _secret(context: ApiContext) -> receivers.Secret:
    if context.cluster_secret is None:
        raise ConfigError("this process cannot lock a receiver's secret", "Ask a management node of the cluster.")
    return context.cluster_secret


@router.get("")
async def list_alarms(
    request: Request,
    caller: Caller,
    cleared: Annotated[bool, Query()] = False,
    severity: Annotated[str, Query(max_length=20)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """What is wrong, the most severe first. `cleared`: what is over, too. `severity`: at least this."""
    source = context_of(request).cache.source
    return answer(alarms.page(source, cleared=cleared, severity=severity, limit=limit, cursor=cursor))


@router.get("/receivers")
async def list_receivers(request: Request, caller: Caller) -> Response:
    """Who is told of alarms, without secrets, and how the deliveries go."""
    return answer({"items": receivers.listed(context_of(request).cache.source), "next": ""})


@router.post("/receivers")
async def add_receiver(request: Request, caller: Caller, body: requests.AddReceiver) -> Response:
    """Tell somebody of alarms: by webhook, e-mail or Alertmanager."""
    context = context_of(request)
    outcome = await receivers.add(context.store, caller, _secret(context), _new(body))
    return await done(context, outcome)


@router.delete("/receivers/{name}")
async def remove_receiver(request: Request, caller: Caller, name: str) -> Response:
    """Tell it nothing any more."""
    context = context_of(request)
    return await done(context, await receivers.remove(context.store, caller, name))


@router.post("/receivers/{name}/test")
async def test_receiver(request: Request, caller: Caller, name: str) -> Response:
    """Send a test alarm from this node; answers once the receiver has taken it."""
    context = context_of(request)
    cluster = context.cache.status.cluster.name
    if caller.terms.dry_run:
        return answer({"text": f"{receivers.found(context.cache.source, name).name} would be sent a test alarm"})
    text = await receivers.test(context.cache.source, _secret(context), name, node=context.node, cluster=cluster)
    return answer({"text": text})


@router.get("/{alarm_id}")
async def show_alarm(request: Request, caller: Caller, alarm_id: str) -> Response:
    """One alarm, also one that is over."""
    return answer(alarms.one(context_of(request).cache.source, alarm_id))


@router.post("/{alarm_id}/acknowledge")
async def acknowledge_alarm(request: Request, caller: Caller, alarm_id: str, body: requests.Acknowledge) -> Response:
    """Somebody looks after it: it stays, and is told again only when it gets worse."""
    context = context_of(request)
    return await done(context, await alarms.acknowledge(context.store, caller, alarm_id, note=body.note))


def _new(body: requests.AddReceiver) -> receivers.NewReceiver:
    given = [one for one in (body.webhook, body.email, body.alertmanager) if one is not None]
    if len(given) != 1:
        raise InvalidInput("one way to tell the receiver is needed", "Give one of webhook, email and alertmanager.")
    name, severity = body.name, body.min_severity
    if body.webhook is not None:
        return receivers.webhook(name, body.webhook.url, body.webhook.key, body.webhook.ca, severity)
    if body.alertmanager is not None:
        hook = body.alertmanager
        return receivers.alertmanager(name, hook.url, hook.user, hook.password, hook.ca, severity)
    mail = body.email
    assert mail is not None
    return receivers.email(
        name,
        server=mail.server,
        port=mail.port,
        tls=mail.tls,
        sender=mail.sender,
        to=mail.to,
        user=mail.user,
        password=mail.password,
        ca=mail.ca,
        severity=severity,
    )
