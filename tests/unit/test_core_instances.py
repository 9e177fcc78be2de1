"""decide(view, now) on the life of instances: states, failing starts and stops, failback, locks, groups."""

from dataclasses import replace

import pytest
from decide_world import N1, N2, N3, NOW, STOP, STOPPED, claimed, decided, node, only, places, vm, volume

from holdfast.core.intents import EndMove, KeepOff, Remove
from holdfast.core.model import Beat, Desired, Exclusivity, Fence, Goal, InstanceState, MoveRequest, Proof, Role
from holdfast.core.policy import ComputeSpec, InstanceLock, Maintenance, RuleKind, RuleSpec
from holdfast.core.view import InstanceView, NodeView

# --- states -------------------------------------------------------------------------------------------------------------


def test_a_stopped_instance_gets_a_home_without_ever_running() -> None:
    place = only(decided([N1, N2], vm(on="", spec=STOPPED), vm("vm/b", "n1")))
    assert (place.placement.node, place.placement.goal, place.placement.next_node) == ("n2", Goal.STOP, "n2")
    assert place.node_fence_revision == 5


def test_a_stopped_instance_is_rehomed_when_its_node_is_claimed_and_only_then() -> None:
    at_rest = vm(spec=STOPPED, state=InstanceState.STOPPED, placement=STOP)
    assert decided([N1, N2], at_rest).intents == ()
    assert places(decided([node("n1", missed_for=2.0), N2, N3], at_rest)) == {}
    place = only(decided([claimed("n1"), N2], at_rest))
    assert (place.placement.node, place.placement.goal) == ("n2", Goal.STOP)


def test_a_stopped_instance_needs_a_place_but_no_room() -> None:
    full = vm("vm/b", "n1", spec={"memory_mib": 8192})
    place = only(decided([N1], full, vm(on="", spec=STOPPED)))
    assert place.placement.node == "n1"


def test_a_stopped_instance_leaves_a_node_in_maintenance() -> None:
    at_rest = vm(spec=STOPPED, state=InstanceState.STOPPED, placement=STOP)
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a",)))
    assert only(decided([freed, N2], at_rest)).placement.node == "n2"
    assert places(decided([freed], at_rest)) == {}, "there is no other"


@pytest.mark.parametrize("desired", [Desired.DISABLED, Desired.IGNORED])
def test_disabled_and_ignored_are_left_where_they_are(desired: Desired) -> None:
    lost = vm(spec={"desired": desired}, state=InstanceState.STOPPED, placement=STOP)
    assert decided([claimed("n1"), N2], lost).intents == ()
    assert decided([N1, N2], vm(on="", spec={"desired": desired})).intents == ()


def test_disabled_is_stopped_where_it_runs_and_ignored_is_not() -> None:
    stop = only(decided([N1, N2], vm(spec={"desired": Desired.DISABLED})))
    assert (stop.placement.node, stop.placement.goal) == ("n1", Goal.STOP)
    assert decided([N1, N2], vm(spec={"desired": Desired.IGNORED})).intents == ()


def test_what_was_ignored_or_disabled_is_recovered_once_it_is_wanted_again() -> None:
    assert only(decided([claimed("n1"), N2], vm(state=InstanceState.IGNORED))).placement.node == "n2"


def test_an_ignored_instance_confirms_no_stop() -> None:
    """Whatever was said before: operators may have started it by hand."""
    assert places(decided([N1, N2], vm(state=InstanceState.IGNORED, placement=STOP))) == {}


def test_a_deleted_instance_is_removed_when_it_is_stopped_only() -> None:
    assert only(decided([N1], vm(spec=STOPPED, deleting=True))).placement.goal is Goal.STOP
    at_rest = vm(spec=STOPPED, deleting=True, state=InstanceState.STOPPED, placement=STOP)
    assert [type(intent) for intent in decided([N1], at_rest).intents] == [Remove]


def test_started_again_it_returns_to_where_it_was() -> None:
    stopped = vm(state=InstanceState.STOPPED, placement={**STOP, "next_node": "n2"}, on="n2")
    place = only(decided([N1, N2, N3], stopped))
    assert (place.placement.node, place.placement.goal, place.status_revision) == ("n2", Goal.RUN, 80)


