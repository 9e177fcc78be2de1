"""Which processes execute a strict instance, by what the kernel says of them and nothing else.

A process is known by its command line. For a virtual machine that is not enough: while it migrates, a second QEMU waits for
its state, and after that the first one lingers, idle. QEMU itself marks who may write: it holds byte 101 ("the WRITE
permission is taken", see `raw_apply_lock_bytes` in QEMU's block/file-posix.c and docs/system/qemu-block-drivers) of each
disk image by an open-file-description lock, lets go of it when it hands the machine over, and takes it when it receives one.

A tgtd executes the active paths of several volumes, and not always the same ones: of those whose file it has open. It opens
it before a path becomes active and closes it before the path is standby (tgt 1.0.85; tests/contract/test_iscsi_watched.py).

A part of an S3 cluster is a process and those that it forks, servers and updaters: one executor as long as one of them
lives. They are known by their session, of which the agent makes a new one for each start.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

_WRITE_BYTE = 101
_S3_PROGRAM = re.escape("holdfast.services.s3.inside.program")

EXECUTORS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A volume's server is known by its configuration file: the name is the directory's, or the file's own.
    (re.compile(r"(?:\S*/)?ganesha\.nfsd .*-f \S*/(?P<name>[^/\s]+)/ganesha\.conf(?:\s|$)"), "nfs/{name}"),
    (re.compile(r"(?:\S*/)?ganesha\.nfsd .*-f \S*/(?P<name>[^/\s]+)\.conf(?:\s|$)"), "nfs/{name}"),
    (re.compile(r"(?:\S*/)?qemu-system-\S+ .*-name (?:guest=)?(?P<name>[^,\s]+)"), "vm/{name}"),
    # The part of an S3 cluster is told by the directory of its program's file. Gateways run everywhere.
    (
        re.compile(rf"(?:\S*/)?python\S* .*{_S3_PROGRAM} \S*/s3/(?P<name>[^/\s]+/(?:ns-\d+|os-\d+|bg))/\S+$"),
        "s3/{name}",
    ),
)
"""Pattern of the whole command line → instance id. The first that matches counts."""

_MEDIUM = re.compile(r"/iscsi/volumes/(?P<name>[^/]+)\.img(?: \(deleted\))?$")
"""End of a volume's path, as the kernel shows an open file. In another mount namespace the begin may be missing."""


def instance_of(command: Sequence[str]) -> str | None:
    """The strict instance that a process with this command line executes."""
    line = " ".join(command)
    for pattern, instance in EXECUTORS:
        if match := pattern.match(line):
            return instance.format(name=unquote(match["name"]).removeprefix("nfs/"))
    return None


def is_target(command: Sequence[str]) -> bool:
    """A tgtd: what it executes, `serves` tells."""
    return bool(command) and command[0].rpartition("/")[2] == "tgtd"


def serves(pid: int) -> frozenset[str]:
    """The strict instances whose volumes a tgtd has open now. None if the process is gone."""
    process = Path(f"/proc/{pid}")
    # When its main thread has ended, only the others, which may be writing, still show what is open.
    links = _links(process / "fd") or [link for thread in _entries(process / "task") for link in _links(thread / "fd")]
    return frozenset(f"iscsi/{match['name']}" for link in links if (match := _MEDIUM.search(link)))


def _links(directory: Path) -> list[str]:
    found: list[str] = []
    for entry in _entries(directory):
        with suppress(OSError):  # it was closed meanwhile
            found.append(str(entry.readlink()))
    return found


def _entries(directory: Path) -> list[Path]:
    with suppress(OSError):
        return list(directory.iterdir())
    return []


def is_family(instance: str) -> bool:
    """Its processes of one session are one executor."""
    return instance.startswith("s3/")


def may_receive(command: Sequence[str]) -> bool:
    """A QEMU that was started to receive a machine. It keeps this mark after it has received it."""
    return "-incoming" in command


def writes(pid: int) -> bool:
    """A QEMU may write to a disk image now. False too if the process is gone."""
    with suppress(OSError):
        return any(_holds_write_byte(entry) for entry in Path(f"/proc/{pid}/fdinfo").iterdir())
    return False


def _holds_write_byte(fdinfo: Path) -> bool:
    """`lock:` lines of proc_pid_fdinfo(5): number, OFDLCK, ADVISORY, READ, -1, device:inode, first byte, last byte."""
    with suppress(OSError):
        lines = (line.split() for line in fdinfo.read_text().splitlines() if line.startswith("lock:"))
        ranges = [(int(words[-2]), words[-1]) for words in lines if words[2] == "OFDLCK"]
        return any(first <= _WRITE_BYTE and (last == "EOF" or int(last) >= _WRITE_BYTE) for first, last in ranges)
    return False


__all__ = ["EXECUTORS", "instance_of", "is_family", "is_target", "may_receive", "serves", "writes"]
