"""The problem of the second step, made from what the manager sees: who waits, who runs where and may give way.

A small cluster goes into it whole. From a large one a neighbourhood is cut: for each instance that waits, highest priority
first, the nodes that lack least for it; on these what is movable or may be stopped; and the nodes with most room, to move
to. The best answer to that is a good one, but not proven to be the best of all (`RoomProblem.whole`).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from holdfast.core.capacity import Amount, Fleet
from holdfast.core.groups import Group
from holdfast.core.make_room import RoomItem, RoomNode, RoomProblem, Vector
from holdfast.core.model import Desired, Exclusivity, Goal, InstanceSpec
from holdfast.core.reasons import LIVE_KINDS
from holdfast.core.view import InstanceView, View

WHOLE_NODES = 16
WHOLE_ITEMS = 160
"""A problem of at most so many nodes and items is taken whole."""
SOURCES = 6
"""Nodes of a neighbourhood on which room is made."""
RECEIVERS = 6
"""Nodes of a neighbourhood that only take what moves."""
ITEMS_OF_A_NODE = 20
"""Of what may give way on a node the largest are taken."""
WAITING = 24
"""Instances asked for at once, highest priority first."""
NO_TURN = "others that wait come first"


def room_problem(view: View, fleet: Fleet, waiting: Collection[str], fresh: Collection[str] = ()) -> RoomProblem:
    """`waiting`: they are to run and found no room. `fresh`: the fleet has them placed, but they run nowhere yet, so that
    they may be placed otherwise at no cost."""
    return _Maker(view, fleet, waiting, fresh).problem()


@dataclass(frozen=True, slots=True)
class _Draft:
    """An item before the nodes of the problem are known."""

    group: Group
    specs: tuple[InstanceSpec, ...]
    nodes: frozenset[str]
    node: str = ""
    movable: bool = False
    stoppable: bool = False

    @property
    def id(self) -> str:
        return self.specs[0].id

    @property
    def order(self) -> tuple[int, str]:
        return (-max(spec.priority for spec in self.specs), self.id)

    @property
    def demand(self) -> Amount:
        return total(map(Amount.of, self.specs))

    def item(self, nodes: Collection[str], demand: Vector) -> RoomItem:
        return RoomItem(
            tuple(spec.id for spec in self.specs),
            demand,
            self.nodes.intersection(nodes),
            max(spec.priority for spec in self.specs),
            sum(spec.priority + 1 for spec in self.specs),
            self.node,
            self.movable,
            self.stoppable,
        )


def total(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, Amount())


class _Maker:
    def __init__(self, view: View, fleet: Fleet, waiting: Collection[str], fresh: Collection[str]) -> None:
        self._view = view
        self._fleet = fleet
        self._rules = fleet.rules
        self._homeless = {*waiting, *fresh}
        self._outside: dict[str, str] = {}
        self._open = {
            name
            for name, node in fleet.nodes.items()
            if name not in fleet.failed and node.up(fleet.timing, fleet.now) and not node.closed_reason
        }
        self._here: dict[str, list[InstanceView]] = {}
        """Node → what may execute there and is not fresh."""
        for name, nodes in fleet.where.items():
            if name in view.instances and name not in self._homeless:
                for node in nodes & self._open:
                    self._here.setdefault(node, []).append(view.instances[name])

    def problem(self) -> RoomProblem:
        wanted = sorted(self._wanting(), key=lambda draft: draft.order)
        highest = -wanted[0].order[0] if wanted else 0
        yielding = {node: list(self._yielding(node, highest)) for node in self._sources(wanted)}
        items = sum(map(len, yielding.values()))
        whole = len(self._open) <= WHOLE_NODES and items + len(wanted) <= WHOLE_ITEMS
        if not whole:
            for draft in wanted[WAITING:]:
                self._outside.update((spec.id, NO_TURN) for spec in draft.specs)
            # What is fresh and not asked for keeps its place.
            wanted = wanted[:WAITING]
            yielding = {
                node: sorted(drafts, key=lambda draft: (-draft.demand.memory_mib, draft.order))[:ITEMS_OF_A_NODE]
                for node, drafts in yielding.items()
            }
        drafts = [*wanted, *(draft for node in sorted(yielding) for draft in yielding[node])]
        nodes = sorted(self._open if whole else {*yielding, *self._receivers(drafts, yielding)})
        drafts = self._kept_apart(drafts)
        taken = {draft.id for draft in drafts}
        for draft in wanted:
            if draft.id not in taken:
                self._outside.update((spec.id, "no node may carry it") for spec in draft.specs)
        made = sorted((draft.item(nodes, self._vector(draft.demand)) for draft in drafts), key=lambda item: item.id)
        domains = {name: node.spec.failure_domain for name, node in self._fleet.nodes.items()}
        rooms = tuple(RoomNode(node, self._room(node, drafts), domains[node]) for node in nodes)
        by_node, by_domain = self._apart(drafts, near=False), self._apart(drafts, near=True)
        return RoomProblem(rooms, tuple(made), by_node, by_domain, whole, dict(sorted(self._outside.items())))

    # --- who waits ------------------------------------------------------------------------------------------------------

    def _wanting(self) -> Iterator[_Draft]:
        seen: set[str] = set()
        for name in sorted(self._homeless):
            instance = self._view.instances[name]
            group = self._rules.group(name)
            if name in seen:
                continue
            if name in self._rules.blocked:
                self._outside[name] = self._rules.blocked[name]
                continue
            running = {mate: self._fleet.where[mate] for mate in self._hosts(group)}
            if running:
                seen.add(name)
                host = next(iter(running.values()))
                if len(host) > 1 or len(set(running.values())) > 1 or any(map(self._leaves, running)):
                    self._outside[name] = f"waiting for {min(running)}, which must share its node"
                    continue
                yield self._draft(group, [instance.spec], among=host)
                continue
            members = [self._view.instances[mate].spec for mate in group.members if mate in self._homeless]
            seen.update(spec.id for spec in members)
            yield self._draft(group, members)

    def _hosts(self, group: Group) -> list[str]:
        """Members that run and are to be joined."""
        where = self._fleet.where
        return [mate for mate in group.members if mate not in self._homeless and where.get(mate)]

    def _leaves(self, name: str) -> bool:
        instance = self._view.instances[name]
        placement = instance.placement
        return placement is not None and (placement.goal is Goal.STOP or bool(placement.migrate_to))

    def _draft(self, group: Group, specs: list[InstanceSpec], among: Collection[str] | None = None) -> _Draft:
        nodes = self._may_carry(group, specs) if among is None else self._may_carry(group, specs) & frozenset(among)
        for spec in specs:
            placement = self._view.instances[spec.id].placement
            if placement is not None and not self._view.recovers(spec):
                nodes &= {placement.node}
        return _Draft(group, tuple(specs), nodes)

    def _may_carry(self, group: Group, specs: Iterable[InstanceSpec]) -> frozenset[str]:
        arrays = self._fleet.arrays
        mask = arrays.permitted(group) & arrays.alive
        for spec in specs:
            mask = mask & arrays.eligible(spec)
        return frozenset(self._open).intersection(arrays.names[number] for number in mask.nonzero()[0])

    # --- who may give way -----------------------------------------------------------------------------------------------

    def _sources(self, wanted: list[_Draft]) -> list[str]:
        """Nodes on which room might be made: all of a small cluster, else those that lack least for what waits."""
        if len(self._open) <= WHOLE_NODES:
            return sorted(self._open)
        chosen: list[str] = []
        left = {name: self._vector(self._fleet.left(name)) for name in self._open}
        for draft in wanted[:WAITING]:
            need = self._vector(draft.demand)
            nearest = sorted(draft.nodes, key=lambda name: (_shortfall(need, left[name]), name))
            fresh = [name for name in nearest if name not in chosen]
            chosen += fresh[: 1 if len(wanted) > 2 else SOURCES // 2]
            if len(chosen) >= SOURCES:
                break
        return chosen[:SOURCES]

    def _yielding(self, node: str, highest: int) -> Iterator[_Draft]:
        """What runs on the node and may be moved or, being of a lower priority than what waits, stopped."""
        if min(self._vector(self._fleet.left(node))) < 0:
            return  # more than it can carry: nothing is changed there that a rule could judge
        for instance in sorted(self._here.get(node, ()), key=lambda instance: instance.id):
            group = self._rules.group(instance.id)
            members = [self._view.instances[mate] for mate in self._hosts(group)]
            if not members or members[0] is not instance or not all(_quiet(mate, node) for mate in members):
                continue
            specs = [mate.spec for mate in members]
            nodes = self._may_carry(group, specs)
            joined = any(mate in self._homeless for mate in group.members)  # somebody is to find it where it is
            movable = not joined and all(map(_movable, specs))
            stoppable = not joined and all(spec.preemptible and spec.priority < highest for spec in specs)
            if node in nodes and (movable or stoppable):
                yield _Draft(group, tuple(specs), nodes, node, movable, stoppable)

    def _receivers(self, drafts: list[_Draft], sources: Collection[str]) -> list[str]:
        useful = frozenset().union(*(draft.nodes for draft in drafts)) - frozenset(sources)
        left = {name: self._fleet.left(name) for name in useful}
        kinds = {spec.kind for draft in drafts for spec in draft.specs}

        def order(name: str) -> tuple[bool, list[int], str]:
            full = all(left[name].slots.get(kind, 1) < 1 for kind in kinds)
            return (full, [-free for free in self._vector(left[name])], name)

        return sorted(useful, key=order)[:RECEIVERS]

    # --- rules and room -------------------------------------------------------------------------------------------------

    def _kept_apart(self, drafts: list[_Draft]) -> list[_Draft]:
        """Without the nodes where somebody stays from whom they must be apart. What breaks such a rule is no item."""
        everybody = self._fleet.where
        legal = [draft for draft in drafts if not draft.node or draft.node not in draft.group.shunned(everybody)]
        names = {spec.id for draft in legal for spec in draft.specs}
        stay = {name: nodes for name, nodes in everybody.items() if name not in names}
        made = (replace(draft, nodes=draft.nodes - draft.group.shunned(stay).keys()) for draft in legal)
        return [draft for draft in made if draft.nodes]

    def _apart(self, drafts: list[_Draft], *, near: bool) -> tuple[frozenset[str], ...]:
        """`near`: by rules about failure domains."""
        item_of = {spec.id: draft.id for draft in drafts for spec in draft.specs}
        pairs = set()
        for draft in drafts:
            for bond in (bond for bond in draft.group.apart if bool(bond.near) is near):
                items = {item_of[other] for other in bond.others if other in item_of} | {draft.id}
                pairs.add(frozenset(items))
        return tuple(sorted((pair for pair in pairs if len(pair) > 1), key=sorted))

    def _room(self, node: str, drafts: list[_Draft]) -> Vector:
        left = self._fleet.left(node)
        for draft in drafts:
            for spec in draft.specs:
                if node in self._fleet.where.get(spec.id, ()):
                    left += Amount.of(spec)
        return tuple(max(0, amount) for amount in self._vector(left))

    def _vector(self, amount: Amount) -> Vector:
        return self._fleet.arrays.vector(amount)


def _shortfall(need: Vector, left: Vector) -> float:
    """How large a part of what is needed is missing, of the resource that is missing most."""
    pairs = zip(need, left, strict=True)
    return max((max(0, want - free) / want for want, free in pairs if want), default=0.0)


def _quiet(instance: InstanceView, node: str) -> bool:
    """It runs there and nothing else is being done to it."""
    placement = instance.placement
    return (
        placement is not None
        and placement.node == node
        and placement.goal is Goal.RUN
        and not placement.migrate_to
        and not placement.migrate_failed
        and instance.spec.desired is Desired.STARTED
        and instance.running()
        and not (instance.lock or instance.move or instance.deleting)
    )


def _movable(spec: InstanceSpec) -> bool:
    """Live, or so that nobody's data notices."""
    return spec.kind in LIVE_KINDS or spec.exclusivity is Exclusivity.ADVISORY
