"""Make this process hard to starve: real-time priority, locked memory, out of the out-of-memory killer's reach."""

import ctypes
import gc
import os

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PRIORITY = 10
"""Above ordinary work, below the kernel's own real-time threads (50 and more)."""


def harden() -> list[str]:
    """Do what is permitted; returns one sentence for each thing that is not."""
    problems = []
    gc.freeze()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
    except OSError as error:
        problems.append(f"no real-time priority: {error.strerror}")
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        problems.append(f"memory is not locked: {os.strerror(ctypes.get_errno())}")
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"-1000")
        finally:
            os.close(fd)
    except OSError as error:
        problems.append(f"not exempt from the out-of-memory killer: {error.strerror}")
    return problems
