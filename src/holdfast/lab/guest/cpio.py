"""The cpio archive format "newc", as the Linux kernel reads its first root file system (initramfs buffer format). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

_DIRECTORY = 0o040755
_FILE = 0o100755
_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or a directory if `data` is None. `path` has no leading slash; parents come first."""

    path: str
    data: bytes | None = None


def archive(members: Iterable[Member]) -> bytes:
    """The archive's bytes, uncompressed: decompressing costs an emulated machine more than reading."""
    out = bytearray()
    for inode, member in enumerate([*members, Member(_END, b"")], start=1):
        data = member.data or b""
        mode = _DIRECTORY if member.data is None else _FILE
        name = member.path.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + "".join(f"{value:08x}" for value in fields).encode() + name
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)
