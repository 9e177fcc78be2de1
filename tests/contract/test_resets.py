"""Clients of a server that vanished without a word are reset by the next owner of its address, on real sockets."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.services.resets import DIRECTORY, Resets
from holdfast.services.storage import MARKER, SharedStorage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sends packets of its own")
SERVER, CLIENT = "127.0.0.1", "127.0.0.2"
INSTANCE = "backup/main/gw-n1"
TCP_REPAIR = 19
"""linux/tcp.h: a socket in this state is closed without a packet, as if its machine had lost its power."""
WAIT_S = 20.0


@dataclass
class Connection:
    port: int
    client: socket.socket
    server: socket.socket

    def lose(self) -> None:
        self.server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self.server.close()

    def silent(self, wait_s: float) -> bool:
        return not select.select([self.client], [], [], wait_s)[0]


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A client that waits for an answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((SERVER, 0)))
        client = stack.enter_context(socket.socket())
        client.bind((CLIENT, 0))
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        stack.enter_context(server)
        yield Connection(listener.getsockname()[1], client, server)


def resets(root: Path) -> Resets:
    clock = SystemClock()
    (root / MARKER).touch()
    return Resets(SharedStorage(str(root), clock), clock)


async def test_a_client_that_waits_is_reset_by_the_next_owner(tmp_path: Path, connection: Connection) -> None:
    await resets(tmp_path).tick(INSTANCE, SERVER, connection.port)
    connection.lose()
    successor = resets(tmp_path)
    await successor.before_start(INSTANCE)
    assert connection.silent(0.3), "nobody tells it by itself"
    successor.address_up(INSTANCE, SERVER, connection.port)
    assert not connection.silent(WAIT_S)
    with pytest.raises(ConnectionResetError):
        connection.client.recv(1)
    successor.forget(INSTANCE)


async def test_a_connection_to_the_new_owner_is_left_alone(tmp_path: Path, connection: Connection) -> None:
    one = resets(tmp_path)
    await one.tick(INSTANCE, SERVER, connection.port)
    await one.before_start(INSTANCE)
    one.address_up(INSTANCE, SERVER, connection.port)
    assert connection.silent(0.3)
    connection.server.sendall(b"!")
    assert connection.client.recv(1) == b"!"
    one.forget(INSTANCE)


async def test_nothing_is_written_into_an_empty_mount_point(tmp_path: Path, connection: Connection) -> None:
    one = resets(tmp_path)
    (tmp_path / MARKER).unlink()
    await one.tick(INSTANCE, SERVER, connection.port)
    assert not list(tmp_path.iterdir())


async def test_a_storage_that_is_away_stops_nothing(tmp_path: Path, connection: Connection) -> None:
    (tmp_path / DIRECTORY).write_text("not a directory")
    one = resets(tmp_path)
    await one.tick(INSTANCE, SERVER, connection.port)
    await one.before_start(INSTANCE)
    one.address_up(INSTANCE, SERVER, connection.port)
    one.forget(INSTANCE)
