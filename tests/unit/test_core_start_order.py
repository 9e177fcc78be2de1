"""Start order, the limit of starts per node, and room that was made for somebody, in `decide`."""

from dataclasses import replace

from decide_world import N1, N2, NOW, STOP, T, claimed, decided, node, places, vm

from holdfast.core.decide import decide
from holdfast.core.feasibility import infeasible, validate_rule
from holdfast.core.horizon import next_look
from holdfast.core.model import Desired, InstanceState
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.core.start_order import PATIENCE_S, STARTS_PER_NODE
from holdfast.core.view import InstanceView, View
from holdfast.core.yielding import YIELD_S


def after(*names: str, instances: tuple[str, ...] = ("vm/b",), strict: bool = True, name: str = "r") -> RuleSpec:
    return RuleSpec(name, RuleKind.START_ORDER, instances, strict=strict, after=names)


ORDER = (after("vm/a"),)
PREFERRED = (after("vm/a", strict=False),)


def starting(name: str = "vm/a", on: str = "n1", seconds: float = 1.0) -> InstanceView:
    return vm(name, on, InstanceState.STARTING, placed_at=NOW - seconds)


# --- start order --------------------------------------------------------------------------------------------------------


def test_what_waits_is_placed_when_those_before_it_are_ready() -> None:
    waits = decided([N1, N2], starting(), vm("vm/b", ""), rules=ORDER)
    assert places(waits) == {} and waits.waiting["vm/b"] == "waits for vm/a to be ready"
    silent = vm(status={"healthy": False, "detail": "it does not answer"})
    assert places(decided([N1, N2], silent, vm("vm/b", ""), rules=ORDER)) == {}
    assert "vm/b" in places(decided([N1, N2], vm(), vm("vm/b", ""), rules=ORDER))
    unasked = vm(status={"healthy": False, "stable": True})
    assert "vm/b" in places(decided([N1, N2], unasked, vm("vm/b", ""), rules=ORDER)), "nobody probes it"


def test_who_runs_on_a_lost_node_is_not_ready_whatever_it_said() -> None:
    assert "vm/b" not in places(decided([node("n1", missed_for=2.0), N2], vm(), vm("vm/b", ""), rules=ORDER))
    placed = places(decided([claimed("n1"), N2], vm(), vm("vm/b", ""), rules=ORDER))
    assert set(placed) == {"vm/a"}


def test_earlier_tiers_come_first_at_the_priority_of_those_who_wait() -> None:
    """Room for one: the database of a web server goes before a third instance, though it counts less itself."""
    database, web = vm("vm/a", "", spec={"priority": 1, "memory_mib": 8192}), vm("vm/b", "", spec={"priority": 900})
    third = vm("vm/c", "", spec={"priority": 500, "memory_mib": 8192})
    assert set(places(decided([N1], database, web, third, rules=ORDER))) == {"vm/a"}


def test_room_is_kept_for_who_waits_for_something_on_its_way() -> None:
    web, other = vm("vm/b", "", spec={"memory_mib": 7000}), vm("vm/c", "", spec={"priority": 1, "memory_mib": 7000})
    assert places(decided([N1], starting(seconds=1.0), web, other, rules=ORDER)) == {}
    late = decided([N1], starting(seconds=PATIENCE_S), web, other, rules=ORDER)
    assert set(places(late)) == {"vm/c"}, "it waits on, and nothing is kept for it"


def test_nobody_waits_for_what_is_not_to_run() -> None:
    for desired in (Desired.STOPPED, Desired.DISABLED, Desired.IGNORED):
        idle = vm(on="", spec={"desired": desired})
        assert "vm/b" in places(decided([N1, N2], idle, vm("vm/b", ""), rules=ORDER))
    assert "vm/b" in places(decided([N1, N2], vm("vm/b", ""), rules=ORDER)), "it does not exist"


def test_a_preference_waits_for_what_is_on_its_way_and_not_for_ever() -> None:
    assert places(decided([N1, N2], starting(), vm("vm/b", ""), rules=PREFERRED)) == {}
    assert "vm/b" in places(decided([N1, N2], starting(seconds=PATIENCE_S), vm("vm/b", ""), rules=PREFERRED))
    free = decided([N1, N2], vm(on=""), vm("vm/b", ""), rules=PREFERRED)
    assert set(places(free)) == {"vm/a"}
    nowhere = vm(on="", spec={"memory_mib": 99_000})
    assert "vm/b" in places(decided([N1, N2], nowhere, vm("vm/b", ""), rules=PREFERRED))


def test_the_horizon_knows_how_long_somebody_is_waited_for() -> None:
    instances = {i.id: i for i in (starting(seconds=1.0), vm("vm/b", ""))}
    fresh = replace(N1, beat_seen_at=NOW + 1000.0)  # its beats are not what this is about
    view = View(T, 500, {"n1": fresh}, instances, rules=PREFERRED)
    moment = next_look(view, NOW)
    while "vm/b" not in places(decide(view, moment)):
        later = next_look(view, moment)
        assert later > moment and later != float("inf")
        moment = later
    assert moment == NOW - 1.0 + PATIENCE_S


