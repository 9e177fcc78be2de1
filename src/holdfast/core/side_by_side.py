"""Which failures do not get in each other's way: their plans, made one by one, hold together as they are.

Enough for a yes without another plan, and asked of all others at once by arrays. Where two plans touch (a rule that names
instances of both, somebody on both, one's target among the other's failed nodes) the answer is no, and says nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from holdfast.core.capacity import Amount, Amounts, Fleet, Mask
from holdfast.core.model import InstanceSpec

Unit = tuple[str, ...]
"""Nodes that fail together."""


class SideBySide:
    def __init__(
        self,
        fleet: Fleet,
        units: Sequence[Unit],
        placements: Sequence[Mapping[str, str] | None],
        specs: Mapping[str, InstanceSpec],
    ) -> None:
        """`placements`: for each unit where what it loses goes, or None where not all of it finds room."""
        arrays = fleet.arrays
        count, nodes = len(units), len(arrays.names)
        self._free = tuple(np.maximum(free, 0) for free in arrays.free)
        self._takes = tuple(np.zeros((count, nodes), np.int64) for _ in self._free)
        """Per resource: unit × node → how much its plan takes there."""
        self._aims = np.zeros((count, nodes), np.bool_)
        """Unit × node → its plan places something there."""
        self._fails = np.zeros((count, nodes), np.bool_)
        self._clash = np.zeros((count, count), np.bool_)
        """Unit × unit → their plans are not to be compared by amounts alone."""
        for number, (unit, placed) in enumerate(zip(units, placements, strict=True)):
            self._fails[number, [arrays.index[node] for node in unit]] = True
            if placed is None:
                self._clash[number, :] = self._clash[:, number] = True
                continue
            for instance, node in placed.items():
                at = arrays.index[node]
                self._aims[number, at] = True
                for takes, need in zip(self._takes, arrays.vector(Amount.of(specs[instance])), strict=True):
                    takes[number, at] += need
        self._mark_clashes(fleet, units, placements)
        # Not as truth values: those NumPy multiplies a hundred times more slowly.
        hits = self._aims.astype(np.float32) @ self._fails.astype(np.float32).T > 0
        self._clash |= hits | hits.T

    def _mark_clashes(
        self, fleet: Fleet, units: Sequence[Unit], placements: Sequence[Mapping[str, str] | None]
    ) -> None:
        unit_of = {node: number for number, unit in enumerate(units) for node in unit}
        owners = {name: {unit_of[node] for node in nodes if node in unit_of} for name, nodes in fleet.where.items()}
        for several in owners.values():  # lost only if all of them fail
            if len(several) > 1:
                self._mark_all(several, several)
        for number, placed in enumerate(placements):
            for instance in placed or ():
                group = fleet.rules.groups.get(instance)
                if group is not None:
                    named = {*group.members, *(name for bond in group.apart for name in bond.others)}
                    for name in named:
                        self._mark_all((number,), owners.get(name, ()))

    def _mark_all(self, some: Iterable[int], others: Iterable[int]) -> None:
        others = list(others)
        for one in some:
            for other in others:
                if one != other:
                    self._clash[one, other] = self._clash[other, one] = True

    def companions(self, prefix: Sequence[int]) -> Mask | None:
        """The units that may fail beside these; None if these already get in each other's way."""
        fine = np.ones(len(self._clash), np.bool_)
        sums = [np.zeros_like(free) for free in self._free]
        for number in prefix:
            if not fine[number]:
                return None
            sums = [before + takes[number] for before, takes in zip(sums, self._takes, strict=True)]
            fine = fine & ~self._clash[number] & self._room_beside(sums)
            fine[number] = False
        return fine

    def _room_beside(self, sums: Sequence[Amounts]) -> Mask:
        fine = np.ones(len(self._clash), np.bool_)
        for free, takes, taken in zip(self._free, self._takes, sums, strict=True):
            at = np.flatnonzero(taken)
            more = takes[:, at]
            fine &= ((more == 0) | (more + taken[at] <= free[at])).all(axis=1)
        return fine
