"""What is counted: evened out by itself when nodes return, and by hand; and everything that forbids it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from decide_world import NOW, T, node, vm

from holdfast.core.horizon import next_look
from holdfast.core.intents import AskMove, Decision
from holdfast.core.model import Desired, Goal, InstanceState, MoveRequest
from holdfast.core.moves import Proposal
from holdfast.core.policy import (
    BringBack,
    HaPause,
    InstanceLock,
    Maintenance,
    NodeHealth,
    PauseMode,
    RuleKind,
    RuleSpec,
)
from holdfast.core.rebalance import rebalance
from holdfast.core.spreading import QUIET_S, automatic
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.manager.balance import Balancer

NODES = ("n1", "n2", "n3")


def lun(name: str, on: str = "n1", state: InstanceState = InstanceState.RUNNING, **changes: object) -> InstanceView:
    """The active path of an iSCSI volume whose group is on n1 and n2."""
    view = vm(f"iscsi/{name}", on, state, **changes)  # type: ignore[arg-type]
    return replace(view, spec=replace(view.spec, kind="iscsi", memory_mib=0, nodes=("n1", "n2")))


def view(*instances: InstanceView, nodes: Iterable[NodeView] = (), **changes: object) -> View:
    """n1 to n3, some of them otherwise than usual."""
    all_nodes = {name: node(name) for name in NODES} | {n.id: n for n in nodes}
    return View(T, 500, all_nodes, {i.id: i for i in instances}, **changes)  # type: ignore[arg-type]


PAIR = (lun("a"), lun("b"))
"""Both on n1: one may go to n2."""


def moved(*instances: InstanceView, **changes: object) -> Proposal | None:
    return automatic(view(*instances, **changes), NOW)  # type: ignore[arg-type]


def test_one_goes_where_there_are_two_fewer() -> None:
    assert moved(*PAIR) == Proposal("iscsi/a", "n1", "n2", True, 2.0, 1.0, (2, 0))
    assert moved(lun("a")) is None, "a difference of one is even enough"
    assert moved(lun("a"), lun("b"), lun("c", "n2")) is None
    assert moved(lun("a"), lun("b"), lun("c"), lun("d", "n2")) is not None


def test_each_group_of_nodes_is_evened_out_for_itself() -> None:
    other = replace(lun("b"), spec=replace(lun("b").spec, nodes=("n1", "n2", "n3")))
    assert moved(lun("a"), other) is None, "one each"
    same = replace(lun("b"), spec=replace(lun("b").spec, nodes=("n2", "n1")))
    assert moved(lun("a"), same) is not None, "in whatever order the nodes are listed"


def test_the_less_important_and_then_the_oldest_placement_goes() -> None:
    important = replace(lun("a"), spec=replace(lun("a").spec, priority=900))
    assert moved(important, lun("b")) is not None
    assert getattr(moved(important, lun("b")), "instance", "") == "iscsi/b"
    fresh = lun("a", placement={"epoch": 20}, status={"epoch": 20})
    assert getattr(moved(fresh, lun("b")), "instance", "") == "iscsi/b", "somebody has just put a there"


HELD: Mapping[str, InstanceView] = {
    "a lock": lun("a", lock=InstanceLock("backup")),
    "it is not well": lun("a", status={"healthy": False}),
    "it is being deleted": lun("a", deleting=True),
    "its owner wants it to stay": replace(lun("a"), spec=replace(lun("a").spec, failback=False)),
    "it is ignored": replace(lun("a"), spec=replace(lun("a").spec, desired=Desired.IGNORED)),
}


@pytest.mark.parametrize("why", HELD)
def test_who_is_held_stays_and_the_other_goes(why: str) -> None:
    assert getattr(moved(HELD[why], lun("b")), "instance", "") == "iscsi/b"


RULES: Mapping[str, RuleSpec] = {
    "node affinity, strict": RuleSpec("r", RuleKind.NODE_AFFINITY, ("iscsi/a", "iscsi/b"), {"n1": 0}),
    "node affinity, preferred": RuleSpec("r", RuleKind.NODE_AFFINITY, ("iscsi/a", "iscsi/b"), {"n1": 1}, False),
    "affinity, strict": RuleSpec("r", RuleKind.AFFINITY, ("iscsi/a", "iscsi/b")),
    "affinity, preferred": RuleSpec("r", RuleKind.AFFINITY, ("iscsi/a", "iscsi/b"), strict=False),
}


@pytest.mark.parametrize("kind", RULES)
def test_no_rule_is_broken_and_no_preference_slighted(kind: str) -> None:
    assert moved(*PAIR, rules=(RULES[kind],)) is None


def test_nobody_comes_to_whom_it_must_be_apart_from() -> None:
    rule = RuleSpec("r", RuleKind.ANTI_AFFINITY, ("iscsi/a", "vm/x"))
    found = moved(*PAIR, vm("vm/x", "n2"), rules=(rule,))
    assert found is not None and found.instance == "iscsi/b"


CLOSED: Mapping[str, NodeView] = {
    "in maintenance": node("n2", maintenance=Maintenance()),
    "quarantined": node("n2", health=NodeHealth(quarantined="it failed three times")),
    "back for too short a time": node("n2", up_since=NOW - QUIET_S + 1),
    "suspect": node("n2", missed_for=3.0),
    "what left it returns first": node("n2", bring_back=BringBack(("iscsi/a",))),
    "without the role": node("n2", spec=replace(node("n2").spec, roles=())),
    "without a slot": node("n2", spec=replace(node("n2").spec, slots={"iscsi": 0})),
}


@pytest.mark.parametrize("why", CLOSED)
def test_a_node_that_gets_nothing(why: str) -> None:
    assert moved(*PAIR, nodes=[CLOSED[why]]) is None


def test_the_horizon_knows_when_a_node_has_been_back_for_long_enough() -> None:
    soon = view(*PAIR, nodes=[node("n2", up_since=NOW - 10)])
    assert next_look(soon, NOW - 11 + QUIET_S) == NOW - 10 + QUIET_S
    assert moved(*PAIR, nodes=[node("n2", up_since=NOW - QUIET_S)]) is not None


def test_nothing_is_done_unless_all_is_calm() -> None:
    assert moved(*PAIR, settled=False) is None
    assert moved(*PAIR, pause=HaPause(PauseMode.FREEZE)) is None
    assert moved(*PAIR, nodes=[node("n3", missed_for=3.0)]) is None, "also another node"
    for under_way in (
        lun("c", move=MoveRequest("n2")),
        lun("c", placement={"next_node": "n2", "goal": Goal.STOP}),
        lun("c", "n2", InstanceState.STARTING, placed_at=NOW - 1),
    ):
        assert moved(*PAIR, lun("d"), lun("e"), under_way) is None, "one at a time"


def test_no_node_where_one_of_them_fails_until_it_has_been_away() -> None:
    luns = (lun("a"), lun("b"), lun("c"))
    bad = lun("d", "n2", InstanceState.FAILED)
    assert moved(*luns, lun("d", "n2")) is not None
    assert moved(*luns, bad) is None
    burnt = lun("d", placement={"tried": ("n2",)}, placed_at=NOW - 500)
    assert moved(*luns, burnt) is None
    assert moved(*luns, burnt, nodes=[node("n2", up_since=NOW - 400)]) is not None, "it came back since"
    assert moved(*luns, replace(burnt, spec_revision=99)) is not None, "its operator has changed something"


def test_what_the_guarantee_forbids_is_left_out() -> None:
    assert automatic(view(*PAIR), NOW, without=[("iscsi/a", "n2")]) == Proposal(
        "iscsi/b", "n1", "n2", True, 2.0, 1.0, (2, 0)
    )


def test_kinds_with_a_longer_stall_only_by_hand_and_not_live() -> None:
    nfs = [replace(one, spec=replace(one.spec, kind="nfs")) for one in PAIR]
    assert moved(*nfs) is None
    [move] = rebalance(view(*nfs), NOW).moves
    assert (move.instance, move.target, move.live, move.counts) == ("iscsi/a", "n2", False, (2, 0))
    assert rebalance(view(*nfs), NOW, restarts=False).moves == ()
    assert rebalance(view(*PAIR), NOW, restarts=False).moves[0].live, "a change of state interrupts nobody"


def test_by_hand_all_at_once_up_to_the_limit() -> None:
    many = [lun(f"{number:02}") for number in range(12)]
    moves = rebalance(view(*many), NOW).moves
    assert [move.target for move in moves] == ["n2"] * 6
    assert len({move.instance for move in moves}) == 6
    assert len(rebalance(view(*many), NOW, limit=2).moves) == 2


def test_the_manager_waits_for_the_end_of_incidents_and_holds() -> None:
    balancer = Balancer(None, lambda: None)
    assert balancer.steps(view(*PAIR), Decision(), NOW, incident=True) == []
    assert balancer.steps(view(*PAIR), Decision(hold="more than half"), NOW) == []
    [asked] = balancer.steps(view(*PAIR), Decision(cramped=("vm/x",)), NOW)
    assert isinstance(asked, AskMove) and (asked.instance, asked.request.node) == ("iscsi/a", "n2")
