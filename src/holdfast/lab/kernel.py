"""The system calls Python 3.11 has no names for: namespaces, mounts, parent-death signal, subreaper."""

import ctypes
import os
import time
from pathlib import Path

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter one namespace (or, with a pidfd, several). Network namespaces are per thread."""
    _check(_libc.setns(fd, kind), "setns")


def enter_netns(name: str) -> None:
    """Move the calling thread into a named network namespace."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWNET)
    finally:
        os.close(fd)


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = (source.encode() or None, os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags))
    _check(_libc.mount(*arguments, data.encode() or None), f"mount {kind or source} on {target} ({data})")


def umount(target: str | Path, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def bind(source: str | Path, target: str | Path, *, read_only: bool = False, recursive: bool = False) -> None:
    """Bind-mount, which needs a second call to become read-only."""
    mount(str(source), target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def pivot_root_here() -> None:
    """Make the current directory the root and let go of the former one (pivot_root(".", "."), see its manual page)."""
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    umount(".", MNT_DETACH)
    os.chdir("/")


def die_with_parent(signal_number: int) -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def become_subreaper() -> None:
    """Orphans below this process become its children, so that it can wait for them."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def boottime() -> float:
    """CLOCK_BOOTTIME in seconds: the one clock of the lab's records."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
