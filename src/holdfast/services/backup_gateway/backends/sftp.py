"""A directory behind an SSH server: publishing is OpenSSH's hard link, which never replaces anything."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import asyncssh
import structlog

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.port import (
    CHUNK,
    MARKER,
    MARKER_TEXT,
    TEMPORARY,
    TEMPORARY_AGE_S,
    Entry,
    Full,
    InTime,
    Missing,
    TooLate,
    Unavailable,
)
from holdfast.services.backup_gateway.config import Sftp
from holdfast.services.backup_gateway.names import KINDS, Stored, directory

T = TypeVar("T")
_log = structlog.get_logger("holdfast.backup")

CALL_S = 30.0
CONNECT_S = 5.0
KEEPALIVE_S = 5.0
"""A connection on which nothing came back for three times this long is ended, with all that hangs on it."""
ROOM = 1 << 20
"""SFTP has no word for a full disk. A write that failed with less room than this (bytes) failed for that."""


class SftpBackend:
    """(port Backend) One SSH connection, made anew when it breaks."""

    def __init__(self, config: Sftp, name: str, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._root = config.path.rstrip("/")
        self._temporary = f"{self._root}/{TEMPORARY}"
        self._name = name.replace("/", "-")
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._connecting = asyncio.Lock()
        self._aside: dict[str, str] = {}
        """Removals whose outcome is not known: where the file may be now → where it must be."""
        self._seen: dict[str, float] = {}
        """Temporary file → since when (clock.now)."""

    async def create(self, repository: str) -> None:
        async def work(sftp: asyncssh.SFTPClient) -> None:
            for kind in KINDS:
                await sftp.makedirs(f"{self._root}/{directory(repository, kind)}", exist_ok=True)

        await self._call(work)

    async def entries(self, repository: str, kind: str) -> list[Entry]:
        async def work(sftp: asyncssh.SFTPClient) -> list[Entry]:
            place = f"{self._root}/{directory(repository, kind)}"
            if kind != "data":
                return await _files(sftp, place)
            found: list[Entry] = []
            for name in await _directories(sftp, place):
                found += await _files(sftp, f"{place}/{name}")
            return found

        return await self._call(work, timeout_s=10 * CALL_S)

    async def size(self, file: Stored) -> int:
        async def work(sftp: asyncssh.SFTPClient) -> int:
            return (await sftp.stat(self._path(file))).size or 0

        return await self._call(work)

    async def read(self, file: Stored, start: int, length: int) -> AsyncIterator[bytes]:
        handle = await self._call(lambda sftp: sftp.open(self._path(file), "rb"))
        try:
            while length:
                position, wanted = start, min(length, CHUNK)
                chunk = await self._call(lambda _: _read(handle, wanted, position))  # noqa: B023
                if not chunk:
                    raise Unavailable(f"{file.path} is shorter than it was", "Check the SFTP server's storage.")
                start, length = start + len(chunk), length - len(chunk)
                yield chunk
        finally:
            with contextlib.suppress(Unavailable, Missing):
                await self._call(lambda _: handle.close())

    async def store(self, file: Stored, content: AsyncIterator[bytes]) -> bool:
        temporary = f"{self._temporary}/{self._name}.{secrets.token_hex(16)}"
        handle = await self._call(lambda sftp: sftp.open(temporary, "xb"), writes=True)
        position = 0
        try:
            async for chunk in content:
                await self._call(lambda _: handle.write(chunk, position), writes=True)  # noqa: B023
                position += len(chunk)
            await self._call(lambda _: handle.fsync(), writes=True)
            published = await self._publish(temporary, self._path(file))
            # The name came after the first fsync; with it, journalling file systems write the directory too.
            await self._call(lambda _: handle.fsync())
            return published
        finally:
            with contextlib.suppress(Unavailable, Missing, Full):
                await self._call(lambda _: handle.close())
                await self._call(lambda sftp: sftp.remove(temporary))

    async def _publish(self, temporary: str, path: str) -> bool:
        async def work(sftp: asyncssh.SFTPClient) -> bool:
            try:
                await sftp.link(temporary, path)
            except asyncssh.SFTPNoSuchFile:
                await sftp.makedirs(path.rpartition("/")[0], exist_ok=True)
                await sftp.link(temporary, path)
            return True

        try:
            return await self._call(work, writes=True)
        except Unavailable:
            # "Failure" is all that the server says of a name that is taken.
            if await self._call(lambda sftp: sftp.exists(path)):
                return False
            raise

    async def remove(self, file: Stored, in_time: InTime) -> None:
        """Out of sight first, which can be taken back; for good only if nothing held this up meanwhile."""
        path, aside = self._path(file), f"{self._temporary}/{self._name}.removed.{secrets.token_hex(16)}"
        try:
            await self._call(lambda sftp: sftp.posix_rename(path, aside))
        except (Unavailable, asyncio.CancelledError):
            self._aside[aside] = path
            raise
        if not in_time():
            self._aside[aside] = path
            await self._put_back()
            raise TooLate(f"the removal of {file.name} was held up", "Ask again.")
        await self._call(lambda sftp: sftp.remove(aside))

    async def _put_back(self) -> None:
        """What removals may have put aside whose outcome never came, or came too late."""
        for aside, path in list(self._aside.items()):
            with contextlib.suppress(Missing):  # it had not been done
                if await self._publish(aside, path):
                    _log.warning("a removal came too late and was taken back", file=path)
                await self._call(lambda sftp: sftp.remove(aside))  # noqa: B023 - awaited at once
            self._aside.pop(aside, None)

    async def probe(self) -> None:
        marker = f"{self._root}/{MARKER}"

        async def look(sftp: asyncssh.SFTPClient) -> None:
            await sftp.makedirs(self._temporary, exist_ok=True)
            if not await sftp.exists(marker):
                await _write(sftp, marker, MARKER_TEXT)
            async with sftp.open(marker, "rb") as file:
                if await _read(file, len(MARKER_TEXT) + 1, 0) != MARKER_TEXT:
                    raise Unavailable(f"{marker} has changed", "Is this the right directory? If so, remove that file.")

        async def touch(sftp: asyncssh.SFTPClient) -> None:
            await _write(sftp, f"{self._temporary}/{self._name}.probe", secrets.token_bytes(64))

        await self._call(look, timeout_s=CONNECT_S, writes=True)
        await self._call(touch, timeout_s=CONNECT_S, writes=True)
        await self._put_back()

    async def sweep(self) -> int:
        """A file's own time says nothing of how long it has been put aside, so age is how long this gateway has seen it."""
        now, old = self._clock.now(), []
        names = {entry.name for entry in await self._call(lambda sftp: _files(sftp, self._temporary))}
        self._seen = {name: self._seen.get(name, now) for name in names}
        for name, since in self._seen.items():
            if now - since > TEMPORARY_AGE_S:
                old.append(name)
                await self._call(lambda sftp: sftp.remove(f"{self._temporary}/{name}"))  # noqa: B023 - awaited at once
        return len(old)

    async def close(self) -> None:
        self._drop()

    # --- connection --------------------------------------------------------------------------------------------------

    async def _call(
        self,
        work: Callable[[asyncssh.SFTPClient], Awaitable[T]],
        *,
        timeout_s: float = CALL_S,
        writes: bool = False,
    ) -> T:
        server = f"the SFTP server {self._config.host}"
        try:
            async with self._clock.timeout(timeout_s):
                return await work(await self._session())
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
            raise Missing("there is no such file") from error
        except TimeoutError:
            self._drop()
            raise Unavailable(f"{server} does not answer", "Check it and the network.") from None
        except (asyncssh.Error, OSError) as error:
            lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
            if isinstance(error, asyncssh.SFTPError) and not isinstance(error, lost):
                if writes and await self._is_full():
                    raise Full(f"{server} has no room left", "Remove snapshots and prune, or enlarge it.") from error
                raise Unavailable(f"{server} refuses: {error}", "Check the directory and its permissions.") from error
            # The error may be that of a file of an earlier connection: the present one is dropped only if it is no good.
            if self._client is None or self._connection is None or self._connection.is_closed():
                self._drop()
            raise Unavailable(f"{server} cannot be used: {error}", "Check it, the key and the network.") from error

    async def _is_full(self) -> bool:
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with self._clock.timeout(CONNECT_S):
                room = await (await self._session()).statvfs(self._root)
                return room.bavail * room.frsize < ROOM
        return False

    async def _session(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            if self._client is None:
                config = self._config
                keys = [asyncssh.import_private_key(config.private_key)] if config.private_key else None
                async with self._clock.timeout(CONNECT_S):
                    self._connection = await asyncssh.connect(
                        config.host,
                        config.port,
                        username=config.user,
                        client_keys=keys,
                        password=config.password or None,
                        known_hosts=asyncssh.import_known_hosts(f"* {config.host_key}\n"),
                        keepalive_interval=KEEPALIVE_S,
                        config=None,
                        agent_path=None,
                    )
                    self._client = await self._connection.start_sftp_client()
            return self._client

    def _drop(self) -> None:
        """Nothing that was sent and not acknowledged may reach the server later."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._client = None

    def _path(self, file: Stored) -> str:
        return f"{self._root}/{file.path}"


async def _read(file: asyncssh.SFTPClientFile, size: int, position: int) -> bytes:
    content = await file.read(size, position)
    assert isinstance(content, bytes), "it was opened without an encoding"
    return content


async def _files(sftp: asyncssh.SFTPClient, place: str) -> list[Entry]:
    try:
        found = await sftp.readdir(place)
    except asyncssh.SFTPNoSuchFile:
        return []
    regular = asyncssh.FILEXFER_TYPE_REGULAR
    return [Entry(str(each.filename), each.attrs.size or 0) for each in found if each.attrs.type == regular]


async def _directories(sftp: asyncssh.SFTPClient, place: str) -> list[str]:
    try:
        found = await sftp.readdir(place)
    except asyncssh.SFTPNoSuchFile:
        return []
    names = [str(each.filename) for each in found if each.attrs.type == asyncssh.FILEXFER_TYPE_DIRECTORY]
    return [name for name in names if not name.startswith(".")]


async def _write(sftp: asyncssh.SFTPClient, path: str, content: bytes) -> None:
    async with sftp.open(path, "wb") as file:
        await file.write(content)
        await file.fsync()
