"""What a request may be at most, before anything looks at it, and what every answer says to browsers.

The limits on time and connections are the server's (protocol.py).
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.api import headers
from holdfast.api.http import RequestFailed, problem

MAX_BODY_BYTES = 1024 * 1024
MAX_HEADERS = 100
JSON = "application/json"
PLAIN = "identity"


class Limits:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, private=not scope["path"].startswith("/static/"))
        refusal = _refusal(Headers(scope=scope))
        if refusal is not None:
            await problem(refusal, scope["path"])(scope, receive, answer.send)
            return
        body = _Body(receive)
        try:
            await self._app(scope, body.receive, answer.unless(body))
        except Exception:
            if not body.too_large:
                raise
        if body.too_large and not answer.begun:
            await problem(_too_large(), scope["path"])(scope, receive, answer.send)


def _refusal(said: Headers) -> RequestFailed | None:
    """What the headers alone are refused for."""
    if len(said) > MAX_HEADERS:
        return RequestFailed(431, f"the request has {len(said)} headers", f"Send {MAX_HEADERS} at most.")
    length = said.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
        return _too_large()
    return _unreadable(said) if length != "0" or "transfer-encoding" in said else None


def _unreadable(said: Headers) -> RequestFailed | None:
    """Nothing is unpacked here: a small body that unpacks to a large one does no harm. What does not say what it is passes
    for JSON; every other form is one that a page of another site could send unasked."""
    kind = said.get("content-type", JSON).partition(";")[0].strip().lower()
    packed = said.get("content-encoding", PLAIN).strip().lower()
    if kind != JSON or packed != PLAIN:
        return RequestFailed(415, f"the body is {kind}, {packed}", f"Send {JSON}, unpacked.")
    return None


def _too_large() -> RequestFailed:
    return RequestFailed(413, f"the body is larger than {MAX_BODY_BYTES} bytes", "Send less at once.")


class _Body:
    """A body that grows too large ends like a broken connection for whoever reads it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self.too_large = False

    async def receive(self) -> Message:
        if self.too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message


class _Answer:
    def __init__(self, send: Send, *, private: bool) -> None:
        self._send = send
        self._private = private
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message["headers"] = headers.complete(list(message.get("headers", ())), private=self._private)
        await self._send(message)

    def unless(self, body: _Body) -> Send:
        """What somebody says about a body that was cut off is not passed on."""

        async def send(message: Message) -> None:
            if self.begun or not body.too_large:
                await self.send(message)

        return send
