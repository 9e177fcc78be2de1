"""The cluster's virtual machines get a smaller share of the processor than the nodes that carry them.

On a real node a guest has cores of its own; here a dozen emulated ones would take those of every node's daemons.
"""

import threading
from contextlib import suppress
from pathlib import Path

from holdfast.lab import cgroups

_LOOK_S = 0.2


class MachineWeights:
    """Moves what runs in the strict groups of machines to the version-1 cpu group `target`, in a thread of its own."""

    def __init__(self, hosts: Path, target: Path) -> None:
        self._hosts, self._target = hosts, target
        self._moved: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-weights", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            present = {pid for group in self._hosts.glob("*/**/strict/vm%2F*") for pid in cgroups.processes(group)}
            for pid in present - self._moved:
                with suppress(OSError):  # it has ended
                    (self._target / "cgroup.procs").write_text(str(pid))
            self._moved = present


__all__ = ["MachineWeights"]
