"""decide(view, now): who is claimed on what proof, and what may move where."""

from dataclasses import replace

import pytest

from holdfast.core.decide import decide
from holdfast.core.fencing import proof_of_death
from holdfast.core.intents import CancelPower, Claim, FencePower, Intent, Place, Remove
from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    Placement,
    Proof,
    Role,
    ServiceAddress,
    WatchdogAttestation,
)
from holdfast.core.observers import Suspicion
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View

T = profile("fast")
NOW = 1000.0
BMC = (FenceDeviceSpec("bmc", "redfish"),)
WATCHDOG = WatchdogAttestation("/dev/watchdog", "lab", 5)


def node(name: str, *, seen: float = NOW, missed_since: float | None = None, **changes: object) -> NodeView:
    beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, WATCHDOG, 4, 8192)
    view = NodeView(
        spec=NodeSpec(name, (Role.STORAGE, Role.MANAGEMENT), {"management": "10.0.0.1", "public": "10.1.0.1"}),
        fence=Fence(1),
        fence_revision=5,
        beat=beat,
        beat_revision=50,
        beat_seen_at=seen,
    )
    if missed_since is not None:
        view = replace(view, suspicion=Suspicion(missed_since, ("x", "y"), "management"))
    return replace(view, **changes)  # type: ignore[arg-type]


