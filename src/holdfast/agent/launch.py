"""Starts one process inside a control group, without ever running the unit's program outside of it.

The launcher is a shell script of a few lines run by posix_spawn: no fork of the agent (which has threads and memory), and
no interpreter to start. It enters the group, says so, and waits for the agent's go; when the agent has died or changed its
mind in the meantime the launcher just ends. So whatever kills the group (the guard at the deadline) kills the launcher as
well, and a launcher that was paused anywhere on its way cannot start the program after a deadline has passed.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.rights import Rights
from holdfast.errors import DriverError
from holdfast.owners import less

NO_FILES = 65536
"""RLIMIT_NOFILE of units (or the hard limit, where that is lower and may not be raised)."""

_ANSWER_S = 10.0

#: $1 control group, $2 open files, $3 directory; descriptor 3 leads to the agent.
_SCRIPT = """
echo 0 >"$1/cgroup.procs" || exit 125
echo in >&3
read -r word <&3 && [ "$word" = go ] || exit 125
exec 3<&-
ulimit -n "$2" 2>/dev/null || ulimit -n "$(ulimit -Hn)"
cd "$3" || exit 126
shift 3
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything the launcher needs."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cgroup: Path
    cwd: str
    rights: Rights
    output: int
    """Descriptor of the log file."""


async def launch(what: Launch, allowed: Callable[[], bool], on_spawn: Callable[[int], None]) -> None:
    """Start it; returns when the launcher, inside the group, is about to execute the program.

    `on_spawn(pid)` is told the child to reap.
    `allowed` is asked when the launcher is in the group, right before the program may run. Raises DriverError.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = _spawn(what, theirs.fileno())
        on_spawn(pid)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_ANSWER_S):
                entered = (await loop.sock_recv(ours, 16)).startswith(b"in")
        except (TimeoutError, OSError):
            entered = False
        if not entered:
            raise DriverError(
                f"{what.argv[0]} could not be started: the launcher did not enter {what.cgroup}",
                "See the unit's log; the agent must be root and the group inside a cgroup version 2 file system.",
            )
        if not allowed():
            raise DriverError(
                f"{what.argv[0]} was not started: this node may not run it any more",
                "It runs again where the manager places it next.",
            )
        # The launcher closes its end just before it executes the program.
        try:
            async with asyncio.timeout(_ANSWER_S):
                await loop.sock_sendall(ours, b"go\n")
                await loop.sock_recv(ours, 16)
        except (TimeoutError, OSError) as error:
            raise DriverError(
                f"{what.argv[0]} was not started: its launcher was killed in {what.cgroup}",
                "The node's deadline has passed; see the agent's log.",
            ) from error


def _spawn(what: Launch, channel: int) -> int:
    args = ["sh", "-c", _SCRIPT, "holdfast-launch", str(what.cgroup), str(NO_FILES), what.cwd]
    args += [*less(what.rights), *what.argv]
    # Python's own descriptors close on exec; those a C library left inheritable are closed by name.
    leaks = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()]
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, what.output, 1),
        (os.POSIX_SPAWN_DUP2, what.output, 2),
        (os.POSIX_SPAWN_DUP2, channel, 3),
    ]
    assert min(what.output, channel) > 2, "the agent must have its standard descriptors open"
    signals = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    try:
        return os.posix_spawn(
            "/bin/sh", args, what.env, file_actions=[*leaks, *files], setsid=True, setsigmask=[], setsigdef=signals
        )
    except OSError as error:
        raise DriverError(
            f"{what.argv[0]} could not be started: {error}", "Check the free memory and process limits."
        ) from error


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only, and quickly
        fd = int(name)
        try:
            if fd > 3 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:  # the descriptor of this very listing
            continue
    return found
