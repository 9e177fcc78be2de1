"""decide(view, now) on live migrations: what becomes of one when either node fails, says something, or is silent."""

from dataclasses import replace

from decide_world import N1, N2, N3, STOP, STOPPED, T, claimed, decided, node, only, places, vm

from holdfast.core.intents import Remove
from holdfast.core.model import BeatPhase, Desired, Goal, InstanceState, MoveRequest
from holdfast.core.policy import Maintenance
from holdfast.core.view import InstanceView

TO_N2 = {"migrate_to": "n2", "migrate_fence_epoch": 1}


def migrating(state: InstanceState | None = InstanceState.RUNNING, **changes: object) -> InstanceView:
    placement = {**TO_N2, **changes.pop("placement", {})}  # type: ignore[dict-item]
    return vm(state=state, placement=placement, **changes)  # type: ignore[arg-type]


def test_while_it_is_under_way_nothing_else_is_decided() -> None:
    for state in (InstanceState.RUNNING, InstanceState.STARTING, InstanceState.FAILED, InstanceState.STOPPED, None):
        assert decided([N1, N2, N3], migrating(state)).intents == ()
    asked = migrating(move=MoveRequest("n3"), move_revision=9)
    assert decided([replace(N1, maintenance=Maintenance(moved=("vm/a",))), N2, N3], asked).intents == ()


def test_the_sources_word_makes_it_the_targets() -> None:
    handed = migrating(InstanceState.MIGRATED, move=MoveRequest("n2", live=True), move_revision=9)
    place = only(decided([N1, N2, N3], handed))
    assert (place.placement.node, place.placement.goal, place.placement.migrate_to) == ("n2", Goal.RUN, "")
    assert (place.event, place.finishes_move, place.status_revision) == ("migrated", True, 80)
    assert place.placement.epoch > 10 and place.node_fence_revision == 5


def test_a_late_word_of_an_older_epoch_has_no_effect() -> None:
    assert decided([N1, N2, N3], migrating(InstanceState.MIGRATED, status={"epoch": 9})).intents == ()
    assert decided([N1, N2, N3], vm(state=InstanceState.MIGRATED)).intents == (), "nor one without a migration"


def test_a_hand_over_that_failed_leaves_it_where_it_is() -> None:
    failed = migrating(status={"migrate_error": "no route"}, move=MoveRequest("n2", live=True), move_revision=9)
    place = only(decided([N1, N2, N3], failed))
    assert (place.placement.node, place.placement.goal, place.placement.migrate_to) == ("n1", Goal.RUN, "")
    assert (place.event, place.finishes_move, place.placement.migrate_failed) == ("migrate-failed", True, 1)
    assert place.status_revision == 80, "not if the source has said something else meanwhile"


def test_a_claimed_source_makes_it_the_targets_alone() -> None:
    """It may run there already: nowhere else, however much room there is, whether the target is well or not."""
    for target in (N2, node("n2", missed_for=2.0), replace(N2, maintenance=Maintenance(moved=("vm/a",)))):
        place = only(decided([claimed("n1"), target, N3], migrating()))
        assert (place.placement.node, place.placement.goal) == ("n2", Goal.RUN)


def test_a_claimed_target_leaves_it_with_the_source() -> None:
    for state in (InstanceState.RUNNING, InstanceState.FAILED, None):
        place = only(decided([N1, claimed("n2"), N3], migrating(state)))
        assert (place.placement.node, place.placement.migrate_to, place.event) == ("n1", "", "migrate-failed")


def test_both_claimed_frees_it() -> None:
    assert only(decided([claimed("n1"), claimed("n2"), N3], migrating())).placement.node == "n3"
    handed = migrating(InstanceState.MIGRATED)
    assert only(decided([N1, claimed("n2"), N3], handed)).placement.node in ("n1", "n3"), "handed over to a dead node"


def test_suspicion_of_either_frees_nothing() -> None:
    source_down = decided([node("n1", missed_for=2.0), N2, N3], migrating())
    assert places(source_down) == {}
    assert "n1 is not proven dead" in source_down.waiting["vm/a"]
    assert places(decided([N1, node("n2", missed_for=2.0), N3], migrating())) == {}


def test_a_claim_under_way_of_either_is_waited_for() -> None:
    dead = node("n2", missed_for=T.T_wait + 1)
    decision = decided([N1, dead, N3], migrating(status={"migrate_error": "no route"}))
    assert places(decision) == {} and "n2 is being claimed" in decision.waiting["vm/a"]


def test_stopping_it_meanwhile_asks_the_source_first_and_then_the_target() -> None:
    stop = only(decided([N1, N2, N3], migrating(spec=STOPPED)))
    assert (stop.placement.node, stop.placement.goal, stop.placement.migrate_to) == ("n1", Goal.STOP, "n2")
    stopping = migrating(InstanceState.STOPPING, spec=STOPPED, placement=STOP)
    assert decided([N1, N2, N3], stopping).intents == ()
    gone = migrating(InstanceState.STOPPED, spec=STOPPED, placement=STOP)
    then = only(decided([N1, N2, N3], gone))
    assert (then.placement.node, then.placement.goal) == ("n2", Goal.STOP), "the target may have it: it confirms too"
    started = replace(gone, spec=replace(gone.spec, desired=Desired.STARTED))
    assert only(decided([N1, N2, N3], started)).placement.node == "n2"


def test_a_deleted_instance_is_not_removed_while_the_target_may_have_it() -> None:
    gone = migrating(InstanceState.STOPPED, spec=STOPPED, placement=STOP, deleting=True)
    assert not any(isinstance(intent, Remove) for intent in decided([N1, N2], gone).intents)


def test_an_ignored_migration_is_left_to_itself() -> None:
    for nodes in ([N1, N2], [claimed("n1"), N2], [N1, claimed("n2")]):
        assert decided(nodes, migrating(spec={"desired": Desired.IGNORED})).intents == ()


def test_a_released_source_is_claimed_and_the_target_has_it() -> None:
    released = replace(N1, beat=replace(N1.beat, phase=BeatPhase.RELEASED))  # type: ignore[type-var]
    decision = decided([released, N2, N3], migrating())
    assert places(decision) == {} and "n1 is being claimed" in decision.waiting["vm/a"]


def test_a_migrating_instance_counts_on_both_nodes() -> None:
    big = migrating(spec={"memory_mib": 8000})
    for other in ("n1", "n2"):
        assert only(decided([N1, N2, N3], big, vm("vm/b", "", spec={"nodes": (other, "n3")}))).placement.node == "n3"