def test_started_again_on_its_own_node_it_need_not_wait_for_the_stop() -> None:
    stopping = vm(state=InstanceState.STOPPING, placement={**STOP, "next_node": "n1"})
    assert only(decided([N1, N2], stopping)).placement.goal is Goal.RUN
    elsewhere = vm(state=InstanceState.STOPPING, placement={**STOP, "next_node": "n2"})
    assert places(decided([N1, N2], elsewhere)) == {}, "strict: never placed elsewhere before the stop is confirmed"


# --- starts that fail ---------------------------------------------------------------------------------------------------

FAILED = {"state": InstanceState.FAILED, "failures": 2, "detail": "no disk", "healthy": False}


def test_restarts_in_place_are_the_agents_and_then_it_is_relocated() -> None:
    once = vm(status={**FAILED, "failures": 1})
    assert decided([N1, N2], once).intents == ()
    decision = decided([N1, N2], vm(status=FAILED))
    stop = only(decision)
    assert (stop.placement.node, stop.placement.goal) == ("n1", Goal.STOP), "first a confirmed stop"
    assert (stop.placement.relocations, stop.placement.tried, stop.placement.next_node) == (1, ("n1",), "n2")
    assert decision.failed == {"vm/a": "vm/a failed to start 2 times on n1: no disk"}


def test_no_relocation_without_the_confirmed_stop() -> None:
    stopping = {**STOP, "relocations": 1, "tried": ("n1",), "next_node": "n2"}
    for word in (InstanceState.FAILED, InstanceState.STOPPING, InstanceState.RUNNING, None):
        assert places(decided([N1, N2], vm(state=word, placement=stopping))) == {}
    place = only(decided([N1, N2], vm(state=InstanceState.STOPPED, placement=stopping)))
    assert (place.placement.node, place.placement.goal, place.event) == ("n2", Goal.RUN, "instance-relocated")
    assert (place.placement.relocations, place.placement.tried) == (1, ("n1",))


def test_it_goes_to_nodes_not_tried_and_then_waits_visibly() -> None:
    second = vm(on="n2", status=FAILED, placement={"relocations": 1, "tried": ("n1",)}, spec={"max_relocations": 2})
    assert only(decided([N1, N2, N3], second)).placement.next_node == "n3"
    nowhere = decided([N1, N2], second)
    assert nowhere.intents == ()
    last = replace(second, spec=replace(second.spec, max_relocations=1))
    decision = decided([N1, N2, N3], last)
    assert decision.intents == ()
    assert "no disk" in decision.waiting["vm/a"] and "as often as it may" in decision.waiting["vm/a"]
    none = decided([N1, N2], vm(status=FAILED, spec={"max_relocations": 0}))
    assert none.intents == () and "may not be relocated" in none.waiting["vm/a"]


def test_a_stable_run_lets_the_counters_begin_anew() -> None:
    used_up = {"relocations": 1, "tried": ("n1",)}
    assert places(decided([N1, N2], vm(on="n2", status=FAILED, placement=used_up))) == {}
    stable = vm(on="n2", status={**FAILED, "stable": True}, placement=used_up)
    stop = only(decided([N1, N2], stable))
    assert (stop.placement.relocations, stop.placement.tried, stop.placement.next_node) == (1, ("n2",), "n1")


def test_a_change_by_its_operator_lets_them_begin_anew_and_old_words_count_no_more() -> None:
    used_up = vm(on="n2", status=FAILED, placement={"relocations": 1, "tried": ("n1",)}, spec_revision=90)
    assert decided([N1, N2], used_up).intents == (), "the agent tries the change first"
    again = replace(used_up, status_revision=95)
    assert only(decided([N1, N2], again)).placement.next_node == "n1"


def test_a_node_that_joins_is_tried_at_once() -> None:
    used_up = vm(on="n2", status=FAILED, placement={"relocations": 1, "tried": ("n1",)}, placed_at=NOW - 100)
    for returned, expected in ((NOW - 200, {}), (NOW - 50, {"vm/a"}), (NOW - 1, {})):
        back = replace(N1, up_since=returned)
        assert set(places(decided([back, N2], used_up))) == set(expected), "joined since, and well"


