"""The control groups (version 2) of the strict units: is anything alive in them, and kill everything in them."""

import errno
import os
import signal

_ROUNDS = 50
_GONE = (errno.ENOENT, errno.ENODEV)


class StrictGroup:
    """The groups at `paths` with everything below them. They may not exist yet: then they are empty."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self.path = ", ".join(paths)

    def populated(self) -> bool:
        """A live process is in one of them. What cannot be read counts as populated: unknown is never empty."""
        return any(_populated(path) for path in self._paths)

    def kill(self) -> str:
        """SIGKILL to everything in them. Returns a sentence about what went wrong, empty if all was sent."""
        return "; ".join(problem for problem in [_kill(path) for path in self._paths] if problem)


def _populated(path: str) -> bool:
    try:
        return "populated 0" not in _read(f"{path}/cgroup.events")
    except OSError as error:
        return error.errno not in _GONE


def _kill(path: str) -> str:
    try:
        fd = os.open(f"{path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENOENT:
            return f"{path}/cgroup.kill: {error.strerror}"
        return _kill_one_by_one(path)  # the group is gone, or Linux is older than 5.14
    try:
        os.write(fd, b"1")
    except OSError as error:
        return "" if error.errno in _GONE else f"{path}/cgroup.kill: {error.strerror}"
    finally:
        os.close(fd)
    return ""


def _kill_one_by_one(path: str) -> str:
    """Without cgroup.kill: again and again until no process is left, for processes may fork meanwhile."""
    for _ in range(_ROUNDS):
        pids = [pid for group in _groups(path) for pid in _pids(group)]
        if not pids:
            return ""
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except OSError as error:
                return f"killing process {pid} in {path}: {error.strerror}"
    return f"processes are left in {path} after {_ROUNDS} rounds of SIGKILL"


def _groups(path: str) -> list[str]:
    return [directory for directory, _, _ in os.walk(path)]


def _pids(group: str) -> list[int]:
    try:
        return [int(line) for line in _read(f"{group}/cgroup.procs").split()]
    except OSError:
        return []


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)
