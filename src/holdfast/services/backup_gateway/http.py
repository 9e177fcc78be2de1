"""HTTP/1.1 over TLS: one coroutine per connection around h11, which knows the protocol's rules and does no I/O.

uvicorn, which serves the panel, has no time-out for a request that stops in the middle, and no way to ask whether the client
is still there; both are what a gateway must know of clients that go elsewhere.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h11
import structlog

from holdfast.errors import HoldfastError
from holdfast.ports import Clock

_log = structlog.get_logger("holdfast.backup")

IDLE_S = 120.0
"""Between two requests. Longer than Go's clients keep an idle connection (90 s), so that it is they who close it."""
HEAD_S = 20.0
"""For a request's head, once it has begun."""
STALL_S = 30.0
"""Without a byte of a body from the client, or room for one of ours at the client."""
PRESENT_S = 2.0
"""For the client's acknowledgement that it is still there."""
LINGER_S = 10.0
LINGER_BYTES = 64 << 20
"""How much of a refused request's body is read on, so that the client sees the answer and keeps the connection."""
HEAD_BYTES = 16 << 10
READ_BYTES = 256 << 10
CONNECTIONS = 1000
"""More are closed at once."""
_IP_FREEBIND = 15
_TCP_ESTABLISHED = 1


class ClientGone(Exception):
    """The connection is of no use any more; nobody waits for an answer."""


@dataclass(slots=True)
class Response:
    status: int
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None
    """Of the body; None: as long as `body` is."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False
    """End the connection after it, and read no more of the request."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    """As sent: percent-encoded, without the query."""
    query: str
    headers: dict[str, str]
    body: AsyncIterator[bytes]
    """Raises ClientGone."""
    present: Callable[[], Awaitable[bool]]
    """Asks the client's kernel whether the connection is still open there, now."""


Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """Serves one listening socket until `stop`."""

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self._handler = handler
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(
            self._serve,
            sock=listener,
            ssl=tls,
            limit=1 << 20,
            backlog=512,
            ssl_handshake_timeout=HEAD_S if tls else None,
            ssl_shutdown_timeout=2.0 if tls else None,
        )

    async def stop(self, grace_s: float) -> None:
        """Accept no more, end idle connections, let requests under way end within `grace_s`."""
        if self._server is not None:
            self._server.close()
        for task, connection in list(self._connections.items()):
            connection.last = True
            if not connection.busy:
                task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_s)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        connection = Connection(reader, writer, self._handler, self._clock)
        try:
            if len(self._connections) >= CONNECTIONS:
                return
            self._connections[task] = connection
            await connection.run()
        except (ClientGone, OSError, TimeoutError, h11.RemoteProtocolError):
            pass
        except asyncio.CancelledError:
            pass  # by `stop`; whoever cancelled does not wait for more
        except HoldfastError as error:
            _log.warning("an answer broke off", error=str(error))
        except Exception as error:
            _log.error("connection failed", error=repr(error), exc_info=error)
        finally:
            self._connections.pop(task, None)
            writer.transport.abort() if connection.broken else writer.close()


class Connection:
    """One client's connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler, clock: Clock
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._clock = clock
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self.busy = False
        """A request is under way."""
        self.last = False
        """The present request is the last."""
        self.broken = False
        """An answer began and did not end: the client must not take it for complete."""

    async def run(self) -> None:
        while not self.last:
            head = await self._head()
            if head is None:
                return
            self.busy = True
            request = self._request(head)
            response = await self._handler(request)
            await self._answer(head, response)
            if response.close or self.last or not await self._linger():
                return
            self._http.start_next_cycle()
            self.busy = False

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _head(self) -> h11.Request | None:
        began = None
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return None
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            left = IDLE_S if began is None else HEAD_S - (self._clock.now() - began)
            data = await self._receive(left)
            began = self._clock.now() if began is None and data else began

    async def _receive(self, timeout_s: float) -> bytes:
        async with self._clock.timeout(timeout_s):
            data = await self._reader.read(READ_BYTES)
        self._http.receive_data(data)
        return data

    def _request(self, head: h11.Request) -> Request:
        path, _, query = head.target.decode("ascii").partition("?")
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key = name.decode("ascii")
            headers[key] = f"{headers[key]},{value.decode('latin-1')}" if key in headers else value.decode("latin-1")
        return Request(head.method.decode("ascii"), path, query, headers, self._body(), self._present)

    async def _body(self) -> AsyncIterator[bytes]:
        if self._http.they_are_waiting_for_100_continue:
            await self._inform(100)
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    await self._receive(STALL_S)
                    continue
            except (h11.RemoteProtocolError, OSError, TimeoutError) as error:
                raise ClientGone from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    async def _linger(self) -> bool:
        """Read what is left of the request; False: too much."""
        if self._http.our_state is h11.MUST_CLOSE:
            return False
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError, ClientGone):
            async with self._clock.timeout(LINGER_S):
                while self._http.their_state is h11.SEND_BODY and left > 0:
                    event = self._http.next_event()
                    if event is h11.NEED_DATA:
                        left -= len(await self._receive(LINGER_S))
        return self._http.their_state is h11.DONE and self._http.our_state is h11.DONE

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
        async with self._clock.timeout(STALL_S):
            await self._writer.drain()

    async def _inform(self, status: int) -> None:
        await self._send(h11.InformationalResponse(status_code=status, headers=[]))

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-length", "0"), ("connection", "close")]
            await self._send(h11.Response(status_code=status, headers=headers))
            await self._send(h11.EndOfMessage())

    async def _answer(self, head: h11.Request, response: Response) -> None:
        whole = response.body if isinstance(response.body, bytes) else None
        length = response.length if response.length is not None else len(whole or b"")
        headers = [*response.headers, ("content-length", str(length))]
        if response.close or self.last:
            headers.append(("connection", "close"))
        self.broken = True
        await self._send(h11.Response(status_code=response.status, headers=headers))
        if head.method != b"HEAD":
            if whole is not None:
                await self._send(h11.Data(data=whole))
            else:
                assert not isinstance(response.body, bytes), "the other case was above"
                async for chunk in response.body:
                    await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())
        self.broken = False

    async def _present(self) -> bool:
        """An interim answer (RFC 9110, 15.2) that the client's kernel acknowledges proves that the client has not gone on
        elsewhere: a frozen gateway that thaws would otherwise execute what was asked of it long ago."""
        handle = self._writer.get_extra_info("socket")
        try:
            # Twice: Linux acknowledges a second small segment at once, and a single one up to 40 ms later.
            await self._inform(102)
            await self._inform(102)
            async with self._clock.timeout(PRESENT_S):
                while _open(handle):
                    if not _unacknowledged(handle) and not self._writer.transport.get_write_buffer_size():
                        return _open(handle)
                    await self._clock.sleep(0.005)
        except (OSError, TimeoutError):
            pass
        return False


def _open(handle: socket.socket) -> bool:
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == _TCP_ESTABLISHED


def _unacknowledged(handle: socket.socket) -> int:
    """Bytes sent that the other side has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def listen(address: str, port: int) -> socket.socket:
    """A listening socket at an address that may come to this node later; connections to it die soon after their clients.
    Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)  # works for IPv6 too
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, 10),
            (socket.TCP_KEEPINTVL, 5),
            (socket.TCP_KEEPCNT, 3),
            (socket.TCP_USER_TIMEOUT, 20_000),
            (socket.TCP_NODELAY, 1),
        ):
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.setblocking(False)
        return listener
    except BaseException:
        listener.close()
        raise