def test_a_slow_try_in_place_that_works_is_no_reason_to_move() -> None:
    assert decided([N1, N2], vm(status={"failures": 2})).intents == ()


def test_a_relocation_counts_no_node_failure() -> None:
    place = only(decided([claimed("n1"), N2], vm()))
    assert (place.placement.relocations, place.placement.tried) == (0, ())


def test_a_failing_advisory_instance_moves_at_once() -> None:
    panel = vm(status=FAILED, spec={"exclusivity": Exclusivity.ADVISORY})
    place = only(decided([N1, N2], panel))
    assert (place.placement.node, place.placement.goal, place.placement.tried) == ("n2", Goal.RUN, ("n1",))
    assert place.event == "instance-relocated"


def test_an_instance_that_cannot_be_stopped_is_placed_nowhere_else_and_says_what_to_do() -> None:
    stuck = vm(state=InstanceState.FAILED, status={"detail": "in state D"}, placement={**STOP, "next_node": "n2"})
    decision = decided([N1, N2], stuck)
    assert decision.intents == ()
    assert "in state D" in decision.waiting["vm/a"] and "switch n1 off" in decision.waiting["vm/a"]
    by_operator = decided([N1, N2], replace(stuck, spec=replace(stuck.spec, desired=Desired.STOPPED)))
    assert by_operator.intents == () and "switch n1 off" in by_operator.waiting["vm/a"]
    assert only(decided([claimed("n1"), N2], stuck)).placement.node == "n2", "fencing ends it"


# --- planned moves, locks, failback -------------------------------------------------------------------------------------


def test_a_vm_leaves_live_and_a_volume_by_a_stop() -> None:
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a", "nfs/a")))
    moved = places(decided([freed, N2], vm(), volume()))
    assert (moved["vm/a"].node, moved["vm/a"].goal, moved["vm/a"].migrate_to) == ("n1", Goal.RUN, "n2")
    assert moved["vm/a"].migrate_fence_epoch == 1
    assert (moved["nfs/a"].goal, moved["nfs/a"].next_node, moved["nfs/a"].migrate_to) == (Goal.STOP, "n2", "")


def test_an_operators_move_is_live_only_if_asked_for() -> None:
    for live in (False, True):
        asked = vm(move=MoveRequest("n3", live=live), move_revision=9)
        placement = only(decided([N1, N2, N3], asked)).placement
        assert (placement.migrate_to, placement.next_node) == (("n3", "") if live else ("", "n3"))


def test_after_a_live_migration_that_failed_it_is_stopped_and_started() -> None:
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a",)))
    stop = only(decided([freed, N2], vm(placement={"migrate_failed": 1})))
    assert (stop.placement.goal, stop.placement.migrate_to) == (Goal.STOP, "")


def test_what_does_not_run_is_not_migrated() -> None:
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a",)))
    assert only(decided([freed, N2], vm(state=InstanceState.FAILED))).placement.goal is Goal.STOP


def test_what_is_about_to_run_is_migrated_a_moment_later_and_not_stopped() -> None:
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a",)))
    decision = decided([freed, N2], vm(state=InstanceState.STARTING))
    assert decision.intents == ()
    assert "as soon as it runs" in decision.waiting["vm/a"]


def test_a_request_that_is_fulfilled_already_ends() -> None:
    there = vm(on="n2", move=MoveRequest("n2"), move_revision=9)
    assert decided([N1, N2], there).intents == (EndMove("vm/a", 9, "vm/a is on n2"),)


def test_a_target_that_refuses_is_named() -> None:
    full = vm("vm/b", "n2", spec={"memory_mib": 8000})
    decision = decided([N1, N2, N3], vm(move=MoveRequest("n2"), move_revision=9), full)
    assert decision.intents == ()
    assert "n2 has only" in decision.waiting["vm/a"]


