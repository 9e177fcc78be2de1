"""Placement against brute force: whatever is placed, no hard rule is broken, and whoever waits has no legal node."""

from dataclasses import replace
from itertools import combinations, product

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.core.capacity import Fleet, refusal
from holdfast.core.feasibility import crowded, infeasible
from holdfast.core.groups import joined
from holdfast.core.model import Beat, BeatPhase, Desired, Exclusivity, Fence, InstanceSpec, NodeSpec, Role
from holdfast.core.placement import better_node, choose, misplaced, placement_order
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.core.rules import Rules, compile_rules
from holdfast.core.timing import profile
from holdfast.core.view import NodeView

T = profile("fast")
NOW = 1000.0
NODES = ("n1", "n2", "n3", "n4")
INSTANCES = ("a", "b", "c", "d", "e")

Where = dict[str, frozenset[str]]

unhurried = settings(deadline=None, derandomize=True)
"""No judgement of speed, and the same examples each time; look for more with another `max_examples` by hand."""


def node(name: str, cpu: int, memory: int, role: Role, alive: bool) -> NodeView:
    spec = NodeSpec(name, (role,), {"management": "10.0.0.1"})
    beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, None, cpu, memory)
    return NodeView(spec, Fence(1), 5, beat, 50, NOW if alive else 0.0)


@st.composite
def nodes(draw: st.DrawFn) -> list[NodeView]:
    mostly = st.sampled_from((True, True, True, False))
    return [
        node(
            name,
            draw(st.integers(1, 4)),
            draw(st.integers(1, 8)) * 1024,
            Role.COMPUTE if draw(mostly) else Role.STORAGE,
            draw(mostly),
        )
        for name in NODES[: draw(st.integers(1, 4))]
    ]


def subset(names: tuple[str, ...], least: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=least, max_size=4, unique=True).map(tuple)


@st.composite
def instances(draw: st.DrawFn) -> list[InstanceSpec]:
    return [
        InstanceSpec(
            name,
            "vm",
            name,
            Exclusivity.STRICT,
            Role.COMPUTE,
            draw(st.one_of(st.just(()), subset(NODES, 1))),
            desired=draw(st.sampled_from((*[Desired.STARTED] * 5, Desired.STOPPED, Desired.DISABLED))),
            priority=draw(st.sampled_from((100, 500, 900))),
            cpu=draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))),
            memory_mib=draw(st.integers(0, 3)) * 1024,
            failback=draw(st.sampled_from((True, True, True, False))),
        )
        for name in INSTANCES[: draw(st.integers(1, 5))]
    ]


@st.composite
def rules(draw: st.DrawFn) -> list[RuleSpec]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(RuleKind))
        on_nodes = kind is RuleKind.NODE_AFFINITY
        where = draw(st.dictionaries(st.sampled_from(NODES), st.integers(0, 3), max_size=3)) if on_nodes else {}
        named = draw(subset(INSTANCES, 1 if on_nodes else 2))
        made.append(RuleSpec(f"r{number}", kind, named, where, draw(st.sampled_from((True, True, False)))))
    return made


def compiled(cluster: list[NodeView], specs: list[InstanceSpec], laid: list[RuleSpec]) -> Rules:
    return compile_rules(tuple(laid), {spec.id: spec for spec in specs}, {view.id: view.spec for view in cluster})


def fleet_of(cluster: list[NodeView], specs: list[InstanceSpec], made: Rules, where: Where) -> Fleet:
    return Fleet({view.id: view for view in cluster}, specs, dict(where), T, NOW, made)


def broken_rules(laid: list[RuleSpec], where: Where) -> list[str]:
    """Strict rules that instances on these nodes break, straight from the words of the rules."""
    broken = []
    for rule in laid:
        on = {name: where[name] for name in rule.instances if where.get(name)}
        if not rule.strict:
            continue
        if rule.kind is RuleKind.NODE_AFFINITY and rule.nodes:
            good = all(places <= set(rule.nodes) for places in on.values())
        elif rule.kind is RuleKind.AFFINITY:
            good = len(set(on.values())) < 2
        elif rule.kind is RuleKind.ANTI_AFFINITY:
            good = all(one.isdisjoint(other) for one, other in combinations(on.values(), 2))
        else:
            continue
        if not good:
            broken.append(rule.id)
    return broken


