"""Copies of what runs everywhere: each at home when its own node may carry it, elsewhere meanwhile."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from decide_world import N1, N2, N3, NOW, T, claimed, decided, node, places, vm

from holdfast.core.admission import survives
from holdfast.core.counts import counted
from holdfast.core.explain import explain
from holdfast.core.intents import Decision
from holdfast.core.model import BeatPhase, Desired, Exclusivity, InstanceState, MoveRequest, ShutdownPolicy
from holdfast.core.plan import ITS_NODE, evacuate
from holdfast.core.policy import InstanceLock, Maintenance, RuleKind, RuleSpec
from holdfast.core.spreading import automatic
from holdfast.core.view import HEALTHY_S, InstanceView, NodeView, View

SUSPECT = node("n1", missed_for=1.0)
FRESH = node("n1", up_since=NOW - HEALTHY_S / 2)


def copy(home: str = "n1", on: str | None = None, service: str = "main", **changes: object) -> InstanceView:
    """The gateway of that node; on its node, unless another is given."""
    made = vm(f"s3/{service}/gw-{home}", home if on is None else on, **changes)  # type: ignore[arg-type]
    spec = replace(made.spec, kind="s3", service=service, memory_mib=0, exclusivity=Exclusivity.EVERYWHERE, home=home)
    return replace(made, spec=replace(spec, spread="gw"))


def server(name: str, on: str, **changes: object) -> InstanceView:
    """A strict part of the same cluster, `ns-1` or `os-1`."""
    made = vm(f"s3/main/{name}", on, **changes)  # type: ignore[arg-type]
    spec = replace(made.spec, kind="s3", service="main", memory_mib=128, spread=name.partition("-")[0])
    return replace(made, spec=spec)


def goes(decision: Decision) -> dict[str, str]:
    return {name: placement.node for name, placement in places(decision).items()}


def view_of(nodes: list[NodeView], *instances: InstanceView, **changes: object) -> View:
    return View(T, 500, {n.id: n for n in nodes}, {i.id: i for i in instances}, **changes)  # type: ignore[arg-type]


# --- where it begins ----------------------------------------------------------------------------------------------------


def test_each_begins_at_home() -> None:
    new = [copy("n1", on=""), copy("n2", on=""), copy("n3", on="")]
    decision = decided([N1, N2, N3], *new)
    assert goes(decision) == {"s3/main/gw-n1": "n1", "s3/main/gw-n2": "n2", "s3/main/gw-n3": "n3"}
    assert {placement.reason for placement in places(decision).values()} == {"its home"}


def test_what_runs_nowhere_goes_home_though_that_is_up_for_a_short_time_only() -> None:
    assert goes(decided([FRESH, N2], copy("n1", on=""))) == {"s3/main/gw-n1": "n1"}


def test_it_begins_elsewhere_while_its_home_is_down() -> None:
    decision = decided([SUSPECT, N2], copy("n1", on=""))
    placement = places(decision)["s3/main/gw-n1"]
    assert (placement.node, placement.reason) == ("n2", "in place of its home n1, which is suspect")


# --- its home is lost ---------------------------------------------------------------------------------------------------


def test_it_moves_on_suspicion_while_its_strict_neighbour_waits_for_the_claim() -> None:
    decision = decided([SUSPECT, N2, N3], copy("n1"), server("ns-1", "n1"))
    assert goes(decision) == {"s3/main/gw-n1": "n2"}
    assert "s3/main/ns-1" in decision.waiting


def test_it_moves_while_the_decision_holds() -> None:
    nodes = [SUSPECT, node("n2", missed_for=1.0), N3]
    decision = decided(nodes, copy("n1"), copy("n2"), server("ns-1", "n1"))
    assert decision.hold
    assert goes(decision) == {"s3/main/gw-n1": "n3", "s3/main/gw-n2": "n3"}


def test_several_are_shared_by_those_that_are_left_the_least_burdened_first() -> None:
    lost = [copy("n1"), copy("n1", service="other"), copy("n2"), copy("n3"), server("os-1", "n2")]
    assert goes(decided([SUSPECT, N2, N3], *lost)) == {"s3/main/gw-n1": "n3", "s3/other/gw-n1": "n2"}


def test_a_copy_of_a_lost_stand_in_moves_on() -> None:
    decision = decided([claimed("n1"), node("n2", missed_for=1.0), N3], copy("n1", on="n2"))
    assert goes(decision) == {"s3/main/gw-n1": "n3"}


def test_a_node_that_was_shut_down_to_come_back_is_not_waited_for() -> None:
    assert N1.beat is not None
    frozen = replace(N1, beat=replace(N1.beat, phase=BeatPhase.RELEASED, leaving=ShutdownPolicy.FREEZE.value))
    assert goes(decided([frozen, N2], copy("n1"))) == {"s3/main/gw-n1": "n2"}


def test_a_silent_gateway_stays_where_it_is() -> None:
    """That is its agent's business, which restarts it, and that of DNS: on another node it would be no better."""
    hung = copy("n1", status={"healthy": False}, unhealthy_since=NOW - 60)
    assert not goes(decided([N1, N2], hung))
    panel = replace(hung, spec=replace(hung.spec, exclusivity=Exclusivity.ADVISORY, home=""))
    assert goes(decided([N1, N2], panel)) == {"s3/main/gw-n1": "n2"}


