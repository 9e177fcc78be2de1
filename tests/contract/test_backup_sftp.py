"""The SFTP back-end when its connection breaks: it comes back, and nothing that was removed on the way stays away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
from backup_stores import sftp
from relay import Relay, relayed

from holdfast.clock import SystemClock
from holdfast.services.backup_gateway.backends.port import Entry, Missing, TooLate, Unavailable
from holdfast.services.backup_gateway.backends.sftp import SftpBackend
from holdfast.services.backup_gateway.config import Sftp
from holdfast.services.backup_gateway.names import Stored

FILE = Stored("alice", "data", "ab" * 32)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sftp]:
    with sftp(tmp_path) as config:
        yield cast(Sftp, config)


@pytest.fixture
async def relay(far: Sftp) -> AsyncIterator[Relay]:
    async with relayed(f"tcp://127.0.0.1:{far.port}") as made:
        yield made


@pytest.fixture
async def backend(far: Sftp, relay: Relay) -> AsyncIterator[SftpBackend]:
    made = SftpBackend(msgspec.structs.replace(far, port=relay.port), "backup/main/gw-n1", SystemClock())
    await made.probe()
    await made.create("alice")
    yield made
    await made.close()


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def whole(backend: SftpBackend, size: int) -> bytes:
    return b"".join([chunk async for chunk in backend.read(FILE, 0, size)])


async def test_it_connects_anew(backend: SftpBackend, relay: Relay) -> None:
    async def interrupted() -> AsyncIterator[bytes]:
        yield b"some"
        await relay.cut()
        yield b"thing"

    with pytest.raises(Unavailable):
        await backend.store(FILE, interrupted())
    with pytest.raises(Unavailable):
        await backend.probe()
    await relay.open()
    await backend.probe()
    assert await backend.entries("alice", "data") == []
    assert await backend.store(FILE, pieces(b"some", b"thing"))
    assert await backend.entries("alice", "data") == [Entry(FILE.name, 9)]
    assert await whole(backend, 9) == b"something"


async def test_a_removal_that_came_too_late_is_taken_back(backend: SftpBackend) -> None:
    assert await backend.store(FILE, pieces(b"content"))
    with pytest.raises(TooLate):
        await backend.remove(FILE, lambda: False)
    assert await whole(backend, 7) == b"content"
    await backend.remove(FILE, lambda: True)
    with pytest.raises(Missing):
        await backend.remove(FILE, lambda: True)


async def test_a_removal_whose_outcome_never_came_is_taken_back(
    backend: SftpBackend, relay: Relay, far: Sftp, tmp_path: Path
) -> None:
    """The server has done it, the answer is lost, and the client has been told nothing: it may store the file again."""
    assert await backend.store(FILE, pieces(b"content"))
    path = tmp_path / "far/backup" / FILE.path

    async def removed() -> None:
        with pytest.raises(Unavailable):
            await backend.remove(FILE, lambda: True)

    relay.lose_answers = True
    waiting = asyncio.create_task(removed())
    async with asyncio.timeout(60):
        while path.exists():  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(0.01)
    await relay.cut()
    await waiting
    relay.lose_answers = False
    await relay.open()
    await backend.probe()
    assert path.read_bytes() == b"content"


async def test_only_the_known_server_is_spoken_to(far: Sftp) -> None:
    other = msgspec.structs.replace(
        far, host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    )
    backend = SftpBackend(other, "gw", SystemClock())
    with pytest.raises(Unavailable, match=r"[Hh]ost key"):
        await backend.probe()
    await backend.close()
