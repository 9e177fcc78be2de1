"""Clients that are slow, too many or too large on purpose, against a real server on loopback with short patience."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from starlette.types import Receive, Scope, Send

from holdfast.api.listen import Doorkeeper
from holdfast.api.protocol import Patient
from holdfast.api.server import HANDSHAKE_S, make_server, tls_context
from holdfast.bootstrap.pki import create_authority, issue_node
from holdfast.config import Tls

HANG_S = 60


class Hasty(Patient):
    allowed_s: ClassVar = {"headers": 0.5, "body": 0.5, "reading": 0.5}


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all of the body; /much answers more than fits into any buffer, /waits takes long to begin with an answer."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/waits":
        await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(5000 if scope["path"] == "/much" else 0):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def listener() -> Iterator[Doorkeeper]:
    sock = Doorkeeper(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, per_address=20)
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    yield sock
    sock.close()


@pytest.fixture
async def port(listener: Doorkeeper) -> AsyncIterator[int]:
    server = make_server(answers, None)
    server.config.http_protocol_class = Hasty
    running = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await running


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ended(self) -> bytes:
        """All that comes until the server ends the connection."""
        async with asyncio.timeout(HANG_S):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def drip(client: Client, piece: bytes) -> bytes:
    """Send a byte now and then, for ever; gives what came when the server had enough."""

    async def sending() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(piece)
                await asyncio.sleep(0.05)

    task = asyncio.create_task(sending())
    try:
        return await client.ended()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_headers_that_never_end_are_not_waited_for(port: int) -> None:
    silent, dripping = await Client.connect(port), await Client.connect(port)
    await dripping.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
    assert await drip(dripping, b"x: y\r\n") == b""
    assert await silent.ended() == b"", "nor is a client that says nothing at all"
    await silent.close()


async def test_a_handshake_that_never_ends_is_not_waited_for(listener: Doorkeeper, tmp_path: Path) -> None:
    """By clients that say nothing, and by those that say the beginning of a hello by drops."""
    files = Tls("", str(tmp_path / "crt"), str(tmp_path / "key"))
    for file, content in zip((files.cert, files.key), issue_node(create_authority("x"), "n1", ()), strict=True):
        Path(file).write_bytes(content)
    server = make_server(answers, tls_context(files))
    assert server.handshake_s == HANDSHAKE_S < 60
    server.handshake_s = 0.5
    running = asyncio.create_task(server.serve(sockets=[listener]))
    silent, dripping = [await Client.connect(listener.getsockname()[1]) for _ in range(2)]
    await dripping.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert await drip(dripping, b"\0") == b""
    assert await silent.ended() == b""
    await silent.close()
    server.should_exit = True
    await running


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc",
        b"\0\0\0\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_answered_as_a_problem(port: int, request_bytes: bytes) -> None:
    client = await Client.connect(port)
    await client.send(request_bytes)
    head, _, body = (await client.ended()).partition(b"\r\n\r\n")
    await client.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert b"content-security-policy" in head
    assert json.loads(body)["status"] == 400


async def test_a_body_that_never_ends_is_not_waited_for(port: int) -> None:
    client = await Client.connect(port)
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
    assert await drip(client, b"x") == b""


async def test_a_further_request_is_held_to_the_same_times(port: int) -> None:
    client = await Client.connect(port)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    first = await asyncio.wait_for(client.reader.readuntil(b"done\r\n0\r\n\r\n"), HANG_S)
    assert b"200" in first
    await client.send(b"GET / HTTP/1.1\r\nhost")
    assert await drip(client, b"x") == b""


async def test_an_answer_that_nobody_takes_is_given_up(port: int) -> None:
    client = await Client.connect(port)
    await client.send(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(HANG_S):
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(b"x")  # fails once the server has ended the connection
                await asyncio.sleep(0.05)
    await client.close()


async def test_who_waits_for_an_answer_is_left_in_peace(port: int) -> None:
    client = await Client.connect(port)
    await client.send(b"GET /waits HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await client.ended()).endswith(b"4\r\ndone\r\n0\r\n\r\n")
    await client.close()


async def test_one_address_cannot_take_all_connections(port: int) -> None:
    held = [await Client.connect(port) for _ in range(20)]
    refused = await Client.connect(port)
    assert await refused.ended() == b""
    await refused.close()
    for client in held:
        await client.close()

    async def served() -> bool:
        client = await Client.connect(port)
        try:
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return b"200" in await client.ended()
        except ConnectionError:
            return False
        finally:
            await client.close()

    async with asyncio.timeout(HANG_S):
        while not await served():
            pass


async def test_endless_headers_are_refused_before_their_end(port: int) -> None:
    client = await Client.connect(port)
    with contextlib.suppress(ConnectionError):
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000)
    assert b" 200 " not in await client.ended()
    await client.close()
