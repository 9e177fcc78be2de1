"""Access to the shared storage that never blocks the event loop, and gives up when the storage hangs."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from holdfast.errors import DriverError
from holdfast.ports import Clock
from holdfast.services.threads import TookTooLong, in_thread

T = TypeVar("T")

MARKER = ".holdfast-shared"
"""A file of this name in the shared root says: this is the shared storage, though it is no mount point."""

OWNED = ("clients", "iscsi", "nfs", "s3", "vm")
"""Directories below the shared root in which services keep their own files, by kind (`clients`: of iSCSI, S3 and backup)."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a storage that is there and has no room."""


class SharedStorage:
    """The directory that every node sees under the same path."""

    def __init__(self, root: str, clock: Clock) -> None:
        self.root = Path(root)
        self._clock = clock
        self._hung = 0

    async def run(self, work: Callable[[], T], *, timeout: float, what: str) -> T:
        """Run `work` in a thread of its own. Raises DriverError after `timeout` seconds; the thread is left behind, since
        nothing can end a system call that waits for a dead storage. While one is stuck, further work is refused."""
        if self._hung:
            raise self._hanging(what, timeout)
        try:
            return await in_thread(work, self._clock, timeout, name="shared-storage", late=self._came_back)
        except TookTooLong:
            self._hung += 1
            raise self._hanging(what, timeout) from None
        except OSError as error:
            raise DriverError(
                f"shared storage: {what} failed: {error}", f"Check the storage at {self.root}."
            ) from error

    def _came_back(self) -> None:
        self._hung -= 1

    def _hanging(self, what: str, timeout: float) -> DriverError:
        return DriverError(
            f"shared storage at {self.root} hangs: {what} did not end within {timeout:g} s",
            "Check the storage and this node's connection to it.",
        )

    async def check(self, *, timeout: float) -> None:
        """Is the shared storage really there, and does it answer to a write? An empty mount point must never be served as
        an empty volume. One that is full is there: what it holds can be served. Raises DriverError."""
        await self.run(self._check, timeout=timeout, what="checking that it is there and writable")

    def require_mounted(self) -> None:
        """Blocks, so only for work that `run` was given. Raises DriverError."""
        if not self.root.is_mount() and not (self.root / MARKER).exists():
            raise DriverError(
                f"the shared storage is not mounted at {self.root}",
                f"Mount it there, or, if {self.root} is itself a directory of a shared file system, "
                f"create the file {self.root / MARKER} once.",
            )

    def _check(self) -> None:
        self.require_mounted()
        probe = self.root / f".holdfast-write-check-{socket.gethostname()}"
        try:
            with probe.open("wb") as file:
                file.write(b"holdfast\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in FULL:
                raise
        probe.unlink(missing_ok=True)  # several volumes start at once


def write_atomically(path: Path, data: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """Readers see the old or the new content, and after a crash one of them (fsync, then rename). With an owner (user and
    group, by number) it is readable by that user only, from the beginning."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        if owner is not None:
            os.fchmod(file.fileno(), 0o600)
            os.fchown(file.fileno(), *owner)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