def test_what_runs_is_left_alone_when_somebody_before_it_ends() -> None:
    failed = vm(state=InstanceState.FAILED)
    assert places(decided([N1, N2], failed, vm("vm/b", "n2"), rules=ORDER)) == {}


def test_circles_are_refused_and_found() -> None:
    specs = {name: vm(name, "").spec for name in ("vm/a", "vm/b", "vm/c")}
    first, second = after("vm/a", name="one"), after("vm/b", instances=("vm/c",), name="two")
    closing = after("vm/c", instances=("vm/a",), name="three")
    assert validate_rule(second, [first], specs, {}) == ()
    [sentence] = validate_rule(closing, [first, second], specs, {})
    assert "would wait for each other" in sentence
    assert validate_rule(replace(closing, strict=False), [first, second], specs, {}) != ()
    assert set(infeasible([first, second, closing], specs, {})) == {"one", "two", "three"}
    assert infeasible([first, second, replace(closing, strict=False)], specs, {}) == {}, "it ends by itself"
    assert validate_rule(after(), [], specs, {}) and validate_rule(after("vm/b"), [], specs, {})


# --- so many starts at a time -------------------------------------------------------------------------------------------


def test_a_node_starts_so_many_at_a_time_the_most_important_first() -> None:
    small = {"memory_mib": 64}
    crowd = [vm(f"vm/{n:02}", "", spec={**small, "priority": n}) for n in range(12)]
    first = decided([N1], *crowd)
    assert set(places(first)) == {f"vm/{n:02}" for n in range(12 - STARTS_PER_NODE, 12)}
    assert first.waiting["vm/00"] == f"n1 starts {STARTS_PER_NODE} others first"
    begun = [replace(starting(i.id), spec=i.spec) if n >= 6 else i for n, i in enumerate(crowd)]
    assert set(places(decided([N1], *begun))) == {"vm/05", "vm/04"}


def test_starts_that_fail_or_take_too_long_keep_nobody_waiting() -> None:
    small = {"memory_mib": 64}
    failing = [
        vm(f"vm/{n}", "n1", InstanceState.STARTING, spec=small, status={"failures": 1}, placed_at=NOW) for n in range(9)
    ]
    assert "vm/x" in places(decided([N1], *failing, vm("vm/x", "", spec=small)))
    slow = [vm(f"vm/{n}", "n1", InstanceState.STARTING, spec=small, placed_at=NOW - PATIENCE_S) for n in range(9)]
    assert "vm/x" in places(decided([N1], *slow, vm("vm/x", "", spec=small)))


# --- room that was made for somebody ------------------------------------------------------------------------------------


def preempted(seconds: float = 1.0) -> InstanceView:
    """It ran on n1 and has stopped there for vm/b."""
    order = {**STOP, "yields_to": "vm/b"}
    return vm(state=InstanceState.STOPPED, placement=order, placed_at=NOW - seconds, spec={"priority": 1})


def test_who_gave_way_waits_until_the_other_one_has_its_room() -> None:
    big = vm("vm/b", "", spec={"memory_mib": 8192})
    full = vm("vm/c", "n1", spec={"memory_mib": 1024})  # still to be moved
    waits = decided([N1], preempted(), big, full)
    assert places(waits) == {} and "make room for vm/b" in waits.waiting["vm/a"]
    late = decided([N1], preempted(YIELD_S), big, full)
    assert set(places(late)) == {"vm/a"}, "not for ever"
    assert set(places(decided([N1], preempted(), vm("vm/b", "n1"), full))) == {"vm/a"}, "the other one runs"


def test_nobody_of_lower_priority_takes_what_was_given_up_for_another() -> None:
    big, full = vm("vm/b", "", spec={"memory_mib": 8192}), vm("vm/c", "n1")
    low = vm("vm/d", "", spec={"priority": 2})
    assert places(decided([N1], preempted(), big, full, low)) == {}
    assert set(places(decided([N1], preempted(YIELD_S), big, full, low))) == {"vm/a", "vm/d"}


def test_a_mere_preference_does_not_take_room_that_somebody_waits_for() -> None:
    rules = (RuleSpec("r", RuleKind.NODE_AFFINITY, ("vm/a",), {"n1": 2, "n2": 1}),)
    away = vm("vm/a", "n2", spec={"priority": 900, "memory_mib": 5000})
    assert set(places(decided([N1, N2], away, rules=rules))) == {"vm/a"}, "it fails back"
    waits = vm("vm/b", "", spec={"priority": 1, "memory_mib": 5000})
    assert set(places(decided([N1, N2], away, waits, rules=rules))) == {"vm/b"}


def test_what_does_not_fit_for_want_of_resources_is_named() -> None:
    big, elsewhere = vm("vm/b", "", spec={"memory_mib": 9000}), vm("vm/c", "", spec={"nodes": ("n9",)})
    assert decided([N1, N2], big, elsewhere).cramped == ("vm/b",)
