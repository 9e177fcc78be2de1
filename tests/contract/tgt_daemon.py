"""Real tgtd daemons on loopback addresses: each stands for a node that serves the same files under the same names."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TARGET = "iqn.2026-01.test.holdfast:disk"
INITIATOR = "iqn.2026-01.test.holdfast:client"
HANG_S = 90.0
WWID = "600140500000000000000000000000aa"
_CONTROL = "1"


def available() -> str:
    """Why there can be none; empty if there can."""
    return "" if shutil.which("tgtd") else "needs Debian's package tgt"


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


@dataclass
class TgtNode:
    """`disks`: LUN → (file, WWID). `accounts`: (user, secret) for CHAP; `outgoing`: what the target proves to know."""

    host: str
    directory: Path
    disks: dict[int, tuple[Path, str]]
    initiators: tuple[str, ...] = ("ALL",)
    account: tuple[str, str] | None = None
    outgoing: tuple[str, str] | None = None
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def portal(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """As after a boot: nothing of its former life is left. Keeps its port."""
        assert self.process is None
        self.directory.mkdir(exist_ok=True)
        self.port = self.port or free_port(self.host)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["tgtd", "-f", "-C", _CONTROL, "--iscsi", f"portal={self.portal}"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        ends = time.monotonic() + HANG_S
        while self._tgtadm("--op", "show", "--mode", "target", check=False) != 0:
            assert self.process.poll() is None and time.monotonic() < ends, (self.directory / "log").read_text()
            time.sleep(0.02)
        self._configure()

    def _configure(self) -> None:
        self.target("--op", "new", "--mode", "target", "-T", TARGET)
        self.add_disks()
        for account, how in ((self.account, ()), (self.outgoing, ("--outgoing",))):
            if account:
                user, secret = account
                self._tgtadm("--op", "new", "--mode", "account", "--user", user, "--password", secret)
                self.target("--op", "bind", "--mode", "account", "--user", user, *how)
        for initiator in self.initiators:
            by = "--initiator-name" if initiator.startswith("iqn.") else "--initiator-address"
            self.target("--op", "bind", "--mode", "target", by, initiator)

    def add_disks(self) -> None:
        for lun, (path, wwid) in self.disks.items():
            unit = ("--mode", "logicalunit", "--lun", str(lun))
            self.target("--op", "new", *unit, "-b", str(path), "-E", "rdwr", "--bsoflags", "sync")
            self.target("--op", "update", *unit, "--params", f"vendor_id=HOLDFAST,scsi_sn=sn{lun},scsi_id={wwid}")

    def target(self, *arguments: str) -> None:
        self._tgtadm(*arguments, "--tid", "1")

    def kill(self) -> None:
        """As by a loss of power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(HANG_S)
            self.process = None

    def freeze(self) -> None:
        """Returns when it stands still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TGT_IPC_SOCKET": str(self.directory / "s")}

    def _tgtadm(self, *arguments: str, check: bool = True) -> int:
        done = subprocess.run(
            ["tgtadm", "-C", _CONTROL, "--lld", "iscsi", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        assert done.returncode == 0 or not check, f"{arguments}: {done.stderr}"
        return done.returncode


@contextmanager
def nodes(*made: TgtNode) -> Iterator[tuple[TgtNode, ...]]:
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.kill()
