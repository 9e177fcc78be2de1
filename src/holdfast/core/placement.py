"""Where an instance may run and where it should: hard rules first, then preferences, then the most free resources.

The small planner; issue 4 puts the whole one behind the same functions.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from holdfast.core.groups import Where
from holdfast.core.model import Desired, Exclusivity, InstanceSpec
from holdfast.core.rules import NO_RULES, Rules, compile_rules
from holdfast.core.timing import Timing
from holdfast.core.view import InstanceView, NodeView, View

NOWHERE: Where = {}

CPU_SLACK = 1e-6
"""Cores. Sums of fractions depend on their order in the last digit; no decision may."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is already placed on a node."""

    instances: int = 0
    cpu: float = 0.0
    memory_mib: int = 0

    def plus(self, spec: InstanceSpec) -> "Load":
        return Load(self.instances + 1, self.cpu + spec.cpu, self.memory_mib + spec.memory_mib)


EMPTY = Load()


def load_of(instances: Iterable[InstanceView], where: Where | None = None) -> dict[str, Load]:
    """Node → sum over the instances that may execute there, or, without `where`, whose placement names it."""
    loads: dict[str, Load] = {}
    for instance in instances:
        placed = (instance.placement.node,) if instance.placement else ()
        for node in where.get(instance.id, ()) if where is not None else placed:
            loads[node] = loads.get(node, EMPTY).plus(instance.spec)
    return loads


def refusal(
    spec: InstanceSpec, node: NodeView, load: Load, timing: Timing, now: float, *, staying: bool = False
) -> str:
    """Why this node may not carry the instance; "" if it may. Hard rules (INV-4). `staying`: it runs there already."""
    if not node.up(timing, now):
        return f"is {node.state(timing, now)}"
    closed = node.drain_reason if staying else node.closed_reason
    if closed:
        return closed
    if spec.role not in node.spec.roles:
        return f"does not have the role {spec.role}"
    if spec.nodes and node.id not in spec.nodes:
        return "is not one of its nodes"
    if spec.address is not None and spec.address.network not in node.spec.addresses:
        return f"is not on the network {spec.address.network}"
    if spec.address is not None and spec.address.network in node.lost_networks:
        return f"lost the network {spec.address.network}"
    assert node.beat is not None
    if spec.memory_mib and load.memory_mib + spec.memory_mib > node.beat.memory_mib:
        return f"has only {node.beat.memory_mib - load.memory_mib} MiB of memory left, {spec.memory_mib} MiB are needed"
    if spec.cpu and load.cpu + spec.cpu > node.beat.cpu + CPU_SLACK:
        return f"has only {round(node.beat.cpu - load.cpu, 3):g} cores left, {spec.cpu:g} are needed"
    return ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A node, or for each node why not."""

    node: str
    reasons: Mapping[str, str]
    waits: str = ""
    """Why no node comes into question at all, whatever each of them could carry."""

    def why_not(self) -> str:
        listed = "; ".join(f"{node} {reason}" for node, reason in sorted(self.reasons.items()))
        return self.waits or listed or "there is no node"


def choose(
    spec: InstanceSpec,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    wanted: str = "",
    avoid: str = "",
    tried: Collection[str] = (),
    rules: Rules = NO_RULES,
    where: Where = NOWHERE,
    leaving: Collection[str] = (),
    moving: bool = False,
) -> Choice:
    """The best of the nodes that hard rules permit, in this order: `wanted`; not `avoid` and not `tried` (only if there is
    no other); up for a while already (`NodeView.well`); preferred by node affinity; preferred by (anti-)affinity; most
    memory free, then cpu; fewest instances; lowest name.

    A group of strict affinity that runs nowhere goes only where all its members that are to run fit together. If members
    run, the instance joins them or waits. Members in `leaving` (their placement says stop, so that they can be placed anew)
    are waited for. `moving` asks for the whole group instead, wherever its members are: may it move, and where to? Only what
    is ignored stays, and is joined. Leave out of `nodes` what it is to leave.
    """
    search = _Search(spec, loads, timing, now, rules, where, leaving, moving)
    if search.waits:
        return Choice("", {}, search.waits)
    reasons: dict[str, str] = {}
    best: tuple[_Rank, str] | None = None
    for node in nodes.values():
        load = search.load_with_it(node)
        if isinstance(load, str):
            reasons[node.id] = load
            continue
        last = node.id == avoid or node.id in tried
        rank = (node.id != wanted, last, not node.well(timing, now), *search.rank(node, load), node.id)
        if best is None or rank < best[0]:
            best = (rank, node.id)
    return Choice(best[1] if best else "", reasons)


_Rank = tuple[bool, bool, bool, int, int, int, int, float, int, str]


class _Search:
    """What must hold on a node for one instance, or for its whole group of strict affinity."""

    def __init__(
        self,
        spec: InstanceSpec,
        loads: Mapping[str, Load],
        timing: Timing,
        now: float,
        rules: Rules,
        where: Where,
        leaving: Collection[str],
        moving: bool,
    ) -> None:
        self._spec = spec
        self._loads = loads
        self._timing = timing
        self._now = now
        self._where = where
        self._group = rules.group(spec.id)
        mates = [name for name in self._group.members if name != spec.id]
        running = {name: where[name] for name in mates if where.get(name)}
        if moving:  # everybody but those who are left alone
            specs = {name: rules.specs[name] for name in running if name in rules.specs}
            running = {name: running[name] for name, mate in specs.items() if mate.desired is Desired.IGNORED}
        self.waits = rules.blocked.get(spec.id, "") or _wait(running, leaving)
        """Why it cannot be placed at all now."""
        self._host = min(running, default="")
        """A member that stays where it runs and is to be joined; "" if the whole group is to be placed."""
        self._party = [spec]
        """All that must fit on the node together."""
        if moving or not self._host:
            self._party += [
                rules.specs[name]
                for name in mates
                if name in rules.specs and rules.specs[name].desired is Desired.STARTED
            ]
        self._needs_memory = any(member.memory_mib for member in self._party)
        self._needs_cpu = any(member.cpu for member in self._party)
        self._shunned = self._group.shunned(where)
        self._company = self._group.company(where)
        self._there: dict[str, int] = {}
        """Node → how many of the group are there already."""
        for name in self._group.members if mates else ():
            for node in where.get(name, ()):
                self._there[node] = self._there.get(node, 0) + 1

    def load_with_it(self, node: NodeView) -> Load | str:
        """The node's load when it carries what is to be placed, or why it may not."""
        refused = self._group.refuses(node.id)
        if refused:
            return refused
        if node.id in self._shunned:
            other, mate = self._shunned[node.id]
            return f"runs {other}, with which {mate} must not share a node"
        if self._host and node.id not in self._where[self._host]:
            return f"does not run {self._host}, with which {self._spec.id} must share a node"
        load = self._loads.get(node.id, EMPTY)
        for member in self._party:
            counted = node.id in self._where.get(member.id, ())
            needed = replace(member, cpu=0.0, memory_mib=0) if counted else member
            reason = refusal(needed, node, load, self._timing, self._now, staying=counted)
            if reason and member is not self._spec:
                return f"cannot also take {member.id}, which must share its node: it {reason}"
            if reason:
                return reason
            load = load if counted else load.plus(member)
        return load

    def rank(self, node: NodeView, load: Load) -> tuple[int, int, int, int, float, int]:
        """The less, the better."""
        assert node.beat is not None
        return (
            -self._group.preference(node.id),
            -self._there.get(node.id, 0),
            -self._company.get(node.id, 0),
            load.memory_mib - node.beat.memory_mib if self._needs_memory else 0,
            round(load.cpu - node.beat.cpu, 6) if self._needs_cpu else 0.0,
            load.instances,
        )


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
    """Highest priority first; a group of strict affinity stands together, at its highest priority, so that nobody takes the
    room between its members that the choice for the first of them counted on."""

    def order(spec: InstanceSpec) -> tuple[tuple[int, str], int, str]:
        group = rules.groups.get(spec.id)
        return (group.order if group else (-spec.priority, spec.id), -spec.priority, spec.id)

    return sorted(specs, key=order)


