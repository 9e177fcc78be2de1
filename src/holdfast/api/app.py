"""The HTTP API as one ASGI application."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast import __version__
from holdfast.api import http
from holdfast.api.context import ApiContext
from holdfast.api.gate import Gate
from holdfast.api.limits import Limits
from holdfast.api.operations.terms import Replayed
from holdfast.api.request_ids import RequestIds
from holdfast.api.routes import (
    accounts,
    alarms,
    backup,
    changes,
    compute,
    dns,
    drills,
    iscsi,
    metrics,
    planning,
    reads,
    s3,
    session,
    stream,
    tasks,
    trust,
)
from holdfast.errors import HoldfastError

PREFIX = "/api/v1"
ROUTES = (
    reads, stream, tasks, planning, session, accounts, changes, compute, iscsi, s3, backup, dns, drills, alarms,
    trust,
)  # fmt: skip
"""The first whose path fits answers: what is asked for most stands first, for the search is a good part of its cost."""


def create_app(context: ApiContext) -> FastAPI:
    """The API under /api/v1 and the unauthenticated /healthz. `context.cache.run()` must be running beside it."""
    app = FastAPI(
        title="Holdfast",
        version=__version__,
        redirect_slashes=False,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # its page would load scripts from a foreign host
        redoc_url=None,
    )
    app.state.context = context
    for module in ROUTES:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(metrics.router)
    app.add_exception_handler(Replayed, http.on_replayed)
    app.add_exception_handler(HoldfastError, http.on_holdfast_error)
    app.add_exception_handler(RequestValidationError, http.on_invalid_request)
    app.add_exception_handler(HTTPException, http.on_http_exception)
    app.add_exception_handler(Exception, http.on_bug)
    app.add_middleware(Gate, auth=context.auth, cache=context.cache)
    app.add_middleware(Front, context=context)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    app.add_middleware(Limits)
    app.add_middleware(RequestIds)
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    from holdfast.api.openapi import document  # noqa: PLC0415 - few requests need it

    app.openapi_schema = app.openapi_schema or document(app)
    return app.openapi_schema


class Front:
    """What comes before all routes: the health answer, who serves, and the tag of what is shown."""

    def __init__(self, app: ASGIApp, context: ApiContext) -> None:
        self._app = app
        self._cache = context.cache
        self._node = context.node.encode()
        self._health = msgspec.json.encode({"node": context.node, "session": context.session, "ok": True})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/healthz":
            await self._send_health(send)
        else:
            # The tag is taken first: a change that comes while the answer is made must not look as if it was shown.
            tag = self._cache.tag_at(scope["path"]) if scope["method"] == "GET" else ""
            await self._app(scope, receive, self._named(send, tag))

    async def _send_health(self, send: Send) -> None:
        """From memory, without store, routes or session: it only says that this process serves."""
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._health)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._health})

    def _named(self, send: Send, tag: str) -> Send:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-holdfast-node", self._node),
                    *([(b"etag", tag.encode())] if tag and message["status"] == 200 else ()),
                ]
            await send(message)

        return named


class Local:
    """Wraps the application for the Unix socket: who can open it is root on this node."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, http.LOCAL: True}, receive, send)