def test_a_lock_holds_it_against_plans_and_not_against_recovery() -> None:
    lock = InstanceLock("backup")
    freed = replace(N1, maintenance=Maintenance(moved=("vm/a",)))
    for held in (
        decided([freed, N2], vm(lock=lock)),
        decided([N1, N2], vm(lock=lock, move=MoveRequest("n2", live=True))),
    ):
        assert held.intents == ()
        assert "vm/a is locked: backup" in held.waiting["vm/a"]
    assert only(decided([claimed("n1"), N2], vm(lock=lock))).placement.node == "n2"
    assert only(decided([N1, N2], vm(lock=lock, status=FAILED))).placement.next_node == "n2"


PREFER_N1 = RuleSpec("r", RuleKind.NODE_AFFINITY, ("vm/a", "nfs/a"), {"n1": 2, "n2": 1}, strict=False)


def test_failback_is_live_where_the_kind_can_and_graceful_elsewhere() -> None:
    back = places(decided([N1, N2], vm(on="n2"), volume(on="n2"), rules=(PREFER_N1,)))
    assert (back["vm/a"].node, back["vm/a"].migrate_to) == ("n2", "n1")
    assert (back["nfs/a"].goal, back["nfs/a"].next_node) == (Goal.STOP, "n1")
    assert only(decided([N1, N2], vm(on="n2"), rules=(PREFER_N1,))).event == "failback"


@pytest.mark.parametrize(
    "staying",
    [
        vm(on="n2", spec={"failback": False}),
        vm(on="n2", lock=InstanceLock()),
        vm(on="n2", status={"healthy": False}),
        vm(on="n2", unhealthy_since=NOW - 1),
        vm(on="n2", placement={"migrate_failed": 1}),
        vm(on="n2", placement={"tried": ("n1",), "relocations": 1}, status={"stable": True}),
        vm(on="n2", state=InstanceState.STARTING),
    ],
    ids=["off", "locked", "not healthy", "silent", "failed live", "its starts failed there", "starting"],
)
def test_no_failback(staying: InstanceView) -> None:
    decision = decided([N1, N2], staying, rules=(PREFER_N1,))
    assert (decision.intents, decision.waiting) == ((), {})


def test_failback_waits_until_the_node_is_well_and_the_view_is_settled() -> None:
    fresh = replace(N1, up_since=NOW - 1)
    assert decided([fresh, N2], vm(on="n2"), rules=(PREFER_N1,)).intents == ()
    assert decided([N1, N2], vm(on="n2"), rules=(PREFER_N1,), settled=False).intents == ()


# --- groups of strict affinity ------------------------------------------------------------------------------------------

TOGETHER = RuleSpec("t", RuleKind.AFFINITY, ("vm/a", "vm/b"))


def test_a_group_is_recovered_together() -> None:
    load = vm("vm/c", "n2", spec={"memory_mib": 7000})
    placed = places(decided([claimed("n1"), N2, N3], vm(), vm("vm/b"), load, rules=(TOGETHER,)))
    assert {name: placement.node for name, placement in placed.items()} == {"vm/a": "n3", "vm/b": "n3"}


def test_a_group_moves_together() -> None:
    leaving = vm(move=MoveRequest("n2", live=True), move_revision=9)
    first = only(decided([N1, N2], leaving, vm("vm/b"), rules=(TOGETHER,)))
    assert (first.instance, first.placement.migrate_to) == ("vm/a", "n2")
    under_way = vm(placement={"migrate_to": "n2", "migrate_fence_epoch": 1})
    second = only(decided([N1, N2], under_way, vm("vm/b"), rules=(TOGETHER,)))
    assert (second.instance, second.placement.migrate_to) == ("vm/b", "n2")


def test_a_lock_on_one_holds_the_group() -> None:
    leaving = vm(move=MoveRequest("n2", live=True), move_revision=9)
    decision = decided([N1, N2], leaving, vm("vm/b", lock=InstanceLock()), rules=(TOGETHER,))
    assert decision.intents == () and "vm/b is locked" in decision.waiting["vm/a"]


def test_what_runs_is_not_interrupted_for_a_member_that_does_not_start() -> None:
    assert decided([N1, N2], vm(status=FAILED), vm("vm/b"), rules=(TOGETHER,)).intents == ()
    both = places(decided([N1, N2], vm(status=FAILED), vm("vm/b", status=FAILED), rules=(TOGETHER,)))
    assert {name: placement.next_node for name, placement in both.items()} == {"vm/a": "n2", "vm/b": "n2"}


