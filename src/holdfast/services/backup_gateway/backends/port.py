"""The seam between gateway and storage.

Several gateways use one back-end at once, and one of them may be frozen or cut off in the middle of anything while its
client goes on at another. Therefore: a file appears whole or not at all; publishing never replaces; nobody cleans up but by
age; a removal that was held up is taken back.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from holdfast.errors import HoldfastError, NotFound
from holdfast.services.backup_gateway.names import Stored

TEMPORARY = ".tmp"
"""Directory below the root, on the same file system. No repository can have its name."""
MARKER = ".holdfast-backup"
"""A small file in the root that health probes read."""
MARKER_TEXT = b"Holdfast keeps backup repositories here.\n"
TEMPORARY_AGE_S = 24 * 3600
"""Temporary files older than this belong to nobody any more: no upload and no removal takes that long."""
CHUNK = 1 << 20
"""Bytes read from a back-end at a time."""


class Missing(NotFound):
    """There is no such file."""


class Unavailable(HoldfastError):
    """The back-end cannot be reached, or did not answer in time. What was asked may or may not have happened."""

    http_status = 503


class Full(HoldfastError):
    """The back-end has no room left; nothing half-written is left behind."""

    http_status = 507


class TooLate(Unavailable):
    """A removal was held up for so long that its client may have gone on elsewhere; it was taken back."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    name: str
    size: int


InTime = Callable[[], bool]
"""Whether whoever asked for a removal is certain to wait for it still."""


class Backend(Protocol):
    """Every method raises Unavailable within a bounded time if the storage does not answer."""

    async def create(self, repository: str) -> None:
        """Make what must exist before the first file; doing it again changes nothing."""
        ...

    async def entries(self, repository: str, kind: str) -> list[Entry]:
        """All published files of a kind; none if there is no such repository."""
        ...

    async def size(self, file: Stored) -> int:
        """Bytes. Raises Missing."""
        ...

    def read(self, file: Stored, start: int, length: int) -> AsyncIterator[bytes]:
        """Exactly these bytes of it. Raises Missing, and Unavailable if it ends too early."""
        ...

    async def store(self, file: Stored, content: AsyncIterator[bytes]) -> bool:
        """Publish it, durably, when `content` has ended; if `content` raises, nothing is published. False: a file of that
        name is there already, and was left as it is. Raises Full, and whatever `content` raises."""
        ...

    async def remove(self, file: Stored, in_time: InTime) -> None:
        """Raises Missing, and TooLate if `in_time` was no longer true when the file was out of sight."""
        ...

    async def probe(self) -> None:
        """Connect where that is needed, really read, and write a little. Raises Unavailable, and Full if it can only be
        read."""
        ...

    async def sweep(self) -> int:
        """Remove temporary files that are older than TEMPORARY_AGE_S; returns how many."""
        ...

    async def close(self) -> None: ...
