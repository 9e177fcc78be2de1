"""Parts of the backup gateway by themselves: HTTP's corners, removals that come too late, storage that hangs, passwords."""

import asyncio
import os
import threading
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from argon2 import PasswordHasher

from holdfast.clock import ManualClock, SystemClock
from holdfast.services.backup_gateway.backends.local import Handle, LocalBackend
from holdfast.services.backup_gateway.backends.nfs import mount_command, mounted_source
from holdfast.services.backup_gateway.backends.port import TEMPORARY, TEMPORARY_AGE_S, Missing, TooLate, Unavailable
from holdfast.services.backup_gateway.cluster import BackupUser
from holdfast.services.backup_gateway.config import Nfs, users_to_bytes
from holdfast.services.backup_gateway.health import DEADLINE_S, Health
from holdfast.services.backup_gateway.http import HEAD_S, IDLE_S, Request, Response, Server, listen
from holdfast.services.backup_gateway.names import Stored
from holdfast.services.backup_gateway.users import Users
from holdfast.services.backup_gateway.workers import THREADS, Workers
from holdfast.services.storage import MARKER

FILE = Stored("alice", "data", "ab" * 32)


# --- HTTP -------------------------------------------------------------------------------------------------------------


class Served:
    """A server on loopback, without TLS, that echoes bodies."""

    def __init__(self, clock: SystemClock | ManualClock) -> None:
        self.server = Server(self._answer, clock)
        self.present: list[bool] = []

    async def _answer(self, request: Request) -> Response:
        if request.path == "/early":
            return Response(507, b"no room")
        if request.path == "/bye":
            return Response(401, close=True)
        if request.path == "/present":
            self.present.append(await request.present())
            return Response(200)
        body = b"".join([piece async for piece in request.body])
        return Response(200, body)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        listener = listen("127.0.0.1", 0)
        await self.server.start(listener, None)
        return await asyncio.open_connection(*listener.getsockname()[:2])


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served(SystemClock())
    yield made
    await made.server.stop(0)


async def until(reader: asyncio.StreamReader, text: bytes) -> bytes:
    async with asyncio.timeout(60):
        return await reader.readuntil(text)


