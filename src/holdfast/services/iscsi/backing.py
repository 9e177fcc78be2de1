"""What a volume's data lie on: is it there, is it what the volume says, and can it be used past the page cache?

Nodes do not share a page cache: what one has buffered another would serve as it was before.
"""

import os
import stat
from enum import StrEnum

from holdfast.errors import DriverError
from holdfast.ports import Clock
from holdfast.services.iscsi.engine import Volume
from holdfast.services.threads import TookTooLong, in_thread

STORAGE_S = 5.0


class Backing(StrEnum):
    FILE = "file"
    DEVICE = "device"


async def check(volume: Volume, clock: Clock) -> Backing:
    """Open it as an engine does, so that what cannot be opened is found before anything changes. Raises DriverError."""
    try:
        return await in_thread(lambda: _check(volume), clock, STORAGE_S, name="iscsi-storage")
    except TookTooLong:
        raise DriverError(
            f"the storage of {volume} hangs: {volume.path} could not be opened within {STORAGE_S:g} s",
            "Check the storage and this node's connection to it.",
        ) from None


def _check(volume: Volume) -> Backing:
    try:
        descriptor = os.open(volume.path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise DriverError(
            f"{volume} cannot be served: {volume.path} cannot be opened for direct I/O: {error.strerror}",
            "Check that the storage is there, writable, and can do direct I/O.",
        ) from error
    try:
        mode = os.fstat(descriptor).st_mode
        size = os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise DriverError(f"{volume.path} is no file and no block device", "Check the volume's path.")
    if size != volume.size_bytes:
        raise DriverError(
            f"{volume} has {volume.size_bytes} bytes, but {volume.path} has {size}",
            "Was it changed by hand? Correct it.",
        )
    return Backing.FILE if stat.S_ISREG(mode) else Backing.DEVICE
