"""decide(view, now) on the life of nodes: pause, maintenance, leaving on purpose, quarantine, the return of a node."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from holdfast.core.decide import decide
from holdfast.core.fencing import proof_of_death, waiting_for_proof
from holdfast.core.health import LIMIT, WINDOW_S, after_failure
from holdfast.core.intents import BringHome, CancelPower, Claim, Decision, FencePower, Intent, NoteMoved, Place
from holdfast.core.leaving import ShutdownKind, policy_for
from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Desired,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Proof,
    Role,
    ShutdownPolicy,
    WatchdogAttestation,
)
from holdfast.core.observers import Suspicion
from holdfast.core.policy import BringBack, HaPause, Maintenance, NodeFailure, NodeHealth, PauseMode
from holdfast.core.timing import profile
from holdfast.core.view import HEALTHY_S, InstanceView, NodeView, PowerEvidence, View

T = profile("fast")
NOW = 10_000.0
WATCHDOG = WatchdogAttestation("/dev/watchdog", "lab", 5)
OFF = PowerEvidence(50, True, "off", NOW)
PAUSE = HaPause(PauseMode.FREEZE, "ann", "switch upgrade")


def beat_of(name: str, **changes: object) -> Beat:
    beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, WATCHDOG, 4, 8192)
    return replace(beat, **changes)  # type: ignore[arg-type]


def node(name: str, *, beat: dict[str, object] | None = None, missed_for: float = 0.0, **changes: object) -> NodeView:
    view = NodeView(
        spec=NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"}),
        fence=Fence(1),
        fence_revision=5,
        beat=beat_of(name, **(beat or {})),
        beat_revision=50,
        beat_seen_at=NOW - missed_for,
    )
    if missed_for:
        view = replace(view, suspicion=Suspicion(NOW - missed_for, ("x", "y"), "management"))
    return replace(view, **changes)  # type: ignore[arg-type]


def volume(name: str = "nfs/v", *, on: str = "n1", **changes: object) -> InstanceView:
    view = InstanceView(
        spec=InstanceSpec(name, "nfs", name[4:], Exclusivity.STRICT, Role.STORAGE),
        spec_revision=7,
        placement=Placement(on, 10, 1) if on else None,
        placement_revision=70,
        status=InstanceStatus(on, f"s-{on}", 10, InstanceState.RUNNING, healthy=True),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def decided(nodes: Iterable[NodeView], instances: Iterable[InstanceView] = (), **changes: object) -> Decision:
    view = View(T, 500, {n.id: n for n in nodes}, {i.id: i for i in instances}, **changes)  # type: ignore[arg-type]
    return decide(view, NOW)


def of(decision: Decision, kind: type) -> list[Intent]:
    return [intent for intent in decision.intents if isinstance(intent, kind)]


# --- pause --------------------------------------------------------------------------------------------------------------


def test_while_paused_nothing_is_decided_and_it_is_said() -> None:
    armed = replace(node("n1").spec, fence_devices=(FenceDeviceSpec("bmc", "redfish"),))
    nodes = [
        node("n1", missed_for=99, spec=armed, confirmation=DeathConfirmation("ann", 50)),
        node("n2", missed_for=99, spec=replace(armed, id="n2"), power_running=True),
        node("n3", beat={"phase": BeatPhase.RELEASED}),
        node("n4", maintenance=Maintenance("ann")),
        node("n5"),
    ]
    instances = [volume(f"nfs/v{k}", on=f"n{k}") for k in range(1, 5)] + [volume("nfs/new", on="")]
    assert decided(nodes, instances).intents, "there would be much to do"
    decision = decided(nodes, instances, pause=PAUSE)
    assert decision.intents == (CancelPower("n2"),), "what is under way ends; nothing begins"
    assert "paused by ann (switch upgrade)" in decision.hold
    assert "holdfast ha resume" in decision.hold
    assert "missed by x, y" in decision.notes["n1"], "what the manager sees is still told"


def test_a_node_whose_last_beat_is_paused_is_never_claimed_on_time() -> None:
    """It goes on without the store, whatever the beat attests."""
    for watchdog in (None, WATCHDOG):
        paused = node("n1", missed_for=1e6, beat={"paused": True, "watchdog": watchdog})
        assert proof_of_death(paused, T, NOW) is None
        assert "since HA was paused" in waiting_for_proof(paused, T, NOW)
        assert "confirm-dead n1" in waiting_for_proof(paused, T, NOW)
    assert proof_of_death(node("n1", missed_for=1e6), T, NOW) is not None
    assert proof_of_death(node("n1", missed_for=1e6, beat={"paused": True}, power=OFF), T, NOW) is not None


# --- maintenance --------------------------------------------------------------------------------------------------------


def test_a_node_in_maintenance_is_given_nothing_and_its_instances_leave() -> None:
    working = node("n1", maintenance=Maintenance("ann"), maintenance_revision=8)
    assert working.state(T, NOW) is NodeState.MAINTENANCE
    assert replace(working, suspicion=Suspicion(NOW - 1, ("x",), "management")).state(T, NOW) is NodeState.SUSPECT
    decision = decided([working, node("n2")], [volume()])
    [stop] = of(decision, Place)
    assert isinstance(stop, Place)
    assert (stop.placement.node, stop.placement.goal) == ("n1", Goal.STOP)
    [place] = of(decided([working, node("n2")], [volume(on="")]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n2"
    alone = decided([working], [volume(on="")])
    assert "holdfast node maintenance exit n1" in alone.waiting["nfs/v"]
    assert "holdfast node maintenance exit n1" in alone.notes["n1"]


def test_what_leaves_for_a_maintenance_is_written_down_once() -> None:
    working = node("n1", maintenance=Maintenance("ann", moved=("nfs/a",)), maintenance_revision=8)
    disabled = volume("nfs/d", spec=replace(volume("nfs/d").spec, desired=Desired.DISABLED))
    stopping = volume("nfs/c", placement=Placement("n1", 10, 1, Goal.STOP))
    instances = [volume("nfs/a"), volume("nfs/b"), stopping, disabled, volume("nfs/e", on="n2")]
    [noted] = of(decided([working, node("n2")], instances), NoteMoved)
    assert noted == NoteMoved("n1", Maintenance("ann", moved=("nfs/a", "nfs/b", "nfs/c")), 8)
    known = replace(working, maintenance=Maintenance("ann", moved=("nfs/a", "nfs/b", "nfs/c")))
    assert of(decided([known, node("n2")], instances), NoteMoved) == []


def test_after_a_maintenance_the_instances_are_asked_home_once_the_node_is_well() -> None:
    record = BringBack(("nfs/a", "nfs/b", "nfs/c", "nfs/gone", "nfs/d"))
    home = node("n1", bring_back=record, bring_back_revision=9)
    moving = volume("nfs/b", on="n2", move=MoveRequest("n3"), move_revision=4)
    disabled = volume("nfs/d", on="n2", spec=replace(volume("nfs/d").spec, desired=Desired.DISABLED))
    instances = [volume("nfs/a", on="n2"), moving, volume("nfs/c", on="n1"), disabled]
    nodes = [node("n2"), node("n3")]
    assert of(decided([home, *nodes], instances), BringHome) == [BringHome("n1", ("nfs/a",), (), 9)]
    many = replace(home, bring_back=BringBack(tuple(f"nfs/v{k}" for k in range(201))))
    assert of(decided([many, *nodes]), BringHome) == [BringHome("n1", (), ("nfs/v200",), 9)]
    fresh = replace(home, up_since=NOW - HEALTHY_S + 0.1)
    assert of(decided([fresh, *nodes], instances), BringHome) == []
    down = replace(home, suspicion=Suspicion(NOW - 1, ("x", "y"), "management"))
    assert of(decided([down, *nodes], instances), BringHome) == []
    again = replace(home, maintenance=Maintenance("ann"))
    assert of(decided([again, *nodes], instances), BringHome) == []


# --- leaving on purpose -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kind", "expected"),
    [
        ("migrate", "reboot", "migrate"),
        ("failover", "reboot", "failover"),
        ("freeze", "shutdown", "freeze"),
        ("conditional", "reboot", "freeze"),
        ("conditional", "shutdown", "failover"),
    ],
)
def test_the_policy_and_the_kind_of_shutdown_say_what_is_done(policy: str, kind: str, expected: str) -> None:
    assert policy_for(ShutdownPolicy(policy), ShutdownKind(kind)) == expected


def test_a_node_that_leaves_by_migration_is_emptied_and_one_that_leaves_otherwise_is_only_spared() -> None:
    migrating, freezing = (node("n1", beat={"leaving": word}) for word in ("migrate", "freeze"))
    [stop] = of(decided([migrating, node("n2")], [volume()]), Place)
    assert isinstance(stop, Place)
    assert stop.placement.goal is Goal.STOP
    assert decided([freezing, node("n2")], [volume()]).intents == ()
    for leaving in (migrating, freezing):
        waiting = decided([leaving], [volume(on="")]).waiting["nfs/v"]
        assert "n1 is about to shut down" in waiting


def test_a_frozen_node_is_not_claimed_until_an_operator_says_so() -> None:
    frozen = node("n1", beat={"phase": BeatPhase.RELEASED, "leaving": "freeze", "watchdog": None})
    decision = decided([frozen, node("n2"), node("n3")], [volume()])
    assert decision.intents == ()
    assert "holdfast node confirm-dead n1" in decision.waiting["nfs/v"]
    assert decision.notes["n1"]
    stale = replace(frozen, confirmation=DeathConfirmation("ann", 49))
    assert of(decided([stale, node("n2")], [volume()]), Claim) == []
    confirmed = replace(frozen, confirmation=DeathConfirmation("ann", 50))
    [claim] = of(decided([confirmed, node("n2")], [volume()]), Claim)
    assert isinstance(claim, Claim)
    assert (claim.proof, claim.health) == (Proof.RELEASED, None)
    other = node("n1", beat={"phase": BeatPhase.RELEASED, "leaving": "failover"})
    assert len(of(decided([other, node("n2")], [volume()]), Claim)) == 1


def test_a_nuisance_does_not_wait_for_a_frozen_node() -> None:
    """Its panel is where an operator would say so."""
    frozen = node("n1", beat={"phase": BeatPhase.RELEASED, "leaving": "freeze"})
    panel = volume(spec=replace(volume().spec, exclusivity=Exclusivity.ADVISORY))
    [place] = of(decided([frozen, node("n2")], [panel]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n2"


def test_a_frozen_node_that_returns_starts_its_instances_without_a_claim() -> None:
    returning = node("n1", beat={"phase": BeatPhase.JOINING, "session": "new", "boot_id": "new"})
    assert decided([returning, node("n2")], [volume()]).intents == ()


# --- quarantine ---------------------------------------------------------------------------------------------------------


def failed(*ages: float, term: int = 3) -> NodeHealth:
    return NodeHealth(tuple(NodeFailure(term, NOW - age) for age in ages))


def claim_health(dead: NodeView, others: int = 2, **changes: object) -> NodeHealth | None:
    nodes = [dead, *(node(f"m{k}") for k in range(others))]
    view = {"term": 3, "term_since": NOW - 5000} | changes
    [claim] = of(decided(nodes, [volume()], **view), Claim)
    assert isinstance(claim, Claim)
    assert claim.health_revision == dead.health_revision
    return claim.health


def test_the_third_failure_within_an_hour_puts_a_node_into_quarantine() -> None:
    dead = node("n1", missed_for=1, power=OFF)
    first = claim_health(dead)
    assert first == NodeHealth((NodeFailure(3, NOW),))
    second = claim_health(replace(dead, health=failed(100), health_revision=12))
    assert second is not None
    assert (len(second.failures), second.quarantined) == (2, "")
    third = claim_health(replace(dead, health=failed(WINDOW_S - 1, 100)))
    assert third is not None
    assert "holdfast node return n1" in third.quarantined
    late = claim_health(replace(dead, health=failed(WINDOW_S, 100)))
    assert late == NodeHealth((NodeFailure(3, NOW - 100), NodeFailure(3, NOW)))


def test_a_failure_of_an_earlier_term_is_as_old_as_the_present_one_at_least() -> None:
    """Its moment was told by another manager's clock."""
    dead = node("n1", missed_for=1, power=OFF, health=failed(-1e9, 1e9, term=2))
    for since, count in ((10.0, LIMIT), (WINDOW_S + 1, 1)):
        health = claim_health(dead, term_since=NOW - since)
        assert health is not None
        assert len(health.failures) == count


