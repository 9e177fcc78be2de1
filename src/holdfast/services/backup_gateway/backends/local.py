"""A directory of a file system that all nodes share: publishing is link(2), which never replaces anything."""

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

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
from holdfast.services.backup_gateway.names import KINDS, Stored, directory
from holdfast.services.backup_gateway.workers import Workers
from holdfast.services.storage import FULL
from holdfast.services.storage import MARKER as SHARED

T = TypeVar("T")
_log = structlog.get_logger("holdfast.backup")

CALL_S = 30.0
"""A write of a megabyte, or an fsync, that takes longer than this is not going to end."""
PROBE_S = 5.0
CLEAN_S = 1.0
"""How long an answer waits for the removal of a temporary file; it goes on after that."""


class LocalBackend:
    """(port Backend)"""

    def __init__(self, root: str, name: str, clock: Clock) -> None:
        self.root = Path(root)
        self._temporary = self.root / TEMPORARY
        self._name = name.replace("/", "-")
        self._workers = Workers(clock, CALL_S, f"the storage at {root}")

    async def create(self, repository: str) -> None:
        def work() -> None:
            for kind in KINDS:
                _make(self.root, self.root / directory(repository, kind))

        await self._run(work)

    async def entries(self, repository: str, kind: str) -> list[Entry]:
        return await self._run(lambda: self._entries(repository, kind), timeout_s=10 * CALL_S)

    async def size(self, file: Stored) -> int:
        return await self._run(lambda: (self.root / file.path).lstat().st_size)

    async def read(self, file: Stored, start: int, length: int) -> AsyncIterator[bytes]:
        handle = Handle()
        try:
            await self._run(lambda: handle.open(self.root / file.path, os.O_RDONLY, self.root))
            while length:
                position, wanted = start, min(length, CHUNK)
                chunk = await self._run(lambda: handle.use(lambda fd: os.pread(fd, wanted, position)))  # noqa: B023
                if not chunk:
                    raise Unavailable(f"{file.path} is shorter than it was", "Check the storage.")
                start, length = start + len(chunk), length - len(chunk)
                yield chunk
        finally:
            handle.close()

    async def store(self, file: Stored, content: AsyncIterator[bytes]) -> bool:
        temporary = self._temporary / f"{self._name}.{secrets.token_hex(16)}"
        handle = Handle()
        try:
            await self._run(lambda: handle.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.root))
            async for chunk in content:
                await self._run(lambda: handle.use(lambda fd: _write(fd, chunk)))  # noqa: B023 - awaited at once
            await self._run(lambda: handle.use(os.fsync))
            return await self._run(lambda: self._publish(temporary, self.root / file.path))
        finally:
            handle.close()
            with contextlib.suppress(Unavailable, Missing):
                await self._run(temporary.unlink, timeout_s=CLEAN_S)

    async def remove(self, file: Stored, in_time: InTime) -> None:
        await self._run(lambda: self._remove(self.root / file.path, in_time))

    async def probe(self) -> None:
        await self._run(self._probe, timeout_s=PROBE_S)

    async def sweep(self) -> int:
        return await self._run(self._sweep)

    async def close(self) -> None:
        self._workers.close()

    # --- in threads --------------------------------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T], timeout_s: float | None = None) -> T:
        try:
            return await self._workers.run(work, timeout_s)
        except FileNotFoundError as error:
            raise Missing(f"there is no {error.filename}") from error
        except OSError as error:
            if error.errno in FULL:
                raise Full(
                    f"the storage at {self.root} is full", "Remove snapshots and prune, or enlarge it."
                ) from error
            raise Unavailable(f"the storage at {self.root} fails: {error}", "Check it.") from error

    def _entries(self, repository: str, kind: str) -> list[Entry]:
        places = [self.root / directory(repository, kind)]
        if kind == "data":
            with contextlib.suppress(FileNotFoundError), os.scandir(places.pop()) as found:
                places += [Path(each.path) for each in found if each.is_dir(follow_symlinks=False)]
        entries = []
        for place in places:
            with contextlib.suppress(FileNotFoundError), os.scandir(place) as found:
                for each in found:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        if each.is_file(follow_symlinks=False):
                            entries.append(Entry(each.name, each.stat(follow_symlinks=False).st_size))
        return entries

    def _publish(self, temporary: Path, path: Path) -> bool:
        """The content is on the disk before the name is, and the name before the answer."""
        try:
            try:
                os.link(temporary, path)
            except FileNotFoundError:
                if not temporary.exists():
                    raise Unavailable(f"the upload of {path} took longer than a day", "Upload it again.") from None
                _make(self.root, path.parent)
                os.link(temporary, path)
            published = True
        except FileExistsError:
            published = False
        _sync(path.parent)  # also for one that somebody else published: it may not have come to that yet
        return published

    def _remove(self, path: Path, in_time: InTime) -> None:
        """Out of sight first, which can be taken back; for good only if nothing held this up meanwhile."""
        aside = self._temporary / f"{self._name}.removed.{secrets.token_hex(16)}"
        path.rename(aside)
        if not in_time():
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            _sync(path.parent)
            aside.unlink()
            _log.warning("a removal came too late and was taken back", file=str(path))
            raise TooLate(f"the removal of {path.name} was held up", "Ask again.")
        aside.unlink()

    def _probe(self) -> None:
        self._check_place()
        _make(self.root, self._temporary)
        marker = self.root / MARKER
        try:
            content = marker.read_bytes()
        except FileNotFoundError:
            content = self._mark(marker)
        if content != MARKER_TEXT:
            raise Unavailable(f"{marker} has changed", "Is this the right storage? If so, remove that file.")
        written = self._temporary / f"{self._name}.probe"
        # A new file beside the last one: writing over that would succeed on a full disk.
        with contextlib.ExitStack() as clean:
            fresh = written.with_suffix(".new")
            clean.callback(fresh.unlink, missing_ok=True)
            with fresh.open("wb") as file:
                file.write(os.urandom(64))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(written)

    def _mark(self, marker: Path) -> bytes:
        """Several gateways begin at once: whoever links first has made it."""
        temporary = self._temporary / f"{self._name}.marker.{secrets.token_hex(8)}"
        temporary.write_bytes(MARKER_TEXT)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, marker)
        temporary.unlink()
        return marker.read_bytes()

    def _check_place(self) -> None:
        """An empty mount point must never be taken for an empty storage."""
        shared = [place for place in (self.root, *self.root.parents) if place != place.parent]
        if not any(place.is_mount() or (place / SHARED).exists() for place in shared):
            raise Unavailable(
                f"the shared storage is not mounted at {self.root}",
                f"Mount it, or, if it is a plain directory of a shared file system, create the file {SHARED} in it once.",
            )
        _make(Path("/"), self.root)

    def _sweep(self) -> int:
        """Age is told by the file system's own clock."""
        _make(self.root, self._temporary)
        beat = self._temporary / f"{self._name}.clock"
        beat.write_bytes(b"")
        now, swept = beat.stat().st_mtime, 0
        for file in self._temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):
                changed = file.lstat()
                if now - max(changed.st_mtime, changed.st_ctime) > TEMPORARY_AGE_S:
                    file.unlink()
                    swept += 1
        return swept


