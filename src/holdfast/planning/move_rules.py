"""What must hold while moves are under way, as constraints of CP-SAT: two ways to say it.

`in_some_order` is exact and costs a variable for each pair of movable items and more; `all_at_once` is simple and asks for
more than is needed: every move has room even if nobody has left yet.
"""

from collections.abc import Mapping, Sequence
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
        for names in problem.apart:
            near = [there[name] for name in sorted(names) if name in there]
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
                stays = self._choices.runs(other) if other.stoppable else 1
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
