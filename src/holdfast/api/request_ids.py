"""A name for each request, in its answer and in every line that is logged because of it.

A caller may bring one in `X-Request-Id`, e.g. a proxy that logs it, too; else one is made.
"""

import re
import secrets

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
_GOOD = re.compile(rb"[A-Za-z0-9._-]{8,64}")

_log = structlog.get_logger("holdfast.panel")


class RequestIds:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        name = given if _GOOD.fullmatch(given) else secrets.token_hex(8).encode()
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, name)]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=name.decode()):
            await self._app(scope, receive, named)
            if scope["method"] not in ("GET", "HEAD", "OPTIONS") or status >= 500:
                _log.info("request", method=scope["method"], path=scope["path"], status=status)
