"""Where an instance may run and where it should: hard rules first, then preferences, then the most free resources.

A choice masks the nodes that hard rules forbid and takes the best of the others by one array after the other
(docs/planner.md). The same rules, asked of one node in words, say why it was refused.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import reduce
from typing import TypeVar

import numpy as np

from holdfast.core.capacity import NOTHING, Amount, Amounts, Fleet, Mask
from holdfast.core.counts import kind_of, spread_set
from holdfast.core.groups import Where
from holdfast.core.model import Desired, Exclusivity, InstanceSpec
from holdfast.core.rules import NO_RULES, Rules, compile_rules
from holdfast.core.view import View

Label = TypeVar("Label", bound=Hashable)


class Choice:
    """A node, or for each node why not."""

    __slots__ = ("node", "reasons", "waits")

    def __init__(self, node: str, reasons: Mapping[str, str], waits: str = "") -> None:
        self.node = node
        self.reasons = reasons
        """Node that may not carry it → why. To be read before anything else is placed: it is found out only then."""
        self.waits = waits
        """Why no node comes into question at all, whatever each of them could carry."""

    def why_not(self) -> str:
        listed = "; ".join(f"{node} {reason}" for node, reason in sorted(self.reasons.items()))
        return self.waits or listed or "there is no node"


def choose(
    spec: InstanceSpec,
    fleet: Fleet,
    among: Collection[str] | None = None,
    *,
    wanted: str = "",
    avoid: str = "",
    tried: Collection[str] = (),
    leaving: Collection[str] = (),
    moving: bool = False,
    weightless: bool = False,
) -> Choice:
    """The best of the nodes (of those in `among`, if it is given) that hard rules permit, in this order: `wanted`; not
    `avoid` and not `tried` (only if there is no other); its home; up for a while already (`NodeView.well`); preferred by
    node affinity; preferred by (anti-)affinity; most memory free, then cpu; fewest instances of its spread set, then of its
    kind (these two before memory, if it is to be spread by number); fewest of all; lowest name.

    A group of strict affinity that runs nowhere goes only where all its members that are to run fit together. If members
    run, the instance joins them or waits. Members in `leaving` (their placement says stop, so that they can be placed anew)
    are waited for. `moving` asks for the whole group instead, wherever its members are: may it move, and where to? Only what
    is ignored stays, and is joined. Leave out of `among` what it is to leave. `weightless`: as if nothing were needed of any
    resource.
    """
    search = _Search(spec, fleet, leaving, moving=moving, weightless=weightless)
    if search.waits:
        return Choice("", {}, search.waits)
    possible = search.possible(among)
    reasons = _Reasons(search, fleet.nodes if among is None else among)
    return Choice(search.best(possible, wanted, {avoid, *tried}) if possible.any() else "", reasons)


class _Search:
    """What must hold on a node for one instance, or for its whole group of strict affinity."""

    def __init__(
        self, spec: InstanceSpec, fleet: Fleet, leaving: Collection[str], *, moving: bool, weightless: bool
    ) -> None:
        self.fleet = fleet
        self._spec = spec
        where, specs = fleet.where, fleet.rules.specs
        self._group = fleet.rules.group(spec.id)
        mates = [name for name in self._group.members if name != spec.id]
        running = {name: where[name] for name in mates if where.get(name)}
        if moving:  # everybody but those who are left alone
            running = {
                name: nodes
                for name, nodes in running.items()
                if name in specs and specs[name].desired is Desired.IGNORED
            }
        self.waits = fleet.rules.blocked.get(spec.id, "") or _wait(running, leaving)
        """Why it cannot be placed at all now."""
        self._host = min(running, default="")
        """A member that stays where it runs and is to be joined; "" if the whole group is to be placed."""
        self._party = [spec]
        """All that must fit on the node together."""
        if moving or not self._host:
            known = [specs[name] for name in mates if name in specs]
            self._party += [mate for mate in known if mate.desired is Desired.STARTED]
        self._needs = [NOTHING if weightless else Amount.of(member) for member in self._party]
        self._total = sum(self._needs[1:], self._needs[0])
        self._shunned = self._group.shunned(where)

    def possible(self, among: Collection[str] | None) -> Mask:
        """The nodes that hard rules permit."""
        arrays, where = self.fleet.arrays, self.fleet.where
        mask = arrays.alive.copy() if among is None else arrays.alive & arrays.among(among)
        if self._group.permitted:
            mask &= arrays.permitted(self._group)
        if self._host:
            mask &= arrays.among(where[self._host])
        for member in self._party:
            mask &= arrays.eligible(member)
        for free, need in zip(arrays.free, arrays.vector(self._total), strict=True):
            if need:
                mask &= free >= need
        for node in self._shunned:
            mask[arrays.index[node]] = False
        for node in self._inhabited():
            # Other rules hold for what stays, and it needs nothing more: too few to be worth an array.
            asked = among is None or node in among
            mask[arrays.index[node]] = asked and not self.refusal(node)
        return mask

    def _inhabited(self) -> set[str]:
        """Nodes that some of the party are on already."""
        return {node for member in self._party for node in self.fleet.where.get(member.id, ())}

    def refusal(self, name: str) -> str:
        """Why this node may not carry what is to be placed; "" if it may."""
        fleet, node = self.fleet, self.fleet.nodes[name]
        refused = self._group.refuses(name)
        if refused:
            return refused
        if name in self._shunned:
            other, mate = self._shunned[name]
            return _not_apart(other, mate, here=name in fleet.where.get(other, ()))
        if self._host and name not in fleet.where[self._host]:
            return f"does not run {self._host}, with which {self._spec.id} must share a node"
        left = fleet.left(name)
        for member, need in zip(self._party, self._needs, strict=True):
            counted = name in fleet.where.get(member.id, ())
            reason = fleet.refusal(member, node, staying=counted)
            if not counted:
                reason = reason or left.lacks(need, node.spec.slots)
                left -= need
            if reason and member is not self._spec:
                return f"cannot also take {member.id}, which must share its node: it {reason}"
            if reason:
                return reason
        return ""

    def best(self, possible: Mask, wanted: str, last: Collection[str]) -> str:
        """The best of these, at least one; those in `last` only if there is no other."""
        arrays = self.fleet.arrays
        if wanted in arrays.index and possible[arrays.index[wanted]]:
            return wanted
        others = [arrays.index[name] for name in last if name in arrays.index]
        if others:
            first = possible.copy()
            first[others] = False
            possible = first if first.any() else possible
        home = arrays.index.get(self._spec.home)
        if home is not None and possible[home]:
            return self._spec.home
        well = possible & arrays.well
        found = np.flatnonzero(well if well.any() else possible)
        for values in self._values() if len(found) > 1 else ():
            here = values[found]
            found = found[here == here.max()]
            if len(found) == 1:
                break
        return arrays.names[int(found[0])]

    def _values(self) -> Iterator[Amounts]:
        """For each node how good it is; the first is the most important."""
        arrays, group, where = self.fleet.arrays, self._group, self.fleet.where
        if group.preferred:
            yield arrays.preference(group)
        if len(group.members) > 1:
            yield arrays.numbers(Counter(node for name in group.members for node in where.get(name, ())))
        if group.likes:
            yield arrays.numbers(group.company(where))
        if self._spec.spread:
            yield from self._fewest_of_its_own()
        if any(need.memory_mib for need in self._needs):
            yield self._after(arrays.memory, [need.memory_mib for need in self._needs])
        if any(need.micro_cores for need in self._needs):
            yield self._after(arrays.cores, [need.micro_cores for need in self._needs])
        if not self._spec.spread:
            yield from self._fewest_of_its_own()
        yield self._after(-arrays.count, [1] * len(self._needs))

    def _fewest_of_its_own(self) -> Iterator[Amounts]:
        counts = self.fleet.arrays.counts
        yield self._fewest(spread_set, counts.of_set)
        yield self._fewest(kind_of, counts.of_kind)

    def _fewest(self, label: Callable[[InstanceSpec], Label], carried: Callable[[Label], Amounts]) -> Amounts:
        """Where each of the party finds fewest others of its own label, over all of the party."""
        if len(self._party) == 1:
            return self._after(-carried(label(self._spec)), (1,))
        labels = Counter(map(label, self._party))
        there = (-times * carried(of) for of, times in labels.items())
        return self._after(reduce(np.add, there), [labels[label(member)] for member in self._party])

    def _after(self, free: Amounts, needs: Iterable[int]) -> Amounts:
        """What is free when all of the party is there, and the same more everywhere."""
        for member, need in zip(self._party, needs, strict=True):
            there = self.fleet.where.get(member.id)
            if there:
                free = free.copy()
                free[[self.fleet.arrays.index[node] for node in there]] += need
        return free


class _Reasons(Mapping[str, str]):
    """Found out when they are read, from a fleet that must not have changed since."""

    def __init__(self, search: _Search, nodes: Collection[str]) -> None:
        self._search = search
        self._nodes = nodes
        self._version = search.fleet.version

    def __getitem__(self, node: str) -> str:
        assert self._search.fleet.version == self._version, "reasons are read before anything else is placed"
        reason = self._search.refusal(node) if node in self._nodes and node in self._search.fleet.nodes else ""
        if not reason:
            raise KeyError(node)
        return reason

    def __iter__(self) -> Iterator[str]:
        return (node for node in self._nodes if self.get(node))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _wait(running: Where, leaving: Collection[str]) -> str:
    """Why an instance must wait for the running members of its group, whatever the nodes can carry."""
    for name, nodes in running.items():
        if name in leaving:
            return f"waiting until {name}, which must share its node, has stopped on {_listed(nodes)}"
        if len(nodes) > 1:
            return f"waiting until {name}, which must share its node, has moved: it may be on {_listed(nodes)}"
    if len(set(running.values())) > 1:
        spread = ", ".join(f"{name} on {_listed(nodes)}" for name, nodes in running.items())
        return f"waiting until those which must share its node are on one themselves: {spread}"
    return ""


def _not_apart(other: str, member: str, *, here: bool) -> str:
    if here:
        return f"runs {other}, with which {member} must not share a node"
    return f"is in the failure domain of {other}, with which {member} must not share one"


def _listed(nodes: Iterable[str]) -> str:
    return " and ".join(sorted(nodes))


def rules_of(view: View) -> Rules:
    """The view's rules, compiled (once for as long as rules, instances named by them, and nodes stay the same)."""
    if not view.rules:
        return NO_RULES
    return compile_rules(
        view.rules,
        {name: instance.spec for name, instance in view.instances.items()},
        {name: node.spec for name, node in view.nodes.items()},
    )


