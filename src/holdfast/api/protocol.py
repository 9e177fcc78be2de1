"""HTTP/1.1 as uvicorn speaks it, for clients that are slow on purpose.

A connection that costs nothing to keep open is a way to use up a server's descriptors and memory. uvicorn itself only ends
connections that idle between two requests. How many one address may have is limited where they are accepted (listen.py).
"""

import asyncio
import json
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast.api.headers import FIXED

HEADERS_S = 10.0
"""From the connection, or the first byte of a further request, to the end of its headers."""
BODY_S = 20.0
"""From there to the end of the body (1 MiB at most)."""
STALLED_S = 60.0
"""Who takes nothing of an answer for so long is gone."""
HEADER_BYTES = 32 * 1024
"""Request line and headers."""


_MALFORMED = {
    "type": "urn:holdfast:error:malformed-request",
    "title": "malformed request",
    "status": 400,
    "detail": "this is no HTTP/1.1 request",
    "advice": "Send one, with one Host and one length at most.",
}


class Patient(H11Protocol):
    """Patient to a degree."""

    allowed_s: ClassVar[dict[str, float]] = {"headers": HEADERS_S, "body": BODY_S, "reading": STALLED_S}
    """What a client is waited for → how long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wait_for("headers")

    def connection_lost(self, exc: Exception | None) -> None:
        for what in tuple(self._timers):
            self._done_with(what)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def send_400_response(self, msg: str) -> None:
        """As every other error: what reaches no application is a problem too (RFC 9457)."""
        content = json.dumps(_MALFORMED).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(content)).encode()),
            (b"connection", b"close"),
            *FIXED,
        ]
        start = h11.Response(status_code=400, headers=headers, reason=HTTPStatus.BAD_REQUEST.phrase)
        for event in (start, h11.Data(data=content), h11.EndOfMessage()):
            sent = self.conn.send(event)
            self.transport.write(sent or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for("reading")

    def resume_writing(self) -> None:
        self._done_with("reading")
        super().resume_writing()

    def _look(self) -> None:
        """A timer goes on until what it waits for is there: drops of it change nothing."""
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        for what, awaited in (("headers", begun), ("body", self.conn.their_state is h11.SEND_BODY)):
            if awaited:
                self._wait_for(what)
            else:
                self._done_with(what)

    def _wait_for(self, what: str) -> None:
        if what not in self._timers and not self.transport.is_closing():
            self._timers[what] = self.loop.call_later(self.allowed_s[what], self.transport.abort)

    def _done_with(self, what: str) -> None:
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()
