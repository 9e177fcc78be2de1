"""The problem of the second step as it is made from a view: who is asked for, who may give way, and what is looked at."""

from collections.abc import Iterable
from dataclasses import replace

from decide_world import NOW, T, claimed, node, vm, volume

from holdfast.core.capacity import Fleet
from holdfast.core.make_room import RoomItem, RoomProblem
from holdfast.core.model import Beat, Desired, Exclusivity, InstanceState
from holdfast.core.neighbourhood import ITEMS_OF_A_NODE, RECEIVERS, SOURCES, room_problem
from holdfast.core.placement import rules_of
from holdfast.core.plan import evacuate
from holdfast.core.policy import InstanceLock, RuleKind, RuleSpec
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.planning.cpsat import CpSatSolver

BIG = {"memory_mib": 6144, "priority": 900}


def problem(view: View, *waiting: str) -> RoomProblem:
    specs = [instance.spec for instance in view.instances.values()]
    where = {name: nodes for name, i in view.instances.items() if (nodes := i.executors(view.nodes))}
    fleet = Fleet(view.nodes, specs, where, T, NOW, rules_of(view))
    return room_problem(view, fleet, waiting)


def view_of(nodes: Iterable[NodeView], *instances: InstanceView, rules: tuple[RuleSpec, ...] = ()) -> View:
    return View(T, 500, {n.id: n for n in nodes}, {i.id: i for i in instances}, rules=rules)


def items(found: RoomProblem) -> dict[str, RoomItem]:
    return {item.id: item for item in found.items}


N1, N2 = node("n1"), node("n2")
WAITS = vm("vm/waits", "", spec=BIG)


def test_who_may_give_way_and_how() -> None:
    assert isinstance(N1.beat, Beat)
    roomy = replace(N1, beat=replace(N1.beat, memory_mib=16384))
    lock, preemptible = InstanceLock("backup"), {"preemptible": True}
    found = items(
        problem(
            view_of(
                (roomy, N2),
                WAITS,
                vm("vm/live", "n1"),
                vm("vm/locked", "n1", lock=lock),
                vm("vm/migrating", "n1", placement={"migrate_to": "n2", "migrate_fence_epoch": 1}),
                vm("vm/failed-to-migrate", "n1", placement={"migrate_failed": 1}),
                vm("vm/starting", "n1", InstanceState.STARTING),
                vm("vm/yields", "n1", spec=preemptible),
                vm("vm/too-important", "n1", spec={**preemptible, "priority": 900}),
                volume("nfs/strict", "n1"),
                volume("nfs/strict-yields", "n1", spec=preemptible),
                volume("dns/advisory", "n1", spec={"exclusivity": Exclusivity.ADVISORY}),
                vm("vm/off", "n1", InstanceState.STOPPED, spec={"desired": Desired.STOPPED}),
            ),
            "vm/waits",
        )
    )
    assert {name: (item.movable, item.stoppable) for name, item in found.items()} == {
        "vm/waits": (False, False),
        "vm/live": (True, False),
        "vm/yields": (True, True),
        "vm/too-important": (True, False),
        "nfs/strict-yields": (False, True),
        "dns/advisory": (True, False),
    }
    assert found["vm/waits"].node == "" and found["vm/live"].node == "n1"


def test_room_is_what_the_items_may_share() -> None:
    found = problem(view_of((N1, N2), WAITS, vm("vm/live", "n1"), volume("nfs/stays", "n1")), "vm/waits")
    assert [(room.id, room.room[0]) for room in found.nodes] == [("n1", 8192 - 1024), ("n2", 8192)]
    assert found.whole


def test_closed_and_dead_nodes_are_no_part_of_it() -> None:
    leaving = replace(N2, maintenance=None, health=None)
    assert isinstance(leaving.beat, Beat)
    leaving = replace(leaving, beat=replace(leaving.beat, leaving="migrate"))
    found = problem(view_of((N1, leaving, claimed("n3")), WAITS, vm("vm/live", "n1")), "vm/waits")
    assert [room.id for room in found.nodes] == ["n1"]


def test_a_group_is_one_item_and_what_runs_is_joined() -> None:
    rule = RuleSpec("r", RuleKind.AFFINITY, ("vm/a", "vm/b"))
    both = problem(view_of((N1, N2), vm("vm/a", ""), vm("vm/b", ""), rules=(rule,)), "vm/a", "vm/b")
    assert [(item.members, item.demand[0], item.weight) for item in both.items] == [(("vm/a", "vm/b"), 2048, 1002)]
    joins = items(problem(view_of((N1, N2), vm("vm/a", ""), vm("vm/b", "n2"), rules=(rule,)), "vm/a"))
    assert joins["vm/a"].nodes == {"n2"} and "vm/b" not in joins, "the one that is joined stays"


def test_apart_from_what_stays_by_node_and_from_items_by_name() -> None:
    rule = RuleSpec("r", RuleKind.ANTI_AFFINITY, ("vm/waits", "vm/live", "nfs/stays"))
    view = view_of((N1, N2, node("n3")), WAITS, vm("vm/live", "n1"), volume("nfs/stays", "n2"), rules=(rule,))
    found = problem(view, "vm/waits")
    assert items(found)["vm/waits"].nodes == {"n1", "n3"}
    assert found.apart == (frozenset(("vm/live", "vm/waits")),)


def test_what_cannot_be_asked_for_is_told() -> None:
    nowhere = vm("vm/nowhere", "", spec={"nodes": ("n9",)})
    found = problem(view_of((N1, N2), nowhere), "vm/nowhere")
    assert not found.items and found.outside == {"vm/nowhere": "no node may carry it"}


def test_of_a_large_cluster_a_neighbourhood() -> None:
    """100 nodes with seven guests of 1 GiB each: for the one of 6 GiB somebody has to move."""
    nodes = [node(f"n{number:03}") for number in range(100)]
    guests = [vm(f"vm/{n.id}-{number}", n.id) for n in nodes for number in range(7)]
    view = view_of(nodes, WAITS, *guests)
    found = problem(view, "vm/waits")
    assert not found.whole
    assert len(found.nodes) <= SOURCES + RECEIVERS
    assert len(found.items) <= 1 + SOURCES * ITEMS_OF_A_NODE
    plan = evacuate(view, (), CpSatSolver(), now=NOW)
    assert plan.placements.keys() == {"vm/waits"} and not plan.unplaced
    assert len(plan.moved) == 5, "no more than needed"


def test_the_nodes_to_move_to_have_slots() -> None:
    """Those with most memory left carry no machine at all."""
    full = [limited(f"full{number:02}", 6) for number in range(10)]
    closed = [limited(f"closed{number:02}", 0) for number in range(20)]
    useful = [limited(f"useful{number:02}", 7) for number in range(10)]
    guests = [vm(f"vm/{n.id}-{number}", n.id) for n in (*full, *useful) for number in range(6)]
    view = view_of((*full, *closed, *useful), WAITS, *guests)
    found = problem(view, "vm/waits")
    assert not found.whole and not any(each.id.startswith("closed") for each in found.nodes)
    assert evacuate(view, (), CpSatSolver(), now=NOW).placements.keys() == {"vm/waits"}


def limited(name: str, slots: int) -> NodeView:
    made = node(name)
    return replace(made, spec=replace(made.spec, slots={"vm": slots}))
