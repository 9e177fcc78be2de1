"""What operators are told about placements agrees with what is decided; evening out ends and never makes anything worse."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.decide import decide
from holdfast.core.explain import explain
from holdfast.core.intents import Place
from holdfast.core.model import Beat, BeatPhase, Desired, Exclusivity, Fence, InstanceSpec, NodeSpec, Role
from holdfast.core.policy import ComputeSpec, Maintenance, RuleKind, RuleSpec
from holdfast.core.preview import settle, with_placements
from holdfast.core.rebalance import automatic, rebalance, strain
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

T = profile("fast")
NOW = 1000.0
NODES = ("n1", "n2", "n3", "n4")
INSTANCES = tuple(f"vm/{letter}" for letter in "abcdefg")

unhurried = settings(deadline=None, derandomize=True, max_examples=150)


@st.composite
def views(draw: st.DrawFn) -> View:
    nodes = {}
    for name in NODES[: draw(st.integers(2, 4))]:
        beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, None, draw(st.integers(1, 6)),
                    draw(st.integers(1, 12)) * 1024)  # fmt: skip
        spec = NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1"})
        nodes[name] = NodeView(spec, Fence(1), 5, beat, 50, NOW)
    instances = {}
    for name in INSTANCES[: draw(st.integers(1, 7))]:
        made = InstanceSpec(
            name, draw(st.sampled_from(("vm", "vm", "nfs"))), name[3:], Exclusivity.STRICT, Role.COMPUTE,
            priority=draw(st.sampled_from((100, 500, 900))),
            cpu=draw(st.sampled_from((0.0, 0.5, 1.0))), memory_mib=draw(st.integers(0, 4)) * 1024,
        )  # fmt: skip
        instances[name] = InstanceView(made, 7)
    rules = []
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from((RuleKind.NODE_AFFINITY, RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY)))
        on_nodes = kind is RuleKind.NODE_AFFINITY
        named = draw(st.lists(st.sampled_from(INSTANCES), min_size=1 if on_nodes else 2, max_size=3, unique=True))
        where = draw(st.dictionaries(st.sampled_from(NODES), st.integers(0, 3), min_size=1)) if on_nodes else {}
        rules.append(RuleSpec(f"r{number}", kind, tuple(named), where, draw(st.booleans())))
    return View(T, 500, nodes, instances, rules=tuple(rules))


def node_of(view: View, instance: str) -> str:
    placement = view.instances[instance].placement
    return placement.node if placement else ""


def unbalanced(view: View, draws: st.DataObject) -> View:
    """All that is placed has been put together by hand as far as the rules let it."""
    settled = settle(view, NOW).view
    crowded = draws.draw(st.sampled_from(sorted(view.nodes)))
    for name in settled.instances:
        moved = with_placements(settled, {name: crowded}) if node_of(settled, name) else settled
        # Only what decide leaves alone is a state that can last.
        if not decide(moved, NOW).intents:
            settled = moved
    return settled


@unhurried
@given(views(), st.data())
def test_evening_out_never_worsens_never_breaks_a_rule_and_ends(view: View, draws: st.DataObject) -> None:
    view = unbalanced(view, draws)
    for _ in range(20):
        found = rebalance(view, NOW, limit=3)
        expected = strain(found.before) - sum(move.gain for move in found.moves if move.counts is None)
        assert abs(strain(found.after) - expected) < 1e-9
        assert all(move.gain > move.cost > 0 for move in found.moves)
        if not found.moves:
            break
        for move in found.moves:
            assert node_of(view, move.instance) == move.source
            view = with_placements(view, {move.instance: move.target})
            decision = decide(view, NOW)
            asked = {
                intent.instance for intent in decision.intents if isinstance(intent, Place)
            } | decision.waiting.keys()
            assert move.instance not in asked, "what is evened out stays where it was put"
            # Whoever waited for room, or for a better place by its rules, may have it now.
            ruled = {name for rule in view.rules for name in rule.instances}
            assert not [name for name in asked - ruled if node_of(view, name)]
        assert abs(strain(rebalance(view, NOW).before) - strain(found.after)) < 1e-9
    else:
        raise AssertionError("it goes on and on")


@unhurried
@given(views(), st.data())
def test_automatic_moves_one_at_a_time_and_comes_to_rest(view: View, draws: st.DataObject) -> None:
    nodes = tuple(view.nodes)
    view = replace(unbalanced(view, draws), compute=ComputeSpec(nodes, rebalance="auto"))
    balancing, seen = False, []
    for _ in range(40):
        balancing, move = automatic(view, NOW, balancing=balancing)
        if move is None:
            break
        assert move.live
        view = with_placements(view, {move.instance: move.target})
        seen.append(move)
    else:
        raise AssertionError("it goes on and on")
    assert len({(move.instance, move.target) for move in seen}) == len(seen) or len(seen) < 20


@unhurried
@given(views(), st.data())
def test_an_explanation_names_the_node_that_is_chosen_and_every_node_once(view: View, draws: st.DataObject) -> None:
    instance = draws.draw(st.sampled_from(sorted(view.instances)))
    decided = {i.instance: i.placement.node for i in decide(view, NOW).intents if isinstance(i, Place)}
    said = explain(view, instance, NOW)
    assert sorted(verdict.node for verdict in said.verdicts) == sorted(view.nodes)
    assert all(verdict.text for verdict in said.verdicts)
    best = next((verdict.node for verdict in said.verdicts if verdict.rank == 1), "")
    assert best == decided.get(instance, "")
    assert bool(said.waiting) == (instance not in decided)
    ranked = [verdict for verdict in said.verdicts if verdict.rank]
    assert [verdict.rank for verdict in ranked] == list(range(1, len(ranked) + 1))
    for one, other in pairwise(ranked):
        if "all else is equal" in other.text:
            assert one.node < other.node


@unhurried
@given(views(), st.data())
def test_a_maintenance_is_foreseen_as_it_happens(view: View, draws: st.DataObject) -> None:
    view = settle(view, NOW).view
    freed = draws.draw(st.sampled_from(sorted(view.nodes)))
    node = replace(view.nodes[freed], maintenance=Maintenance("root"))
    foreseen = settle(replace(view, nodes={**view.nodes, freed: node}), NOW)
    for name, instance in foreseen.view.instances.items():
        assert instance.spec.desired is Desired.STARTED
        if node_of(view, name) and node_of(foreseen.view, name) == freed:
            assert name in foreseen.waiting
    assert not decide(foreseen.view, NOW).intents or foreseen.waiting
