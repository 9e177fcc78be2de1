"""Files of volumes on the shared storage, as the node that serves the API sees it, and what all nodes report there."""

import errno
import os
import stat
from pathlib import Path

import structlog

from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Clock
from holdfast.services.iscsi import report
from holdfast.services.iscsi.report import NodeReport
from holdfast.services.storage import SharedStorage

log = structlog.get_logger("holdfast.iscsi")

TIMEOUT_S = 10.0


class VolumeFiles:
    """Port `api.operations.iscsi_volumes.Files`. `root` is that of the shared storage; what takes longer than TIMEOUT_S is
    given up with DriverError."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._storages: dict[str, SharedStorage] = {}

    async def create(self, root: str, path: str, size: int) -> None:
        """A sparse file that reads as zeros. Raises Conflict if there is such a file: it may hold somebody's data."""
        storage = self._storage(root)
        await storage.check(timeout=TIMEOUT_S)
        await storage.run(lambda: _create(Path(path), size), timeout=TIMEOUT_S, what=f"making {path}")

    async def fit(self, root: str, path: str, size: int) -> None:
        """The file has `size` bytes afterwards. Raises Conflict rather than to cut off what was written."""
        await self._storage(root).run(lambda: _fit(path, size), timeout=TIMEOUT_S, what=f"changing the size of {path}")

    async def written_beyond(self, root: str, path: str, size: int) -> int:
        """Where the data end that lie beyond `size`; 0: there are none."""
        what = f"looking for data in {path}"
        return await self._storage(root).run(lambda: _written_beyond(path, size), timeout=TIMEOUT_S, what=what)

    async def remove(self, root: str, path: str) -> None:
        """Gone afterwards, with its data."""
        work = Path(path).unlink
        await self._storage(root).run(lambda: work(missing_ok=True), timeout=TIMEOUT_S, what=f"removing {path}")

    async def device_size(self, root: str, path: str, *, unused: bool) -> int:
        """Bytes of a block device. `unused`: Conflict if this node uses it for something else. Raises InvalidInput."""
        work = self._storage(root).run
        return await work(lambda: _device_size(path, unused=unused), timeout=TIMEOUT_S, what=f"looking at {path}")

    async def reports(self, root: str) -> dict[str, NodeReport]:
        """Node → what it says of itself."""

        def skipped(name: str) -> None:
            log.warning("report-unreadable", file=name)

        work = self._storage(root).run
        return await work(lambda: report.read_all(root, skipped), timeout=TIMEOUT_S, what="reading the nodes' reports")

    def _storage(self, root: str) -> SharedStorage:
        return self._storages.setdefault(root, SharedStorage(root, self._clock))


def _create(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Conflict(
            f"the file {path} exists already", "It may hold the data of a former volume: look, then move it away."
        ) from None
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
        _sync_directory(path.parent)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fit(path: str, size: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        end = _end_of_data(descriptor, size)
        if end:
            raise Conflict(f"{path} holds data up to byte {end}", "Nothing was cut off. Choose a larger size.")
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written_beyond(path: str, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _end_of_data(descriptor, size)
    finally:
        os.close(descriptor)


def _end_of_data(descriptor: int, offset: int) -> int:
    """Of those at or beyond `offset`; 0: none. A file system that knows no holes calls everything data."""
    end = 0
    size = os.fstat(descriptor).st_size
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        offset = end = os.lseek(descriptor, start, os.SEEK_HOLE)
    return end


def _device_size(path: str, *, unused: bool) -> int:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be found on the node that serves the API: {error.strerror}",
            "Name a block device that all nodes of the target group see, under the same name.",
        ) from None
    if not stat.S_ISBLK(mode):
        raise InvalidInput(f"{path} is not a block device", "For a file on the shared storage give --size instead.")
    try:
        # Exclusively: the kernel refuses that for what is mounted or part of something else.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_EXCL if unused else 0))
    except OSError as error:
        raise Conflict(
            f"{path} cannot be used: {error.strerror}",
            "Is it mounted, or part of a volume group or array? Choose another.",
        ) from None
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
