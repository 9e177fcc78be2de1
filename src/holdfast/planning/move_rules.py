"""What must hold while moves are under way, as constraints of CP-SAT: two ways to say it.

`in_some_order` is exact and costs a variable for each pair of movable items and more; `all_at_once` is simple and asks for
more than is needed: every move has room even if nobody has left yet.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any

from holdfast.core.make_room import RoomItem, RoomProblem


@dataclass(frozen=True, slots=True)
class Demand:
    divisors: tuple[int, ...]
    """Per resource: what every demand is a multiple of; 0 where nobody needs any."""
    of: Mapping[str, tuple[int, ...]]
    """Item → demand in those multiples: exact, and small numbers make tight bounds."""


def _scaled(items: Sequence[RoomItem]) -> Demand:
    divisors = tuple(gcd(*column) for column in zip(*(item.demand for item in items), strict=True))
    of = {
        item.id: tuple(need // (divisor or 1) for need, divisor in zip(item.demand, divisors, strict=True))
        for item in items
    }
    return Demand(divisors, of)


@dataclass(slots=True)
class Choices:
    """A model in the making, and its variables."""

    model: Any
    problem: RoomProblem
    on: Mapping[tuple[str, str], Any]
    """(item, node) → it runs there in the end."""
    demand: Demand = field(init=False)

    def __post_init__(self) -> None:
        self.demand = _scaled(self.problem.items)

    def runs(self, item: RoomItem) -> Any:
        return sum(self.on[item.id, node] for node in item.nodes if (item.id, node) in self.on)

    def ever_on(self, item: RoomItem, nodes: Collection[str]) -> Any:
        """One that runs is on one of these at the beginning, after all stops, or in the end."""
        if item.node in nodes:
            return self.runs(item)
        return sum(self.on[item.id, node] for node in nodes if (item.id, node) in self.on)

    def may_come(self, node: str) -> list[RoomItem]:
        """Those that run elsewhere and may move to it."""
        return [item for item in self.problem.items if item.node not in ("", node) and (item.id, node) in self.on]


def all_at_once(choices: Choices) -> None:
    """Moves have room, and distance, beside everything that was there before them."""
    problem, demand = choices.problem, choices.demand
    for node in problem.nodes:
        there = {item.id: choices.runs(item) for item in problem.items if item.node == node.id}
        there |= {item.id: choices.on[item.id, node.id] for item in choices.may_come(node.id)}
        for number, divisor in enumerate(demand.divisors):
            if there and divisor:
                load = sum(demand.of[name][number] * present for name, present in there.items())
                choices.model.add(load <= node.room[number] // divisor)
    items = {item.id: item for item in problem.items if item.node}
    for names, nodes in problem.separations():
        near = [choices.ever_on(items[name], nodes) for name in names if name in items]
        if len(near) > 1:
            choices.model.add(sum(near) <= 1)


def in_some_order(choices: Choices) -> None:
    """Moves can be carried out one after the other, after all stops."""
    _Order(choices)


class _Order:
    def __init__(self, choices: Choices) -> None:
        model, problem, on = choices.model, choices.problem, choices.on
        self._choices = choices
        self._model = model
        self._problem = problem
        self._on = on
        self._demand = choices.demand
        self._running = [item for item in problem.items if item.node]
        self._movers = [item for item in self._running if item.movable]
        self._turn = {item.id: model.new_int_var(0, len(self._movers), f"turn of {item.id}") for item in self._movers}
        self._left: dict[tuple[str, str], Any] = {}
        """(a, b) → a has left its node when b comes. Two in the same turn count for each other as if still there."""
        self._presence: dict[tuple[str, str, str], Any] = {}
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
        there = [
            (other, present) for other in self._running if (present := self._present(other, node, mover)) is not None
        ]
        for names, nodes in self._problem.separations():
            if mover.id in names and node in nodes:
                for other in (other for other in self._running if other.id in names):
                    for near in nodes:
                        present = self._present(other, near, mover)
                        if present is not None:
                            self._model.add_implication(arrives, ~present)
        for number, divisor in enumerate(self._demand.divisors):
            need = self._demand.of[mover.id][number]
            if need:
                load = sum(self._demand.of[other.id][number] * present for other, present in there)
                self._model.add(load + need <= room[number] // divisor).only_enforce_if(arrives)

    def _present(self, other: RoomItem, node: str, mover: RoomItem) -> Any:
        """A variable: the other one is on the node when the mover comes to its own; None: it never is."""
        if other is mover or (other.node != node and (other.id, node) not in self._on):
            return None
        key = (other.id, node, mover.id)
        if key not in self._presence:
            present = self._presence[key] = self._model.new_bool_var(f"{other.id} on {node} when {mover.id} comes")
            # It is there at that moment unless it was stopped or has left, or, coming itself, comes later.
            if other.node == node:
                gone = [self._left[other.id, mover.id]] if other.movable else []
                stays = self._choices.runs(other) if other.stoppable else 1
                self._model.add(present >= stays - sum(gone))
            else:
                self._model.add(present >= self._on[other.id, node] - self._left[mover.id, other.id])
        return self._presence[key]
