"""Finding a host's processes by what they are, from the machine's own process table."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from holdfast.lab import cgroups


def stat_number(pid: int, place: int) -> int:
    """That field of /proc/PID/stat (proc(5)), from 4; 0 if it is gone. Ids are those of the machine's own namespace."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[place - 3])
    except (OSError, IndexError, ValueError):
        return 0


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty for a zombie, a kernel thread, or one that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return []


def find(group: Path, name: str) -> list[int]:
    """Processes below the host's group that are the daemon `name` (`holdfast-agent`, `etcd`), or that belong to the unit
    of that name (`panel`, `nfs/vol1`)."""
    return [pid for pid in cgroups.processes(group) if _is_daemon(pid, name) or _in_unit(pid, name)]


def _is_daemon(pid: int, name: str) -> bool:
    # A Python script's own name is its second argument.
    return any(Path(argument).name == name for argument in command_line(pid)[:2])


def _in_unit(pid: int, name: str) -> bool:
    with suppress(OSError):
        path = Path(f"/proc/{pid}/cgroup").read_text().rpartition("0::")[2].strip()
        return any(f"/{kind}/{escape(name)}/" in path + "/" for kind in ("strict", "system"))
    return False


def escape(unit: str) -> str:
    """A unit's name as the name of its control group and its log file."""
    return quote(unit, safe="").replace(".", "%2E")


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class DutyCycle:
    """Stops processes for `stop_s`, lets them run for `run_s`, and so on: a daemon on a disk that stalls."""

    def __init__(self, pids: Callable[[], list[int]], stop_s: float, run_s: float) -> None:
        self._pids = pids
        self._stop_s, self._run_s = stop_s, run_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            pids = self._pids()
            send(pids, signal.SIGSTOP)
            self._ended.wait(self._stop_s)
            send(pids, signal.SIGCONT)
            self._ended.wait(self._run_s)

    def end(self) -> None:
        """Returns when the processes run again."""
        self._ended.set()
        self._thread.join()