def test_which_claims_are_failures() -> None:
    released = node("n1", beat={"phase": BeatPhase.RELEASED})
    assert claim_health(released) is None
    assert claim_health(node("n1", missed_for=1, power=OFF, maintenance=Maintenance("ann"))) is None
    for dead in (
        node("n1", missed_for=T.T_wait),
        node("n1", missed_for=1, confirmation=DeathConfirmation("ann", 50)),
        node("n1", beat={"phase": BeatPhase.JOINING}, was_down=True),
    ):
        assert claim_health(dead) is not None


def test_a_quarantined_node_keeps_what_runs_and_is_given_nothing_until_it_is_returned() -> None:
    bad = node("n1", health=NodeHealth(quarantined="it failed 3 times; holdfast node return n1"))
    assert bad.state(T, NOW) is NodeState.QUARANTINED
    assert decided([bad, node("n2")], [volume()]).intents == ()
    waiting = decided([bad], [volume(on="")]).waiting["nfs/v"]
    assert "n1 is quarantined: it failed 3 times; holdfast node return n1" in waiting
    [place] = of(decided([replace(bad, health=None)], [volume(on="")]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n1"


def test_half_of_the_nodes_are_never_quarantined() -> None:
    """Then the site fails, not the nodes, and something must be left to run on."""
    bad = NodeHealth(quarantined="it failed 3 times")
    sick = node("n1", health=failed(10, 20))
    for others, quarantined in ((3, True), (2, False)):
        nodes = [sick, node("n2", health=bad), *(node(f"m{k}") for k in range(others))]
        view = View(T, 1, {n.id: n for n in nodes}, term=3)
        assert bool(after_failure(view, sick, NOW).quarantined) is quarantined


# --- the return of a node -----------------------------------------------------------------------------------------------


def test_a_node_that_has_just_returned_is_the_last_choice_but_a_choice() -> None:
    returned = node("n1", up_since=NOW - HEALTHY_S + 0.1)
    [place] = of(decided([returned, node("n2")], [volume("nfs/b", on="n2"), volume(on="")]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n2", "though n1 is empty"
    [place] = of(decided([returned], [volume(on="")]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n1"
    well = replace(returned, up_since=NOW - HEALTHY_S)
    [place] = of(decided([well, node("n2")], [volume("nfs/b", on="n2"), volume(on="")]), Place)
    assert isinstance(place, Place)
    assert place.placement.node == "n1"


# --- hold ---------------------------------------------------------------------------------------------------------------


def test_maintenance_and_quarantine_do_not_change_when_the_manager_holds() -> None:
    devices = (FenceDeviceSpec("bmc", "redfish"),)
    lost = [node(f"n{k}", missed_for=1, spec=replace(node(f"n{k}").spec, fence_devices=devices)) for k in (1, 2)]
    working = node("n3", maintenance=Maintenance("ann"))
    bad = node("n4", health=NodeHealth(quarantined="it failed 3 times"))
    assert len(of(decided([*lost, working, bad]), FencePower)) == 2, "they are members like the others"
    held = decided([*lost, working])
    assert held.intents == ()
    assert "2 of 3" in held.hold
