"""What recovery would do if nodes failed: on clusters at rest, in the words of scenario files."""

from dataclasses import replace

import pytest

from holdfast.core.capacity import Fleet
from holdfast.core.make_room import Move, RoomProblem, RoomSolution
from holdfast.core.model import MoveRequest
from holdfast.core.plan import ITS_NODE, Planner, evacuate
from holdfast.core.view import View
from holdfast.errors import InvalidInput
from holdfast.sim.document import parse
from holdfast.sim.still import placed_first, read_view


def view(instances: str, rules: str = "[]", nodes: str = "{n1: {}, n2: {}, n3: {}}") -> View:
    """Three nodes of 4 cores and 8 GiB."""
    return read_view(parse(f"nodes: {nodes}\ninstances: {{{instances}}}\nrules: {rules}\n", "test"))


def what_is_free(fleet: Fleet) -> dict[str, object]:
    return {node: fleet.left(node) for node in fleet.nodes}


class Answer:
    """A solver that knows the answer."""

    def __init__(self, solution: RoomSolution) -> None:
        self.solution = solution
        self.asked: list[RoomProblem] = []

    def solve(self, problem: RoomProblem) -> RoomSolution:
        self.asked.append(problem)
        return self.solution


# --- who goes where -----------------------------------------------------------------------------------------------------


def test_only_what_lost_its_node_moves_highest_priority_first_to_the_most_room() -> None:
    plan = evacuate(
        view(
            "vm/low: {node: n1, memory: 6GiB, priority: 100}, vm/high: {node: n1, memory: 2GiB, priority: 900},"
            "vm/other: {node: n3, memory: 1GiB}"
        ),
        ["n1"],
    )
    assert plan.placements == {"vm/high": "n2", "vm/low": "n3"}
    assert not plan.unplaced
    assert not plan.moved


def test_what_does_not_fit_has_a_reason_for_each_node() -> None:
    plan = evacuate(view("vm/a: {node: n1, memory: 6GiB}, vm/b: {node: n2, memory: 4GiB}"), ["n1", "n3"])
    assert not plan.placements
    assert plan.shortfall == ("vm/a",)
    assert plan.unplaced == {
        "vm/a": {
            "n1": "has failed",
            "n2": "has only 4096 MiB of memory left, 6144 MiB are needed",
            "n3": "has failed",
        }
    }


def test_what_waits_already_takes_its_turn() -> None:
    waiting = view("vm/big: {memory: 9GiB, priority: 900}, vm/small: {memory: 1GiB}, vm/a: {node: n1, memory: 1GiB}")
    plan = evacuate(waiting, [])
    assert plan.placements.keys() == {"vm/small"}
    assert plan.shortfall == ("vm/big",)
    assert evacuate(waiting, ["n1"]).placements.keys() == {"vm/small", "vm/a"}


def test_by_its_owners_wish_an_instance_waits_for_its_node_and_is_no_shortfall() -> None:
    plan = evacuate(view("vm/a: {node: n1, ha: false}, vm/b: {node: n1}"), ["n1"])
    assert plan.placements.keys() == {"vm/b"}
    assert plan.unplaced == {"vm/a": {"n1": ITS_NODE}}
    assert plan.shortfall == ()


def test_what_is_off_gets_a_home_and_what_is_disabled_or_ignored_is_left_alone() -> None:
    plan = evacuate(
        view(
            "vm/off: {node: n1, state: stopped, memory: 9GiB}, vm/dis: {node: n1, state: disabled},"
            "vm/ign: {node: n1, state: ignored}, vm/on: {node: n2, memory: 1GiB}"
        ),
        ["n1"],
    )
    assert plan.homes == {"vm/off": "n3"}
    assert not plan.placements
    assert not plan.unplaced


def test_an_operators_wish_and_earlier_failures_count_as_in_recovery() -> None:
    asked = view("vm/a: {node: n1}, vm/b: {node: n3, memory: 1GiB}")
    wish = replace(asked.instances["vm/a"], move=MoveRequest("n3"))
    asked = replace(asked, instances={**asked.instances, "vm/a": wish})
    assert evacuate(asked, ["n1"]).placements == {"vm/a": "n3"}


def test_rules_are_kept() -> None:
    cluster = view(
        "vm/a: {node: n1, memory: 2GiB}, vm/b: {node: n1, memory: 2GiB}, vm/c: {node: n2, memory: 1GiB},"
        "vm/d: {node: n3, memory: 5GiB}",
        "[{kind: affinity, instances: [vm/a, vm/b]}, {kind: anti-affinity, instances: [vm/a, vm/c]}]",
    )
    plan = evacuate(cluster, ["n1"])
    assert plan.shortfall == ("vm/a", "vm/b")
    assert plan.unplaced["vm/b"]["n2"] == "runs vm/c, with which vm/a must not share a node"
    assert "must share its node" in plan.unplaced["vm/a"]["n3"]


