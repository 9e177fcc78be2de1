"""Nodes that serve iSCSI, on one machine: each with a loopback address, a control group and a tgtd of its own, in a network
namespace that only this test sees. Needs root."""

import asyncio
import ctypes
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slow_file import SlowFile

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.services.iscsi.engine import Portal, Target, Volume
from holdfast.services.iscsi.tgt import TgtEngine

HANG_S = 90.0
TARGET = "iqn.2026-01.org.holdfast.test:group1"
CLIENT = "iqn.2026-01.org.holdfast.test:client"
SIZE_BYTES = 4 << 20
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def yes() -> bool:
    return True


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not true():  # noqa: ASYNC110 - another thread changes it
            await asyncio.sleep(0.01)


@contextmanager
def network() -> Iterator[None]:
    """This thread and what it starts are in a new network namespace with a loopback device."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    try:
        assert os.system("ip link set lo up") == 0
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


@dataclass
class IscsiNode:
    address: str
    base: Path
    runner: CgroupRunner
    engine: TgtEngine

    @property
    def portal(self) -> str:
        return f"{self.address}:3260"

    def target(self, **more: Any) -> Target:
        given: dict[str, Any] = {"name": TARGET, "portals": (Portal(self.address),), "initiators": (CLIENT,), **more}
        return Target(**given)

    def restart_agent(self, **more: Any) -> TgtEngine:
        """The engine of the next run of this node's agent."""
        self.engine = TgtEngine(self.base, self.runner, SystemClock(), **more)
        return self.engine


@dataclass
class Bench:
    directory: Path
    group: Path
    nodes: list[IscsiNode] = field(default_factory=list)
    slow_files: list[SlowFile] = field(default_factory=list)

    def node(self, number: int, **more: Any) -> IscsiNode:
        base, group = self.directory / f"n{number}", self.group / f"n{number}"
        address = f"127.0.0.{10 + number}"
        config = NodeConfig(
            f"n{number}", "test", {"management": address}, (), cgroup=str(group), log_dir=str(base / "log")
        )
        runner = CgroupRunner(config)
        self.nodes.append(IscsiNode(address, base, runner, TgtEngine(base, runner, SystemClock(), **more)))
        return self.nodes[-1]

    def volume(self, lun: int = 1, *, path: Path | None = None, target: str = TARGET) -> Volume:
        if path is None:
            path = self.directory / f"volume{lun}"
            with path.open("wb") as file:
                file.truncate(SIZE_BYTES)
        return Volume(target, lun, str(uuid.uuid4()), str(path), SIZE_BYTES)

    def slow_file(self) -> SlowFile:
        backing = self.directory / "backing"
        with backing.open("wb") as file:
            file.truncate(SIZE_BYTES)
        self.slow_files.append(SlowFile(self.directory / "slow", backing))
        return self.slow_files[-1]


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    # Not /tmp: where that lies in memory it has no direct I/O.
    made = Bench(
        Path(tempfile.mkdtemp(prefix="hf-iscsi-", dir="/var/tmp")), root / f"holdfast-test-iscsi-{os.getpid()}"
    )
    with network():
        try:
            yield made
        finally:
            for slow in made.slow_files:
                slow.flowing.set()
            group = Cgroup(made.group)
            group.kill()
            await asyncio.wait_for(group.wait_empty(), HANG_S)
            group.remove()
            await asyncio.sleep(0)
            for node in made.nodes:
                node.runner.close()
            for slow in made.slow_files:
                slow.close()
            shutil.rmtree(made.directory)