# --- guests that power themselves off -----------------------------------------------------------------------------------


OFF = {"powered_off": True}


def test_a_guest_that_powered_itself_off_is_wanted_stopped_from_then_on() -> None:
    off = vm(state=InstanceState.STOPPED, status=OFF)
    assert decided([N1, N2], off).intents == (KeepOff("vm/a", 7, 80),)
    assert decided([claimed("n1"), N2], off).intents == (KeepOff("vm/a", 7, 80),), "also when its node dies meanwhile"
    noted = replace(off, spec=replace(off.spec, desired=Desired.STOPPED), spec_revision=90)
    assert only(decided([N1, N2], noted)).placement.goal is Goal.STOP


def test_a_guest_that_powered_itself_off_is_started_again_when_somebody_wants_it_since() -> None:
    again = vm(state=InstanceState.STOPPED, status=OFF, spec_revision=90)
    stop = only(decided([N1, N2], again)).placement
    assert (stop.node, stop.goal, stop.next_node) == ("n1", Goal.STOP, "n1")
    assert only(decided([N1, N2], replace(again, placement=stop, placement_revision=91))).placement.goal is Goal.RUN


def test_an_old_word_about_a_power_off_says_nothing() -> None:
    placed_anew = vm(state=InstanceState.STOPPED, status=OFF, placement={"epoch": 11})
    assert decided([N1, N2], placed_anew).intents == ()
    starting = vm(state=InstanceState.FAILED, status=OFF)
    assert decided([N1, N2], starting).intents == (), "its remains are not cleared away yet"


# --- without high availability ------------------------------------------------------------------------------------------


PLAIN = {"ha": False}


def test_without_high_availability_it_waits_for_its_node_and_says_so() -> None:
    lost = decided([claimed("n1"), N2], vm(spec=PLAIN))
    assert places(lost) == {}
    assert lost.waiting["vm/a"] == "its high availability is off, and only n1 can take it: n1 is claimed"
    back = node("n1", fence=Fence(2, Proof.POWER_OFF), beat=replace(beat_of(N1), fence_epoch=2))
    assert only(decided([back, N2], vm(spec=PLAIN))).placement.node == "n1"


def test_without_high_availability_what_is_stopped_keeps_its_home() -> None:
    at_rest = vm(spec={**STOPPED, **PLAIN}, state=InstanceState.STOPPED, placement=STOP)
    assert places(decided([claimed("n1"), N2], at_rest)) == {}


def test_without_high_availability_planned_moves_go_on() -> None:
    stopped = vm(spec=PLAIN, state=InstanceState.STOPPED, placement={**STOP, "next_node": "n2"})
    assert only(decided([claimed("n1"), N2, N3], stopped)).placement.node == "n2", "it was stopped to go there"
    asked = vm(spec=PLAIN, move=MoveRequest("n3"), move_revision=9)
    assert only(decided([claimed("n1"), N2, N3], asked)).placement.node == "n3", "an operator asks for it"
    assert only(decided([N2, N3], vm(spec=PLAIN))).placement.node in ("n2", "n3"), "its node is no member any more"
    released = vm(spec={**PLAIN, "nodes": ("n2",)})
    assert only(decided([claimed("n1"), N2, N3], released)).placement.node == "n2", "it is not to be on n1 any more"


def test_high_availability_of_the_compute_cluster_can_be_off_as_a_whole() -> None:
    off = ComputeSpec(("n1", "n2"), ha=False)
    storage = replace(N2, spec=replace(N2.spec, roles=(Role.COMPUTE, Role.STORAGE)))
    share = vm("nfs/a", spec={"kind": "nfs", "role": Role.STORAGE})
    decision = decided([claimed("n1"), storage], vm(), share, compute=off)
    assert set(places(decision)) == {"nfs/a"}, "virtual machines only"
    assert "vm/a" in decision.waiting


def beat_of(view: NodeView) -> Beat:
    assert view.beat is not None
    return view.beat
