"""A problem of room as a model of CP-SAT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from holdfast.core.make_room import RoomItem, RoomProblem


@dataclass(frozen=True, slots=True)
class Answer:
    """By ids of items."""

    placed: Mapping[str, str]
    """Item that waited → node."""
    targets: Mapping[str, str]
    """Item that moves → node."""
    stopped: frozenset[str]
    proven: bool


class RoomModel:
    """Variables: item i runs on node n; with `ordered` also who has left before whom comes. One use."""

    def __init__(self, library: Any, problem: RoomProblem, work_s: float, *, ordered: bool = False) -> None:
        self._library = library
        self._work_s = work_s
        self._problem = problem
        self._model = library.CpModel()
        self._items = {item.id: item for item in problem.items}
        self._on: dict[tuple[str, str], Any] = {}
        """(item, node) → it runs there in the end."""
        self._runs: dict[str, Any] = {}
        """Item → sum of its variables."""
        self._demand = _scaled(problem.items)
        for item in problem.items:
            self._place(item)
        self._capacities()
        for names in problem.apart:
            for node in problem.nodes:
                self._model.add_at_most_one(self._on[name, node.id] for name in names if (name, node.id) in self._on)
        for item in problem.items:
            if item.stoppable:
                self._reason_to_stop(item)
        if ordered:
            _Order(self._model, problem, self._on, self._demand)

    # --- rules ----------------------------------------------------------------------------------------------------------

    def _place(self, item: RoomItem) -> None:
        nodes = sorted(item.nodes) if item.movable or not item.node else [item.node]
        choices = [self._model.new_bool_var(f"{item.id} on {node}") for node in nodes]
        for node, variable in zip(nodes, choices, strict=True):
            self._on[item.id, node] = variable
            self._model.add_hint(variable, node == item.node)
        self._runs[item.id] = sum(choices)
        if item.node and not item.stoppable:
            self._model.add_exactly_one(choices)
        else:
            self._model.add_at_most_one(choices)

    def _capacities(self) -> None:
        for node in self._problem.nodes:
            here = [name for name in self._items if (name, node.id) in self._on]
            for number, divisor in enumerate(self._demand.divisors):
                load = sum(self._demand.of[name][number] * self._on[name, node.id] for name in here)
                if here and divisor:
                    self._model.add(load <= node.room[number] // divisor)

    def _reason_to_stop(self, item: RoomItem) -> None:
        worthy = [
            self._on[other.id, item.node]
            for other in self._problem.items
            if other.priority > item.priority and other.node != item.node and (other.id, item.node) in self._on
        ]
        self._model.add(self._runs[item.id] + sum(worthy) >= 1)

    # --- objective ------------------------------------------------------------------------------------------------------

    def solve(self) -> Answer:
        """Each point of the objective in its turn, under the best that was found for those before it."""
        items = self._problem.items
        runs = sum(item.weight * self._runs[item.id] for item in items)
        stops = sum(item.weight * (1 - self._runs[item.id]) for item in items if item.stoppable)
        stays = sum(len(item.members) * self._on[item.id, item.node] for item in items if item.movable and item.node)
        stay_or_stop = stays + sum(
            len(item.members) * (1 - self._runs[item.id]) for item in items if item.movable and item.stoppable
        )
        proven, answer = True, self._read(None, proven=False)
        # What is stopped is not moved: it counts as if it stayed.
        for goal in (runs, -stops, stay_or_stop):
            if isinstance(goal, int):
                continue
            best, optimal, values = self._maximize(goal)
            proven = proven and optimal
            if values is None:
                break
            answer = self._read(values, proven=proven)
            self._model.add(goal >= best)
            self._model.clear_hints()
            for variable, value in values.items():
                self._model.add_hint(self._on[variable], value)
        return answer

    def _maximize(self, goal: Any) -> tuple[int, bool, dict[tuple[str, str], bool] | None]:
        """(value, proven, variables) of the best found; no variables: nothing was found within the limit."""
        solver = self._library.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        solver.parameters.max_deterministic_time = self._work_s / 3
        self._model.maximize(goal)
        status = solver.solve(self._model)
        if status not in (self._library.OPTIMAL, self._library.FEASIBLE):
            return 0, False, None
        values = {key: solver.boolean_value(variable) for key, variable in self._on.items()}
        return round(solver.objective_value), status == self._library.OPTIMAL, values

    def _read(self, values: Mapping[tuple[str, str], bool] | None, *, proven: bool) -> Answer:
        if values is None:
            return Answer({}, {}, frozenset(), proven)
        on = {item: node for (item, node), value in values.items() if value}
        before = {item.id: item.node for item in self._problem.items}
        return Answer(
            placed={item: node for item, node in on.items() if not before[item]},
            targets={item: node for item, node in on.items() if before[item] not in ("", node)},
            stopped=frozenset(item for item, node in before.items() if node and item not in on),
            proven=proven,
        )


@dataclass(frozen=True, slots=True)
class _Demand:
    divisors: tuple[int, ...]
    """Per resource: what every demand is a multiple of; 0 where nobody needs any."""
    of: Mapping[str, tuple[int, ...]]
    """Item → demand in those multiples: exact, and small numbers make tight bounds."""


def _scaled(items: Sequence[RoomItem]) -> _Demand:
    divisors = tuple(gcd(*column) for column in zip(*(item.demand for item in items), strict=True))
    of = {
        item.id: tuple(need // (divisor or 1) for need, divisor in zip(item.demand, divisors, strict=True))
        for item in items
    }
    return _Demand(divisors, of)


class _Order:
    """Adds to a model that its moves can be carried out one after the other, after all stops."""

    def __init__(self, model: Any, problem: RoomProblem, on: Mapping[tuple[str, str], Any], demand: _Demand) -> None:
        self._model = model
        self._problem = problem
        self._on = on
        self._demand = demand
        self._running = [item for item in problem.items if item.node]
        self._movers = [item for item in self._running if item.movable]
        self._turn = {item.id: model.new_int_var(0, len(self._movers), f"turn of {item.id}") for item in self._movers}
        self._left: dict[tuple[str, str], Any] = {}
        """(a, b) → a has left its node when b comes. Two in the same turn count for each other as if still there."""
        for first in self._movers:
            for second in self._movers:
                if first is not second:
                    self._left[first.id, second.id] = self._before(first, second)
        for mover in self._movers:
            for node in problem.nodes:
                if node.id != mover.node and (mover.id, node.id) in on:
                    self._arrival(mover, node.id, node.room)

    def _before(self, first: RoomItem, second: RoomItem) -> Any:
        left = self._model.new_bool_var(f"{first.id} leaves before {second.id}")
        self._model.add(self._turn[first.id] < self._turn[second.id]).only_enforce_if(left)
        self._model.add_implication(left, ~self._on[first.id, first.node])
        return left

    def _arrival(self, mover: RoomItem, node: str, room: Sequence[int]) -> None:
        """What is on the node when it comes leaves room for it, and nobody is there from whom it must be apart."""
        arrives = self._on[mover.id, node]
        there = []
        for other in self._running:
            if other is mover or (other.node != node and (other.id, node) not in self._on):
                continue
            present = self._model.new_bool_var(f"{other.id} on {node} when {mover.id} comes")
            there.append((other, present))
            # It is there at that moment unless it was stopped or has left, or, coming itself, comes later.
            if other.node == node:
                gone = [self._left[other.id, mover.id]] if other.movable else []
                stays = self._runs(other) if other.stoppable else 1
                self._model.add(present >= stays - sum(gone))
            else:
                self._model.add(present >= self._on[other.id, node] - self._left[mover.id, other.id])
            if any({mover.id, other.id} <= names for names in self._problem.apart):
                self._model.add_implication(arrives, ~present)
        for number, divisor in enumerate(self._demand.divisors):
            need = self._demand.of[mover.id][number]
            if need:
                load = sum(self._demand.of[other.id][number] * present for other, present in there)
                self._model.add(load + need <= room[number] // divisor).only_enforce_if(arrives)

    def _runs(self, item: RoomItem) -> Any:
        return sum(variable for (name, _), variable in self._on.items() if name == item.id)
