"""A systemd that is process 1 in namespaces of its own on this machine, with a control group of its own."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HANG_S = 60.0
TARGET = "[Unit]\nAllowIsolate=yes\nDefaultDependencies=no\n"
BOOT = """
set -e
echo $$ >"$1/cgroup.procs"
exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup --propagation private sh -c '
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/overlay/var
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for place in etc var/lib var/log; do
    mkdir -p /run/overlay/$place.upper /run/overlay/$place.work
    mount -t overlay -o lowerdir=/$place,upperdir=/run/overlay/$place.upper,workdir=/run/overlay/$place.work overlay /$place
done
mount -t tmpfs tmpfs /etc/systemd/system
printf "%s" "$1" >/etc/systemd/system/holdfast-test.target
ip link set lo up
exec env -i container=holdfast-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \\
    --unit=holdfast-test.target --log-target=console --show-status=no
' boot "$2"
"""


class OwnSystemd:
    def __init__(self, init: int) -> None:
        self.init = init

    def run(self, argv: Sequence[str], timeout: float = HANG_S, **env: str) -> "subprocess.CompletedProcess[str]":
        """A process beside its services, in its namespaces. What is written to /etc, /var/lib and /var/log goes with it."""
        entered = ["nsenter", "--target", str(self.init), "--all", "--wd=/", "--", *argv]
        return subprocess.run(
            entered, env={**os.environ, **env}, capture_output=True, text=True, timeout=timeout, check=False
        )


def possible() -> bool:
    return os.geteuid() == 0 and Path("/lib/systemd/systemd").exists() and shutil.which("nsenter") is not None


@contextmanager
def own_systemd(log: Path) -> Iterator[OwnSystemd]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = root / f"holdfast-test-systemd-{os.getpid()}"
    group.mkdir()
    with log.open("wb") as output:
        booted = subprocess.Popen(["sh", "-c", BOOT, "boot", str(group), TARGET], stdout=output, stderr=output)
        try:
            yield _when_ready(group, log)
        finally:
            (group / "cgroup.kill").write_text("1")
            booted.wait(HANG_S)
            _remove(group)


def _when_ready(group: Path, log: Path) -> OwnSystemd:
    end = time.monotonic() + HANG_S
    while time.monotonic() < end:
        with suppress(OSError, ValueError, IndexError):
            made = OwnSystemd(int((group / "init.scope/cgroup.procs").read_text().split()[-1]))
            if made.run(["systemctl", "is-system-running"]).stdout.strip() in ("running", "degraded"):
                return made
        time.sleep(0.1)
    raise AssertionError(f"systemd did not come up: {log.read_text()[-2000:]}")


def _remove(group: Path) -> None:
    end = time.monotonic() + HANG_S
    while group.exists() and time.monotonic() < end:
        for directory, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
        time.sleep(0.02)