def test_what_cannot_be_placed_at_all_says_so_for_each_node() -> None:
    broken = "[{kind: affinity, instances: [vm/a, vm/b]}, {kind: anti-affinity, instances: [vm/a, vm/b]}]"
    plan = evacuate(view("vm/a: {node: n1}, vm/b: {node: n1}", broken), ["n1"])
    assert set(plan.unplaced["vm/a"]) == {"n1", "n2", "n3"}
    assert "a placement rule cannot be kept" in plan.unplaced["vm/a"]["n2"]


def test_half_of_a_migration_that_fails_leaves_the_other_half() -> None:
    cluster = view("vm/a: {node: n1}")
    old = cluster.instances["vm/a"]
    assert old.placement is not None
    moving = replace(old, placement=replace(old.placement, migrate_to="n2", migrate_fence_epoch=1))
    cluster = replace(cluster, instances={"vm/a": moving})
    assert not evacuate(cluster, ["n1"]).placements
    assert not evacuate(cluster, ["n2"]).placements
    assert evacuate(cluster, ["n1", "n2"]).placements == {"vm/a": "n3"}


# --- many questions -----------------------------------------------------------------------------------------------------


def test_one_planner_answers_again_and_again_as_if_asked_first() -> None:
    cluster = view(
        ", ".join(f"vm/{i}: {{node: n{i % 3 + 1}, memory: {i % 4 + 1}GiB, cpu: 0.1, priority: {i}}}" for i in range(9))
    )
    planner = Planner(cluster)
    before = what_is_free(planner.fleet)
    for failed in ([], ["n1"], ["n2"], ["n1", "n3"], ["n1", "n2", "n3"], ["n1"]):
        assert planner.evacuate(failed) == evacuate(cluster, failed)
        assert planner.shortfall(failed) == evacuate(cluster, failed).shortfall
        assert what_is_free(planner.fleet) == before


# --- the second step ----------------------------------------------------------------------------------------------------


FULL = "vm/a: {node: n1, memory: 6GiB, priority: 700}, vm/b: {node: n2, memory: 4GiB}, vm/c: {node: n3, memory: 4GiB}"


def test_the_solver_is_asked_only_when_something_does_not_fit() -> None:
    solver = Answer(RoomSolution())
    evacuate(view("vm/a: {node: n1}"), ["n1"], solver)
    assert not solver.asked
    evacuate(view(FULL), ["n1"], solver)
    assert [item.id for item in solver.asked[0].items if not item.node] == ["vm/a"]


def test_room_that_a_solver_makes_is_used() -> None:
    solver = Answer(RoomSolution({"vm/a": "n2"}, (Move("vm/b", "n2", "n3"),), proven=True))
    planner = Planner(view(FULL))
    before = what_is_free(planner.fleet)
    plan = planner.evacuate(["n1"], solver)
    assert plan.placements == {"vm/a": "n2"}
    assert plan.moved == {"vm/b": ("n2", "n3")}
    assert plan.shortfall == ()
    assert what_is_free(planner.fleet) == before


def test_an_answer_that_is_no_better_is_not_taken() -> None:
    cluster = view(
        "vm/a: {node: n1, memory: 9GiB}, vm/b: {node: n1, memory: 1GiB}, vm/c: {node: n2, memory: 1GiB, preemptible: true}"
    )
    for solution in (RoomSolution(why="no time"), RoomSolution({"vm/b": "n2"}), RoomSolution({}, (), ("vm/c",))):
        plan = evacuate(cluster, ["n1"], Answer(solution))
        assert plan.placements == {"vm/b": "n3"}
        assert plan.shortfall == ("vm/a",)
        assert not plan.stopped


# --- clusters in files --------------------------------------------------------------------------------------------------


def test_what_has_no_node_in_the_file_is_placed_first() -> None:
    settled, first = placed_first(
        view("vm/a: {memory: 1GiB}, vm/off: {state: stopped}, vm/b: {node: n1, memory: 2GiB}")
    )
    assert first == {"vm/a": "n2", "vm/off": "n3"}
    assert evacuate(settled, ["n2"]).placements == {"vm/a": "n3"}


def test_a_node_that_is_off_carries_nothing() -> None:
    document = {"nodes": {"n1": {}, "n2": {}}, "instances": {"vm/a": {"node": "n1"}}, "start": {"n1": False}}
    off = read_view(replace(parse("{}", "test"), value=document))
    assert evacuate(off, []).placements == {"vm/a": "n2"}


def test_mistakes_are_named_with_their_place() -> None:
    with pytest.raises(InvalidInput, match=r"instances\.vm/a\.node: there is no node 'n9'"):
        view("vm/a: {node: n9}")
    with pytest.raises(InvalidInput, match="nodes: is missing or empty"):
        read_view(parse("instances: {}", "test"))
