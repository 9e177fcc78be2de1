"""Evening out the load: which instances to move, and whether that is worth it. What needs nothing is no load: it is counted
(core/spreading.py).

A node's *load* is the fuller of its two resources, as a share of what instances may use. The *strain* of the cluster is the
sum of the squared loads: for the same work it is least where all nodes are equally loaded. A move gains what it takes off
the strain, and costs by how it is done: a live migration by the memory it copies, a stop and start by its interruption.
Moves are made one after the other as long as the best of them gains more than it costs; so the strain only falls, and it
ends.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.core import spreading
from holdfast.core.batch import Batch
from holdfast.core.capacity import MICRO
from holdfast.core.counts import counted
from holdfast.core.model import InstanceSpec
from holdfast.core.moves import Proposal, calm, liked_less, takes_part, undisturbed
from holdfast.core.placement import choose
from holdfast.core.reasons import LIVE_KINDS
from holdfast.core.view import InstanceView, NodeView, View

MOVES = 20
"""So many at most are proposed at once: the cluster changes meanwhile."""
LIVE_COST = 0.004
"""Of any live migration, in strain."""
COST_PER_GIB = 0.0005
"""Of each GiB that a live migration copies."""
RESTART_COST = 0.1
"""Of stopping and starting: worth it only where a node is crushed."""

BEGIN_SPREAD = 0.25
"""Automatic: the load of the fullest node is so much above the mean when it begins …"""
END_SPREAD = 0.10
"""… and less than this when it ends."""
QUIET_S = 300.0
"""Automatic: nothing is moved for its own sake so soon after a node failed or returned."""

Loads = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Balance:
    moves: tuple[Proposal, ...]
    """To be made in this order."""
    before: dict[str, float]
    """Node → load, 0 to 1, of the nodes that take part."""
    after: dict[str, float]


def strain(loads: dict[str, float]) -> float:
    return sum(load * load for load in loads.values())


def rebalance(
    view: View,
    now: float,
    *,
    limit: int = MOVES,
    restarts: bool = True,
    without: Collection[tuple[str, str]] = (),
) -> Balance:
    """What to move: first of what is weighed, then of what is counted (core/spreading.py). `restarts`: also what can only be
    stopped and started. `without`: none of these (instance, target). Only what runs undisturbed and in no group of strict
    affinity, to nodes that the rules like no less, and never against a lock."""
    scene = _Scene(view, now, restarts=restarts, without=without)
    before = scene.loads()
    moves: list[Proposal] = []
    while len(moves) < limit and (found := scene.best()) is not None:
        scene.make(found)
        moves.append(found)
    moves += spreading.by_hand(scene.batch, limit=limit - len(moves), restarts=restarts, without=without)
    return Balance(tuple(moves), before, scene.loads())


def spread(loads: dict[str, float]) -> float:
    """How far the fullest node is above the mean."""
    return max(loads.values()) - sum(loads.values()) / len(loads) if loads else 0.0


def automatic(
    view: View, now: float, *, balancing: bool, without: Collection[tuple[str, str]] = ()
) -> tuple[bool, Proposal | None]:
    """(whether it goes on evening out, the one move to make now). `balancing`: what it answered last time. `without`: as for
    `rebalance`."""
    if not _wanted(view) or not _calm(view, now):
        return balancing and _wanted(view), None
    scene = _Scene(view, now, restarts=False, without=without)
    balancing = spread(scene.loads()) >= (END_SPREAD if balancing else BEGIN_SPREAD)
    return balancing, scene.best() if balancing else None


def moments(view: View) -> Iterator[float]:
    """When time alone may let the automatic moves go on (core/horizon.py)."""
    if _wanted(view):
        for node in view.nodes.values():
            yield from (at + QUIET_S for at in _disturbances(view, node))


def _wanted(view: View) -> bool:
    return view.compute is not None and view.compute.rebalance == "auto"


def _calm(view: View, now: float) -> bool:
    """Nothing is out of order or under way, and has not been for a while."""
    if not calm(view, now):
        return False
    if any(now - at < QUIET_S for node in view.nodes.values() for at in _disturbances(view, node)):
        return False
    return not any(
        instance.move is not None or instance.bound_for or len(instance.executors(view.nodes)) > 1
        for instance in view.instances.values()
    )


def _disturbances(view: View, node: NodeView) -> Iterator[float]:
    """When it came (back), and when it failed; what an earlier term saw is as old as this one at least."""
    yield node.up_since
    for failure in node.health.failures if node.health else ():
        yield failure.at if failure.term == view.term else view.term_since


class _Candidate(NamedTuple):
    """An instance that may be moved."""

    spec: InstanceSpec
    memory: float
    """MiB."""
    cores: float
    """Millionths."""
    cost: float
    live: bool


class _Scene:
    """The nodes that take part, with all moves made so far."""

    def __init__(self, view: View, now: float, *, restarts: bool, without: Collection[tuple[str, str]]) -> None:
        self._without = without
        self.batch = Batch.of(view, now, ())
        fleet = self.batch.fleet
        open_nodes = [node for node in view.nodes.values() if takes_part(view, node, now)]
        capable = [node for node in open_nodes if node.memory_mib or node.cpu]
        self._names = sorted(node.id for node in capable)
        self._index = {name: number for number, name in enumerate(self._names)}
        rows = [fleet.arrays.index[name] for name in self._names]
        memory = np.array([view.nodes[name].memory_mib for name in self._names], np.float64)
        cores = np.array([view.nodes[name].cpu * MICRO for name in self._names], np.float64)
        # A node without a resource carries none of it; what asks for it there is refused, so the divisor does not matter.
        self._memory, self._cores = np.maximum(memory, 1.0), np.maximum(cores, 1.0)
        self._used_memory = memory - fleet.arrays.memory[rows]
        self._used_cores = cores - fleet.arrays.cores[rows]
        self._on: dict[str, list[_Candidate]] = {name: [] for name in self._names}
        for instance in view.instances.values():
            candidate = self._candidate(instance, restarts)
            if candidate is not None:
                self._on[self._node_of(instance)].append(candidate)
        for there in self._on.values():
            there.sort(key=lambda candidate: candidate.spec.id)

    def loads(self) -> dict[str, float]:
        return dict(zip(self._names, map(float, self._loads()), strict=True))

    def _loads(self) -> Loads:
        return np.maximum(self._used_memory / self._memory, self._used_cores / self._cores)

    def _node_of(self, instance: InstanceView) -> str:
        (node,) = self.batch.executors(instance)
        return node

    def _candidate(self, instance: InstanceView, restarts: bool) -> _Candidate | None:
        spec, placement = instance.spec, instance.placement
        if counted(spec) or placement is None or not undisturbed(self.batch, instance):
            return None
        if not self.batch.executors(instance) <= self._index.keys():
            return None
        live = spec.kind in LIVE_KINDS and not placement.migrate_failed
        if not live and not restarts:
            return None
        cost = LIVE_COST + COST_PER_GIB * spec.memory_mib / 1024 if live else RESTART_COST
        return _Candidate(spec, spec.memory_mib, spec.cpu * MICRO, cost, live)

    def best(self) -> Proposal | None:
        """The move that gains most beyond its cost; None if none does."""
        found: Proposal | None = None
        loads = self._loads()
        for number in np.argsort(-loads, kind="stable"):
            worth = found.gain - found.cost if found else 0.0
            if float(loads[number]) ** 2 <= worth + LIVE_COST:
                break  # no move from here takes off more than all of it
            for candidate in self._on[self._names[number]]:
                found = self._move(candidate, int(number), loads, worth) or found
                worth = found.gain - found.cost if found else 0.0
        return found

    def _move(self, candidate: _Candidate, source: int, loads: Loads, worth: float) -> Proposal | None:
        """Its best move, if that is worth more than `worth`."""
        memory, cores = candidate.memory, candidate.cores
        left = max(
            (self._used_memory[source] - memory) / self._memory[source],
            (self._used_cores[source] - cores) / self._cores[source],
        )
        relief = float(loads[source] ** 2 - left**2)
        if relief <= worth + candidate.cost:
            return None
        there = np.maximum((self._used_memory + memory) / self._memory, (self._used_cores + cores) / self._cores)
        gains = relief + loads**2 - there**2
        gains[source] = 0.0
        promising = np.flatnonzero(gains > worth + candidate.cost)
        for target in promising[np.argsort(-gains[promising], kind="stable")]:
            name = self._names[target]
            if self._permitted(candidate.spec, self._names[source], name):
                gain = float(gains[target])
                return Proposal(candidate.spec.id, self._names[source], name, candidate.live, gain, candidate.cost)
        return None

    def _permitted(self, spec: InstanceSpec, source: str, target: str) -> bool:
        """Nobody has ruled it out, the hard rules allow it, and the preferences do not mind."""
        if (spec.id, target) in self._without:
            return False
        if liked_less(self.batch, spec, source, target):
            return False
        return bool(choose(spec, self.batch.fleet, (target,), moving=True).node)

    def make(self, move: Proposal) -> None:
        source, target = self._index[move.source], self._index[move.target]
        (candidate,) = [here for here in self._on[move.source] if here.spec.id == move.instance]
        self._on[move.source].remove(candidate)
        self._on[move.target].append(candidate)
        self.batch.fleet.place(candidate.spec, move.target)
        self.batch.fleet.remove(candidate.spec, move.source)
        for used, amount in ((self._used_memory, candidate.memory), (self._used_cores, candidate.cores)):
            used[source] -= amount
            used[target] += amount