def test_maintenance_moves_it_off() -> None:
    decision = decided([node("n1", maintenance=Maintenance()), N2], copy("n1"))
    assert places(decision)["s3/main/gw-n1"].node == "n2"
    assert not goes(decided([node("n1", maintenance=Maintenance()), N2], copy("n1", on="n2"))), "and it stays away"


# --- its home is back ---------------------------------------------------------------------------------------------------


def test_it_returns_as_soon_as_its_home_is_settled() -> None:
    away = copy("n1", on="n2")
    assert not goes(decided([FRESH, N2], away))
    decision = decided([N1, N2], away)
    assert goes(decision) == {"s3/main/gw-n1": "n1"}
    assert places(decision)["s3/main/gw-n1"].reason == "moved off n2: its home n1 is back"


def test_it_returns_also_where_it_does_not_run_well() -> None:
    assert goes(decided([N1, N2], copy("n1", on="n2", state=InstanceState.STARTING)))
    assert goes(decided([N1, N2], copy("n1", on="n2", status={"healthy": False})))


STAYS: Mapping[str, tuple[NodeView, InstanceView]] = {
    "its home is full": (
        replace(N1, spec=replace(N1.spec, slots={"s3": 0})),
        copy("n1", on="n2"),
    ),
    "its home lost the public network": (
        node("n1", spec=replace(N1.spec, addresses={"public": "x"}), lost_networks=("public",)),
        copy("n1", on="n2"),
    ),
    "it is locked": (N1, copy("n1", on="n2", lock=InstanceLock("look at it first"))),
    "it did not start at home": (N1, copy("n1", on="n2", placement={"tried": ("n1",)})),
    "its home is in maintenance": (node("n1", maintenance=Maintenance()), copy("n1", on="n2")),
}


@pytest.mark.parametrize("why", STAYS)
def test_it_stays_away_because(why: str) -> None:
    home, away = STAYS[why]
    if "network" in why:
        away = replace(away, spec=replace(away.spec, networks=("public",)))
    n2 = replace(N2, spec=replace(N2.spec, addresses={"public": "y"}))
    assert not goes(decided([home, n2], away))


def test_a_failed_start_at_home_is_forgiven_when_the_home_was_away_or_somebody_changed_it() -> None:
    away = copy("n1", on="n2", placement={"tried": ("n1",)}, placed_at=NOW - 100)
    assert goes(decided([node("n1", up_since=NOW - 50), N2], away))
    assert goes(decided([N1, N2], replace(away, spec_revision=75)))


def test_no_preference_draws_it_away() -> None:
    rule = RuleSpec("r", RuleKind.NODE_AFFINITY, ("s3/main/gw-n1",), {"n2": 5, "n1": 0}, False)
    assert not goes(decided([N1, N2], copy("n1"), rules=(rule,)))
    assert goes(decided([N1, N2], copy("n1", on="n2"), rules=(rule,))) == {"s3/main/gw-n1": "n1"}


def test_a_strict_rule_keeps_it_away() -> None:
    rule = RuleSpec("r", RuleKind.NODE_AFFINITY, ("s3/main/gw-n1",), {"n2": 0})
    assert not goes(decided([N1, N2], copy("n1", on="n2"), rules=(rule,)))


def test_an_operator_who_asks_for_another_node_gets_it_for_a_moment() -> None:
    asked = copy("n1", move=MoveRequest("n2"))
    assert goes(decided([N1, N2], asked)) == {"s3/main/gw-n1": "n2"}


# --- without high availability ------------------------------------------------------------------------------------------


def without(home: str = "n1", on: str | None = None, **changes: object) -> InstanceView:
    made = copy(home, on, **changes)  # type: ignore[arg-type]
    return replace(made, spec=replace(made.spec, ha=False))


def test_without_high_availability_it_waits_for_its_node() -> None:
    decision = decided([SUSPECT, N2], without())
    assert not goes(decision)
    assert decision.waiting == {"s3/main/gw-n1": "its high availability is off, so it waits for n1"}
    decision = decided([claimed("n1"), N2], without())
    assert not goes(decision)
    assert "its high availability is off, and only n1 can take it" in decision.waiting["s3/main/gw-n1"]
    assert goes(decided([replace(N1, fence=replace(N1.fence, epoch=2)), N2], without())) == {}


def test_without_high_availability_it_begins_at_home_or_not_at_all() -> None:
    assert goes(decided([N1, N2], without(on=""))) == {"s3/main/gw-n1": "n1"}
    assert not goes(decided([claimed("n1"), N2], without(on="")))


