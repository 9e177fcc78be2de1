"""The control group (version 2) of the strict units: is anything alive in it, and kill everything in it."""

import errno
import os
import signal

_ROUNDS = 50
_GONE = (errno.ENOENT, errno.ENODEV)


class StrictGroup:
    """The group at `path` with everything below it. It may not exist yet: then it is empty."""

    def __init__(self, path: str) -> None:
        self.path = path

    def populated(self) -> bool:
        """A live process is in it. What cannot be read counts as populated: unknown is never empty."""
        try:
            return "populated 0" not in _read(f"{self.path}/cgroup.events")
        except OSError as error:
            return error.errno not in _GONE

    def kill(self) -> str:
        """SIGKILL to everything in it. Returns a sentence about what went wrong, empty if all was sent."""
        try:
            fd = os.open(f"{self.path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENOENT:
                return f"{self.path}/cgroup.kill: {error.strerror}"
            return self._kill_one_by_one()  # the group is gone, or Linux is older than 5.14
        try:
            os.write(fd, b"1")
        except OSError as error:
            return "" if error.errno in _GONE else f"{self.path}/cgroup.kill: {error.strerror}"
        finally:
            os.close(fd)
        return ""

    def _kill_one_by_one(self) -> str:
        """Without cgroup.kill: again and again until no process is left, for processes may fork meanwhile."""
        for _ in range(_ROUNDS):
            pids = [pid for group in _groups(self.path) for pid in _pids(group)]
            if not pids:
                return ""
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                except OSError as error:
                    return f"killing process {pid} in {self.path}: {error.strerror}"
        return f"processes are left in {self.path} after {_ROUNDS} rounds of SIGKILL"


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
