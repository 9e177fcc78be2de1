"""What a node's driver of machines does with the shared storage in the background: see whether it is there, and put the ends
of the machines' consoles where every node can read them. A storage that hangs delays nothing else."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path

import structlog

from holdfast.errors import DriverError
from holdfast.ports import Clock
from holdfast.services.storage import SharedStorage
from holdfast.services.vm.config import console_copy
from holdfast.services.vm.files import Place

log = structlog.get_logger("holdfast.vm")

PERIOD_S = 3.0
"""Between two looks at the storage, and between two copies of a console."""
TIMEOUT_S = 3.0
COPY_BYTES = 256 << 10


class SharedWork:
    """See the module's text. One piece of work at a time, and only while somebody asks."""

    def __init__(self, place: Place, storage: SharedStorage, clock: Clock) -> None:
        self._place = place
        self._storage = storage
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._looked = float("-inf")
        self._lost_since: float | None = None
        self._lost_s = 0.0
        self._copied: dict[str, tuple[float, tuple[int, int]]] = {}
        """Machine → when its console was copied, and the size and date that it had."""

    def lost_s(self) -> float:
        """For how long the storage has certainly been out of reach: from the first look that failed to the last one, with
        none between them that succeeded."""
        if self._clock.now() - self._looked >= PERIOD_S:
            self._begin(self._look())
        return self._lost_s

    def publish_console(self, name: str) -> None:
        """Copy the end of the machine's console if it has grown."""
        at, known = self._copied.get(name, (float("-inf"), (0, 0)))
        if self._clock.now() - at >= PERIOD_S and (found := _size_and_date(self._place.console(name))) != known:
            self._begin(self._copy(name, found))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work)
        else:
            work.close()

    async def _look(self) -> None:
        began = self._clock.now()
        try:
            await self._storage.check(timeout=TIMEOUT_S)
        except DriverError as error:
            if self._lost_since is None:
                self._lost_since = began
                log.warning("the shared storage is out of reach", error=str(error))
            self._lost_s = began - self._lost_since
        else:
            self._lost_since, self._lost_s = None, 0.0
        finally:
            self._looked = self._clock.now()

    async def _copy(self, name: str, found: tuple[int, int]) -> None:
        source, target = self._place.console(name), Path(console_copy(self._place.shared_root, name))
        what = f"copying the console of vm/{name}"
        try:
            await self._storage.run(lambda: _copy_end(source, target), timeout=TIMEOUT_S, what=what)
        except DriverError as error:
            log.info("console not copied", machine=name, error=str(error))
            found = (0, 0)
        self._copied[name] = (self._clock.now(), found)


def _size_and_date(path: Path) -> tuple[int, int]:
    """(0, 0) where nothing is."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _copy_end(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - COPY_BYTES))
        text = file.read(COPY_BYTES)
    target.parent.mkdir(exist_ok=True)
    # Not flushed to the storage: of a node that dies the last words but some are good enough.
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    temporary.write_bytes(text)
    temporary.replace(target)
