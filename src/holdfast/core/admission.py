"""Admission control: would everything that runs find room again after any N failures of nodes?

Only sets of exactly N nodes are asked: what survives a set survives each part of it. A count (core/enough.py) answers for
very many sets at once. What it leaves is answered one by one: by the plans for the single nodes, if these do not get in each
other's way; then by a plan of its own, as recovery would make it; only where that leaves something over, by the solver. So
every yes is backed by a proof or by a plan.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import comb

from holdfast.core.enough import Enough
from holdfast.core.make_room import RoomProblem, RoomSolution, Solver
from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.core.plan import Planner
from holdfast.core.side_by_side import SideBySide, Unit
from holdfast.core.view import View

BUDGET = 400_000
"""Placements tried for one answer, some fifteen seconds' worth of work; the answer says whether that covered every set."""
STEP = 2
"""What it costs to count for many sets at once, in placements."""
SOLVES = 50
"""Sets for which the solver is asked for one answer."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What is true of every set of `tolerate` failures."""

    tolerate: int
    survivable: bool
    """Of all sets that were checked: whatever ran before has room after."""
    worst: tuple[str, ...] = ()
    """The failed nodes after which most priority-weighted work finds no room (of equals the first by name); empty if there
    are none."""
    unplaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What would find no room then → for each node why."""
    checked: int = 0
    """Sets that were answered."""
    complete: bool = True
    """No set is left out."""
    exact: bool = True
    """False: no room was found after the worst set, but that there is none is not proven (no solver, or too little work)."""
    waiting: tuple[str, ...] = ()
    """What has no room already now. It is not counted: no failure is to blame."""

    @property
    def holds(self) -> bool:
        """Everything has room, now and after every set."""
        return self.survivable and not self.waiting

    @property
    def text(self) -> str:
        """One sentence or two for people."""
        what = "the failure of one node" if self.tolerate == 1 else f"the failure of any {self.tolerate} nodes"
        if self.survivable:
            said = f"there is room for everything after {what}"
        else:
            count = len(self.unplaced)
            lost = f"{min(self.unplaced)} would" if count == 1 else f"{count} instances would"
            said = f"if {' and '.join(self.worst)} failed, {lost} find no room" + (
                "" if self.exact else " (not proven)"
            )
        return said if self.complete else f"{said}; only {self.checked} sets of failures were checked"


def survives(
    view: View,
    tolerate: int,
    solver: Solver | None = None,
    *,
    now: float | None = None,
    role: Role | None = None,
    domains: bool = False,
    budget: int = BUDGET,
) -> Guarantee:
    """`role`: only instances of that role are asked for; the others take room and are recovered as well, but that they find
    none is no matter here. `domains`: nodes of one failure domain fail together, as one of the `tolerate` failures. `now`
    as for `plan.evacuate`.

    Does not count: what is off, what waits for its own node by its owner's wish, what runs everywhere anyway, what waits for
    room already. What is preemptible counts: room that is made by stopping something is no room for everything."""
    gentle = _Gentle(solver) if solver is not None else None
    asked = frozenset(name for name, instance in view.instances.items() if _asked(instance.spec, role))
    planner = Planner(view, now)
    waiting = planner.evacuate((), gentle).shortfall
    if waiting:
        counted = {name: instance for name, instance in view.instances.items() if name not in waiting}
        view = replace(view, instances=counted)
        planner = Planner(view, now)
    search = _Search(view, planner, _units(view, domains), asked, budget)
    search.ask_all(tolerate)
    found = search.worst(gentle)
    waiting = tuple(name for name in waiting if name in asked)
    checked, complete = search.checked, search.complete
    if found is None:
        return Guarantee(tolerate, True, checked=checked, complete=complete, waiting=waiting)
    return Guarantee(tolerate, False, found.nodes, found.unplaced, checked, complete, found.exact, waiting)


def _asked(spec: InstanceSpec, role: Role | None) -> bool:
    return spec.exclusivity is not Exclusivity.EVERYWHERE and role in (None, spec.role)


def _units(view: View, domains: bool) -> list[Unit]:
    """What may fail as one: nodes that are up."""
    units: dict[str, list[str]] = {}
    for name in sorted(view.nodes):
        node = view.nodes[name]
        domain = node.spec.failure_domain if domains else ""
        if node.member:
            units.setdefault(f"domain {domain}" if domain else f"node {name}", []).append(name)
    return sorted(tuple(unit) for unit in units.values())


@dataclass(frozen=True, slots=True)
class _Loss:
    """After a set of failures not everything found room."""

    nodes: Unit
    weight: int
    unplaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    exact: bool = True

    @property
    def order(self) -> tuple[int, Unit]:
        """The worst first."""
        return (-self.weight, self.nodes)


class _Search:
    """All sets of failures of one view."""

    def __init__(self, view: View, planner: Planner, units: Sequence[Unit], asked: frozenset[str], budget: int) -> None:
        self._view = view
        self._asked = asked
        self._planner = planner
        self._budget = budget
        self.checked = 0
        self.complete = True
        self._losses: list[_Loss] = []
        useful = self._useful()
        units = [unit for unit in units if not useful.isdisjoint(unit)]
        carried = dict.fromkeys(units, 0)
        self._costs = dict.fromkeys(units, 1)
        """Unit → placements to try when it fails, and a little more."""
        unit_of = {node: unit for unit in units for node in unit}
        for name, nodes in self._planner.fleet.where.items():
            for unit in {unit_of[node] for node in nodes if node in unit_of}:
                carried[unit] += self._weight((name,))
                self._costs[unit] += 1
        # The fullest first: if the budget ends before the sets do, those that hurt most have been asked.
        self._units = sorted(units, key=lambda unit: (-carried[unit], unit))

    def _useful(self) -> set[str]:
        """Nodes that carry something or could: without another one nothing changes."""
        fleet = self._planner.fleet
        able = fleet.arrays.among(node for nodes in fleet.where.values() for node in nodes)
        for instance in self._view.instances.values():
            able = able | fleet.arrays.eligible(instance.spec)
        return {fleet.arrays.names[number] for number in able.nonzero()[0]}

    def _weight(self, names: Iterable[str]) -> int:
        """Priority-weighted work."""
        return sum(self._view.instances[name].spec.priority + 1 for name in names)

    # --- every set ------------------------------------------------------------------------------------------------------

    def ask_all(self, size: int) -> None:
        size = min(size, len(self._units))
        self._enough = Enough(self._view, self._planner.fleet, self._units, self._asked)
        if size:
            self._ask_from((), 0, size)
        else:
            self._ask(())

    def _ask_from(self, chosen: tuple[int, ...], start: int, more: int) -> None:
        """Every set of the chosen units and so many more from `start` on; the fullest first."""
        if self._budget <= 0:
            self.complete = False
            return
        self._budget -= STEP
        if self._enough.every(chosen, start, more):
            self.checked += comb(len(self._units) - start, more)
        elif more == 1:
            self._ask_last(chosen, start)
        else:
            for number in range(start, len(self._units) - more + 1):
                self._ask_from((*chosen, number), number + 1, more - 1)

    def _ask_last(self, chosen: tuple[int, ...], start: int) -> None:
        fine = self._enough.beside(chosen, start)
        beside = self._beside.companions(chosen) if chosen and not fine.all() else None
        if beside is not None:
            fine = fine | beside[start:]
        self.checked += int(fine.sum())
        for number in start + (~fine).nonzero()[0]:
            self._ask([self._units[one] for one in (*chosen, int(number))])

    @cached_property
    def _beside(self) -> SideBySide:
        plans = [self._planner.evacuate(unit) for unit in self._units]
        self._budget -= sum(self._costs.values())
        specs = {name: instance.spec for name, instance in self._view.instances.items()}
        whole = [None if self._counting(plan.shortfall) else plan.placements for plan in plans]
        return SideBySide(self._planner.fleet, self._units, whole, specs)

    def _ask(self, units: Sequence[Unit]) -> None:
        if self._budget <= 0:
            self.complete = False
            return
        self._budget -= sum(self._costs[unit] for unit in units)
        self.checked += 1
        nodes = tuple(sorted(node for unit in units for node in unit))
        short = self._counting(self._planner.shortfall(nodes))
        if short:
            self._losses.append(_Loss(nodes, self._weight(short)))

    def _counting(self, short: Iterable[str]) -> list[str]:
        """Those that are asked for."""
        return [name for name in short if name in self._asked]

    # --- the worst one --------------------------------------------------------------------------------------------------

    def worst(self, solver: "_Gentle | None") -> _Loss | None:
        """None if everything finds room after each. Room that is made only lessens a loss, so that the solver is asked for
        the worst first, and no more once nothing worse can come."""
        worst: _Loss | None = None
        for number, loss in enumerate(sorted(self._losses, key=lambda loss: loss.order)):
            if worst is not None and worst.order <= loss.order:
                break
            if solver is not None and number >= SOLVES:
                self.complete = False
                solver = None
            exact = self._told(loss.nodes, solver)
            if exact.weight > loss.weight:  # room was made for others than those that are asked for
                exact = self._told(loss.nodes, None)
            if exact.weight and (worst is None or exact.order < worst.order):
                worst = exact
        return worst

    def _told(self, nodes: Unit, solver: "_Gentle | None") -> _Loss:
        if solver is not None:
            solver.proven = True
        plan = self._planner.evacuate(nodes, solver)
        short = self._counting(plan.shortfall)
        unplaced = {name: plan.unplaced[name] for name in short}
        return _Loss(nodes, self._weight(short), unplaced, solver is not None and solver.proven)


class _Gentle:
    """A solver that stops nothing, and remembers whether its answers are proven."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self.proven = True

    def solve(self, problem: RoomProblem) -> RoomSolution:
        items = tuple(replace(item, stoppable=False) for item in problem.items)
        solution = self._solver.solve(replace(problem, items=items))
        self.proven = self.proven and solution.proven and problem.whole
        return solution
