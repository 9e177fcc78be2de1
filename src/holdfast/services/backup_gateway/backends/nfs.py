"""A directory of an NFS server: mounted by the kernel, then used like any shared file system."""

import subprocess
from pathlib import Path

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.local import PROBE_S, LocalBackend
from holdfast.services.backup_gateway.backends.port import Unavailable
from holdfast.services.backup_gateway.config import Nfs

MOUNT_S = 20.0
HARMLESS = "nosuid,nodev,noexec"


def mount_command(config: Nfs) -> list[str]:
    """`hard`: what an application wrote is never dropped silently; the gateway's own deadlines answer its clients. Whatever
    options an operator gives: what lies there gives nobody rights on this node (the last word counts)."""
    return ["mount", "-t", "nfs", "-o", f"{config.options},{HARMLESS}", "--", config.source, config.mount_point]


def mounted_source(mount_point: str, table: str) -> str | None:
    """What is mounted there by this /proc/self/mountinfo; the last line covers the others."""
    found = None
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4].replace("\\040", " ") == mount_point and after.startswith("nfs"):
            found = after.split()[1]
    return found


class NfsBackend(LocalBackend):
    """(port Backend) Each probe mounts it if it is not mounted. It stays mounted when the gateway ends: another process may
    be using it, and the next gateway finds it."""

    def __init__(self, config: Nfs, name: str, clock: Clock) -> None:
        super().__init__(config.mount_point, name, clock)
        self._config = config

    async def probe(self) -> None:
        await self._run(self._mount, timeout_s=MOUNT_S + 1)
        await self._run(self._probe, timeout_s=PROBE_S)

    def _check_place(self) -> None:
        if mounted_source(str(self.root), Path("/proc/self/mountinfo").read_text()) is None:
            raise Unavailable(f"{self._config.source} is not mounted at {self.root}", "Check the NFS server.")

    def _mount(self) -> None:
        source = mounted_source(str(self.root), Path("/proc/self/mountinfo").read_text())
        if source == self._config.source:
            return
        if source is not None:
            raise Unavailable(
                f"{self.root} is a mount of {source}", f"Unmount it; {self._config.source} is wanted there."
            )
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                mount_command(self._config), capture_output=True, text=True, timeout=MOUNT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"mounting {self._config.source} did not end", "Check the NFS server.") from None
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"mount ended with {done.returncode}"
            raise Unavailable(
                f"{self._config.source} cannot be mounted: {reason}", "Check the NFS server and nfs-common."
            )
