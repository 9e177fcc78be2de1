"""Random small clusters in plain data, the view a planner gets of them, and the problem that a judge gets: made here from
the plain data, not by the planner's code."""

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

from holdfast.core.make_room import RoomItem, RoomNode, RoomProblem
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    Fence,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Role,
)
from holdfast.core.policy import InstanceLock, RuleKind, RuleSpec, Scope
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

NOW = 1000.0
UNLIMITED = 100
"""Slots of a node that has no limit."""


@dataclass
class Guest:
    id: str
    node: str
    """Where it runs."""
    memory: int
    cores: int
    priority: int
    live: bool
    """Its kind migrates live."""
    locked: bool = False
    preemptible: bool = False
    ha: bool = True


@dataclass
class Cluster:
    nodes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Node → memory, cores."""
    slots: dict[str, int] = field(default_factory=dict)
    """Node → how many guests that migrate live it carries at most."""
    guests: dict[str, Guest] = field(default_factory=dict)
    together: list[tuple[str, ...]] = field(default_factory=list)
    apart: list[tuple[str, ...]] = field(default_factory=list)
    domains: dict[str, str] = field(default_factory=dict)
    """Node → its failure domain; "" for one of its own."""
    far: list[tuple[str, ...]] = field(default_factory=list)
    """Kept apart by failure domain."""
    only_on: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Guest → the nodes that a strict rule leaves it."""


def random_cluster(
    seed: int, nodes: tuple[int, int], guests: tuple[int, int], *, slots: bool = False, domains: bool = False
) -> Cluster:
    """Guests that run as the rules want it, on nodes that are rather full. The numbers: fewest and most. `slots`: nodes
    carry only so many. `domains`: they stand in failure domains, and rules are about these, too."""
    random = Random(seed)
    made = Cluster({f"n{n}": (random.randint(8, 24), random.randint(6, 16)) for n in range(random.randint(*nodes))})
    names = sorted(made.nodes)
    free = {name: list(amounts) for name, amounts in made.nodes.items()}
    filled = random.choice((0.5, 0.65, 0.8, 0.95))
    for number in range(random.randint(*guests)):
        memory, cores = random.choice((1, 2, 2, 3, 4, 6, 8)), random.choice((0, 1, 1, 2, 3))
        fitting = [n for n in names if free[n][0] - memory >= made.nodes[n][0] * (1 - filled) and free[n][1] >= cores]
        if not fitting:
            continue
        on = random.choice(fitting)
        free[on] = [free[on][0] - memory, free[on][1] - cores]
        guest = Guest(f"vm/{number:02}", on, memory, cores, random.choice((0, 100, 500, 500, 900)), True)
        guest.live, guest.locked = random.random() < 0.8, random.random() < 0.1
        guest.preemptible, guest.ha = random.random() < 0.25, random.random() < 0.95
        made.guests[guest.id] = guest
    _lay_rules(random, made)
    if slots:
        for name in names:
            count = sum(guest.node == name for guest in made.guests.values() if guest.live)
            made.slots[name] = count + random.choice((0, 0, 1, 1, 2, UNLIMITED))
    if domains:
        made.domains = {name: random.choice(("a", "a", "b", "b", "c", "")) for name in names}
        for _ in range(random.choice((1, 1, 2)) if len(made.guests) > 2 else 0):
            some = tuple(sorted(random.sample(sorted(made.guests), random.choice((2, 2, 3)))))
            if len({domain_of(made, made.guests[name].node) for name in some}) == len(some):
                made.far.append(some)
    return made


def domain_of(cluster: Cluster, node: str) -> str:
    return cluster.domains.get(node) or node


def _lay_rules(random: Random, made: Cluster) -> None:
    """Only such as are kept already."""
    everybody = sorted(made.guests)
    for _ in range(random.choice((0, 0, 1, 2)) if len(everybody) > 2 else 0):
        some = tuple(sorted(random.sample(everybody, random.choice((2, 2, 3)))))
        on = [made.guests[name].node for name in some]
        if len(set(on)) == len(some):
            made.apart.append(some)
        elif len(set(on)) == 1 and not made.together and all(made.guests[name].ha for name in some):
            made.together.append(some)
        else:
            guest = made.guests[some[0]]
            others = random.sample(sorted(made.nodes), 2)
            made.only_on.append((guest.id, tuple(sorted({guest.node, *others}))))


