"""The planner's second step in neutral words: what waits, what might give way, and what a solver answers.

Nothing here knows of views, agents or solvers, so that any solver can be put behind `Solver` (CP-SAT: `planning/cpsat.py`)
and any judge beside it. `core/neighbourhood.py` makes a problem from what the manager sees.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Vector = tuple[int, ...]
"""Whole numbers, one for each resource, in the same order throughout a problem."""


@dataclass(frozen=True, slots=True)
class RoomNode:
    id: str
    room: Vector
    """What the items of the problem may use here together, those that run here included: capacity less everything else."""
    domain: str = ""
    """Its failure domain; empty: one of its own."""


@dataclass(frozen=True, slots=True)
class RoomItem:
    """What is placed as one: an instance, or the members of a group of strict affinity."""

    members: tuple[str, ...]
    """Instances, sorted."""
    demand: Vector
    """Of all members together."""
    nodes: frozenset[str]
    """Nodes of the problem that may carry it, whatever else they carry; the one it runs on is among them."""
    priority: int
    """The highest of its members'."""
    weight: int
    """Sum over its members of priority + 1: what it is worth that it runs."""
    node: str = ""
    """Where it runs; empty: it runs nowhere and waits for room."""
    movable: bool = False
    """It may be migrated while it runs."""
    stoppable: bool = False
    """It may be stopped where something of a higher priority arrives on its node."""

    @property
    def id(self) -> str:
        return self.members[0]


@dataclass(frozen=True, slots=True)
class RoomProblem:
    nodes: tuple[RoomNode, ...]
    """Sorted by id."""
    items: tuple[RoomItem, ...]
    """Sorted by id. One that runs and may neither move nor be stopped is no item: the room is less by it."""
    apart: tuple[frozenset[str], ...] = ()
    """Sets of items (ids) of which no two may be on one node at any time."""
    apart_by_domain: tuple[frozenset[str], ...] = ()
    """The same of failure domains."""
    whole: bool = True
    """False: the problem was cut down to a neighbourhood, so that the best answer to it may not be the best of all."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """Waiting instance → why this problem does not ask for it."""

    def separations(self) -> Iterator[tuple[list[str], tuple[str, ...]]]:
        """(items, nodes): no two of these items may be on these nodes at any time, neither on one nor on two of them. Both
        are sorted."""
        domains: dict[str, list[str]] = {}
        for node in self.nodes:
            domains.setdefault(f"domain {node.domain}" if node.domain else f"node {node.id}", []).append(node.id)
        for names in map(sorted, self.apart):
            yield from ((names, (node.id,)) for node in self.nodes)
        for names in map(sorted, self.apart_by_domain):
            yield from ((names, tuple(nodes)) for nodes in domains.values())


@dataclass(frozen=True, slots=True)
class Move:
    instance: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RoomSolution:
    """First stop `stopped`, then migrate one after the other in the order of `moves` (each has room on its target while the
    source still holds it), then start `placed`."""

    placed: Mapping[str, str] = field(default_factory=dict)
    """Waiting instance → node."""
    moves: tuple[Move, ...] = ()
    stopped: tuple[str, ...] = ()
    proven: bool = False
    """No other answer to the problem places more, then stops less, then moves less."""
    why: str = ""
    """Why there is no answer, or no proof; empty if there are both."""


class Solver(Protocol):
    """The second step. Its objective, each point before the next: most weight of items that run; least weight of items that
    are stopped; fewest instances moved. An item is stopped only where an item of a higher priority arrives on its node."""

    def solve(self, problem: RoomProblem) -> RoomSolution:
        """The same answer to the same problem on every machine, within a limited amount of work. Never raises for want of
        time or of a library: the answer is then empty, or not proven, and says why."""
        ...
