"""Fast detection: who observes whom, what one observer saw, and when a majority makes a node suspect. Hints only.

Each node sends datagrams to k observers chosen by rendezvous hashing (Thaler, Ravishankar 1998) across failure domains,
so that the load of a node does not depend on the size of the cluster. An observer that misses most of its own targets
suspects itself first (the idea of Lifeguard, Dadgar et al. 2018): its reports count only after its own beat was
committed in the store since.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from holdfast.core.timing import Detection

HEARD = -1
"""Observation: a datagram came in within `miss_after`."""
NEVER = -2
"""Observation: no datagram of this session of the observer ever came in; says nothing about the target."""

MANAGEMENT = "management"


def observers_of(target: str, domains: Mapping[str, str], count: int) -> list[str]:
    """The `count` observers of a node, best first: highest hash wins, failure domains other than the target's and not
    used yet go first. `domains` maps every node to its failure domain ("" = a domain of its own)."""
    return list(_observers_of(target, tuple(sorted(domains.items())), count))


@lru_cache(maxsize=4096)
def _observers_of(target: str, members: tuple[tuple[str, str], ...], count: int) -> tuple[str, ...]:
    domains = dict(members)

    def domain(node: str) -> str:
        return domains.get(node) or f"node:{node}"

    def weight(node: str) -> bytes:
        return hashlib.blake2b(f"{target}\0{node}".encode(), digest_size=8).digest()

    candidates = sorted((node for node in domains if node != target), key=weight, reverse=True)
    chosen: list[str] = []
    used = {domain(target)}
    for fresh_domains_only in (True, False):
        for node in candidates:
            if len(chosen) == count:
                return tuple(chosen)
            if node in chosen or (fresh_domains_only and domain(node) in used):
                continue
            chosen.append(node)
            used.add(domain(node))
    return tuple(chosen)


def targets_of(observer: str, domains: Mapping[str, str], count: int) -> list[str]:
    """The nodes that this node observes."""
    return sorted(node for node in domains if node != observer and observer in observers_of(node, domains, count))


@dataclass(slots=True)
class Tracker:
    """What one observer heard of its targets, per network. Times are the observer's CLOCK_BOOTTIME."""

    detection: Detection
    _heard: dict[tuple[str, str], float] = field(default_factory=dict)
    _targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _refused: dict[str, float] = field(default_factory=dict)

    def expect(self, targets: Mapping[str, Sequence[str]]) -> None:
        """Observe exactly these nodes on these networks; forget what was heard of others."""
        self._targets = {node: tuple(networks) for node, networks in targets.items()}
        self._heard = {key: at for key, at in self._heard.items() if key[0] in self._targets}

    def heard(self, node: str, network: str, now: float) -> None:
        if node in self._targets:
            self._heard[node, network] = now

    def refused(self, node: str, now: float) -> None:
        """The kernel of the node answered: the node lives, though its agent is silent."""
        self._refused[node] = now

    def silent(self, now: float) -> list[str]:
        """Targets whose kernel should be asked: nothing was heard of them on the management network for `ask_after`."""
        return [
            node for node in self._targets if now - self._heard.get((node, MANAGEMENT), now) >= self.detection.ask_after
        ]

    def observations(self, now: float) -> dict[str, dict[str, int]]:
        """Target → network → HEARD, NEVER, or for how many ms it has been silent (beyond `miss_after`)."""
        return {node: {net: self._silence(node, net, now) for net in nets} for node, nets in self._targets.items()}

    def _silence(self, node: str, network: str, now: float) -> int:
        at = self._heard.get((node, network))
        if at is None:
            return NEVER
        refuses = now - self._refused.get(node, float("-inf")) < self.detection.refusal_valid
        bound = self.detection.restart_grace if refuses else self.detection.miss_after
        return HEARD if now - at < bound else int((now - at) * 1000)

    def misses_most(self, now: float) -> bool:
        """More than half of its known targets are silent on the management network, and there are at least two."""
        known = [o[MANAGEMENT] for o in self.observations(now).values() if o.get(MANAGEMENT, NEVER) != NEVER]
        return len(known) >= 2 and 2 * sum(silence >= 0 for silence in known) > len(known)


@dataclass(frozen=True, slots=True)
class Report:
    """One observer's word, as the manager received it at `at` (the manager's CLOCK_BOOTTIME)."""

    at: float
    self_suspect: bool
    targets: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A majority of a node's live observers misses it on a network."""

    since: float
    """When the first of the datagrams missed should have come (manager's clock)."""
    missed_by: tuple[str, ...]
    network: str


def suspicion(
    target: str, network: str, observers: Sequence[str], reports: Mapping[str, Report], now: float, detection: Detection
) -> Suspicion | None:
    """Is the target suspect on this network? A majority of its live observers, at least two where there are two, miss it.

    Live: reported within `report_valid`, does not suspect itself, and has ever heard the target on this network.
    """
    votes: dict[str, int] = {}
    ages: dict[str, float] = {}
    for observer in observers:
        report = reports.get(observer)
        if report is None or report.self_suspect or now - report.at > detection.report_valid:
            continue
        silence = report.targets.get(target, {}).get(network, NEVER)
        if silence != NEVER:
            votes[observer], ages[observer] = silence, now - report.at
    missed_by = tuple(sorted(observer for observer, silence in votes.items() if silence >= 0))
    if 2 * len(missed_by) <= len(votes) or len(missed_by) < min(2, len(votes)):
        return None
    silent_for = max(votes[observer] / 1000 + ages[observer] for observer in missed_by)
    return Suspicion(since=now - silent_for, missed_by=missed_by, network=network)
