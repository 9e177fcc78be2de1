"""How far the nodes' wall clocks are apart, from the reports that come in. For people: no decision knows of it."""

from collections.abc import Collection
from datetime import datetime
from statistics import median

from holdfast.core.alarm_model import NodeReport
from holdfast.errors import StoreError
from holdfast.ports import Change, Clock
from holdfast.store import keys
from holdfast.store.mirror import Mirror

VALID_S = 200.0
"""A report counts for so long: three periods, and some."""


class WallClocks:
    """Compares each report with this node's wall clock at the moment at which it comes in."""

    def __init__(self, mirror: Mirror, clock: Clock) -> None:
        self._mirror = mirror
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}
        """Node → when its report came (CLOCK_BOOTTIME), and its wall clock less ours, in seconds."""
        mirror.on_change(self._changed)
        mirror.on_resync(self._seen.clear)

    def offsets_s(self, nodes: Collection[str]) -> dict[str, float]:
        """Node → distance from the median of all, for those that have reported lately."""
        now = self._clock.now()
        raw = {n: offset for n, (at, offset) in self._seen.items() if n in nodes and now - at <= VALID_S}
        if not raw:
            return {}
        middle = median(raw.values())
        return {node: round(offset - middle, 1) + 0.0 for node, offset in raw.items()}  # + 0.0: never -0

    def _changed(self, change: Change) -> None:
        """What is delivered with a fresh listing may be old: it is forgotten right after (`on_resync`)."""
        if not change.key.startswith(keys.REPORTS) or change.entry is None:
            return
        try:
            report = self._mirror.read(change.key, NodeReport)
            assert report is not None
            ahead = datetime.fromisoformat(report.wall) - datetime.fromisoformat(self._clock.wall())
        except (StoreError, ValueError, TypeError):  # no time, or one without its zone
            return
        self._seen[keys.last_part(change.key)] = (self._clock.now(), ahead.total_seconds())
