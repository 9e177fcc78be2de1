"""After a restore nothing strict starts anywhere before every node has joined anew or is proven dead (core/restored.py)."""

from dataclasses import replace

import pytest

from holdfast.core.decide import decide
from holdfast.core.fencing import wants_power_fencing
from holdfast.core.horizon import next_look
from holdfast.core.intents import Claim, FencePower, Intent, Place
from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    WatchdogAttestation,
)
from holdfast.core.restored import PATIENCE_S
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View

T = profile("fast")
NOW = 1000.0
FLOOR = 5_000_000
BMC = (FenceDeviceSpec("bmc", "redfish"),)


def node(name: str, *, joined: bool, seen: float = NOW, **changes: object) -> NodeView:
    session = f"s-{name}" if joined else ""
    watchdog = WatchdogAttestation("/dev/watchdog", "lab", 5) if joined else None
    view = NodeView(
        NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"}, fence_devices=BMC),
        Fence(FLOOR),
        5,
        beat=Beat(session, session, f"m-{name}", 1, FLOOR, BeatPhase.ACTIVE, watchdog, 4, 8192),
        beat_revision=50,
        beat_seen_at=seen,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def instance(name: str = "nfs/v", exclusivity: Exclusivity = Exclusivity.STRICT, on: str = "n2") -> InstanceView:
    """As a restored store has it: placed, for a fence epoch that no node has; or never placed."""
    spec = InstanceSpec(name, "nfs", name, exclusivity, Role.STORAGE)
    placement = Placement(on, FLOOR, 0) if on else None
    return InstanceView(spec, 7, placement=placement, placement_revision=8 if on else 0)


def view(*nodes: NodeView, instances: tuple[InstanceView, ...] = (instance(),)) -> View:
    return View(T, 12, {n.id: n for n in nodes}, {i.id: i for i in instances}, epoch_floor=FLOOR)


def of(intents: tuple[Intent, ...], kind: type) -> list[Intent]:
    return [intent for intent in intents if isinstance(intent, kind)]


@pytest.mark.parametrize("on", ["n1", "n2", ""])
def test_one_node_that_was_not_heard_of_holds_every_strict_start(on: str) -> None:
    """Wherever the backup says that it ran: it may have been moved since, to the very node that is missing."""
    decision = decide(view(node("n1", joined=True), node("n2", joined=False), instances=(instance(on=on),)), NOW)
    assert of(decision.intents, Place) == []
    assert "n2" in decision.waiting["nfs/v"]
    assert "holdfast node confirm-dead n2" in decision.waiting["nfs/v"]


def test_once_all_have_joined_it_starts_with_an_epoch_that_was_never_used() -> None:
    [place] = of(decide(view(node("n1", joined=True), node("n2", joined=True)), NOW).intents, Place)
    assert isinstance(place, Place)
    assert place.placement.epoch > FLOOR
    never = instance(on="")
    [place] = of(decide(view(node("n1", joined=True), instances=(never,)), NOW).intents, Place)
    assert isinstance(place, Place)
    assert place.placement.epoch > FLOOR


def test_for_a_node_that_nobody_knows_the_first_strict_start_waits_as_long_as_a_deadline_may_run() -> None:
    here = node("n1", joined=True)
    advisory = instance("panel/admin", Exclusivity.ADVISORY)
    for on in ("n1", "n2", ""):
        early = replace(view(here, instances=(instance(on=on), advisory)), term_since=NOW - T.T_wait + 1)
        decision = decide(early, NOW)
        assert [one.instance for one in decision.intents if isinstance(one, Place)] == ["panel/admin"]
        assert "restored a moment ago" in decision.waiting["nfs/v"]
        assert next_look(early, NOW) <= NOW + 1
        assert len(of(decide(replace(early, term_since=NOW - T.T_wait), NOW).intents, Place)) == 2


def test_once_something_strict_was_placed_a_new_manager_does_not_wait_again() -> None:
    """That is the proof that somebody has waited already. What is not strict was placed at once, and proves nothing."""
    placed = replace(instance("nfs/w", on="n1"), placement=Placement("n1", FLOOR + 9, FLOOR))
    later = replace(view(node("n1", joined=True), instances=(instance(), placed)), term_since=NOW)
    assert of(decide(later, NOW).intents, Place) != []
    panel = replace(instance("panel/admin", Exclusivity.ADVISORY, "n1"), placement=Placement("n1", FLOOR + 9, FLOOR))
    early = replace(view(node("n1", joined=True), instances=(instance(), panel)), term_since=NOW)
    assert of(decide(early, NOW).intents, Place) == []
    never = replace(early, epoch_floor=0)
    assert of(decide(never, NOW).intents, Place) != []


def test_what_is_not_strict_does_not_wait_and_goes_to_a_node_that_is_there() -> None:
    advisory = instance("panel/admin", Exclusivity.ADVISORY)
    nodes = (node("n1", joined=True), node("n2", joined=False), node("n3", joined=False))
    [place] = of(decide(view(*nodes, instances=(instance(), advisory)), NOW).intents, Place)
    assert isinstance(place, Place)
    assert (place.instance, place.placement.node) == ("panel/admin", "n1")


def test_time_alone_never_proves_an_unheard_node_dead() -> None:
    nodes = (node("n1", joined=True), node("n3", joined=True), node("n2", joined=False, seen=NOW - 1e6))
    assert of(decide(view(*nodes), NOW).intents, Claim) == []
    assert nodes[2].state(T, NOW) is NodeState.SUSPECT


def test_an_operators_word_or_verified_power_lets_it_be_claimed() -> None:
    off = PowerEvidence(50, True, "off", NOW)
    said = DeathConfirmation("root", 50)
    for changes in ({"power": off, "seen": NOW - 1e4}, {"confirmation": said}):
        missing = node("n2", joined=False, **changes)
        nodes = (node("n1", joined=True), node("n3", joined=True), missing)
        [claim] = of(decide(view(*nodes), NOW).intents, Claim)
        assert isinstance(claim, Claim)
        assert claim.node == "n2"
    claimed = node("n2", joined=False, fence=Fence(FLOOR + 1))
    assert of(decide(view(node("n1", joined=True), claimed), NOW).intents, Place) != []


def test_it_has_time_to_join_before_it_is_switched_off() -> None:
    early = node("n2", joined=False, seen=NOW - PATIENCE_S + 1)
    assert not wants_power_fencing(early, T, NOW)
    there = (node("n1", joined=True), node("n3", joined=True))
    assert of(decide(view(*there, early), NOW).intents, FencePower) == []
    assert next_look(view(*there, early), NOW) <= NOW + 1  # the manager looks again when it is time
    late = node("n2", joined=False, seen=NOW - PATIENCE_S)
    assert of(decide(view(*there, late), NOW).intents, FencePower) != []
    # More than half are missing: that is the moment after a restore, or a fault of the site.
    missing = [node(f"n{k}", joined=False, seen=NOW - 1e4) for k in (2, 3, 4)]
    assert of(decide(view(node("n1", joined=True), *missing), NOW).intents, FencePower) == []
