"""A plan says what recovery then does: compared with the decisions themselves, followed until nothing changes any more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.model import Desired, Exclusivity, InstanceSpec, Role
from holdfast.core.plan import Planner
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.core.preview import settle, with_failures
from holdfast.core.view import View
from holdfast.sim.setup import InstanceSetup, NodeSetup
from holdfast.sim.still import NOW, placed_first, view_of

NODES = ("n1", "n2", "n3", "n4")
INSTANCES = tuple(f"vm/{letter}" for letter in "abcdefgh")
STRICT = (RuleKind.NODE_AFFINITY, RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY)


@st.composite
def clusters(draw: st.DrawFn) -> View:
    nodes = {name: NodeSetup(name, draw(st.sampled_from((1.0, 2.0))), draw(st.integers(1, 4)) * 1024) for name in NODES}
    instances = {}
    for name in INSTANCES[: draw(st.integers(1, 8))]:
        spec = InstanceSpec(
            name,
            "vm",
            name,
            Exclusivity.STRICT,
            Role.COMPUTE,
            desired=draw(st.sampled_from((*[Desired.STARTED] * 5, Desired.STOPPED))),
            priority=draw(st.sampled_from((100, 500, 900))),
            cpu=draw(st.sampled_from((0.0, 0.1, 0.5))),
            memory_mib=draw(st.integers(0, 4)) * 256,
            ha=draw(st.sampled_from((True, True, True, False))),
        )
        instances[name] = InstanceSetup(spec)
    rules = []
    for number in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(STRICT))
        on_nodes = kind is RuleKind.NODE_AFFINITY
        named = draw(st.lists(st.sampled_from(INSTANCES), min_size=1 if on_nodes else 2, max_size=3, unique=True))
        where = draw(st.lists(st.sampled_from(NODES), min_size=2, max_size=3, unique=True)) if on_nodes else []
        rules.append(RuleSpec(f"r{number}", kind, tuple(named), dict.fromkeys(where, 1)))
    return placed_first(view_of(nodes, instances, tuple(rules)))[0]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(clusters(), st.lists(st.sampled_from(NODES), max_size=2, unique=True))
def test_a_plan_is_what_the_decisions_come_to(view: View, failed: list[str]) -> None:
    before = {name: instance.executors(view.nodes) for name, instance in view.instances.items()}
    plan = Planner(view, NOW).evacuate(failed)
    after = settle(with_failures(view, failed), NOW).view
    for name, instance in after.instances.items():
        if instance.spec.desired is not Desired.STARTED:
            continue
        runs = instance.executors(after.nodes)
        stays = before[name] - set(failed)
        assert runs == (stays or ({plan.placements[name]} if name in plan.placements else set())), name
        assert bool(runs) != (name in plan.unplaced)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(clusters(), st.lists(st.sampled_from(NODES), max_size=3, unique=True))
def test_asking_changes_nothing_and_nothing_is_forgotten(view: View, failed: list[str]) -> None:
    planner = Planner(view, NOW)
    before = {node: planner.fleet.left(node) for node in view.nodes}
    where = dict(planner.fleet.where)
    plan = planner.evacuate(failed)
    assert planner.fleet.where == where
    assert {node: planner.fleet.left(node) for node in view.nodes} == before
    homeless = {
        name
        for name, instance in view.instances.items()
        if instance.spec.desired is Desired.STARTED and not instance.executors(view.nodes) - set(failed)
    }
    assert plan.placements.keys() | plan.unplaced.keys() == homeless
    assert plan.placements.keys().isdisjoint(plan.unplaced)
    assert set(failed).isdisjoint(plan.placements.values())
    assert planner.shortfall(failed) == plan.shortfall