def overloaded(cluster: list[NodeView], specs: list[InstanceSpec], where: Where) -> list[str]:
    there = {view.id: [spec for spec in specs if view.id in where.get(spec.id, ())] for view in cluster}
    return [
        view.id
        for view in cluster
        if view.beat
        and (
            sum(spec.memory_mib for spec in there[view.id]) > view.beat.memory_mib
            or sum(spec.cpu for spec in there[view.id]) > view.beat.cpu + 1e-3
        )
    ]


def place_all(cluster: list[NodeView], specs: list[InstanceSpec], made: Rules) -> tuple[Where, dict[str, str]]:
    where: Where = {}
    waiting = {}
    for spec in placement_order(specs, made):
        if spec.desired is not Desired.STARTED:
            continue
        choice = choose(spec, fleet_of(cluster, specs, made, where))
        if choice.node:
            where[spec.id] = frozenset((choice.node,))
        else:
            waiting[spec.id] = choice.why_not()
    return where, waiting


def starting(specs: list[InstanceSpec], members: tuple[str, ...], where: Where) -> list[InstanceSpec]:
    return [s for s in specs if s.id in members and s.desired is Desired.STARTED and not where.get(s.id)]


def legal(
    name: str, cluster: list[NodeView], specs: list[InstanceSpec], laid: list[RuleSpec], where: Where
) -> list[str]:
    """Nodes that could take it, and with it all of its group that is to run, if none of that runs; by brute force."""
    members = joined(laid).get(name, (name,))
    spec = next(spec for spec in specs if spec.id == name)
    alone = any(where.get(member) for member in members)
    party = [spec] if alone else starting(specs, members, where)
    anchored = [where[member] for member in members if where.get(member)]
    lists = [set(s.nodes) for s in specs if s.id in members and s.nodes]
    lists += [
        set(rule.nodes)
        for rule in laid
        if rule.strict and rule.kind is RuleKind.NODE_AFFINITY and rule.nodes and set(rule.instances) & set(members)
    ]
    groups = joined(laid)

    def good(view: NodeView) -> bool:
        after = where | {member.id: frozenset((view.id,)) for member in party}
        # Whoever is in the group of somebody on this node counts as being there: it can run nowhere else.
        there = {mate for one, places in after.items() if view.id in places for mate in groups.get(one, (one,))}
        return (
            all(not refusal(member, view, T, NOW) for member in party)
            and all(view.id in permitted for permitted in lists)
            and all(places == {view.id} for places in anchored)
            and not broken_rules(laid, after | {mate: frozenset((view.id,)) for mate in there if mate not in after})
            and not overloaded([view], specs, after)
        )

    return [view.id for view in cluster if good(view)]


@unhurried
@given(nodes(), instances(), rules())
def test_from_an_empty_cluster_no_hard_rule_is_broken_and_whoever_waits_has_no_legal_node(
    cluster: list[NodeView], specs: list[InstanceSpec], laid: list[RuleSpec]
) -> None:
    made = compiled(cluster, specs, laid)
    where: Where = {}
    views = {view.id: view for view in cluster}
    for spec in placement_order(specs, made):
        if spec.desired is not Desired.STARTED:
            continue
        choice = choose(spec, fleet_of(cluster, specs, made, where))
        if spec.id in made.blocked:
            assert not choice.node and choice.waits
            continue
        possible = legal(spec.id, cluster, specs, laid, where)
        assert choice.node in possible if possible else not choice.node
        assert choice.node or choice.waits or set(choice.reasons) == set(views), "a reason for each node"
        if choice.node:
            where[spec.id] = frozenset((choice.node,))
            assert not broken_rules(laid, where)
            assert not overloaded(cluster, specs, where)
            groups = joined(laid)
            alone = sum(bool(where.get(mate)) for mate in groups.get(spec.id, ())) == 1
            if alone:
                # The first of a group: the others follow it at once, whatever their own order.
                for mate in starting(specs, groups[spec.id], where):
                    assert choose(mate, fleet_of(cluster, specs, made, where)).node


