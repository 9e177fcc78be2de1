"""What all routes share: who asks, how values and errors are answered."""

import re
from dataclasses import replace
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from holdfast.api.asked import REPLAYED, terms_of
from holdfast.api.context import ApiContext
from holdfast.api.headers import SECURITY
from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Outcome
from holdfast.api.operations.terms import PreconditionFailed, Replayed
from holdfast.api.status import InstanceView
from holdfast.errors import HoldfastError, InvalidInput
from holdfast.store import codec

_log = structlog.get_logger()

LOCAL = "holdfast.local"
"""ASGI scope key: the request came through the Unix socket, which only root can open. No header can set it."""
ACTOR = "holdfast.actor"
"""ASGI scope key: who asks."""
ASK = "The API is described by /api/v1/openapi.json."
PROBLEM = "application/problem+json"
MAX_DIGITS = 20
"""Of a revision, with room to spare."""
CATCH_UP_S = 2.0
"""How long an answer waits for this process's picture to include what the operation has written."""


def context_of(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


async def actor_of(request: Request) -> Actor:
    """Who asks, and on what terms. Raises as `known` and `terms_of`."""
    actor = await known(request)
    return replace(actor, terms=await terms_of(request, context_of(request), actor))


async def known(request: Request) -> Actor:
    """Who asks, as the gate has found (gate.py)."""
    actor: Actor = request.scope[ACTOR]
    return actor


def answer(value: object, status: int = 200) -> Response:
    return Response(codec.encode(value), status, media_type="application/json")


async def on_replayed(request: Request, replayed: Exception) -> Response:
    """The first answer once more."""
    assert isinstance(replayed, Replayed)
    response = await done(context_of(request), replayed.outcome)
    response.headers[REPLAYED] = "true"
    return response


async def done(context: ApiContext, outcome: Outcome, status: int = 200) -> Response:
    """What was committed, once this process's picture shows it (or after CATCH_UP_S)."""
    await context.cache.wait_revision(outcome.revision, CATCH_UP_S)
    return answer(outcome, status)


async def task_known(context: ApiContext, task_id: str) -> None:
    """A task may have been begun at another node a moment ago: its id tells what this process's picture has to include."""
    if task_id.isdecimal() and len(task_id) < MAX_DIGITS:
        await context.cache.wait_revision(int(task_id) + 1, CATCH_UP_S)


def instance_at(request: Request, kind: str, name: str) -> InstanceView:
    """The only instance of a service. Raises NotFound."""
    instances = context_of(request).cache.status.instances
    known = {one.service: one for one in instances if one.kind == kind}
    if name not in known:
        raise checks.not_found(f"{kind} service", name, known)
    return known[name]


def problem(error: HoldfastError, path: str) -> Response:
    """RFC 9457 problem details, with `advice` as an extension member."""
    words = error.kind if isinstance(error, RequestFailed) else _words(type(error))
    body = {
        "type": f"urn:holdfast:error:{words}",
        "title": words.replace("-", " "),
        "status": error.http_status,
        "detail": error.message,
        "advice": error.advice,
        "instance": path,
        **error.members,
    }
    headers = {"www-authenticate": "Bearer"} if error.http_status == 401 else {}
    if isinstance(error, RequestFailed) and error.allow:
        headers["allow"] = error.allow
    if error.retry_after_s:
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, PreconditionFailed) and error.etag:
        headers["etag"] = error.etag
    return Response(codec.encode(body), error.http_status, headers, PROBLEM)


def _words(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


async def on_holdfast_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HoldfastError)
    if error.http_status >= 500:
        _log.warning("request-failed", path=request.url.path, error=str(error))
    return problem(error, request.url.path)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(InvalidInput(*_first_fault(error.errors())), request.url.path)


def _first_fault(faults: Any) -> tuple[str, str]:
    fault = faults[0]
    where = ".".join(str(part) for part in fault["loc"] if part != "body") or "the body"
    if fault["type"] == "extra_forbidden":
        return f"unknown field `{where}`", "Leave it out, or look for the right name in /api/v1/openapi.json."
    if fault["type"] == "missing":
        return f"`{where}` is missing", "Send it; see /api/v1/openapi.json."
    if fault["type"] == "json_invalid":
        return "the body is not valid JSON", "Send a JSON object."
    return f"`{where}`: {fault['msg']}", "Correct it; see /api/v1/openapi.json."


_KINDS = {
    400: "malformed-request",
    404: "no-such-path",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-content",
    431: "headers-too-large",
    500: "bug",
}


class RequestFailed(HoldfastError):
    """The request did not get as far as a route, or a route failed by a fault of ours."""

    def __init__(self, status: int, message: str, advice: str = ASK, *, allow: str = "") -> None:
        super().__init__(message, advice)
        self.http_status = status
        self.kind = _KINDS.get(status, "request-failed")
        self.allow = allow
        """What can be done at the path instead."""


async def on_http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, 400 of the parser."""
    assert isinstance(error, HTTPException)
    what = {
        400: "the body cannot be read: it is nested too deeply, or has numbers that are none",
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not possible at {request.url.path}",
    }.get(error.status_code, str(error.detail))
    shaped = RequestFailed(error.status_code, what)
    response = problem(shaped, request.url.path)
    response.headers.update(error.headers or {})
    return response


async def on_bug(request: Request, error: Exception) -> Response:
    """A fault of ours. The traceback goes to the log, never to the caller."""
    _log.error("bug", path=request.url.path, exc_info=error)
    shaped = RequestFailed(500, "Holdfast made a mistake", "Please report it with the log /var/log/holdfast/panel.log.")
    response = problem(shaped, request.url.path)
    response.headers.update(SECURITY)  # it passes by what adds them to all other answers
    return response
