"""Is there enough for all, wherever it goes? A count that proves it for very many sets of failures at once.

Recovery gives up on an instance only when *every* node that may carry it lacks room for it. To bring that about, what was
placed before must have filled each of these nodes beyond what is free there less what the instance needs. So if all that a
set of failures displaces, without the instance, is less than the sum of that over the nodes that are left, the instance has
found a node, whatever the order and whichever nodes were chosen. This is true of the set if it is true of the largest
instance on it: for a smaller one the sum only grows.

Several resources are measured by one: the *size* of an instance is the largest of its shares of all that is asked of each
resource, the *gap* of a node the smallest of what is free there in the same shares. What is placed on a node takes of each
resource at most its size. An instance that must be apart from k others may be refused by k more nodes (by as many failure
domains, if a rule is about these): the widest are left out of its sum. A group of strict affinity is one instance here.

The count never says no. Where it is not enough (little room, much that must be apart) a set is to be answered by a plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.core.capacity import Amount, Fleet, Mask
from holdfast.core.groups import Group
from holdfast.core.model import Desired, InstanceSpec
from holdfast.core.side_by_side import Unit
from holdfast.core.view import InstanceView, View

Sizes = npt.NDArray[np.float64]

MARGIN = 1e-9
"""Sums of shares are not exact."""
WIDE = 1e9
"""The gap of a node for what needs nothing."""


class _Kind(NamedTuple):
    """Items that the same nodes may carry, and that as many others may keep off."""

    nodes: bytes
    """The mask of the nodes."""
    needs: tuple[bool, ...]
    """Which resources they need."""
    apart: int


@dataclass(slots=True)
class _Item:
    """An instance or a group that is placed as one."""

    kind: _Kind
    size: float
    where: frozenset[str]
    """Nodes that may execute it; empty: it waits."""


class Enough:
    """The count for one view. `units` fail as a whole."""

    def __init__(self, view: View, fleet: Fleet, units: Sequence[Unit], asked: frozenset[str]) -> None:
        """`asked`: instances that must find room; the others only take some."""
        self._view = view
        self._fleet = fleet
        self._unit_of = {node: number for number, unit in enumerate(units) for node in unit}
        self._hard: Mask = np.zeros(len(units), np.bool_)
        """Units that carry something the count cannot judge."""
        self._lost: Sizes = np.zeros(len(units))
        """Unit → the size of all that is displaced if it fails."""
        self._waiting = 0.0
        """The size of what is to be placed without any failure."""
        self._free = np.array(fleet.arrays.free, np.float64)
        self._shares = self._all_needs()
        self._gaps: dict[tuple[bool, ...], Sizes] = {}
        largest: dict[_Kind, dict[int, float]] = {}
        """Kind → unit → the largest item of that kind there."""
        for item, counts in self._items(asked):
            hosts = self._units(item.where) if item.where else set(range(len(units)))
            if not item.where:
                self._waiting += item.size
            for unit in self._units(item.where):
                self._lost[unit] += item.size
            for unit in hosts if counts else ():
                there = largest.setdefault(item.kind, {})
                there[unit] = max(there.get(unit, 0.0), item.size)
        self._load, self._hosts, self._limit = self._rows(largest, len(units))

    def every(self, chosen: Sequence[int], start: int, more: int) -> bool:
        """There is enough whichever `more` of the units from `start` on fail beside the chosen ones."""
        chosen = list(chosen)
        if self._hard[chosen].any() or (more and self._hard[start:].any()):
            return False
        load, hosts = self._load[:, chosen].sum(axis=1), self._hosts[:, chosen].any(axis=1)
        if more:
            rest = self._load[:, start:]
            most = np.partition(rest, -more, axis=1)[:, -more:] if more < rest.shape[1] else np.sort(rest, axis=1)
            host = np.where(self._hosts[:, start:], rest, -np.inf).max(axis=1)
            last = most[:, 0]
            load = load + most[:, 1:].sum(axis=1) + np.where(hosts, last, np.minimum(last, host))
        else:
            load = np.where(hosts, load, -np.inf)
        return bool((load < self._limit).all())

    def beside(self, chosen: Sequence[int], start: int) -> Mask:
        """Of the units from `start` on, those that may fail beside the chosen ones."""
        chosen = list(chosen)
        if self._hard[chosen].any():
            return np.zeros(len(self._hard) - start, np.bool_)
        load = self._load[:, chosen].sum(axis=1, keepdims=True) + self._load[:, start:]
        concerns = self._hosts[:, start:] | self._hosts[:, chosen].any(axis=1, keepdims=True)
        fine: Mask = (~concerns | (load < self._limit[:, None])).all(axis=0)
        return fine & ~self._hard[start:]

    # --- what is to be placed ---------------------------------------------------------------------------------------------

    def _all_needs(self) -> Sizes:
        """Of each resource what all together need: the measure of its shares."""
        arrays, total = self._fleet.arrays, np.zeros(len(self._free))
        for instance in self._view.instances.values():
            total += arrays.vector(Amount.of(instance.spec))
        return np.maximum(total, 1.0)

    def _units(self, nodes: frozenset[str]) -> set[int]:
        return {self._unit_of[node] for node in nodes if node in self._unit_of}

    def _items(self, asked: frozenset[str]) -> Iterator[tuple[_Item, bool]]:
        """Everything that a failure may displace, and whether it must find room."""
        where, rules = self._fleet.where, self._fleet.rules
        for name, instance in self._view.instances.items():
            if instance.spec.desired is not Desired.STARTED:
                continue
            here = where.get(name, frozenset())
            group = rules.group(name)
            party = [instance]
            if name in rules.blocked:
                self._mark_hard(here)
            elif len(group.members) > 1:
                party = self._party(group)
                if not party:
                    self._mark_hard(here)
                    party = [instance]
                elif party[0] is not instance:
                    continue  # counted with the first of them
            counts = not asked.isdisjoint(one.id for one in party) and any(map(self._returns, party))
            yield self._item(group, [one.spec for one in party], here), counts

    def _mark_hard(self, nodes: frozenset[str]) -> None:
        if nodes:
            self._hard[list(self._units(nodes))] = True
        else:
            self._hard[:] = True

    def _party(self, group: Group) -> list[InstanceView]:
        """All of it, if it runs together on one node and is recovered as one; else nobody."""
        where, known = self._fleet.where, self._view.instances
        members = [known[name] for name in group.members if name in known]
        party = [one for one in members if one.spec.desired is Desired.STARTED]
        places = {where.get(one.id, frozenset()) for one in party}
        strays = [one for one in members if one not in party and one.id in where]
        together = len(places) == 1 and len(next(iter(places))) == 1
        return party if together and not strays and all(self._view.recovers(one.spec) for one in party) else []

    def _returns(self, instance: InstanceView) -> bool:
        """It is started elsewhere, and does not wait for its own node."""
        return self._view.recovers(instance.spec) or instance.move is not None or bool(instance.bound_for)

    def _item(self, group: Group, specs: Sequence[InstanceSpec], where: frozenset[str]) -> _Item:
        arrays = self._fleet.arrays
        need = np.sum([arrays.vector(Amount.of(spec)) for spec in specs], axis=0)
        mask = arrays.alive & arrays.permitted(group)
        for spec in specs:
            mask = mask & arrays.eligible(spec)
        others: dict[str, int] = {}
        """Whom it must be apart from → how many nodes one of its may close: those of the widest failure domain, or one."""
        for bond in group.apart:
            wide = max(map(len, bond.near.values()), default=1)
            others |= {name: max(wide, others.get(name, 1)) for name in bond.others if name not in group.members}
        known = ((name, wide) for name, wide in others.items() if name in self._view.instances)
        apart = sum(wide * max(1, len(self._fleet.where.get(name, ()))) for name, wide in known)
        kind = _Kind(mask.tobytes(), tuple(bool(amount) for amount in need), apart)
        return _Item(kind, float((need / self._shares).max()), where)

    # --- the sums ---------------------------------------------------------------------------------------------------------

    def _gap(self, kind: _Kind) -> Sizes:
        """Node → how much it can take for items of this kind."""
        if kind.needs not in self._gaps:
            shares = self._free / self._shares[:, None]
            used = shares[list(kind.needs)]
            self._gaps[kind.needs] = used.min(axis=0) if len(used) else np.full(self._free.shape[1], WIDE)
        return self._gaps[kind.needs]

    def _rows(self, largest: dict[_Kind, dict[int, float]], count: int) -> tuple[Sizes, Mask, Sizes]:
        """For each kind and size of a largest item: what each unit takes away when it fails; which units carry such
        an item; below what the sum of the former has to stay."""
        number = np.full(self._free.shape[1], count)
        for node, unit in self._unit_of.items():
            number[self._fleet.arrays.index[node]] = unit
        loads, hosts, limits = [], [], []
        for kind, there in largest.items():
            mask = np.frombuffer(kind.nodes, np.bool_)
            for size in sorted(set(there.values())):
                room = np.where(mask, np.maximum(self._gap(kind) - size, 0.0), 0.0)
                widest = np.sort(room)[len(room) - min(kind.apart, len(room)) :].sum()
                limit = room.sum() - widest + size - self._waiting
                loads.append(self._lost + np.bincount(number, room, count + 1)[:count])
                hosts.append([there.get(unit) == size for unit in range(count)])
                limits.append(limit - MARGIN * (1.0 + abs(limit)))
        return (
            np.array(loads, np.float64).reshape(len(loads), count),
            np.array(hosts, np.bool_).reshape(len(hosts), count),
            np.array(limits, np.float64),
        )
