"""Forgets, after a week, what was deleted: Swift leaves a mark of each deletion, so that an older write cannot bring the
object back, and its replicators, which one copy does not need, would clear it away. One partition at a time.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swift.account.backend import AccountBroker
from swift.common.utils import Timestamp, lock_parent_directory
from swift.container.backend import ContainerBroker
from swift.obj.diskfile import DiskFileManager

AGE_S = 7 * 86400.0
ROUND_S = 86400.0
"""All partitions of a part once in this time."""
_BROKERS = {"accounts": AccountBroker, "containers": ContainerBroker}


class Reclaimer:
    """Of one part. `step` is to be called every few seconds."""

    def __init__(
        self, settings: dict[str, Any], logger: Any, *, age_s: float = AGE_S, round_s: float = ROUND_S
    ) -> None:
        self._devices = Path(settings["devices"])
        self._objects = DiskFileManager({**settings, "reclaim_age": int(age_s)}, logger)
        self._age_s = age_s
        self._round_s = round_s
        self._waiting: list[Path] = []
        self._pause_s = 0.0
        self._next = 0.0

    def step(self) -> None:
        """At most one partition."""
        now = float(Timestamp.now())
        if now < self._next:
            return
        if not self._waiting:
            self._waiting = sorted(self._devices.glob("*/*/[0-9]*"))
            self._pause_s = self._round_s / max(1, len(self._waiting))
        if self._waiting:
            self.reclaim(self._waiting.pop(), now)
        self._next = now + self._pause_s

    def reclaim(self, partition: Path, now: float) -> None:
        kind = partition.parent.name
        if kind == "objects":
            for directory in _hashes(partition):
                if any(entry.suffix == ".ts" for entry in directory.iterdir()):
                    self._objects.cleanup_ondisk_files(str(directory))
        elif kind in _BROKERS:
            for directory in _hashes(partition):
                for database in directory.glob("*.db"):
                    self._reclaim_database(_BROKERS[kind](str(database)), directory, now)

    def _reclaim_database(self, broker: Any, directory: Path, now: float) -> None:
        """Its old deletion marks; all of it, if it was deleted itself so long ago."""
        broker.reclaim(now - self._age_s, now - 2 * self._age_s)
        if broker.is_reclaimable(now, self._age_s):
            with lock_parent_directory(broker.db_file):
                shutil.rmtree(directory, ignore_errors=True)


def _hashes(partition: Path) -> Iterator[Path]:
    """PARTITION/SUFFIX/HASH."""
    suffixes = (entry for entry in partition.iterdir() if entry.is_dir())
    return itertools.chain.from_iterable(list(suffix.iterdir()) for suffix in suffixes)
