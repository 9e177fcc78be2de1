"""Becoming somebody who may do nothing special. By system calls, for the standard library has none for capabilities."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def drop(uid: int, gid: int) -> None:
    """For good. As root: keep the user, for files on a shared storage where no other user is agreed on, and lose all that
    makes root special, above all writing where file modes forbid it. Raises OSError."""
    if uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    else:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        _check(_libc.capset(header, (ctypes.c_uint32 * 6)()))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def die_with_parent(parent: int) -> None:
    """For a child right after its birth: no part of a unit goes on without its supervisor."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
