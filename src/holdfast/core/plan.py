"""What recovery would do if nodes failed: the same choices in the same order as `decide` makes them, without doing anything.

One `Planner` answers for many sets of nodes: each answer is tried out on one `Fleet` and taken back again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.core.batch import counters_of
from holdfast.core.capacity import Fleet
from holdfast.core.make_room import RoomSolution, Solver
from holdfast.core.model import Desired, Exclusivity, InstanceSpec
from holdfast.core.neighbourhood import room_problem
from holdfast.core.placement import Choice, choose, placement_order, rules_of
from holdfast.core.view import InstanceView, View

ITS_NODE = "waits for its node by its owner's wish"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything that lost its node goes, and what would not fit."""

    placements: Mapping[str, str]
    """Instance that is to run → its new node; also what had found no room before and now does."""
    unplaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Instance that is to run and would not → for each node why. What waits now and would go on waiting is among them."""
    moved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Instance that gives way while it runs → from, to; in the order of the moves."""
    stopped: tuple[str, ...] = ()
    """Instances that give way by waiting: their owners allow it, and what needs the room has a higher priority."""
    homes: Mapping[str, str] = field(default_factory=dict)
    """Instance that is off and stays off → the node where it would be started."""
    shortfall: tuple[str, ...] = ()
    """Of `unplaced`, what there should be room for: all but those that wait for their own node by their owner's wish, and
    copies of what runs everywhere."""


def evacuate(view: View, failed: Collection[str], solver: Solver | None = None, *, now: float | None = None) -> Plan:
    """What recovery would do if these nodes were claimed. `now`: the observer's CLOCK_BOOTTIME, seconds; None: the moment of
    the newest beat. With a solver, room is made for what does not fit otherwise."""
    return Planner(view, now).evacuate(failed, solver)


class Planner:
    """A view, compiled once to be asked what would happen."""

    def __init__(self, view: View, now: float | None = None) -> None:
        if now is None:
            now = max((node.beat_seen_at for node in view.nodes.values()), default=0.0)
        self._view = view
        executors = {name: instance.executors(view.nodes) for name, instance in view.instances.items()}
        where = {name: nodes for name, nodes in executors.items() if nodes}
        specs = [instance.spec for instance in view.instances.values()]
        rules = rules_of(view)
        self.fleet = Fleet(view.nodes, specs, where, view.timing, now, rules)
        self._rank = {spec.id: number for number, spec in enumerate(placement_order(specs, rules))}
        self._residents: dict[str, list[InstanceView]] = {name: [] for name in view.nodes}
        """Node → what may execute there."""
        self._homes: dict[str, list[InstanceView]] = {}
        """Node → what is off and would be started there; under "": what has no such node."""
        self._waiting: list[InstanceView] = []
        """What is to run and may be placed anywhere already."""
        for instance in view.instances.values():
            for node in where.get(instance.id, ()):
                self._residents[node].append(instance)
            if instance.id in where:
                continue
            if instance.spec.desired is Desired.STARTED:
                self._waiting.append(instance)
            elif instance.spec.desired is Desired.STOPPED:
                self._homes.setdefault(_home(view, instance), []).append(instance)

    def evacuate(self, failed: Collection[str], solver: Solver | None = None) -> Plan:
        """As the function. Nodes that do not exist are not asked for."""
        mark = self.fleet.mark()
        try:
            attempt = _Attempt(self._view, self.fleet)
            attempt.place(self._displaced(failed))
            if solver is not None and attempt.short:
                attempt.make_room(solver)
            attempt.rehome(sorted(self._off(failed), key=self._order))
            return attempt.plan()
        finally:
            self.fleet.restore(mark)

    def shortfall(self, failed: Collection[str]) -> tuple[str, ...]:
        """Only `Plan.shortfall`, without a solver: for very many questions."""
        mark = self.fleet.mark()
        try:
            attempt = _Attempt(self._view, self.fleet)
            attempt.place(self._displaced(failed))
            return tuple(instance.id for instance in attempt.short)
        finally:
            self.fleet.restore(mark)

    def _displaced(self, failed: Collection[str]) -> list[InstanceView]:
        """Let these nodes fail. What is to run and runs nowhere then, in the order in which it is placed."""
        displaced = list(self._waiting)
        for node in failed:
            self.fleet.fail(node)
        for node in failed:
            for instance in self._residents[node]:
                self.fleet.remove(instance.spec, node)
                if instance.spec.desired is Desired.STARTED and instance.id not in self.fleet.where:
                    displaced.append(instance)
        return sorted(displaced, key=self._order)

    def _off(self, failed: Collection[str]) -> Iterable[InstanceView]:
        yield from self._homes.get("", ())
        for node in failed:
            yield from self._homes.get(node, ())
            stopping = (i for i in self._residents[node] if i.spec.desired is Desired.STOPPED)
            yield from (instance for instance in stopping if instance.id not in self.fleet.where)

    def _order(self, instance: InstanceView) -> int:
        return self._rank[instance.id]


def _home(view: View, instance: InstanceView) -> str:
    placement = instance.placement
    node = view.nodes.get(placement.node) if placement is not None else None
    return node.id if node is not None and placement and node.fence.epoch == placement.fence_epoch else ""


