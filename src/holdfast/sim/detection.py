"""Fast detection without datagrams: what observers would see and report, worked out from the state of the network.

Real beacons send and count five datagrams a second per pair of nodes, which is most of what there is to simulate. With
`detection: model` nobody sends them: silence is known from the moment at which the network broke. Thresholds, observers and
majorities are the real ones (`core.observers`). With `detection: datagrams` the real beacons run (docs/simulator.md).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.core.observers import HEARD, MANAGEMENT, NEVER, Report, Suspicion, observers_of, suspicion, targets_of
from holdfast.core.timing import Detection
from holdfast.core.view import is_member
from holdfast.manager.reports import Domains
from holdfast.sim.loop import LIFE
from holdfast.sim.network import NETWORKS

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

LOOKS_S = (0.0, 0.62, 0.85, 1.55, 2.2, 4.05, 5.6)
"""After a change of the network it is looked at again: at the thresholds of `Detection` and a little later."""
USELESS_LOSS = 0.5
"""Share of lost datagrams from which on observers miss a node most of the time."""


class Hearing:
    """Who has been hearing whom, and since when not, in true time."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.detection = Detection()
        self._audible: dict[tuple[str, str, str], bool] = {}
        """(observer, target, network): does the one hear the other now?"""
        self._since: dict[tuple[str, str, str], float] = {}
        """When that became so."""
        self._known: set[tuple[str, str, str]] = set()
        """The observer's present run has heard the target at least once."""
        self.complete = True
        """Everybody hears everybody whom it ever heard: nothing to look for."""
        self._runs: dict[str, int] = {}
        self._domains: dict[str, str] | None = None
        self.beacons: dict[str, ModelBeacon] = {}
        self.wakes: dict[str, Callable[[], None]] = {}
        """Managers to be woken, by node."""

    def refresh(self) -> None:
        """Power, processes or network have changed."""
        now, changed = self._world.loop.time(), False
        for observer in self._world.machines.values():
            self._forget(observer)
            for target in self._world.machines.values():
                if target is observer:
                    continue
                for network in NETWORKS:
                    key = (observer.name, target.name, network)
                    audible = self._hears(observer, target, network)
                    if audible != self._audible.get(key, False):
                        self._audible[key], self._since[key], changed = audible, now, True
                    if audible:
                        self._known.add(key)
        self.complete = all(self._audible[key] for key in self._known)
        if changed:
            for delay in LOOKS_S:
                self._world.loop.hardware(delay, self._look)

    def _forget(self, observer: "Machine") -> None:
        """A new run of an agent has heard nobody yet."""
        if self._runs.get(observer.name) != observer.runs:
            self._runs[observer.name] = observer.runs
            self._known = {key for key in self._known if key[0] != observer.name}

    def _hears(self, observer: "Machine", target: "Machine", network: str) -> bool:
        loss = self._world.network.loss
        lost = max(loss.get(observer.name, 0.0), loss.get(target.name, 0.0))
        speaks, listens = target.agent is not None, observer.agent is not None
        return (
            speaks and listens and lost < USELESS_LOSS and self._world.network.path(target.name, observer.name, network)
        )

    def _look(self) -> None:
        for beacon in list(self.beacons.values()):
            beacon.look()
        for wake in list(self.wakes.values()):
            wake()

    # --- what is seen

    def members_changed(self) -> None:
        self._domains = None

    def domains(self) -> Domains:
        """Members and their failure domains, as every node knows them a moment later."""
        if self._domains is None:
            history = self._world.history
            self._domains = {
                name: spec.failure_domain
                for name, spec in history.nodes.items()
                if is_member(history.beats.get(name), history.fences.get(name))
            }
        return self._domains

    def observation(self, observer: str, target: str, network: str) -> int:
        """HEARD, NEVER, or for how many milliseconds the observer has been missing the target."""
        key = (observer, target, network)
        if key not in self._known:
            return NEVER
        if self._audible[key]:
            return HEARD
        silent_s = self._world.loop.time() - self._since[key]
        alive = self._world.network.both(observer, target)
        bound = self.detection.restart_grace if alive else self.detection.miss_after
        return HEARD if silent_s < bound else int(silent_s * 1000)

    def missing_since(self, observer: str) -> float | None:
        """True time since which the observer misses most of its targets; None if it does not."""
        if self.complete:
            return None
        targets = targets_of(observer, self.domains(), self.detection.observers)
        known = {name: self.observation(observer, name, MANAGEMENT) for name in targets}
        seen = {name: silence for name, silence in known.items() if silence != NEVER}
        silent = [self._since[observer, name, MANAGEMENT] for name, silence in seen.items() if silence >= 0]
        if len(seen) < 2 or 2 * len(silent) <= len(seen):
            return None
        return sorted(silent)[len(seen) // 2] + self.detection.miss_after

    def suspects_self(self, observer: str) -> bool:
        """It misses most of its targets, and no beat of its own was committed since."""
        since, machine = self.missing_since(observer), self._world.machines[observer]
        if since is None or machine.agent is None:
            return False
        ago_s = (self._world.loop.time() - since) * machine.clock.rate
        return machine.agent.session.last_commit < machine.clock.now() - ago_s


class ModelDetector:
    """Port Detector of the manager on one node."""

    settled = True

    def __init__(self, world: "World", node: str, wake: Callable[[], None]) -> None:
        self._world = world
        self._node = node
        world.hearing.wakes[node] = wake

    def suspicion(self, node: str, network: str, domains: Domains) -> Suspicion | None:
        if self._world.hearing.complete:
            return None
        hearing, now = self._world.hearing, self._world.machines[self._node].clock.now()
        observers = observers_of(node, domains, hearing.detection.observers)
        seen = {observer: hearing.observation(observer, node, network) for observer in observers}
        if all(silence < 0 for silence in seen.values()):
            return None
        reports = {}
        for observer, silence in seen.items():
            if self._told_by(observer):
                reports[observer] = Report(now, hearing.suspects_self(observer), {node: {network: silence}})
        return suspicion(node, network, observers, reports, now, hearing.detection)

    def missed(self, domains: Domains) -> frozenset[str]:
        hearing = self._world.hearing
        if hearing.complete:
            return frozenset()
        trusted = [o for o in domains if self._told_by(o) and not hearing.suspects_self(o)]
        return frozenset(
            node
            for node in domains
            for o in observers_of(node, domains, hearing.detection.observers)
            if o in trusted and hearing.observation(o, node, MANAGEMENT) >= 0
        )

    def _told_by(self, observer: str) -> bool:
        """Do its reports come in, or did they until a moment ago?"""
        machine = self._world.machines[observer]
        return machine.agent is not None and self._world.network.path(observer, self._node)

    def next_look(self) -> float:
        """Never: `Hearing` wakes the manager."""
        return float("inf")


class ModelBeacon:
    """What the agent's Beacon tells the agent."""

    def __init__(
        self,
        world: "World",
        node: str,
        hurry: Callable[[], None],
        on_isolated: Callable[[bool], None],
        on_healed: Callable[[], None],
    ) -> None:
        self._hearing = world.hearing
        self._world = world
        self._node = node
        self._hurry = hurry
        self._on_isolated = on_isolated
        self._on_healed = on_healed
        self._missing: frozenset[str] = frozenset()
        self._missed_most = False
        if world.machines[node].agent_life is LIFE.get():  # and not a clone beside it
            world.hearing.beacons[node] = self

    def look(self) -> None:
        """As Beacon does four times in each of its periods."""
        machine = self._world.machines[self._node]
        if machine.frozen or machine.agent is None or machine.agent.beacon is not self:
            return
        self._say_healed()
        since = self._hearing.missing_since(self._node)
        if since is None:
            self._missed_most = False
            self._on_isolated(False)
            return
        if not self._missed_most:
            self._missed_most = True
            self._hurry()
        alone = self._hearing.suspects_self(self._node)
        if not alone or self._world.loop.time() - since > self._hearing.detection.miss_after:
            self._on_isolated(alone)

    def _say_healed(self) -> None:
        targets = targets_of(self._node, self._hearing.domains(), self._hearing.detection.observers)
        missing = frozenset(name for name in targets if self._hearing.observation(self._node, name, MANAGEMENT) >= 0)
        if self._missing - missing:
            self._on_healed()
        self._missing = missing