def placement_order(specs: Iterable[InstanceSpec], rules: Rules) -> list[InstanceSpec]:
    """What is to run before what is off and only needs a home; highest priority first, and whoever others wait for before
    them; a group of strict affinity stands together, at its highest priority, so that nobody takes the room between its
    members that the choice for the first of them counted on."""

    def order(spec: InstanceSpec) -> tuple[bool, tuple[int, int, str], int, int, str]:
        group = rules.groups.get(spec.id)
        of_group = group.order if group else (-spec.priority, 0, spec.id)
        return (spec.desired is not Desired.STARTED, of_group, rules.tiers.get(spec.id, 0), -spec.priority, spec.id)

    return sorted(specs, key=order)


def misplaced(spec: InstanceSpec, node: str, fleet: Fleet) -> str:
    """Why an instance that runs on `node` must leave it because of a strict rule (laid down after it was placed); "" to
    stay. Ask `choose(moving=True)` without `node` where to. Of two that must not share a node only one is told to leave."""
    rules, where = fleet.rules, fleet.where
    group = rules.group(spec.id)
    only_here = frozenset((node,))
    if spec.id in rules.blocked or where.get(spec.id) != only_here:
        return ""
    refused = group.refuses(node)
    if refused:
        return refused
    for bond in group.apart:
        for other in bond.others:
            there = where.get(other, frozenset())
            if len(there) != 1 or there.isdisjoint(bond.reach(only_here)):
                continue
            if other in group.members or other not in rules.specs:
                continue
            # The later in the order yields, unless it cannot.
            rival = rules.specs[other]
            yields = rival.desired is Desired.STARTED and rules.group(other).order > group.order
            if not yields or not choose(rival, fleet, fleet.nodes.keys() - there, moving=True).node:
                return _not_apart(other, bond.member, here=there == only_here)
    spread = {name: where[name] for name in group.members if where.get(name)}
    if len(set(spread.values())) > 1 and all(len(places) == 1 for places in spread.values()):
        together = choose(spec, fleet, moving=True).node
        if together not in ("", node):
            away = min(name for name, places in spread.items() if places != only_here)
            return f"does not run {away}, with which {spec.id} must share a node"
    return ""


