"""The name server's sockets: UDP and TCP on each of the node's own addresses.

Own addresses and not the wildcard: a UDP answer must come from the address that was asked, and another program may have
port 53 of an address of its own, as systemd's resolver has.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import structlog

from holdfast.config import DNS_PORT
from holdfast.net.dns.answer import Desk, respond, truncated
from holdfast.net.dns.limit import AnswerLimit, Verdict, network_of
from holdfast.ports import Clock

log = structlog.get_logger("holdfast.dns")

RETRY_S = 2.0
"""How soon an address that could not be bound is tried again."""
IDLE_S = 10.0
"""A TCP connection that asks nothing, or takes no answer, for so long is closed."""
CONNECTIONS = 150
CONNECTIONS_PER_NETWORK = 30
QUERIES_PER_CONNECTION = 1000
_LENGTH = struct.Struct("!H")


class NameServer:
    """Answers from what `desk()` is at the moment of each query."""

    def __init__(
        self,
        addresses: Iterable[str],
        clock: Clock,
        desk: Callable[[], Desk],
        *,
        port: int = DNS_PORT,
        idle_s: float = IDLE_S,
    ) -> None:
        self._wanted = tuple(dict.fromkeys(addresses))
        self._clock = clock
        self._desk = desk
        self._port = port
        self._idle_s = idle_s
        self._limit = AnswerLimit()
        self._transports: dict[str, asyncio.DatagramTransport] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: Counter[int] = Counter()
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def bound(self) -> Sequence[str]:
        """The addresses that it serves on."""
        return tuple(address for address in self._wanted if address in self._servers)

    async def run(self) -> None:
        """For ever. An address that cannot be had is said once, and tried again."""
        said: dict[str, str] = {}
        while True:
            for address in self._wanted:
                try:
                    await self._bind(address)
                    said.pop(address, None)
                except OSError as error:
                    if said.get(address) != str(error):
                        log.warning("not serving", address=address, port=self._port, error=str(error))
                    said[address] = str(error)
            await self._clock.sleep(RETRY_S)

    async def close(self) -> None:
        for transport in self._transports.values():
            transport.close()
        for server in self._servers.values():
            server.close()
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _bind(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        if address not in self._transports:
            datagrams = _socket(address, self._port, socket.SOCK_DGRAM)
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            self._transports[address] = transport
        if address not in self._servers:
            stream = _socket(address, self._port, socket.SOCK_STREAM)
            self._servers[address] = await asyncio.start_server(self._accept, sock=stream, backlog=64)
            log.info("serving", address=address, port=self._port)

    # --- UDP -----------------------------------------------------------------------------------------------------------

    def datagram(self, wire: bytes, client: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        """One query. From port 0 nobody can be waiting for an answer."""
        if client[1] == 0:
            return
        answers = respond(wire, self._desk(), client[0], stream=False)
        if not answers:
            return
        verdict = self._limit.judge(client[0], self._clock.now())
        if verdict is Verdict.ANSWER:
            transport.sendto(answers[0], client)
        elif verdict is Verdict.TRUNCATE:
            transport.sendto(truncated(wire), client)

    # --- TCP -----------------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = str((writer.get_extra_info("peername") or ("",))[0])
        task = asyncio.current_task()
        assert task is not None
        network = network_of(client) if client else -1
        full = self._connections.total() >= CONNECTIONS or self._connections[network] >= CONNECTIONS_PER_NETWORK
        if full or not client:
            writer.close()
            return
        self._connections[network] += 1
        self._talks.add(task)
        try:
            await self._talk(client, reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # the client left, or idles
        finally:
            self._connections[network] -= 1
            if not self._connections[network]:
                del self._connections[network]
            self._talks.discard(task)
            writer.transport.abort()

    async def _talk(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(QUERIES_PER_CONNECTION):
            async with self._clock.timeout(self._idle_s):
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                wire = await reader.readexactly(length)
            answers = respond(wire, self._desk(), client, stream=True)
            if not answers:
                return
            for answer in answers:
                writer.write(_LENGTH.pack(len(answer)) + answer)
            async with self._clock.timeout(self._idle_s):
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._server.datagram(data, addr, self._transport)

    def error_received(self, exc: Exception) -> None:
        """A client that is gone: its own matter."""


def _socket(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Bound. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
