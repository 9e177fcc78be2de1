"""Join tokens, joining, certificates and the authority."""

import base64
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api import requests_trust as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import trust
from holdfast.api.operations.draft import Actor
from holdfast.errors import ConfigError, InvalidInput, NotPermitted

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


def _pki(context: ApiContext) -> Path:
    if context.pki_dir is None:
        raise ConfigError("this process holds no certificates", "Ask a management node of the cluster.")
    return context.pki_dir


@router.post("/nodes/{node_id}/tokens")
async def make_token(request: Request, caller: Caller, node_id: str, body: requests.MakeToken) -> Response:
    """`data.token` is the line for `holdfast node join --token`, told only here: keep it as secret as a password."""
    context = context_of(request)
    return await done(context, await trust.make_token(context.store, caller, node_id, expires_s=body.expires_s))


@router.get("/tokens/join")
async def list_tokens(request: Request, caller: Caller) -> Response:
    """Join tokens that can still be used, without their secrets."""
    return answer({"items": await trust.tokens(context_of(request).store), "next": ""})


@router.delete("/tokens/join/{token_id}")
async def revoke_token(request: Request, caller: Caller, token_id: str) -> Response:
    """Nobody joins by it any more."""
    context = context_of(request)
    return await done(context, await trust.revoke_token(context.store, caller, token_id))


@router.get("/join/authority")
async def authority(request: Request) -> Response:
    """The certificates of the cluster's authority. Public: who asks compares fingerprints."""
    context = context_of(request)
    context.joins.check(_address(request))
    return answer({"certificates": await trust.authority(context.store)})


@router.post("/join")
async def join(request: Request, body: requests.Join) -> Response:
    """A machine with a join token becomes the node that it is for. Public: the token is what counts."""
    context = context_of(request)
    address = _address(request)
    wish = trust.JoinWish(body.id, body.secret, body.request, body.sealing_key)
    try:
        context.joins.check(address)
        outcome, files = await trust.join(context.store, wish, address=address, pki_dir=_pki(context))
    except (NotPermitted, InvalidInput) as error:
        # Somebody tries tokens, or has one and sends with it what no machine of ours does.
        await context.auth.trail.note(trust.machine(address), "join-refused", error.message)
        raise
    context.joins.succeeded(address)
    given = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return answer({"text": outcome.text, "files": given})


@router.get("/certificates")
async def certificates(request: Request, caller: Caller) -> Response:
    """The authority, what each node has, and how far a change of the authority is."""
    return answer(await trust.overview(context_of(request).store))


@router.post("/certificates/renew")
async def renew(request: Request, caller: Caller) -> Response:
    """Every node renews its certificate now, by itself and without any restart."""
    context = context_of(request)
    return await done(context, await trust.rotate_certificates(context.store, caller))


@router.post("/certificates/authority")
async def rotate_authority(request: Request, caller: Caller) -> Response:
    """Begin the change of the cluster's authority: old and new are trusted side by side until every node has changed."""
    context = context_of(request)
    return await done(context, await trust.rotate_authority(context.store, caller, pki_dir=_pki(context)))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
