"""The choice by masks and arrays against a plain one, which asks each node in turn and compares in the words of `choose`."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random

import pytest

from holdfast.core.capacity import Fleet, refusal
from holdfast.core.groups import Group
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Exclusivity,
    Fence,
    InstanceSpec,
    NodeSpec,
    Role,
    ServiceAddress,
)
from holdfast.core.placement import choose
from holdfast.core.policy import Maintenance, RuleKind, RuleSpec, Scope
from holdfast.core.rules import Rules, compile_rules
from holdfast.core.timing import profile
from holdfast.core.view import NodeView

T = profile("fast")
NOW = 1000.0
NODES = ("n1", "n2", "n3", "n4", "n5")
INSTANCES = ("a", "b", "c", "d", "e")
LISTS = ((), (), ("n1", "n2", "n4"), ("n4", "n2", "n1"))
WORLDS = 800
Where = dict[str, frozenset[str]]


@dataclass(frozen=True)
class World:
    nodes: dict[str, NodeView]
    specs: dict[str, InstanceSpec]
    where: Where
    rules: Rules
    laid: tuple[RuleSpec, ...]

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.nodes, self.specs.values(), dict(self.where), T, NOW, self.rules)

    def load(self, node: str) -> tuple[int, float, list[str]]:
        """Memory, cores, kinds of those that are there."""
        there = [spec for name, spec in self.specs.items() if node in self.where.get(name, ())]
        return sum(spec.memory_mib for spec in there), sum(spec.cpu for spec in there), [spec.kind for spec in there]


@dataclass(frozen=True)
class Wish:
    wanted: str
    avoid: str
    tried: frozenset[str]
    leaving: frozenset[str]
    moving: bool
    weightless: bool
    among: frozenset[str] | None


def random_wish(random: Random) -> Wish:
    names = ("", *NODES)
    return Wish(
        random.choice(names),
        random.choice(names),
        frozenset(random.sample(NODES, random.randint(0, 3))),
        frozenset(random.sample(INSTANCES, random.randint(0, 1))),
        random.random() < 0.5,
        random.random() < 0.33,
        None if random.random() < 0.5 else frozenset(random.sample(NODES, random.randint(0, len(NODES)))),
    )


def random_world(random: Random) -> World:
    """Drawn by hand: strategies of so many parts take several times as long as what is tested."""

    def mostly() -> bool:
        return random.random() < 0.75

    nodes = {}
    for name in random.sample(NODES, len(NODES)):
        roles = (Role.COMPUTE,) if mostly() else (Role.STORAGE,)
        networks = {"management": "10.0.0.1"} | ({"public": "10.1.0.1"} if mostly() else {})
        cpu, memory = random.choice((1.0, 2.0, 2.5)), random.randint(1, 3) * 1024
        limited = random.sample(("vm", "nfs"), random.choice((0, 0, 1, 2)))
        slots = {kind: random.randint(0, 3) for kind in limited}
        beat = Beat(name, name, name, 1, 1, BeatPhase.ACTIVE, None, cpu, memory)
        nodes[name] = NodeView(
            NodeSpec(name, roles, networks, random.choice(("", "a", "b")), slots=slots),
            Fence(1),
            5,
            beat,
            50,
            NOW if mostly() else 0.0,
            lost_networks=() if mostly() else ("public",),
            up_since=0.0 if mostly() else NOW,
            maintenance=None if mostly() else Maintenance(),
        )
    specs = {name: random_spec(random, name) for name in INSTANCES}
    laid = []
    for number in range(random.randint(0, 4)):
        kind = random.choice((RuleKind.NODE_AFFINITY, RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY))
        on_nodes, apart = kind is RuleKind.NODE_AFFINITY, kind is RuleKind.ANTI_AFFINITY
        listed = random.sample(NODES, random.randint(1, len(NODES))) if on_nodes else []
        prefers = {node: random.randint(0, 2) for node in listed}
        named = random.sample(INSTANCES, random.randint(1 if on_nodes else 2, 3))
        by = random.choice(tuple(Scope)) if apart else Scope.NODE
        laid.append(RuleSpec(f"r{number}", kind, tuple(named), prefers, random.random() < 0.5, by=by))
    where = {name: frozenset(random.sample(NODES, count)) for name in INSTANCES if (count := random.randint(0, 2))}
    rules = compile_rules(tuple(laid), specs, {name: view.spec for name, view in nodes.items()})
    return World(nodes, specs, where, rules, tuple(laid))


def random_spec(random: Random, name: str) -> InstanceSpec:
    def mostly() -> bool:
        return random.random() < 0.75

    listed = tuple(random.sample(NODES, random.randint(2, 4)))
    return InstanceSpec(
        name,
        random.choice(("vm", "vm", "nfs")),
        "service",
        Exclusivity.STRICT,
        Role.COMPUTE,
        random.choice((*LISTS, listed)),
        None if mostly() else ServiceAddress("10.1.0.9", "public"),
        random.choice((*[Desired.STARTED] * 5, Desired.STOPPED, Desired.IGNORED)),
        cpu=random.choice((0.0, 0.1, 0.5, 1.0)),
        memory_mib=random.randint(0, 3) * 512,
        networks=() if mostly() else random.choice((("public",), ("management", "public"))),
        home="" if mostly() else random.choice(NODES),
        spread="" if mostly() else random.choice(("os", "ns")),
    )


def near(world: World, rule: RuleSpec, group: Group, node: str) -> bool:
    """Somebody from whom the rule keeps the group apart is on the node, or in its domain."""
    if rule.kind is not RuleKind.ANTI_AFFINITY or not rule.strict or not set(rule.instances) & set(group.members):
        return False
    named = {member for name in rule.instances for member in world.rules.group(name).members}
    return any(at(world, rule, name, node) for name in named - set(group.members))


def liked(world: World, group: Group, node: str) -> list[tuple[RuleSpec, str]]:
    """Rules of preferred company, each with those in whose company the group would be."""
    kinds = (RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY)
    rules = [r for r in world.laid if r.kind in kinds and not r.strict and set(r.instances) & set(group.members)]
    return [(r, o) for r in rules for o in r.instances if o not in group.members and at(world, r, o, node)]


def at(world: World, rule: RuleSpec, other: str, node: str) -> bool:
    places = world.where.get(other, frozenset())
    domain = world.nodes[node].spec.failure_domain if rule.by is Scope.DOMAIN else ""
    return node in places or any(domain and world.nodes[place].spec.failure_domain == domain for place in places)


def like(one: InstanceSpec, other: InstanceSpec) -> bool:
    """Of one spread set."""
    return (one.kind, one.spread, set(one.nodes)) == (other.kind, other.spread, set(other.nodes))


def plain(world: World, spec: InstanceSpec, wish: Wish) -> tuple[str, Collection[str]]:
    """(the best node, the nodes that are refused)."""
    group, where = world.rules.group(spec.id), world.where
    mates = [world.specs[name] for name in group.members if name != spec.id]
    running = [mate for mate in mates if where.get(mate.id) and (not wish.moving or mate.desired is Desired.IGNORED)]
    spread = {where[mate.id] for mate in running}
    if spec.id in world.rules.blocked or any(mate.id in wish.leaving for mate in running):
        return "", ()
    if len(spread) > 1 or any(len(places) > 1 for places in spread):
        return "", ()
    party = [spec]
    if wish.moving or not running:
        party += [mate for mate in mates if mate.desired is Desired.STARTED]
    ranked, refused = [], []
    for name, view in world.nodes.items():
        if wish.among is not None and name not in wish.among:
            continue
        memory, cpu, kinds = world.load(name)
        fits = not group.refuses(name) and all(name in places for places in spread)
        fits = fits and not any(near(world, rule, group, name) for rule in world.laid)
        for member in party:
            counted = name in where.get(member.id, ())
            fits = fits and not refusal(member, view, T, NOW, staying=counted)
            if not counted:
                kinds.append(member.kind)
            if not counted and not wish.weightless:
                memory, cpu = memory + member.memory_mib, cpu + member.cpu
                fits = fits and not (member.memory_mib and memory > view.memory_mib)
                fits = fits and not (member.cpu and cpu > view.cpu + 1e-6)
                fits = fits and kinds.count(member.kind) <= view.spec.slots.get(member.kind, len(INSTANCES))
        if not fits:
            refused.append(name)
            continue
        there = sum(name in where.get(member, ()) for member in group.members) if mates else 0
        others = [other for other in world.specs.values() if other not in party and name in where.get(other.id, ())]
        numbers = (
            sum(like(member, other) for other in others for member in party),
            sum(other.kind == member.kind for other in others for member in party),
        )
        rank = (
            name != wish.wanted,
            name == wish.avoid or name in wish.tried,
            name != spec.home,
            not view.well(T, NOW),
            -group.preference(name),
            -there,
            -sum(1 if rule.kind is RuleKind.AFFINITY else -1 for rule, _ in liked(world, group, name)),
            numbers if spec.spread else (),
            memory - view.memory_mib if any(member.memory_mib for member in party) and not wish.weightless else 0,
            round(cpu - view.cpu, 6) if any(member.cpu for member in party) and not wish.weightless else 0,
            numbers,
            len(kinds),
            name,
        )
        ranked.append(rank)
    return (str(min(ranked)[-1]) if ranked else ""), refused


@pytest.mark.parametrize("first", range(0, WORLDS, 100))
def test_the_choice_is_that_of_asking_each_node(first: int) -> None:
    for seed in range(first, first + 100):
        random = Random(seed)
        world, wish = random_world(random), random_wish(random)
        for spec in world.specs.values():
            chosen = choose(
                spec,
                world.fleet,
                wish.among,
                wanted=wish.wanted,
                avoid=wish.avoid,
                tried=wish.tried,
                leaving=wish.leaving,
                moving=wish.moving,
                weightless=wish.weightless,
            )
            node, refused = plain(world, spec, wish)
            assert chosen.node == node, seed
            assert sorted(chosen.reasons) == sorted(refused), seed
            assert all(chosen.reasons.values())


@pytest.mark.parametrize("first", range(0, WORLDS // 4, 100))
def test_what_is_placed_and_taken_back_leaves_the_same_choices(first: int) -> None:
    """Also a fleet that was changed before its arrays were made."""
    for seed in range(first, first + 100):
        random = Random(seed)
        world = random_world(random)
        early, late = world.fleet, world.fleet
        before = {name: early.left(name) for name in NODES}
        for _ in range(random.randint(0, 8)):
            spec, node, place = world.specs[random.choice(INSTANCES)], random.choice(NODES), random.random() < 0.5
            for fleet in (early, late):
                (fleet.place if place else fleet.remove)(spec, node)
        changed = replace(world, where=late.where).fleet
        for spec in world.specs.values():
            assert choose(spec, early).node == choose(spec, late).node == choose(spec, changed).node, seed
        for fleet in (early, late):
            fleet.restore(0)
            assert fleet.where == world.where
            assert {name: fleet.left(name) for name in NODES} == before
