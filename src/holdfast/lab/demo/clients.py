"""The clients outside the cluster: one of the panel, one of an NFS volume, both in the lab's client host, and what they saw.

All times are seconds of the machine's CLOCK_BOOTTIME, which the lab's hosts share.
"""

import bisect
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from holdfast.config import PANEL_PORT
from holdfast.lab import kernel
from holdfast.lab.client import CLIENT, LabClient, LabError

STOP_S = 30.0
"""Reading a journal back takes a while."""
FIRST_S = 20.0


@dataclass(frozen=True, slots=True)
class Stall:
    """A client had no answer from `began` to `ended`; `ended` 0 while it still has none."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return (self.ended or kernel.boottime()) - self.began


def longest_stall(answers: Sequence[float], since: float, now: float) -> Stall:
    """The longest time between two answers of which the second came after `since`; answers ascend. The time from the
    last answer to `now` counts too: a client that gets no answer is no client without stall."""
    first = max(bisect.bisect_right(answers, since), 1)
    worst = Stall(0.0, 0.0)
    for index in range(first, len(answers)):
        if answers[index] - answers[index - 1] > worst.ended - worst.began:
            worst = Stall(answers[index - 1], answers[index])
    last = answers[-1] if answers else since
    if now - last > worst.ended - worst.began:
        return Stall(last, 0.0)
    return worst


class ClientProcess:
    """A program in the client host that prints JSON lines. `take` gets each of them, in a thread of its own."""

    def __init__(self, lab: LabClient, argv: Sequence[str], stdin: str = "") -> None:
        pipe = subprocess.PIPE
        # Not in the terminal's group: Ctrl-C is the demonstration's own affair.
        self._process = lab.popen(
            CLIENT, [sys.executable, *argv], stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(stdin)
            self._process.stdin.close()
        self._thread = threading.Thread(target=self._read, name="lab-client", daemon=True)
        self._thread.start()

    def take(self, line: dict[str, Any]) -> None:
        raise NotImplementedError

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            with suppress(json.JSONDecodeError):  # a line cut off by the end
                self.take(json.loads(text))

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end and wait until everything it said is taken. Ends it if it does not end. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._thread.join(5)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        self._process.kill()
        self._process.wait()

    def complaint(self) -> str:
        """What it wrote to standard error, after its end."""
        assert self._process.stderr is not None
        return self._process.stderr.read().strip().rpartition("\n")[2] if not self.running else ""


class PanelClient(ClientProcess):
    """Asks the panel each 20 ms (lab.demo.poll), or each `interval_s`."""

    def __init__(self, lab: LabClient, address: str, ca: str, interval_s: float = 0.02) -> None:
        self.asked: list[float] = []
        """When the question was asked that got the answer; the questions without one are left out."""
        self.answers: list[float] = []
        self.connections: list[float] = []
        """Of the answers, those that came over a new TCP and TLS connection."""
        argv = ["-m", "holdfast.lab.demo.poll", address, str(PANEL_PORT), "--interval", str(interval_s)]
        super().__init__(lab, argv, stdin=ca)

    def take(self, line: dict[str, Any]) -> None:
        self.asked.append(line["sent"])
        self.answers.append(line["got"])
        if "new" in line:
            self.connections.append(line["got"])


class Writer(ClientProcess):
    """A client that writes, and reads everything back at its end."""

    def __init__(self, lab: LabClient, argv: Sequence[str]) -> None:
        self.sent: list[float] = []
        """When each acknowledged record was written; its index is its number."""
        self.writes: list[float] = []
        """When each was acknowledged."""
        self.summary: dict[str, Any] = {}
        """After the end: acked, lost, torn, max_stall_s …, or error."""
        super().__init__(lab, argv)

    def take(self, line: dict[str, Any]) -> None:
        if "sent" in line:
            self.sent.append(line["sent"])
            self.writes.append(line["acked"])
        elif "wrong" not in line:
            self.summary = line

    @property
    def began(self) -> bool:
        """It has had its first answers."""
        return bool(self.writes)


class VolumeClient(Writer):
    """Writes a journal to a volume, a record each 20 ms, under a lock, and opens new files (services.nfs.journal)."""

    def __init__(
        self,
        lab: LabClient,
        host: str,
        volume: str,
        file: str = "journal",
        opens_s: float = 0.1,
        *,
        interval_s: float = 0.02,
        patience_s: float = 120.0,
    ) -> None:
        """`patience_s`: it gives up when it had no server for so long."""
        self.opens: list[tuple[float, float]] = []
        """(asked for, done) of each new file."""
        argv = ["-m", "holdfast.services.nfs.journal", "--host", host, "--volume", volume, "--file", file]
        argv += ["--interval", str(interval_s), "--patience", str(patience_s)]
        super().__init__(lab, [*argv, "--opens", str(opens_s), "--out", "/proc/self/fd/1"])

    def take(self, line: dict[str, Any]) -> None:
        if "open" in line:
            self.opens.append((line["sent"], line["sent"] + line["took"]))
        else:
            super().take(line)

    @property
    def began(self) -> bool:
        return bool(self.writes and self.opens)

    def open_times(self) -> list[float]:
        """When each new open was done. Between two of them lie also the close and the removal of the first, which a server
        in its grace period holds up as well."""
        return [done for _, done in list(self.opens)]

    def opened_after(self, moment: float) -> float:
        """When the first open that was done after `moment` was done; 0: none yet."""
        return next((done for _, done in list(self.opens) if done > moment), 0.0)

    def opens_freely(self, since: float) -> bool:
        """An open that was asked for after `since` was answered: no grace period holds new opens up."""
        return any(sent > since for sent, _ in list(self.opens))


def wait_first(panel: PanelClient | None, volume: Writer | None, timeout: float = FIRST_S) -> None:
    """Wait until the clients have their first answers. Raises LabError."""
    end = kernel.boottime() + timeout
    waiting = threading.Event()
    while True:
        silent: list[tuple[str, ClientProcess]] = []
        if panel is not None and not panel.answers:
            silent.append(("panel", panel))
        if volume is not None and not volume.began:
            silent.append(("volume", volume))
        if not silent:
            return
        for what, client in silent:
            if not client.running or kernel.boottime() > end:
                said = client.complaint() or str(volume.summary.get("error", "") if client is volume and volume else "")
                raise LabError(f"the client of the {what} gets no answer{': ' * bool(said)}{said}", "Try again.")
        waiting.wait(0.05)
