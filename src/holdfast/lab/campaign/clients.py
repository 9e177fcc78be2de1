"""The campaign's clients: one of the panel and one of each volume, from the first fault to the last, and what they saw."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.lab.campaign.disks import Disk, DiskClient
from holdfast.lab.client import LabClient
from holdfast.lab.demo.clients import ClientProcess, PanelClient, Stall, VolumeClient, Writer, wait_first
from holdfast.lab.layout import PANEL_ADDRESS
from holdfast.services.nfs.journal import RECORD_BYTES, record

WRITE_S, OPEN_S, ASK_S = 0.05, 0.5, 0.05
"""Each volume's client writes, and opens a new file, and the panel's client asks so often."""
PATIENCE_S = 900.0
"""A volume's client gives up after so long: later than the campaign."""
OUT_S = 0.4
"""A client without an answer for so long has no service."""
PANEL = "panel"


def gaps(answers: Sequence[float], since: float, least_s: float = OUT_S) -> list[Stall]:
    """Every time without an answer of at least `least_s` that ended after `since`; answers ascend."""
    first = max(bisect.bisect_right(answers, since), 1)
    return [
        Stall(answers[i - 1], answers[i]) for i in range(first, len(answers)) if answers[i] - answers[i - 1] >= least_s
    ]


def missing(there: bytes, sent: Sequence[float]) -> list[int]:
    """Numbers of the records that a journal should hold, and does not as they were written. `sent`: when each was."""
    size = RECORD_BYTES
    return [n for n, at in enumerate(sent) if there[n * size : (n + 1) * size] != record(n, at)]


@dataclass(frozen=True, slots=True)
class Readback:
    """What became of the acknowledged writes of one journal, twice: read by its client through the volume, and from the
    shared storage by the campaign, which kept a list of its own."""

    volume: str
    acked: int
    lost: tuple[float, ...]
    """When each record that is not on the shared storage as it was written had been acknowledged."""
    client: dict[str, object]
    """The client's own summary."""

    @property
    def problems(self) -> list[str]:
        said = self.client
        found = [f"{self.volume}: {len(self.lost)} of {self.acked} acknowledged records are not there"] * bool(
            self.lost
        )
        if said.get("acked") != self.acked:
            found.append(
                f"{self.volume}: its client did not read its journal back: {said.get('error', 'it ended early')}"
            )
        elif said["lost"] or said["torn"] or said.get("stale"):
            stale = f" and {said['stale']} stale" if "stale" in said else ""
            found.append(f"{self.volume}: its client read {said['lost']} records lost and {said['torn']} torn{stale}")
        elif not said.get("lock_kept", True):
            found.append(
                f"{self.volume}: its client lost its lock: {said.get('problem', 'somebody else could take it')}"
            )
        return found


class Clients:
    """All of them."""

    def __init__(
        self, lab: LabClient, authority: str, volumes: dict[str, str], file: str, disks: Sequence[Disk]
    ) -> None:
        """`volumes`: name → address. `file`: name of the journals."""
        self._lab, self._file = lab, file
        self.panel = PanelClient(lab, PANEL_ADDRESS, authority, interval_s=ASK_S)
        self.volumes = {
            name: VolumeClient(lab, address, name, file, OPEN_S, interval_s=WRITE_S, patience_s=PATIENCE_S)
            for name, address in volumes.items()
        }
        self.disks = {disk.name: DiskClient(lab, disk, interval_s=WRITE_S, patience_s=PATIENCE_S) for disk in disks}
        self._writers: dict[str, Writer] = {**self.volumes, **self.disks}

    @property
    def acked(self) -> int:
        """Writes acknowledged so far."""
        return sum(len(client.writes) for client in self._writers.values())

    def wait_first(self) -> None:
        """Wait until every client has an answer. Raises LabError."""
        for client in self._writers.values():
            wait_first(self.panel, client)

    def ended(self) -> str:
        """A client that ended though it should not have, and why; empty if none did."""
        everybody: dict[str, ClientProcess] = {PANEL: self.panel, **self._writers}
        for name, client in everybody.items():
            if not client.running:
                summary = client.summary if isinstance(client, Writer) else {}
                return f"{name}: {summary.get('error') or summary.get('problem') or client.complaint() or 'no reason'}"
        return ""

    def silent(self, since: float) -> str:
        """A client whose service has not answered a question that was asked after `since`; empty if all have."""
        if not self.panel.asked or self.panel.asked[-1] < since:
            return PANEL
        return next((n for n, client in self._writers.items() if not client.sent or client.sent[-1] < since), "")

    def no_opens(self, since: float) -> str:
        """A volume that has not opened a new file since: its server may be in its grace period."""
        return next((name for name, client in self.volumes.items() if not client.opens_freely(since)), "")

    def stalls(self, since: float) -> dict[str, list[Stall]]:
        """Client → when it was without its service; without those who never were."""
        seen = {PANEL: gaps(sorted(self.panel.answers), since)}
        seen |= {name: gaps(client.writes, since) for name, client in self._writers.items()}
        return {name: found for name, found in seen.items() if found}

    def stop(self) -> list[Readback]:
        """End them; what each volume's client and the campaign itself find when they read back."""
        self.panel.stop()
        for client in self._writers.values():
            client.stop()
        disks = [
            Readback(name, len(client.writes), tuple(client.lost(self._lab)), client.summary)
            for name, client in self.disks.items()
        ]
        return [self._read_back(name, client) for name, client in self.volumes.items()] + disks

    def _read_back(self, name: str, client: VolumeClient) -> Readback:
        path = self._lab.layout.shared_dir / "nfs" / name / "data" / self._file
        there = path.read_bytes() if path.exists() else b""
        lost = (client.writes[number] for number in missing(there, client.sent))
        return Readback(name, len(client.writes), tuple(lost), client.summary)

    def kill(self) -> None:
        """End them without a word. Idempotent."""
        for client in (self.panel, *self._writers.values()):
            client.kill()