class _Attempt:
    """One answer, being tried out on the fleet."""

    def __init__(self, view: View, fleet: Fleet) -> None:
        self._view = view
        self._fleet = fleet
        self.placements: dict[str, str] = {}
        self.short: list[InstanceView] = []
        """There is no room for them."""
        self._bound: list[InstanceView] = []
        """They wait for their own nodes."""
        self._spare: list[InstanceView] = []
        """Copies of what runs everywhere: there is no room for them, and none is made."""
        self._homes: dict[str, str] = {}
        self._solution = RoomSolution()

    def place(self, instances: Iterable[InstanceView]) -> None:
        """In this order."""
        left = [instance for instance in instances if not self._put(instance)]
        # One of a group that is placed draws along those that stood before it and waited.
        while any(self._put(instance) for instance in left if len(self._group(instance)) > 1):
            left = [instance for instance in left if instance.id not in self.placements]
        for instance in left:
            if self._among(instance) is not None:
                self._bound.append(instance)
            elif instance.spec.exclusivity is Exclusivity.EVERYWHERE:
                self._spare.append(instance)
            else:
                self.short.append(instance)

    def _put(self, instance: InstanceView) -> bool:
        node = self._choice(instance).node
        if node:
            self.placements[instance.id] = node
            self._fleet.place(instance.spec, node)
        return bool(node)

    def _group(self, instance: InstanceView) -> tuple[str, ...]:
        return self._fleet.rules.group(instance.id).members

    def _choice(self, instance: InstanceView) -> Choice:
        placement, move = instance.placement, instance.move
        source = placement.node if placement else ""
        wanted = move.node if move else placement.next_node if placement else ""
        avoid = source if move is not None and not move.node else ""
        tried = counters_of(instance)[1]
        return choose(instance.spec, self._fleet, self._among(instance), wanted=wanted, avoid=avoid, tried=tried)

    def _among(self, instance: InstanceView) -> Collection[str] | None:
        """As `Batch.candidates`, after the failures."""
        rules, where = self._fleet.rules, self._fleet.where
        if self._view.recovers(instance.spec):
            return None
        mates = [name for name in self._group(instance) if name != instance.id and where.get(name)]
        if any(rules.specs[name].desired is Desired.STARTED for name in mates if name in rules.specs):
            return None
        nodes = self._view.candidates(instance, self._fleet.failed)
        return None if nodes is self._view.nodes else nodes

    # --- the second step --------------------------------------------------------------------------------------------------

    def make_room(self, solver: Solver) -> None:
        """What was placed is not there yet and may go elsewhere, too. An answer that is no better than what there is, is not
        taken."""
        problem = room_problem(self._view, self._fleet, [i.id for i in self.short], list(self.placements))
        solution = solver.solve(problem)
        asked = [name for item in problem.items if not item.node for name in item.members]
        before = self._worth(name for name in asked if name in self.placements)
        if self._worth(solution.placed) - self._worth(solution.stopped) <= before:
            return
        self._solution = solution
        for name in asked:
            if name in self.placements:
                self._fleet.remove(self._spec(name), self.placements.pop(name))
        for name in solution.stopped:
            for node in self._fleet.where.get(name, ()):
                self._fleet.remove(self._spec(name), node)
        for move in solution.moves:
            self._fleet.remove(self._spec(move.instance), move.source)
            self._fleet.place(self._spec(move.instance), move.target)
        for name, node in solution.placed.items():
            self.placements[name] = node
            self._fleet.place(self._spec(name), node)
        left = {instance.id for instance in (*self.short, *self._bound, *self._spare)}
        waiting = {*asked, *left} - self.placements.keys()
        self.short, self._bound, self._spare = [], [], []
        ordered = placement_order(map(self._spec, waiting), self._fleet.rules)
        self.place(self._view.instances[spec.id] for spec in ordered)

    def _worth(self, names: Iterable[str]) -> int:
        return sum(self._spec(name).priority + 1 for name in names)

    def _spec(self, name: str) -> InstanceSpec:
        return self._view.instances[name].spec

    # --- the answer -------------------------------------------------------------------------------------------------------

    def rehome(self, instances: Iterable[InstanceView]) -> None:
        """What is off takes no room, but its home should have some."""
        for instance in instances:
            node = choose(instance.spec, self._fleet).node
            if not node:
                node = choose(instance.spec, self._fleet, weightless=True).node
            if node:
                self._homes[instance.id] = node

    def plan(self) -> Plan:
        unplaced = {instance.id: self._reasons(instance) for instance in (*self.short, *self._spare)}
        for instance in self._bound:
            its = instance.placement.node if instance.placement is not None else instance.spec.home
            unplaced[instance.id] = {its: ITS_NODE}
        moves = self._solution.moves
        moved: dict[str, tuple[str, str]] = {}
        for move in moves:
            first = moved.get(move.instance, (move.source,))[0]
            moved[move.instance] = (first, move.target)
        return Plan(
            self.placements,
            unplaced,
            moved,
            self._solution.stopped,
            self._homes,
            tuple(instance.id for instance in self.short),
        )

    def _reasons(self, instance: InstanceView) -> dict[str, str]:
        choice = self._choice(instance)
        if choice.waits:
            return dict.fromkeys(sorted(self._fleet.nodes), choice.waits)
        return {node: choice.reasons[node] for node in sorted(choice.reasons)}
