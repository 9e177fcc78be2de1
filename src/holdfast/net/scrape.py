"""GET /metrics of a daemon that serves nothing else: HTTPS on the node's management address, with the node's certificate.

Small on purpose: one request per connection, bounded in size, time and number.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from holdfast.config import Tls
from holdfast.ports import Clock

log = structlog.get_logger("holdfast.metrics")

HEAD_BYTES = 8192
REQUEST_S = 5.0
"""A client has so long for handshake and request."""
AT_ONCE = 16
LOOK_S = 10.0
"""How often a renewed certificate is looked for, and a port that could not be opened is tried again."""


class ScrapeServer:
    """Serves as long as `run` runs. Whatever goes wrong here ends nothing else."""

    def __init__(
        self,
        host: str,
        port: int,
        files: Tls,
        clock: Clock,
        allows: Callable[[str], bool],
        render: Callable[[], bytes],
    ) -> None:
        """`allows`: may who sends this header Authorization read the figures? `render`: them."""
        self._host = host
        self._port = port
        self._files = files
        self._clock = clock
        self._allows = allows
        self._render = render
        self._open = 0
        self.port = 0
        """Where it listens; 0: nowhere (yet)."""

    async def run(self) -> None:
        failure = ""
        while True:
            try:
                context, stamp = self._context(), self._stamp()
                server = await asyncio.start_server(
                    self._serve, self._host, self._port, ssl=context, limit=HEAD_BYTES, ssl_handshake_timeout=REQUEST_S
                )
            except Exception as error:  # no daemon ends because nobody can read its figures
                if str(error) != failure:
                    log.warning("metrics cannot be served", address=self._host, port=self._port, error=str(error))
                failure = str(error)
                await self._clock.sleep(LOOK_S)
                continue
            failure, self.port = "", server.sockets[0].getsockname()[1]
            async with server:
                while True:
                    await self._clock.sleep(LOOK_S)
                    if self._stamp() != stamp:
                        stamp = self._stamp()
                        self._reload(context)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._files.cert, self._files.key)
        return context

    def _reload(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._files.cert, self._files.key)
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate not reloaded", error=str(error))

    def _stamp(self) -> tuple[int, ...]:
        try:
            return tuple(Path(name).stat().st_mtime_ns for name in (self._files.cert, self._files.key))
        except OSError:
            return ()

    # --- one connection -------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with self._clock.timeout(REQUEST_S):
                if self._open <= AT_ONCE:
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever that was: nobody misses an answer
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if method != "GET" or path != "/metrics":
            return _response("404 Not Found", b"There is GET /metrics here.\n")
        if not self._allows(headers.get("authorization", "")):
            text = b"An API token with the scope `metrics` is needed: holdfast token create.\n"
            return _response("401 Unauthorized", text, "www-authenticate: Bearer\r\n")
        try:
            from holdfast.metrics import CONTENT_TYPE  # noqa: PLC0415 - loaded when somebody asks for figures

            return _response("200 OK", self._render(), content_type=CONTENT_TYPE)
        except Exception as error:  # a mistake in a figure must not end the daemon
            log.error("metrics could not be made", error=repr(error))
            return _response("500 Internal Server Error", b"See the daemon's log.\n")


def _response(status: str, body: bytes, more: str = "", content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{more}"
    return f"{head}cache-control: no-store\r\nconnection: close\r\n\r\n".encode() + body
