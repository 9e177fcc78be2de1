"""The terms of a request: what its query and headers say about how a change is to be made."""

from fastapi import Request

from holdfast import locks
from holdfast.api import objects
from holdfast.api.context import ApiContext
from holdfast.api.operations.draft import Actor, replay
from holdfast.api.operations.terms import ORDINARY, Idempotency, Terms
from holdfast.errors import ConfigError, InvalidInput

DRY_RUN = "dry_run"
IDEMPOTENCY_KEY = "idempotency-key"
REPLAYED = "idempotency-replayed"
IF_MATCH = "if-match"
SAFE = ("GET", "HEAD", "OPTIONS")


async def terms_of(request: Request, context: ApiContext, actor: Actor) -> Terms:
    """Raises Replayed if this request was answered before, KeyReused, InvalidInput."""
    if request.method in SAFE:
        return ORDINARY
    dry_run = _dry_run(request)
    if_match = request.headers.get(IF_MATCH, "")
    matched = objects.keys_of(request.url.path) if if_match else ()
    if if_match and not matched:
        raise InvalidInput("there is no object here that If-Match could be about", "Leave the header out.")
    idempotency = None if dry_run else await _idempotency(request, context, actor)
    await replay(context.store, idempotency)
    return Terms(dry_run, if_match, matched, idempotency)


def _dry_run(request: Request) -> bool:
    said = request.query_params.getlist(DRY_RUN) or ["false"]
    word = said[0].lower() if len(said) == 1 else ", ".join(said)  # of two words nobody knows which one counts
    if word not in ("true", "false", "1", "0"):
        raise InvalidInput(f"`{DRY_RUN}` cannot be `{word[:20]}`", "Say true or false.")
    return word in ("true", "1")


async def _idempotency(request: Request, context: ApiContext, actor: Actor) -> Idempotency | None:
    key = request.headers.get(IDEMPOTENCY_KEY, "")
    if not key:
        return None
    if context.cluster_secret is None:
        raise ConfigError("this process cannot lock the answers it keeps", "Ask a management node of the cluster.")
    # Read when there is an answer to lock: what changes nothing in the store needs none.
    secret = context.cluster_secret
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + await request.body()
    return Idempotency.of(
        actor.name,
        key,
        asked,
        lambda answer: locks.lock(answer, secret()),
        lambda locked: locks.unlock(locked, secret()),
    )
