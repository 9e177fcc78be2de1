"""One ad-hoc node for the guard's tests: a real watchdog device in a private mount namespace, a real control group."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.config import NodeConfig, dump
from holdfast.core.timing import Timing
from holdfast.fencing.guard.link import UnixGuardLink
from holdfast.fencing.guard.process import boottime
from holdfast.lab.watchdog import FuseWatchdog

TIMING = Timing("test", H=0.2, Q=0.2, b=0.1, n=1, F=1.5, G=0.5, p=0.2, W=2, j=0.5, k=0.2, rho=0.01, E=0.2)
HANG_S = 20.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _MS_REC_PRIVATE, _PR_SET_PDEATHSIG = 0x20000, 16384 | 1 << 18, 1


def cgroup2_mount() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(mount.split()[4])
    raise RuntimeError("no cgroup version 2 hierarchy is mounted")


async def until(condition: Callable[[], bool], what: str, timeout_s: float = HANG_S) -> None:
    """Wait until it holds; the bound only catches hangs."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"still not after {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


class GuardWorld:
    def __init__(self, directory: Path, **device: object) -> None:
        self.directory = directory
        self.node_dead = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.device = FuseWatchdog(lambda: loop.call_soon_threadsafe(self.node_dead.set), **device)
        self.group = cgroup2_mount() / f"holdfast-test-{os.getpid()}"
        self.strict = self.group / "strict"
        self.unit_group = self.strict / "nfs-vol1" / "inner"
        (directory / "dev").mkdir()
        self.watchdog = directory / "dev" / "watchdog"
        self.watchdog.touch()
        self.config = NodeConfig(
            id="n1",
            cluster="test",
            addresses={"management": "127.0.0.1"},
            endpoints=("https://127.0.0.1:2379",),
            run_dir=str(directory / "run"),
            watchdog=str(self.watchdog),
            cgroup=str(self.group),
        )
        self.config_file = directory / "node.toml"
        self.config_file.write_text(dump(self.config))
        self.log_file = directory / "guard.log"
        self.links: list[UnixGuardLink] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._node: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """The node: a process in a mount namespace of its own that has the watchdog device."""
        self.unit_group.mkdir(parents=True)
        mount = self.device.mount_over

        def inside() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            assert _LIBC.unshare(_CLONE_NEWNS) == 0
            assert _LIBC.mount(None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None) == 0
            mount(str(self.watchdog))

        self._node = subprocess.Popen(["sleep", "1000"], preexec_fn=inside)
        self.processes.append(self._node)
        self.device.start()

    def in_node(self, *argv: str, **options: object) -> subprocess.Popen[bytes]:
        assert self._node is not None
        entering = ["nsenter", "--mount", f"--target={self._node.pid}", "--no-fork", "--"]
        process = subprocess.Popen([*entering, *argv], **options)
        self.processes.append(process)
        return process

    def start_guard(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return self.in_node(
                sys.executable, "-m", "holdfast.fencing.guard", "--config", str(self.config_file), stderr=log
            )

    def start_strict_unit(self) -> subprocess.Popen[bytes]:
        """A process two levels below the strict group."""

        def join() -> None:
            (self.unit_group / "cgroup.procs").write_text("0")

        unit = subprocess.Popen(["sleep", "1000"], preexec_fn=join)
        self.processes.append(unit)
        return unit

    def link(self, session: str = "s1", **options: object) -> UnixGuardLink:
        link = UnixGuardLink(self.config, TIMING, session, **options)
        self.links.append(link)
        return link

    async def connected(self, session: str = "s1", **options: object) -> UnixGuardLink:
        link = self.link(session, **options)
        await link.start()
        assert await link.wait_connected(HANG_S), link.reason
        return link

    def now(self) -> float:
        return boottime()

    def log(self) -> str:
        return self.log_file.read_text()

    async def close(self) -> None:
        for link in self.links:
            await link.close()
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.device.stop()
        await until(lambda: self._empty(), "the test's control group is empty")
        for directory in sorted(self.group.rglob("*"), reverse=True):
            if directory.is_dir():
                directory.rmdir()
        with suppress(FileNotFoundError):
            self.group.rmdir()

    def _empty(self) -> bool:
        events = self.group / "cgroup.events"
        return not events.exists() or "populated 0" in events.read_text()
