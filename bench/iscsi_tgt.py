"""A volume that the tgt engine serves on loopback, for the benches. Needs root."""

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from iscsi_suite import INITIATORS, SIZE_BYTES, TARGET

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.services.iscsi.engine import Portal, Target, Volume
from holdfast.services.iscsi.tgt import TgtEngine


class Served:
    """A volume that is served by a new daemon whenever it is asked for."""

    def __init__(self, directory: Path, group: Path, size_bytes: int) -> None:
        self.path = directory / "volume"
        with self.path.open("wb") as file:
            file.truncate(size_bytes)
        self._volume = Volume(TARGET, 1, str(uuid.uuid4()), str(self.path), size_bytes)
        config = NodeConfig("n1", "bench", {"management": "127.0.0.1"}, (), cgroup=str(group), log_dir=str(directory))
        self.runner = CgroupRunner(config)
        self.engine = TgtEngine(directory, self.runner, SystemClock())
        self._ports = itertools.cycle(range(33260, 33360))
        self.portal = ""

    @property
    def url(self) -> str:
        return f"iscsi://{self.portal}/{TARGET}/{self._volume.lun}"

    async def fresh(self) -> str:
        """Its URL."""
        await self.engine.halt()
        portal = Portal("127.0.0.1", next(self._ports))  # another one: sockets of the last one may linger
        await self.engine.configure(Target(TARGET, (portal,), initiators=INITIATORS))
        await self.engine.promote(self._volume, lambda: True)
        self.portal = str(portal)
        return self.url


@asynccontextmanager
async def served(where: Path | None = None, size_bytes: int = SIZE_BYTES) -> AsyncIterator[Served]:
    """`where`: a directory on the storage that is meant; else the one for temporary files."""
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = root / f"holdfast-bench-iscsi-{os.getpid()}"
    directory = Path(tempfile.mkdtemp(prefix="hf-bench-iscsi-", dir=where))
    made = Served(directory, group, size_bytes)
    try:
        yield made
    finally:
        await made.engine.halt()
        made.runner.close()
        Cgroup(group).remove()
        shutil.rmtree(directory)