def better_node(spec: InstanceSpec, node: str, fleet: Fleet, *, tried: Collection[str] = ()) -> str:
    """Failback: a node that the rules rank strictly higher than `node`, where it runs, and that takes it (and its whole
    group) now; "" to stay. All members of a group get the same answer; none is moved unless all have `failback`."""
    rules, where, nodes = fleet.rules, fleet.where, fleet.nodes
    group = rules.group(spec.id)
    only_here = frozenset((node,))
    if spec.id in rules.blocked or not (group.preferred or group.likes) or where.get(spec.id) != only_here:
        return ""
    mates = [rules.specs[name] for name in group.members if name in rules.specs and name != spec.id]
    if not spec.failback or any(not mate.failback for mate in mates if mate.desired is Desired.STARTED):
        return ""
    if any((where.get(mate.id) or only_here) != only_here for mate in mates):
        return ""
    # Only the company of those before it in the order counts, so that two that prefer each other do not change places.
    liked = {name for bond in group.likes for name in bond.others if rules.group(name).order < group.order}
    company = group.company({name: where[name] for name in liked if name in where})

    def worth(name: str) -> tuple[int, int]:
        return group.preference(name), company.get(name, 0)

    here = worth(node)
    named = nodes if here < (0, 0) else {name for rule in (*group.preferred, company) for name in rule}
    known = [name for name in named if name in nodes and name not in tried]
    better = {name for name in known if worth(name) > here and nodes[name].well(fleet.timing, fleet.now)}
    return choose(spec, fleet, better, moving=True).node if better else ""


def moves_without_claim(spec: InstanceSpec) -> bool:
    """Two copies are only a nuisance: a quorum of observers is enough to move it."""
    return spec.exclusivity is not Exclusivity.STRICT