class Handle:
    """An open file, used by one call at a time, that is closed only when none is under way: a call that was given up may
    still be writing, and must not find another file under its number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = -1
        self._busy = False
        self._closing = False

    def open(self, path: Path, flags: int, root: Path) -> None:
        """Only what really lies below `root`: a storage that somebody else serves may hold links that lead into this node.
        Raises OSError."""
        # Without waiting: a pipe is no file of ours either.
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            _refuse_outside(descriptor, root)
        except OSError:
            os.close(descriptor)
            raise
        with self._lock:
            if not self._closing:
                self._descriptor = descriptor
                return
        os.close(descriptor)

    def use(self, work: Callable[[int], T]) -> T:
        with self._lock:
            if self._closing:
                raise OSError(errno.EBADF, "closed")
            self._busy = True
        try:
            return work(self._descriptor)
        finally:
            with self._lock:
                self._busy = False
                if self._closing:
                    os.close(self._descriptor)

    def close(self) -> None:
        with self._lock:
            self._closing = True
            if not self._busy and self._descriptor >= 0:
                os.close(self._descriptor)


def _refuse_outside(descriptor: int, root: Path) -> None:
    """Looks at what was opened, not at its name: that may lead elsewhere a moment later."""
    place = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    if not place.startswith(f"{os.path.realpath(root)}/") or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.ELOOP, "it leads elsewhere, or is no file", place)


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _make(root: Path, path: Path) -> None:
    """The directory and those between it and `root`, each on disk before the next is made."""
    if path == root or path.is_dir():
        return
    _make(root, path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
