"""Limits on the size of a directory tree of the shared storage. All functions block.

Two ways, as the file system has it: CephFS's directory quota (an extended attribute, docs.ceph.com, "CephFS quotas"), and
project quotas of XFS and ext4 (ioctl_xfs_fsgetxattr(2), quotactl(2)): the directory gets a project id that everything
created below inherits, and the project gets a limit.
"""

import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path

from holdfast.errors import InvalidInput

_CEPH_ATTRIBUTE = "ceph.quota.max_bytes"
_CEPH_MAGIC = 0x00C36400

_FSXATTR = struct.Struct("=5I8x")
"""xflags, extsize, nextents, projid, cowextsize."""
_GET_FSXATTR = 0x801C581F
_SET_FSXATTR = 0x401C5820
_PROJECT_INHERIT = 0x200

_SYS_QUOTACTL_FD = 443
_PROJECT = 2
_SET_QUOTA = 0x800008
_GET_QUOTA = 0x800007
_GET_STATE = (ord("X") << 8) + 8
_BLOCK_BYTES = 1024
_DQBLK = struct.Struct("=8QI4x")
"""if_dqblk: block hard, soft, used; inode hard, soft, used; block time, inode time; valid."""
_VALID_BLOCK_LIMITS = 1
_PROJECT_ENFORCED = 1 << 5
_PROJECT_ACCOUNTED = 1 << 4

_libc = ctypes.CDLL(None, use_errno=True)

_ADVICE = (
    "Create the volume without a size, or put the shared storage on CephFS, or on XFS or ext4 mounted with the option "
    "prjquota (ext4: also `tune2fs -O project,quota -Q prjquota` while unmounted)."
)


class QuotaUnsupported(InvalidInput):
    """This file system cannot limit the size of a directory."""


def require(path: Path) -> None:
    """Can the size of directories below `path` be limited? Raises QuotaUnsupported, saying why not and what to do."""
    if _is_ceph(path):
        return
    with _Directory(path) as fd:
        try:
            fcntl.ioctl(fd, _GET_FSXATTR, bytearray(_FSXATTR.size))
            state = bytearray(256)
            state[0] = 1
            _quotactl(fd, _GET_STATE, 0, state)
        except OSError as error:
            why = f"project quotas do not work there ({os.strerror(error.errno or errno.EIO)})"
            raise _unsupported(path, why) from None
    (flags,) = struct.unpack_from("=H", state, 2)
    if not flags & _PROJECT_ENFORCED:
        raise _unsupported(path, "project quotas are not switched on")


def tag(path: Path) -> bool:
    """Prepare a new, empty directory so that a limit can be set at any later time. False where that is impossible."""
    if _is_ceph(path):
        return True
    with _Directory(path) as fd:
        try:
            _set_project(fd, _project_id(path))
        except OSError:
            return False
    return True


def set_limit(path: Path, size: int | None) -> None:
    """Limit the directory to `size` bytes; None lifts the limit. The directory must have been prepared with `tag` while it
    was empty. Raises QuotaUnsupported (never for None), OSError."""
    if _is_ceph(path):
        os.setxattr(path, _CEPH_ATTRIBUTE, str(size or 0).encode())
        return
    if size is None:
        with _Directory(path) as fd:
            if _project_of(fd) == _project_id(path):
                try:
                    _write_limit(fd, _project_id(path), 0)
                except OSError as error:
                    if error.errno not in (errno.ESRCH, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
                        raise
        return
    require(path)
    with _Directory(path) as fd:
        project = _project_id(path)
        if _project_of(fd) != project:
            if any(path.iterdir()):
                raise _unsupported(path, "it holds data that was written before quotas were switched on")
            _set_project(fd, project)
        _write_limit(fd, project, -(-size // _BLOCK_BYTES))


def limit(path: Path) -> tuple[int, int]:
    """(limit in bytes, 0 for none; bytes used). Raises OSError where quotas do not work."""
    if _is_ceph(path):
        return int(os.getxattr(path, _CEPH_ATTRIBUTE)), int(os.getxattr(path, "ceph.dir.rbytes"))
    with _Directory(path) as fd:
        block = bytearray(_DQBLK.size)
        _quotactl(fd, _GET_QUOTA, _project_id(path), block)
        values = _DQBLK.unpack(block)
        return values[0] * _BLOCK_BYTES, values[2]


class _Directory:
    """An open directory for ioctls."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _unsupported(path: Path, why: str) -> QuotaUnsupported:
    return QuotaUnsupported(f"the file system of {path} cannot limit the size of a volume: {why}", _ADVICE)


def _is_ceph(path: Path) -> bool:
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return bool(struct.unpack_from("=q", buffer)[0] == _CEPH_MAGIC)


def _project_id(path: Path) -> int:
    """Derived from the directory itself, so that it is the same on every node and needs no registry."""
    return (path.stat().st_ino & 0x7FFFFFFF) or 1


def _project_of(fd: int) -> int:
    try:
        return int(_FSXATTR.unpack(_get_fsxattr(fd))[3])
    except OSError:
        return 0


def _get_fsxattr(fd: int) -> bytearray:
    attributes = bytearray(_FSXATTR.size)
    fcntl.ioctl(fd, _GET_FSXATTR, attributes)
    return attributes


def _set_project(fd: int, project: int) -> None:
    flags, extent, extents, _, cow_extent = _FSXATTR.unpack(_get_fsxattr(fd))
    fcntl.ioctl(fd, _SET_FSXATTR, _FSXATTR.pack(flags | _PROJECT_INHERIT, extent, extents, project, cow_extent))


def _write_limit(fd: int, project: int, blocks: int) -> None:
    block = bytearray(_DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _VALID_BLOCK_LIMITS))
    _quotactl(fd, _SET_QUOTA, project, block)


def _quotactl(fd: int, command: int, project: int, data: bytearray) -> None:
    """quotactl_fd(2), Linux 5.14: names the file system by an open directory and so needs no device path."""
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    code = ctypes.c_uint(command << 8 | _PROJECT)
    if _libc.syscall(_SYS_QUOTACTL_FD, fd, code, ctypes.c_uint(project), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
