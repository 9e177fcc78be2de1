"""A storage that drops what was not synced: ext4 on a loop device, shut down without flushing its journal, mounted again.

EXT4_IOC_SHUTDOWN with NOLOGFLUSH (Linux, fs/ext4/ext4.h) does to a file system what a power failure does: whatever is only
in memory, data and names alike, is gone. Needs root.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_SIZE = 512 << 20


class DroppingStorage:
    def __init__(self, image: Path, mounted: Path) -> None:
        self._image = image
        self.path = mounted

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self.path], check=True, timeout=60)

    def lose_power(self) -> None:
        """From now on nothing can be read or written."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def come_back(self) -> None:
        """With what was on the device. A copy of it: the file system that was shut down may still be mounted in mount
        namespaces that others made meanwhile, and would come back as it is. Nobody may use it any more here."""
        self.unmount()
        copy = self._image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True, timeout=60)
        copy.replace(self._image)
        self.mount()

    def unmount(self) -> None:
        subprocess.run(["umount", self.path], check=True, timeout=60)


@contextmanager
def dropping_storage(base: Path) -> Iterator[DroppingStorage]:
    """Mounted at `base`/shared."""
    image, mounted = base / "storage.img", base / "shared"
    mounted.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, timeout=60)
    storage = DroppingStorage(image, mounted)
    storage.mount()
    try:
        yield storage
    finally:
        storage.unmount()
        image.unlink()