def test_without_high_availability_it_still_leaves_for_a_maintenance_and_returns() -> None:
    assert goes(decided([node("n1", maintenance=Maintenance()), N2], without())) == {"s3/main/gw-n1": "n2"}
    assert goes(decided([N1, N2], without(on="n2"))) == {"s3/main/gw-n1": "n1"}


def test_an_advisory_instance_without_high_availability_waits_as_well() -> None:
    panel = vm("panel/a", spec={"exclusivity": Exclusivity.ADVISORY, "ha": False})
    assert not goes(decided([SUSPECT, N2], panel))
    assert goes(decided([SUSPECT, N2], replace(panel, spec=replace(panel.spec, ha=True)))) == {"panel/a": "n2"}


# --- what would happen --------------------------------------------------------------------------------------------------


def test_a_plan_says_who_stands_in_and_counts_nobody_who_cannot() -> None:
    view = view_of([N1, N2, N3], copy("n1"), copy("n2"), server("ns-1", "n1"))
    plan = evacuate(view, ("n1",))
    assert plan.placements["s3/main/gw-n1"] == "n3"
    full = [N1, replace(N2, spec=replace(N2.spec, slots={"s3": 1}))]
    plan = evacuate(view_of(full, copy("n1"), copy("n2")), ("n1",))
    assert (list(plan.unplaced), plan.shortfall) == (["s3/main/gw-n1"], ())
    assert plan.unplaced["s3/main/gw-n1"]["n2"] == "has its only slot for s3 taken"
    assert survives(view_of(full, copy("n1"), copy("n2")), 1).holds


def test_a_plan_without_high_availability_waits_for_the_home() -> None:
    plan = evacuate(view_of([N1, N2], without(), without("n2", on="")), ("n1", "n2"))
    assert plan.unplaced == {"s3/main/gw-n1": {"n1": ITS_NODE}, "s3/main/gw-n2": {"n2": ITS_NODE}}
    assert plan.shortfall == ()


def test_nobody_makes_room_for_a_copy() -> None:
    full = replace(N2, spec=replace(N2.spec, slots={"s3": 0}))
    assert decided([SUSPECT, full], copy("n1")).cramped == ()
    heavy = replace(copy("n1"), spec=replace(copy("n1").spec, memory_mib=1 << 20))
    assert decided([claimed("n1"), N2], heavy).cramped == ()


def test_it_is_explained_in_words() -> None:
    said = explain(view_of([N1, N2, N3], copy("n1"), copy("n2")), "s3/main/gw-n1", NOW).verdicts
    assert said[0].text == "is the first choice: it is its home; it is there now"
    assert said[1].text == "comes after n1: that one is its home"
    assert said[2].text == "comes after n3: it would carry more gw of its service (2, there 1)"


# --- evenness -----------------------------------------------------------------------------------------------------------


def test_each_word_of_a_service_is_a_set_of_its_own() -> None:
    """Two name servers and two object servers: one of each for each node, however much memory they need."""
    new = [server(name, "") for name in ("ns-1", "ns-2", "os-1", "os-2")]
    placed = goes(decided([N1, N2], *new))
    assert placed["s3/main/ns-1"] != placed["s3/main/ns-2"]
    assert placed["s3/main/os-1"] != placed["s3/main/os-2"]
    assert all(counted(one.spec) for one in new)


def test_number_goes_before_weight() -> None:
    heavy = vm("vm/a", "n2", spec={"memory_mib": 4096})
    assert goes(decided([N1, N2], heavy, server("os-1", "n1"), server("os-2", ""))) == {"s3/main/os-2": "n2"}


def test_of_equals_the_node_with_fewer_of_all_kinds_of_servers_and_then_the_emptier_one() -> None:
    assert goes(decided([N1, N2], server("ns-1", "n1"), server("os-1", ""))) == {"s3/main/os-1": "n2"}
    heavy = vm("vm/a", "n1", spec={"memory_mib": 4096})
    assert goes(decided([N1, N2], heavy, server("os-1", ""))) == {"s3/main/os-1": "n2"}


def test_servers_are_evened_out_from_the_fullest_node_and_gateways_are_not() -> None:
    servers = [server("os-1", "n1"), server("os-2", "n1"), server("os-3", "n2"), server("os-4", "n2")]
    found = automatic(view_of([N1, N2, N3], *servers, server("ns-1", "n2")), NOW)
    assert found is not None and (found.source, found.target, found.live) == ("n2", "n3", False)
    away = [copy("n1", on="n2"), copy("n2"), copy("n1", on="n2", service="other")]
    assert automatic(view_of([node("n1", maintenance=Maintenance()), N2, N3], *away), NOW) is None
    stopped = [replace(one, spec=replace(one.spec, desired=Desired.STOPPED)) for one in servers]
    assert automatic(view_of([N1, N2, N3], *stopped), NOW) is None
