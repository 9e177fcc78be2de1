"""A problem of room as a model of CP-SAT."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.make_room import RoomItem, RoomProblem
from holdfast.planning.move_rules import Choices

MOST_MOVES = 16
"""So many instances are moved at most to make room: each move costs the cluster's network and somebody's pause."""


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
    """Variables: item i runs on node n. One use. `moving` adds what must hold while moves are under way."""

    def __init__(
        self, library: Any, problem: RoomProblem, work_s: float, moving: Callable[[Choices], None] | None = None
    ) -> None:
        self._library = library
        self._work_s = work_s
        self._problem = problem
        self._model = library.CpModel()
        self._items = {item.id: item for item in problem.items}
        self._on: dict[tuple[str, str], Any] = {}
        """(item, node) → it runs there in the end."""
        self._runs: dict[str, Any] = {}
        """Item → sum of its variables."""
        choices = Choices(self._model, problem, self._on)
        self._demand = choices.demand
        for item in problem.items:
            self._place(item)
        self._capacities()
        for names, nodes in problem.separations():
            pairs = [(name, node) for name in names for node in nodes]
            self._model.add_at_most_one(self._on[pair] for pair in pairs if pair in self._on)
        for item in problem.items:
            if item.stoppable:
                self._reason_to_stop(item)
        self._model.add(self._moved() <= MOST_MOVES)
        if moving is not None:
            moving(choices)

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

    def _moved(self) -> Any:
        """How many instances are."""
        return sum(
            len(item.members) * self._on[item.id, node]
            for item in self._problem.items
            for node in item.nodes
            if item.movable and node != item.node
        )

    # --- objective ------------------------------------------------------------------------------------------------------

    def solve(self) -> Answer:
        """Each point of the objective in its turn, under the best that was found for those before it."""
        items = self._problem.items
        runs = sum(item.weight * self._runs[item.id] for item in items)
        stops = sum(item.weight * (1 - self._runs[item.id]) for item in items if item.stoppable)
        proven, answer = True, self._read(None, proven=False)
        for goal in (runs, -stops, -self._moved()):
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