def volume(
    name: str = "nfs/v",
    *,
    on: str = "n1",
    goal: Goal = Goal.RUN,
    state: InstanceState | None = InstanceState.RUNNING,
    exclusivity: Exclusivity = Exclusivity.STRICT,
    **changes: object,
) -> InstanceView:
    spec = InstanceSpec(name, "nfs", "v", exclusivity, Role.STORAGE, address=ServiceAddress("10.1.0.100", "public"))
    view = InstanceView(
        spec=spec,
        spec_revision=7,
        placement=Placement(on, 10, 1, goal) if on else None,
        placement_revision=70 if on else 0,
        status=InstanceStatus(on, f"s-{on}", 10, state, healthy=True) if on and state else None,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def run(
    nodes: list[NodeView], instances: list[InstanceView], now: float = NOW, **changes: object
) -> tuple[Intent, ...]:
    view = View(T, 500, {n.id: n for n in nodes}, {i.id: i for i in instances}, **changes)  # type: ignore[arg-type]
    return decide(view, now).intents


def of(intents: tuple[Intent, ...], kind: type) -> list[Intent]:
    return [intent for intent in intents if isinstance(intent, kind)]


DOWN = {"seen": NOW - 2, "missed_since": NOW - 1}


def test_a_healthy_cluster_needs_nothing() -> None:
    assert run([node("n1"), node("n2"), node("n3")], [volume()]) == ()


def test_silence_without_a_proof_moves_nothing_strict() -> None:
    """Section 3: no lease, no silence, no failed connection is a proof."""
    beat = replace(node("n1").beat, watchdog=None)  # type: ignore[type-var]
    for age in (3.0, 100.0, 1e6):
        dead = node("n1", seen=NOW - age, missed_since=NOW - age, beat=beat)
        assert run([dead, node("n2"), node("n3")], [volume()]) == ()


def test_the_wait_says_what_an_operator_can_do() -> None:
    dead = node("n1", seen=NOW - 99, missed_since=NOW - 98, beat=replace(node("n1").beat, watchdog=None))  # type: ignore[type-var]
    view = View(T, 500, {"n1": dead, "n2": node("n2"), "n3": node("n3")}, {"nfs/v": volume()})
    assert "holdfast node confirm-dead n1" in decide(view, NOW).waiting["nfs/v"]


def test_p4_needs_an_attested_watchdog_and_the_whole_wait() -> None:
    early = node("n1", seen=NOW - T.T_wait + 0.01, missed_since=NOW - T.T_wait)
    assert of(run([early, node("n2"), node("n3")], [volume()]), Claim) == []
    late = node("n1", seen=NOW - T.T_wait, missed_since=NOW - T.T_wait)
    [claim] = of(run([late, node("n2"), node("n3")], [volume()]), Claim)
    assert isinstance(claim, Claim)
    assert (claim.proof, claim.beat_revision, claim.fence_revision) == (Proof.WATCHDOG, 50, 5)


def test_p4_does_not_trust_a_watchdog_slower_than_the_profile() -> None:
    slow = replace(node("n1").beat, watchdog=replace(WATCHDOG, timeout_s=60))  # type: ignore[type-var]
    dead = node("n1", seen=NOW - 500, missed_since=NOW - 499, beat=slow)
    assert proof_of_death(dead, T, NOW) is None


def test_p1_counts_only_for_the_beat_it_was_made_against() -> None:
    off = PowerEvidence(50, True, "off", NOW)
    [claim] = of(run([node("n1", **DOWN, power=off), node("n2"), node("n3")], [volume()]), Claim)
    assert isinstance(claim, Claim) and claim.proof is Proof.POWER_OFF
    stale = replace(off, beat_revision=49)
    assert of(run([node("n1", **DOWN, power=stale), node("n2"), node("n3")], [volume()]), Claim) == []


def test_p3_release_and_p5_confirmation_are_claimed_even_while_holding() -> None:
    released = node("n1", beat=replace(node("n1").beat, phase=BeatPhase.RELEASED))  # type: ignore[type-var]
    confirmed = node("n2", **DOWN, confirmation=DeathConfirmation("ann", 50))
    others = [node("n3", **DOWN), node("n4")]
    claims = {c.node: c.proof for c in of(run([released, confirmed, *others], [volume()]), Claim)}  # type: ignore[union-attr]
    assert claims == {"n1": Proof.RELEASED, "n2": Proof.OPERATOR}


def test_p5_for_an_older_beat_is_void() -> None:
    again = node("n1", **DOWN, confirmation=DeathConfirmation("ann", 49))
    assert of(run([again, node("n2"), node("n3")], [volume()]), Claim) == []


def test_p2_is_used_for_a_node_that_was_missed_only() -> None:
    joining = replace(node("n1").beat, phase=BeatPhase.JOINING)  # type: ignore[type-var]
    crashed = node("n1", beat=joining, was_down=True)
    [claim] = of(run([crashed, node("n2"), node("n3")], [volume()]), Claim)
    assert isinstance(claim, Claim) and claim.proof is Proof.REBOOTED
    assert run([replace(crashed, was_down=False), node("n2"), node("n3")], [volume()]) == ()


def test_a_claim_frees_the_instance_only_once_it_is_committed() -> None:
    off = PowerEvidence(50, True, "off", NOW)
    nodes = [node("n1", **DOWN, power=off), node("n2"), node("n3")]
    assert of(run(nodes, [volume()]), Place) == []
    claimed = node("n1", fence=Fence(2, Proof.POWER_OFF), fence_revision=60)
    [place] = of(run([claimed, *nodes[1:]], [volume()]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n2" and place.placement.fence_epoch == 1


def test_epochs_grow_beyond_the_store_revision() -> None:
    """INV-3, also for an instance that was deleted and made again under the same name."""
    [place] = of(run([node("n1"), node("n2")], [volume(on="")]), Place)
    assert isinstance(place, Place) and place.placement.epoch == 500


def test_power_fencing_starts_at_suspicion_but_not_against_a_beat_that_came_later() -> None:
    armed = replace(node("n1").spec, fence_devices=BMC)
    others = [node("n2"), node("n3")]
    assert of(run([node("n1", **DOWN, spec=armed), *others], []), FencePower) == [FencePower("n1", 50)]
    contradicted = node("n1", seen=NOW - 0.1, missed_since=NOW - 1, spec=armed, beat_arrived_at=NOW - 0.1)
    assert of(run([contradicted, *others], []), FencePower) == []
    last_words = node("n1", seen=NOW - 0.9, missed_since=NOW - 1, spec=armed, beat_arrived_at=NOW - 0.9)
    assert of(run([last_words, *others], []), FencePower) == [FencePower("n1", 50)], "sent before it died"
    new_term = node("n1", seen=NOW - 0.1, missed_since=NOW - 1, spec=armed)
    assert of(run([new_term, *others], []), FencePower) == [FencePower("n1", 50)], "ages start anew, news does not"
    running = node("n1", **DOWN, spec=armed, power_running=True)
    assert of(run([running, *others], []), FencePower) == []
    assert of(run([node("n1", spec=armed, power_running=True), *others], []), CancelPower) == [CancelPower("n1")]
    assert of(run([node("n1", **DOWN, spec=armed), *others], [], settled=False), FencePower) == []


def test_more_than_half_suspect_is_held() -> None:
    armed = replace(node("n1").spec, fence_devices=BMC)
    nodes = [node("n1", **DOWN, spec=armed), node("n2", **DOWN), node("n3")]
    view = View(T, 500, {n.id: n for n in nodes}, {"nfs/v": volume()})
    decision = decide(view, NOW)
    assert decision.intents == ()
    assert "2 of 3" in decision.hold


def test_half_of_the_nodes_is_not_held() -> None:
    armed = replace(node("n1").spec, fence_devices=BMC)
    intents = run([node("n1", **DOWN, spec=armed), node("n2", **DOWN), node("n3"), node("n4")], [])
    assert of(intents, FencePower) == [FencePower("n1", 50)]


def test_advisory_moves_on_suspicion_alone() -> None:
    panel = volume(exclusivity=Exclusivity.ADVISORY)
    [place] = of(run([node("n1", **DOWN), node("n2"), node("n3")], [panel]), Place)
    assert isinstance(place, Place) and place.placement.node == "n2"


def test_a_planned_move_waits_for_the_confirmed_stop() -> None:
    nodes = [node("n1"), node("n2"), node("n3")]
    [stop] = run(nodes, [volume(move=MoveRequest("n3"), move_revision=9)])
    assert isinstance(stop, Place) and stop.placement.goal is Goal.STOP and stop.placement.node == "n1"
    stopping = volume(goal=Goal.STOP, move=MoveRequest("n3"), move_revision=9)
    assert run(nodes, [stopping]) == ()
    assert run(nodes, [replace(stopping, status=None)]) == (), "unknown is not stopped"
    old = InstanceStatus("n1", "s-n1", 9, InstanceState.STOPPED)
    assert run(nodes, [replace(stopping, status=old)]) == (), "a word about an old epoch has no effect"
    confirmed = replace(stopping, status=replace(old, epoch=10))
    [place] = run(nodes, [confirmed])
    assert isinstance(place, Place)
    assert (place.placement.node, place.placement.goal, place.finishes_move) == ("n3", Goal.RUN, True)


def test_a_move_that_is_called_back_while_it_stops_ends_where_it_began() -> None:
    """As when a drill is broken off."""
    nodes = [node("n1"), node("n2"), node("n3")]
    stopped = InstanceStatus("n1", "s-n1", 10, InstanceState.STOPPED)
    back = replace(volume(goal=Goal.STOP, move=MoveRequest("n1"), move_revision=9), status=stopped)
    assert back.placement is not None
    [place] = run(nodes, [replace(back, placement=replace(back.placement, next_node="n3"))])
    assert isinstance(place, Place)
    assert (place.placement.node, place.placement.goal, place.finishes_move) == ("n1", Goal.RUN, True)


def test_a_node_that_lost_a_network_gives_its_instances_away_gracefully() -> None:
    [stop] = run([node("n1", lost_networks=("public",)), node("n2")], [volume()])
    assert isinstance(stop, Place) and stop.placement.goal is Goal.STOP


def test_what_is_reached_by_several_networks_stays_as_long_as_one_is_left() -> None:
    path = volume(spec=replace(volume().spec, address=None, networks=("management", "public")))
    assert run([node("n1", lost_networks=("public",)), node("n2")], [path]) == ()
    lost = node("n1", lost_networks=("management", "public"))
    [stop] = run([lost, node("n2")], [path])
    assert isinstance(stop, Place) and stop.placement.goal is Goal.STOP
    free = replace(path, placement=None, status=None, spec=replace(path.spec, networks=("public",)))
    [place] = run([node("n1", lost_networks=("public",)), node("n2")], [free])
    assert isinstance(place, Place) and place.placement.node == "n2"


@pytest.mark.parametrize("deleting", [False, True])
def test_stopping_and_deleting(deleting: bool) -> None:
    spec = replace(volume().spec, desired="stopped")
    [stop] = run([node("n1")], [volume(spec=spec, deleting=deleting)])
    assert isinstance(stop, Place) and stop.placement.goal is Goal.STOP
    stopped = InstanceStatus("n1", "s-n1", 10, InstanceState.STOPPED)
    done = run([node("n1")], [volume(spec=spec, deleting=deleting, goal=Goal.STOP, status=stopped)])
    assert [type(intent) for intent in done] == ([Remove] if deleting else [])


def test_what_does_not_fit_waits_with_a_reason_per_node() -> None:
    big = volume(on="", spec=replace(volume().spec, memory_mib=10_000))
    view = View(T, 500, {"n1": node("n1"), "n2": node("n2", missed_since=NOW - 1)}, {"nfs/v": big})
    waiting = decide(view, NOW).waiting["nfs/v"]
    assert "n1 has only 8192 MiB" in waiting and "n2 is suspect" in waiting


def test_a_batch_spreads() -> None:
    lost = [volume(f"nfs/v{i}", on="", spec=replace(volume().spec, id=f"nfs/v{i}")) for i in range(4)]
    placed = [p.placement.node for p in of(run([node("n1"), node("n2")], lost), Place)]  # type: ignore[union-attr]
    assert sorted(placed) == ["n1", "n1", "n2", "n2"]