def view_of(cluster: Cluster) -> View:
    nodes = {
        name: NodeView(
            NodeSpec(
                name,
                (Role.COMPUTE,),
                {"management": "10.0.0.1"},
                cluster.domains.get(name, ""),
                slots=_slots(cluster, name),
            ),
            Fence(1),
            5,
            Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, None, cores, memory * 1024),
            50,
            NOW,
        )
        for name, (memory, cores) in cluster.nodes.items()
    }
    instances = {}
    for guest in cluster.guests.values():
        spec = InstanceSpec(
            guest.id, "vm" if guest.live else "nfs", guest.id[3:], Exclusivity.STRICT, Role.COMPUTE,
            priority=guest.priority, cpu=guest.cores, memory_mib=guest.memory * 1024,
            ha=guest.ha, preemptible=guest.preemptible,
        )  # fmt: skip
        word = InstanceStatus(guest.node, f"s-{guest.node}", 10, InstanceState.RUNNING, healthy=True, stable=True)
        lock = InstanceLock("backup") if guest.locked else None
        instances[guest.id] = InstanceView(
            spec, 7, False, Placement(guest.node, 10, 1), 70, word, status_revision=80, lock=lock
        )
    rules = [RuleSpec(f"a{n}", RuleKind.ANTI_AFFINITY, some) for n, some in enumerate(cluster.apart)]
    rules += [RuleSpec(f"f{n}", RuleKind.ANTI_AFFINITY, some, by=Scope.DOMAIN) for n, some in enumerate(cluster.far)]
    rules += [RuleSpec(f"t{n}", RuleKind.AFFINITY, some) for n, some in enumerate(cluster.together)]
    rules += [
        RuleSpec(f"o{n}", RuleKind.NODE_AFFINITY, (name,), dict.fromkeys(on, 1))
        for n, (name, on) in enumerate(cluster.only_on)
    ]
    return View(profile("fast"), 500, nodes, instances, rules=tuple(rules))


def _slots(cluster: Cluster, node: str) -> dict[str, int]:
    slots = cluster.slots.get(node, UNLIMITED)
    return {"vm": slots} if slots < UNLIMITED else {}


def problem_after(cluster: Cluster, failed: Collection[str], *, stopping: bool) -> RoomProblem:
    """Everybody in it: who lost its node and is to be recovered, who may move, and who may only be in the way."""
    alive = frozenset(cluster.nodes) - set(failed)
    together = {name: some for some in cluster.together for name in some}
    parties = {together.get(name, (name,)) for name in cluster.guests}
    highest = max((g.priority for g in cluster.guests.values() if g.node in failed and g.ha), default=0)
    items = []
    for party in sorted(parties):
        guests = [cluster.guests[name] for name in party]
        on = guests[0].node if guests[0].node in alive else ""
        if not on and not guests[0].ha:
            continue
        nodes = alive
        for name, allowed in cluster.only_on:
            nodes = nodes & set(allowed) if name in party else nodes
        free_to_go = bool(on) and not any(guest.locked for guest in guests)
        items.append(
            RoomItem(
                party,
                (
                    sum(guest.memory for guest in guests),
                    sum(guest.cores for guest in guests),
                    sum(guest.live for guest in guests),
                ),
                nodes,
                max(guest.priority for guest in guests),
                sum(guest.priority + 1 for guest in guests),
                on,
                free_to_go and all(guest.live for guest in guests),
                stopping and free_to_go and all(guest.preemptible and guest.priority < highest for guest in guests),
            )
        )
    item_of = {name: item.id for item in items for name in item.members}
    apart, far = (
        {frozenset(item_of[name] for name in some if name in item_of) for some in sets}
        for sets in (cluster.apart, cluster.far)
    )
    rooms = tuple(
        RoomNode(name, (*cluster.nodes[name], cluster.slots.get(name, UNLIMITED)), cluster.domains.get(name, ""))
        for name in sorted(alive)
    )
    return RoomProblem(rooms, tuple(items), tuple(sorted(apart, key=sorted)), tuple(sorted(far, key=sorted)))