async def test_requests_follow_each_other_on_one_connection(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    assert (await until(reader, b"hi")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n")
    assert (await until(reader, b"you")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"HEAD /c HTTP/1.1\r\nhost: x\r\n\r\nPOST /d HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n!")
    assert (await until(reader, b"!")).count(b"HTTP/1.1 200 ") == 2
    writer.close()


async def test_an_early_answer_is_heard_and_the_connection_goes_on(served: Served) -> None:
    reader, writer = await served.connect()
    size = 8 << 20
    writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
    writer.write(bytes(size))
    assert b" 507 " in await until(reader, b"no room")
    writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    assert b" 200 " in await until(reader, b"hi")
    writer.close()


async def test_a_client_that_asks_before_it_sends_is_told(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert b" 100 " in await until(reader, b"\r\n\r\n")
    writer.write(b"hi")
    assert b" 200 " in await until(reader, b"hi")
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01 no HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000,
        b"GET / HTTP/1.1\r\nhost: x\r\nx y\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(served: Served, request_: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(request_)
    async with asyncio.timeout(60):
        answer = await reader.read()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    writer.close()


async def test_a_refusal_can_end_the_connection(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /bye HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    async with asyncio.timeout(60):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" in answer.lower()
    writer.close()


async def test_silent_clients_are_left() -> None:
    """One that says nothing, and one that stops within its request's head."""
    clock = ManualClock()
    served = Served(clock)
    reader, writer = await served.connect()
    async with asyncio.timeout(60):
        while not clock.sleepers:  # noqa: ASYNC110 - the server's own timer is what is waited for
            await asyncio.sleep(0.01)
    await clock.advance(IDLE_S + 1)
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
    await served.server.stop(0)

    served = Served(clock)
    reader, writer = await served.connect()
    writer.write(b"GET / HT")
    await writer.drain()
    async with asyncio.timeout(60):
        while True:
            await clock.advance(HEAD_S / 4)
            try:
                async with asyncio.timeout(0.05):
                    assert await reader.read() == b""
                    break
            except TimeoutError:
                continue
    writer.close()
    await served.server.stop(0)


async def test_a_client_is_asked_whether_it_is_there(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"DELETE /present HTTP/1.1\r\nhost: x\r\n\r\n")
    heads = [await until(reader, b"\r\n\r\n") for _ in range(3)]
    writer.close()
    assert [head.split()[1] for head in heads] == [b"102", b"102", b"200"] and served.present == [True]


# --- the local back-end ------------------------------------------------------------------------------------------------


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    (tmp_path / MARKER).touch()
    made = LocalBackend(str(tmp_path), "backup/main/gw-n1", SystemClock())
    await made.probe()
    await made.create("alice")
    yield made
    await made.close()


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def test_a_removal_that_was_held_up_is_taken_back(backend: LocalBackend, tmp_path: Path) -> None:
    assert await backend.store(FILE, pieces(b"con", b"tent"))
    with pytest.raises(TooLate):
        await backend.remove(FILE, lambda: False)
    assert (tmp_path / FILE.path).read_bytes() == b"content"
    assert not list((tmp_path / TEMPORARY).glob("*removed*"))
    await backend.remove(FILE, lambda: True)
    with pytest.raises(Missing):
        await backend.size(FILE)
    with pytest.raises(Missing):
        await backend.remove(FILE, lambda: True)


async def test_what_is_there_is_never_replaced(backend: LocalBackend, tmp_path: Path) -> None:
    assert await backend.store(FILE, pieces(b"first"))
    assert not await backend.store(FILE, pieces(b"second"))
    assert (tmp_path / FILE.path).read_bytes() == b"first"


async def test_a_storage_that_somebody_else_serves_leads_into_no_file_of_this_node(
    backend: LocalBackend, tmp_path: Path
) -> None:
    """An operator chooses the NFS server, and what it holds: links among it. The gateway runs as root."""
    secrets = tmp_path.parent / f"{tmp_path.name}-outside"
    secrets.mkdir()
    (secrets / FILE.name).write_bytes(b"the cluster secret")
    for link, target in ((tmp_path / FILE.path, secrets / FILE.name), ((tmp_path / FILE.path).parent, secrets)):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir():
            link.rmdir()
        link.symlink_to(target)
        with pytest.raises(Unavailable):
            _ = [piece async for piece in backend.read(FILE, 0, 100)]
        link.unlink()
    (tmp_path / TEMPORARY).rename(tmp_path / "moved")
    (tmp_path / TEMPORARY).symlink_to(secrets)
    with pytest.raises(Unavailable):
        await backend.store(Stored("alice", "data", "cd" * 32), pieces(b"evil"))
    assert [path.name for path in secrets.iterdir()] == [FILE.name], "nothing is left there either"


async def test_only_old_temporary_files_are_swept(backend: LocalBackend, tmp_path: Path) -> None:
    """Their time of change is what counts: a removed file keeps its time of writing, and cannot be dated back here."""
    assert await backend.store(FILE, pieces(b"old"))
    os.utime(tmp_path / FILE.path, (1, 1))
    young = tmp_path / TEMPORARY / "other.removed.1"
    young.write_bytes(b"")
    os.utime(young, (1, 1))
    assert await backend.sweep() == 0
    assert young.exists() and (tmp_path / FILE.path).exists()
    assert TEMPORARY_AGE_S >= 3600


async def test_an_empty_mount_point_is_no_storage(tmp_path: Path) -> None:
    made = LocalBackend(str(tmp_path / "never"), "gw", SystemClock())
    if any(place.is_mount() for place in tmp_path.parents if place != place.parent):
        return  # this machine's temporary directory is a file system of its own
    with pytest.raises(Unavailable, match="not mounted"):
        await made.probe()
    assert not (tmp_path / "never").exists()
    await made.close()


def test_a_file_that_is_still_written_is_not_closed(tmp_path: Path) -> None:
    handle, entered, leave = Handle(), threading.Event(), threading.Event()
    handle.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, tmp_path)
    written: list[int] = []

    def slow(descriptor: int) -> None:
        entered.set()
        assert leave.wait(60)
        written.append(os.write(descriptor, b"mine"))

    thread = threading.Thread(target=handle.use, args=(slow,))
    thread.start()
    assert entered.wait(60)
    handle.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    leave.set()
    thread.join(60)
    os.close(other)
    assert written == [4] and (tmp_path / "other").read_bytes() == b""
    with pytest.raises(OSError):
        handle.use(lambda descriptor: os.write(descriptor, b"late"))


# --- storage that hangs, NFS, passwords -------------------------------------------------------------------------------


async def test_a_hanging_storage_takes_threads_and_not_the_gateway() -> None:
    release = threading.Event()
    workers = Workers(SystemClock(), 0.02, "the storage")
    for _ in range(THREADS):
        with pytest.raises(Unavailable):
            await workers.run(lambda: release.wait(60))
    with pytest.raises(Unavailable):
        await workers.run(lambda: None)
    release.set()
    async with asyncio.timeout(60):
        while True:
            try:
                assert await workers.run(lambda: 7, 10) == 7
                break
            except Unavailable:
                await asyncio.sleep(0.01)
    workers.close()


async def test_health_answers_though_the_storage_does_not(tmp_path: Path) -> None:
    clock, gate, probes = ManualClock(), asyncio.Event(), 0

    class Hanging(LocalBackend):
        async def probe(self) -> None:
            nonlocal probes
            probes += 1
            await gate.wait()

    backend = Hanging(str(tmp_path), "gw", clock)
    health = Health(backend, clock)
    asked = [asyncio.create_task(health.problem()) for _ in range(5)]
    await clock.advance(DEADLINE_S + 0.1)
    assert all("did not answer" in answer for answer in await asyncio.gather(*asked)) and probes == 1
    gate.set()
    await clock.settle()
    assert await health.problem() == "" and probes == 1
    await clock.advance(2)
    assert await health.problem() == "" and probes == 2
    await health.close()
    await backend.close()


def test_nfs_is_mounted_as_configured_and_recognised() -> None:
    config = Nfs("server:/export", "/run/holdfast/backup mount")
    assert mount_command(config)[:4] == ["mount", "-t", "nfs", "-o"]
    assert mount_command(config)[-2:] == ["server:/export", "/run/holdfast/backup mount"]
    assert "hard" in config.options.split(",")
    for options in (config.options, "vers=4.2,suid,dev,exec"):
        given = mount_command(msgspec.structs.replace(config, options=options))[4]
        assert given.endswith(",nosuid,nodev,noexec"), "the last word counts"
    table = (
        "22 1 0:5 / / rw - ext4 /dev/vda rw\n"
        "30 22 0:50 / /run/holdfast/backup\\040mount rw,noatime shared:1 - nfs4 server:/export rw,vers=4.2\n"
    )
    assert mounted_source("/run/holdfast/backup mount", table) == "server:/export"
    assert mounted_source("/", table) is None and mounted_source("/run", table) is None


async def test_passwords_are_checked_slowly_once(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    hasher = PasswordHasher(time_cost=1, memory_cost=1024)

    def header(name: str, password: str) -> str:
        return "Basic " + b64encode(f"{name}:{password}".encode()).decode()

    file.write_bytes(users_to_bytes([BackupUser("alice", hasher.hash("right:pass"))]))
    users = Users(str(file))
    for _ in range(2):
        found = await users.authenticate(header("alice", "right:pass"))
        assert found is not None and found.name == "alice"
        for wrong in (header("alice", "wrong"), header("bob", "right:pass"), "", "Basic", "Basic %%%", "Bearer x"):
            assert await users.authenticate(wrong) is None
    assert len(users._known) == 3, "each pair of hash and password was computed once"
    file.write_bytes(users_to_bytes([BackupUser("alice", hasher.hash("another"))]))
    assert await users.authenticate(header("alice", "right:pass")) is None
    assert await users.authenticate(header("alice", "another")) is not None
    file.write_bytes(b"[]")
    assert await users.authenticate(header("alice", "another")) is None