def misplaced(
    spec: InstanceSpec,
    node: str,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    rules: Rules,
    where: Where,
) -> str:
    """Why an instance that runs on `node` must leave it because of a strict rule (laid down after it was placed); "" to
    stay. Ask `choose(moving=True)` without `node` where to. Of two that must not share a node only one is told to leave."""
    group = rules.group(spec.id)
    only_here = frozenset((node,))
    if spec.id in rules.blocked or where.get(spec.id) != only_here:
        return ""
    refused = group.refuses(node)
    if refused:
        return refused

    def home(of: InstanceSpec, among: Mapping[str, NodeView]) -> str:
        return choose(of, among, loads, timing, now, rules=rules, where=where, moving=True).node

    others = {name: view for name, view in nodes.items() if name != node}
    for bond in group.apart:
        for other in bond.others:
            if where.get(other) != only_here or other in group.members or other not in rules.specs:
                continue
            # The later in the order yields, unless it cannot.
            rival = rules.specs[other]
            yields = rival.desired is Desired.STARTED and rules.group(other).order > group.order and home(rival, others)
            if not yields:
                return f"runs {other}, with which {bond.member} must not share a node"
    spread = {name: where[name] for name in group.members if where.get(name)}
    if len(set(spread.values())) > 1 and all(len(places) == 1 for places in spread.values()):
        together = home(spec, nodes)
        if together not in ("", node):
            away = min(name for name, places in spread.items() if places != only_here)
            return f"does not run {away}, with which {spec.id} must share a node"
    return ""


def better_node(
    spec: InstanceSpec,
    node: str,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    tried: Collection[str] = (),
    rules: Rules,
    where: Where,
) -> str:
    """Failback: a node that the rules rank strictly higher than `node`, where it runs, and that takes it (and its whole
    group) now; "" to stay. All members of a group get the same answer; none is moved unless all have `failback`."""
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
    better = {name: nodes[name] for name in known if worth(name) > here and nodes[name].well(timing, now)}
    return choose(spec, better, loads, timing, now, rules=rules, where=where, moving=True).node


def moves_without_claim(spec: InstanceSpec) -> bool:
    """Two copies are only a nuisance: a quorum of observers is enough to move it."""
    return spec.exclusivity is not Exclusivity.STRICT
