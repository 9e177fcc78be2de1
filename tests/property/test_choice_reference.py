"""The choice by masks and arrays against a plain one, which asks each node in turn and compares in the words of `choose`."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

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
PLACES = st.frozensets(st.sampled_from(NODES), max_size=2)
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


names = st.sampled_from(("", *NODES))
wishes = st.builds(
    Wish,
    names,
    names,
    st.frozensets(st.sampled_from(NODES), max_size=3),
    st.frozensets(st.sampled_from(INSTANCES), max_size=1),
    st.booleans(),
    st.sampled_from((False, False, True)),
    st.none() | st.frozensets(st.sampled_from(NODES)),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    mostly = st.sampled_from((True, True, True, False))
    slots = st.just({}) | st.dictionaries(st.sampled_from(("vm", "nfs")), st.integers(0, 3))
    nodes = {}
    for name in draw(st.permutations(NODES)):
        roles = (Role.COMPUTE,) if draw(mostly) else (Role.STORAGE,)
        networks = {"management": "10.0.0.1"} | ({"public": "10.1.0.1"} if draw(mostly) else {})
        cpu, memory = draw(st.sampled_from((1.0, 2.0, 2.5))), draw(st.integers(1, 3)) * 1024
        beat = Beat(name, name, name, 1, 1, BeatPhase.ACTIVE, None, cpu, memory)
        nodes[name] = NodeView(
            NodeSpec(name, roles, networks, draw(st.sampled_from(("", "a", "b"))), slots=draw(slots)),
            Fence(1),
            5,
            beat,
            50,
            NOW if draw(mostly) else 0.0,
            lost_networks=() if draw(mostly) else ("public",),
            up_since=0.0 if draw(mostly) else NOW,
            maintenance=None if draw(mostly) else Maintenance(),
        )
    specs = {
        name: InstanceSpec(
            name,
            draw(st.sampled_from(("vm", "vm", "nfs"))),
            "service",
            Exclusivity.STRICT,
            Role.COMPUTE,
            draw(
                st.sampled_from(LISTS)
                | st.lists(st.sampled_from(NODES), min_size=2, max_size=4, unique=True).map(tuple)
            ),
            None if draw(mostly) else ServiceAddress("10.1.0.9", "public"),
            draw(st.sampled_from((*[Desired.STARTED] * 5, Desired.STOPPED, Desired.IGNORED))),
            cpu=draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))),
            memory_mib=draw(st.integers(0, 3)) * 512,
            networks=() if draw(mostly) else draw(st.sampled_from((("public",), ("management", "public")))),
            home="" if draw(mostly) else draw(st.sampled_from(NODES)),
            spread="" if draw(mostly) else draw(st.sampled_from(("os", "ns"))),
        )
        for name in INSTANCES
    }
    laid = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from((RuleKind.NODE_AFFINITY, RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY)))
        on_nodes = kind is RuleKind.NODE_AFFINITY
        prefers = draw(st.dictionaries(st.sampled_from(NODES), st.integers(0, 2), min_size=1)) if on_nodes else {}
        named = draw(st.lists(st.sampled_from(INSTANCES), min_size=1 if on_nodes else 2, max_size=3, unique=True))
        apart = kind is RuleKind.ANTI_AFFINITY
        by = draw(st.sampled_from(Scope)) if apart else Scope.NODE
        laid.append(RuleSpec(f"r{number}", kind, tuple(named), prefers, draw(st.booleans()), by=by))
    where = {name: places for name in INSTANCES if (places := draw(PLACES))}
    rules = compile_rules(tuple(laid), specs, {name: view.spec for name, view in nodes.items()})
    return World(nodes, specs, where, rules, tuple(laid))


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


@settings(deadline=None, derandomize=True, max_examples=400)
@given(worlds(), wishes)
def test_the_choice_is_that_of_asking_each_node(world: World, wish: Wish) -> None:
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
        assert chosen.node == node
        assert sorted(chosen.reasons) == sorted(refused)
        assert all(chosen.reasons.values())


@settings(deadline=None, derandomize=True)
@given(worlds(), st.lists(st.tuples(st.sampled_from(INSTANCES), st.sampled_from(NODES), st.booleans()), max_size=8))
def test_what_is_placed_and_taken_back_leaves_the_same_choices(
    world: World, changes: list[tuple[str, str, bool]]
) -> None:
    """Also a fleet that was changed before its arrays were made."""
    early, late = world.fleet, world.fleet
    before = {name: early.left(name) for name in NODES}
    for instance, node, place in changes:
        for fleet in (early, late):
            (fleet.place if place else fleet.remove)(world.specs[instance], node)
    changed = replace(world, where=late.where).fleet
    for spec in world.specs.values():
        assert choose(spec, early).node == choose(spec, late).node == choose(spec, changed).node
    for fleet in (early, late):
        fleet.restore(0)
        assert fleet.where == world.where
        assert {name: fleet.left(name) for name in NODES} == before
