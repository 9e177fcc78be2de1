"""Control groups of the lab: version 2 to hold, kill and freeze nodes; version 1 `cpu`, where there is one, for weights."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.errors import HoldfastError

_POLL_S = 0.002
_GONE_S = 10.0


class CgroupError(HoldfastError):
    """A control group did not do what it was asked to."""


def mount_point() -> Path:
    """Where cgroup version 2 is mounted; on hybrid machines not at /sys/fs/cgroup."""
    return _mount_point("cgroup2", "")


def _mount_point(kind: str, option: str) -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        filesystem, _source, options = right.split(" ", 2)
        if filesystem == kind and (not option or option in options.split(",")):
            return Path(left.split()[4])
    raise CgroupError(f"this machine has no {kind} mount", "Mount it: mount -t cgroup2 none /sys/fs/cgroup")


def kill(group: Path) -> None:
    """SIGKILL to every process in the group and below, frozen ones too; does not wait."""
    with suppress(FileNotFoundError, OSError):
        (group / "cgroup.kill").write_text("1")


def populated(group: Path) -> bool:
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except (FileNotFoundError, OSError):
        return False


def wait_empty(group: Path, timeout_s: float = _GONE_S) -> None:
    """Return when no live process is left in the group. Raises CgroupError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while populated(group):
        if time.monotonic() > end:
            raise CgroupError(f"processes in {group} do not die", "Look at them: cat " + str(group / "cgroup.procs"))
        time.sleep(_POLL_S)


def freeze(group: Path, on: bool, timeout_s: float = _GONE_S) -> None:
    """Freeze or thaw and wait until the kernel says that it is so."""
    (group / "cgroup.freeze").write_text("1" if on else "0")
    end = time.monotonic() + timeout_s
    while ("frozen 1" in (group / "cgroup.events").read_text()) != on:
        if time.monotonic() > end:
            raise CgroupError(
                f"{group} cannot be {'frozen' if on else 'thawed'}", "Is a process in it stuck in the kernel?"
            )
        time.sleep(_POLL_S)


def remove_tree(group: Path, timeout_s: float = _GONE_S) -> None:
    """Remove an empty group and all groups below it. A group stays busy for a moment after its last process died."""
    end = time.monotonic() + timeout_s
    for directory, _below, _files in os.walk(group, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise CgroupError(
                        f"{directory} cannot be removed: {error.strerror}", "Is a process left in it?"
                    ) from error
                time.sleep(_POLL_S)


def processes(group: Path) -> Iterator[int]:
    """Process ids (as this process sees them) in the group and below."""
    for directory, _below, _files in os.walk(group):
        with suppress(FileNotFoundError, OSError):
            for line in (Path(directory) / "cgroup.procs").read_text().split():
                yield int(line)


# --- CPU weights ---------------------------------------------------------------------------------------------------

_LAB_SHARES, _NODE_SHARES, _MACHINE_SHARES, _GUEST_SHARES = 8192, 16384, 4096, 64
_REAL_TIME_US = 150_000
"""Real-time budget per 1 s period for a lab's nodes; without one their guards could not be real-time processes."""


def make_cpu_groups(name: str) -> Path | None:
    """Make `nodes` (heavy), `machines` (the cluster's own) and `guests` (light) below a version-1 cpu group for this lab.
    None where there is no such hierarchy: a busy machine then delays the lab's daemons more."""
    try:
        top = _mount_point("cgroup", "cpu") / name
        groups = {"nodes": _NODE_SHARES, "machines": _MACHINE_SHARES, "guests": _GUEST_SHARES}
        for group, shares in ((top, _LAB_SHARES), *((top / name, shares) for name, shares in groups.items())):
            group.mkdir(exist_ok=True)
            (group / "cpu.shares").write_text(str(shares))
            if group in (top, top / "nodes"):
                with suppress(OSError):  # no real-time groups in this kernel, or the budget is spent
                    (group / "cpu.rt_runtime_us").write_text(str(_REAL_TIME_US))
    except (CgroupError, OSError):
        return None
    return top


def cpu_group_of_network(netns: Path) -> Path | None:
    """The version-1 cpu group of the host whose network namespace this is, by one of its processes; None if it has none."""
    with suppress(OSError, CgroupError):
        wanted, mount = netns.stat(), _mount_point("cgroup", "cpu")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.path.samestat((process / "ns/net").stat(), wanted):
                    groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
                    return next((mount / path[1:] for _, held, path in groups if "cpu" in held.split(",")), None)
    return None


def cpu_group(name: str) -> Path | None:
    """The lab's version-1 cpu group if it exists."""
    try:
        top = _mount_point("cgroup", "cpu") / name
    except CgroupError:
        return None
    return top if top.is_dir() else None
