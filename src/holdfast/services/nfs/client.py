"""A small user-space NFSv4.1 client (RFC 8881) that survives the failover of its server.

For the health probe, the demo and the tests: files are opened, written with stable writes, read and locked; after a server
was replaced, opens and locks are reclaimed within the grace period, and a lock that could not be is reported, not hidden.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.errors import DriverError
from holdfast.services.nfs import ops, rpc
from holdfast.services.nfs.ops import Attributes, NfsStatusError, Op, StateId, Status
from holdfast.services.nfs.session import Nfs41Session

_KEEP_ALIVE_S = 3.0
"""Shorter than a third of the servers' lease (10 s), so that a lost renewal does not lose state."""


class LockLost(DriverError):
    """A lock was not given back after the server was replaced: somebody else may have written meanwhile."""


@dataclass(slots=True, eq=False)
class OpenFile:
    """A file opened for reading and writing. State ids change when its server is replaced."""

    path: str
    handle: bytes
    owner: bytes
    stateid: StateId
    locks: StateId | None = None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) of the write locks held."""
    lost: str = ""
    """Why the open or a lock was lost; empty while nothing was."""


class Nfs41Client:
    """One client with its own identity. Calls may run concurrently. Paths start at the server's root, e.g. /vol1/a.

    `owner` is who the server takes us for; a program that runs again and again should always give the same one, since
    ganesha waits in its next grace period for every owner it has met.
    """

    def __init__(
        self,
        host: str,
        port: int = 2049,
        *,
        owner: bytes = b"",
        patience_s: float = 60.0,
        call_timeout_s: float = 5.0,
        connect_timeout_s: float = 0.5,
        keep_alive: bool = True,
        credential: rpc.Credential | None = None,
    ) -> None:
        self._session = Nfs41Session(
            host,
            port,
            owner=owner,
            patience_s=patience_s,
            call_timeout_s=call_timeout_s,
            connect_timeout_s=connect_timeout_s,
            credential=credential,
            reclaim=self._reclaim,
        )
        self._keep_alive = keep_alive
        self._keeper: asyncio.Task[None] | None = None
        self._files: list[OpenFile] = []
        self._opened = 0

    async def __aenter__(self) -> "Nfs41Client":
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    @property
    def recoveries(self) -> int:
        """How often a new server was met (1 after `connect`)."""
        return self._session.recoveries

    async def connect(self) -> None:
        """Connect and make a session. Raises DriverError if that does not succeed within the patience."""
        await self._session.connect()
        if self._keep_alive and self._keeper is None:
            self._keeper = asyncio.create_task(self._renew())

    async def disconnect(self) -> None:
        """Hang up; the server forgets this client and its locks (at the latest when the lease ends)."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._session.close()

    async def null(self) -> None:
        """Does an NFS server answer at all?"""
        await self._session.null()

    async def stat(self, path: str) -> Attributes:
        return _attributes(await self._session.run(lambda: [*_walk(_parts(path)), ops.get_attributes()]))

    async def remove(self, path: str) -> None:
        *parents, name = _parts(path)
        await self._session.run(lambda: [*_walk(parents), ops.remove(name)], cache=True)

    async def open_rw(self, path: str, *, create: bool = True) -> OpenFile:
        """Open for reading and writing. While the server is in its grace period this waits; existing opens do not."""
        self._opened += 1
        owner = b"open-%d" % self._opened
        *parents, name = _parts(path)

        def build() -> Sequence[Op]:
            opened = ops.open_file(self._session.client_id, owner, name, create=create)
            return [*_walk(parents), opened, ops.get_handle()]

        *_, stateid, handle = await self._session.run(build, cache=True)
        file = OpenFile(path, handle, owner, stateid)
        self._files.append(file)
        return file

    async def close(self, file: OpenFile) -> None:
        """Close; its locks are given back first."""
        try:
            if not file.lost:
                for offset, length in list(file.ranges):
                    await self.unlock(file, offset, length)
                await self._session.run(lambda: [ops.put_handle(file.handle), ops.close_file(file.stateid)], cache=True)
        finally:
            self._files.remove(file)  # only now: a server that is replaced meanwhile must know it, to close it

    async def write(self, file: OpenFile, offset: int, data: bytes) -> None:
        """When this returns, `data` is on the server's stable storage. Raises LockLost once a lock was lost."""
        while data:
            self._check(file)
            part = data
            *_, (count, committed) = await self._session.run(
                lambda part=part, at=offset: [ops.put_handle(file.handle), ops.write(file.stateid, at, part)]  # type: ignore[misc]
            )
            if committed != ops.FILE_SYNC or count == 0:
                raise NfsStatusError("WRITE", Status.IO)
            offset, data = offset + count, data[count:]

    async def read(self, file: OpenFile, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end of the file."""
        found = b""
        while len(found) < count:
            self._check(file)
            at, want = offset + len(found), count - len(found)
            *_, (end, data) = await self._session.run(
                lambda at=at, want=want: [ops.put_handle(file.handle), ops.read(file.stateid, at, want)]  # type: ignore[misc]
            )
            found += data
            if end or not data:
                break
        return found

    async def lock(self, file: OpenFile, offset: int, length: int) -> None:
        """Exclusive byte-range lock. Raises NfsStatusError with DENIED if somebody else holds it."""

        def build() -> Sequence[Op]:
            return [ops.put_handle(file.handle), self._lock_op(file, offset, length, reclaim=False)]

        file.locks = (await self._session.run(build, cache=True))[-1]
        file.ranges.append((offset, length))

    async def unlock(self, file: OpenFile, offset: int, length: int) -> None:
        def build() -> Sequence[Op]:
            assert file.locks is not None
            return [ops.put_handle(file.handle), ops.unlock(file.locks, offset, length)]

        file.locks = (await self._session.run(build, cache=True))[-1]
        file.ranges.remove((offset, length))

    # --- recovery ---------------------------------------------------------------------------------------------------

    def _check(self, file: OpenFile) -> None:
        if file.lost:
            raise LockLost(f"{file.path}: {file.lost}", "Verify the file's content before going on.")

    def _lock_op(self, file: OpenFile, offset: int, length: int, *, reclaim: bool) -> Op:
        if file.locks is not None:
            return ops.lock_more(file.locks, offset, length, reclaim=reclaim)
        client, owner = self._session.client_id, b"lock-" + file.owner
        return ops.lock_first(file.stateid, client, owner, offset, length, reclaim=reclaim)

    async def _reclaim(self, session: Nfs41Session) -> None:
        """Take every open and lock back from a server that does not know us (RFC 8881, section 9.6.2)."""
        for file in self._files:
            if file.lost:
                continue
            file.locks = None
            try:
                head = ops.put_handle(file.handle)
                opened = ops.open_reclaim(session.client_id, file.owner)
                file.stateid = (await session.run_while_mending([head, opened]))[-1]
                for offset, length in file.ranges:
                    lock = self._lock_op(file, offset, length, reclaim=True)
                    file.locks = (await session.run_while_mending([head, lock]))[-1]
            except NfsStatusError as error:
                file.lost = f"the new server did not give it back ({error.message})"

    async def _renew(self) -> None:
        """Each compound renews the lease, also an empty one."""
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S)
            with contextlib.suppress(DriverError):
                await self._session.run(list)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _walk(names: Sequence[str]) -> list[Op]:
    return [ops.put_root(), *(ops.lookup(name) for name in names)]


def _attributes(results: list[object]) -> Attributes:
    found = results[-1]
    assert isinstance(found, Attributes)
    return found