@unhurried
@given(nodes(), instances(), rules(), st.data())
def test_the_order_of_the_input_decides_nothing(
    cluster: list[NodeView], specs: list[InstanceSpec], laid: list[RuleSpec], data: st.DataObject
) -> None:
    made = compiled(cluster, specs, laid)
    shuffled = (
        data.draw(st.permutations(cluster)),
        data.draw(st.permutations(specs)),
        [
            replace(rule, instances=tuple(data.draw(st.permutations(rule.instances))))
            for rule in data.draw(st.permutations(laid))
        ],
    )
    other = compiled(*shuffled)
    where, waiting = place_all(cluster, specs, made)
    assert place_all(shuffled[0], shuffled[1], other) == (where, waiting)
    assert other.infeasible.keys() == made.infeasible.keys()


@unhurried
@given(nodes(), instances(), rules(), st.data())
def test_moves_keep_the_rules_and_end(
    cluster: list[NodeView], specs: list[InstanceSpec], laid: list[RuleSpec], data: st.DataObject
) -> None:
    """Place under some rules, lay down others: whoever is told to move goes where no rule that held is broken anew and where
    there is room, and after a while nobody is told to move any more."""
    specs = [replace(spec, desired=Desired.STARTED) for spec in specs]
    where, _ = place_all(cluster, specs, compiled(cluster, specs, data.draw(rules())))
    made = compiled(cluster, specs, laid)
    for _ in range(40):
        moved = False
        for spec in specs:
            if not where.get(spec.id):
                continue
            (here,) = where[spec.id]
            fleet = fleet_of(cluster, specs, made, where)
            if misplaced(spec, here, fleet):
                goal = choose(spec, fleet, [view.id for view in cluster if view.id != here], moving=True).node
            else:
                goal = better_node(spec, here, fleet)
            if goal:
                assert spec.id not in made.blocked
                broken = set(broken_rules(laid, where))
                group = made.group(spec.id).members
                where |= {name: frozenset((goal,)) for name in group if where.get(name)}
                assert set(broken_rules(laid, where)) <= broken
                assert not overloaded(cluster, specs, where)
                moved = True
        if not moved:
            return
    raise AssertionError("it never ends")


@unhurried
@given(instances(), rules(), st.integers(1, 4))
def test_infeasible_agrees_with_a_search_through_all_placements(
    specs: list[InstanceSpec], laid: list[RuleSpec], size: int
) -> None:
    """On nodes without limits: sound always, and complete with at most one rule of strict anti-affinity."""
    cluster = [node(name, 99, 1 << 20, Role.COMPUTE, True) for name in NODES[:size]]
    known = {spec.id: spec for spec in specs}
    # Unknown names are a note only: leave them out, so that both sides speak of the same.
    here = {view.id for view in cluster}
    assume(all(set(spec.nodes) <= here for spec in specs))
    assume(all(set(rule.nodes) <= here and set(rule.instances) <= known.keys() for rule in laid))
    found = infeasible(laid, known, {view.id: view.spec for view in cluster})
    names = sorted({name for rule in laid for name in rule.instances})
    empty = any(rule.kind is RuleKind.NODE_AFFINITY and rule.strict and not rule.nodes for rule in laid)
    possible = not empty and any(
        not broken_rules(laid, dict(zip(names, places, strict=True)))
        and all(
            not known[name].nodes or place <= set(known[name].nodes) for name, place in zip(names, places, strict=True)
        )
        for places in product([frozenset((name,)) for name in sorted(here)], repeat=len(names))
    )
    if found:
        assert not possible
    elif sum(rule.kind is RuleKind.ANTI_AFFINITY and rule.strict for rule in laid) < 2:
        assert possible


@unhurried
@given(st.dictionaries(st.sampled_from(INSTANCES), st.sets(st.sampled_from(NODES)), max_size=5))
def test_a_crowd_is_found_exactly_when_not_all_can_have_a_node_of_their_own(choices: dict[str, set[str]]) -> None:
    names = sorted(choices)
    possible = any(len(set(taken)) == len(taken) for taken in product(*(sorted(choices[name]) for name in names)))
    crowd = crowded(choices)
    assert (crowd is None) == possible
    if crowd is not None:
        assert len(crowd[0]) > len(crowd[1])
        assert set().union(*(choices[name] for name in crowd[0])) == set(crowd[1])
