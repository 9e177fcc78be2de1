"""DNS: zones, update targets, secondaries. No answer ever holds a key's secret."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_dns as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import checks, dns, dns_names, dns_picture
from holdfast.api.operations.draft import Actor
from holdfast.errors import ConfigError

router = APIRouter(prefix="/dns")
Caller = Annotated[Actor, Depends(actor_of)]


def _secret(context: ApiContext) -> dns.Secret:
    if context.cluster_secret is None:
        raise ConfigError("this process cannot lock a key's secret", "Ask a management node of the cluster.")
    return context.cluster_secret


def _key(key: requests.Key) -> dns.NewKey:
    return dns.NewKey(key.name, key.secret, key.algorithm)


@router.get("")
async def everything(request: Request, caller: Caller) -> Response:
    """What is published, and why each address is in or out; from memory, so it works without the store."""
    context = context_of(request)
    return answer(dns_picture.picture(context.cache.source, context.cache.view(), context.clock.now()))


@router.get("/test")
async def test(request: Request, caller: Caller, resolver: Annotated[str, Query(max_length=100)] = "") -> Response:
    """What each name server and the world answer, zone by zone (Finding). `resolver`: the address of one to ask."""
    asked = str(checks.ip(resolver)) if resolver else ""
    return answer(await dns_picture.tested(context_of(request).cache.source, resolver=asked))


@router.post("/zones")
async def create_zone(request: Request, caller: Caller, body: requests.CreateZone) -> Response:
    """A zone that the management nodes answer for."""
    context = context_of(request)
    outcome = await dns.create_zone(
        context.store,
        caller,
        apex=body.apex,
        network=body.network,
        hostmaster=body.hostmaster,
        ttl_s=body.ttl_s,
        minimum_s=body.minimum_s,
        servers=body.servers,
    )
    return await done(context, outcome)


@router.delete("/zones/{apex}")
async def delete_zone(request: Request, caller: Caller, apex: str) -> Response:
    """Nobody answers for it any more."""
    context = context_of(request)
    return await done(context, await dns.delete_zone(context.store, caller, apex))


@router.post("/update-targets")
async def add_target(request: Request, caller: Caller, body: requests.AddUpdateTarget) -> Response:
    """A server that takes RFC 2136 updates signed with the key."""
    context = context_of(request)
    outcome = await dns.add_target(
        context.store,
        caller,
        _secret(context),
        name=body.name,
        server=body.server,
        zone=body.zone,
        key=_key(body.key),
        port=body.port,
        ttl_s=body.ttl_s,
    )
    return await done(context, outcome)


@router.delete("/update-targets/{name}")
async def remove_target(request: Request, caller: Caller, name: str) -> Response:
    """It is told of nothing any more."""
    context = context_of(request)
    return await done(context, await dns.remove_target(context.store, caller, name))


@router.post("/secondaries")
async def add_secondary(request: Request, caller: Caller, body: requests.AddSecondary) -> Response:
    """A server that may copy the zones."""
    context = context_of(request)
    outcome = await dns.add_secondary(
        context.store,
        caller,
        _secret(context),
        name=body.name,
        addresses=body.addresses,
        notify=body.notify,
        key=_key(body.key) if body.key else None,
    )
    return await done(context, outcome)


@router.delete("/secondaries/{name}")
async def remove_secondary(request: Request, caller: Caller, name: str) -> Response:
    """It may copy no zone any more."""
    context = context_of(request)
    return await done(context, await dns.remove_secondary(context.store, caller, name))


@router.post("/names")
async def add_name(request: Request, caller: Caller, body: requests.AddName) -> Response:
    """A name for the address of an ordinary instance."""
    context = context_of(request)
    return await done(context, await dns_names.add(context.store, caller, instance=body.instance, name=body.name))


@router.delete("/names/{name}")
async def remove_name(
    request: Request, caller: Caller, name: str, instance: Annotated[str, Query(max_length=1000)]
) -> Response:
    """The name leads to the instance no more."""
    context = context_of(request)
    return await done(context, await dns_names.remove(context.store, caller, instance=instance, name=name))
