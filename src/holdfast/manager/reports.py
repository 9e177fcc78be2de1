"""What the observers say, and whether a majority of them misses a node. Hints only."""

from collections.abc import Mapping
from typing import Protocol

from holdfast.core.observers import MANAGEMENT, Report, Suspicion, observers_of, suspicion
from holdfast.core.timing import Detection
from holdfast.ports import Clock

Domains = Mapping[str, str]
"""Member → its failure domain: the candidates for observers."""


class Detector(Protocol):
    """Where a manager's suspicions come from: reports in datagrams, or in a simulation the state of its network."""

    def suspicion(self, node: str, network: str, domains: Domains) -> Suspicion | None:
        """Does a majority of the node's live observers miss it on this network?"""
        ...

    def missed(self, domains: Domains) -> frozenset[str]:
        """Members that at least one of their observers misses on the management network: less than a suspicion."""
        ...

    @property
    def settled(self) -> bool:
        """Has it been listening for long enough, without having been deaf, to judge?"""
        ...

    def next_look(self) -> float:
        """When time alone may change an answer (CLOCK_BOOTTIME, seconds); infinity: not without news."""
        ...


class Reports:
    """Detector of a real manager."""

    def __init__(self, clock: Clock, detection: Detection) -> None:
        self._clock = clock
        self._detection = detection
        self._reports: dict[str, Report] = {}
        self._missed: dict[str, frozenset[tuple[str, str]]] = {}
        """Observer → what it misses: (node, network)."""
        self._since = clock.now()

    def take(self, observer: str, self_suspect: bool, targets: Mapping[str, Mapping[str, int]]) -> bool:
        """An observer's report came in. True if it says something new."""
        if self._reports and not any(map(self._fresh, self._reports)):
            # Not even our own node's: we stood still or were cut off. What comes in now may have lain there all the time.
            self._since = self._clock.now()
        missed = frozenset(
            (node, net) for node, nets in targets.items() for net, silence in nets.items() if silence >= 0
        )
        old = self._reports.get(observer)
        new = old is None or old.self_suspect != self_suspect or self._missed[observer] != missed
        # An observer that comes back to life may shift a majority, too.
        new = new or (bool(self._any_missed()) and not self._fresh(observer))
        self._reports[observer] = Report(self._clock.now(), self_suspect, targets)
        self._missed[observer] = missed
        return new

    def suspicion(self, node: str, network: str, domains: Domains) -> Suspicion | None:
        if not self.settled or not any((node, network) in missed for missed in self._missed.values()):
            return None
        observers = observers_of(node, domains, self._detection.observers)
        return suspicion(node, network, observers, self._reports, self._clock.now(), self._detection)

    def missed(self, domains: Domains) -> frozenset[str]:
        trusted = [o for o, report in self._reports.items() if not report.self_suspect and self._fresh(o)]
        return frozenset(
            node for o in trusted for node, network in self._missed[o] if network == MANAGEMENT and node in domains
        )

    @property
    def settled(self) -> bool:
        return self._clock.now() - self._since >= self._detection.report_valid

    def next_look(self) -> float:
        """When this becomes settled, or while anything is missed: when the next report gets too old to count."""
        valid, now = self._detection.report_valid, self._clock.now()
        moments = [self._since + valid]
        if self._any_missed():
            # A little later than the moment itself, at which the report still counts.
            moments += [report.at + valid + 0.01 for report in self._reports.values()]
        return min((moment for moment in moments if moment > now), default=float("inf"))

    def _any_missed(self) -> bool:
        return any(self._missed.values())

    def _fresh(self, observer: str) -> bool:
        return self._clock.now() - self._reports[observer].at <= self._detection.report_valid
