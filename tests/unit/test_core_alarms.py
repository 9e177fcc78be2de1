"""Which conditions are alarms, and when one is raised, told and cleared."""

import inspect
from dataclasses import replace
from itertools import product

import pytest
from decide_world import NOW, claimed, node, vm

from holdfast.core import alarm as core_alarm
from holdfast.core import alarm_instances
from holdfast.core.alarm import REST, judge
from holdfast.core.alarm_life import (
    CLEAR_AFTER_S,
    CLEAR_S,
    CLEARED_KEPT,
    CLEARED_WAITING,
    FLAPS_S,
    RAISE_S,
    STEADY_S,
    WORDS_S,
    Tracker,
    acknowledged,
    after,
    due,
    first_delivery,
    to_forget,
)
from holdfast.core.alarm_model import (
    ALARM_TABLE,
    MANY,
    Alarm,
    AlarmEvent,
    AlarmKind,
    AlarmState,
    Delivery,
    Facts,
    FenceTest,
    NodeReport,
    Receiver,
    ReceiverType,
    StoreMember,
    alarm_id,
    alarm_next,
)
from holdfast.core.history import GuaranteeWord, Severity
from holdfast.core.model import Exclusivity, FenceDeviceSpec, ManagementSpec, Proof
from holdfast.core.policy import ComputeSpec, HaPause, NodeHealth, PauseMode
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

WALL = "2026-06-01T12:00:00Z"
KNOWN = Facts(wall=WALL, members=(), latency_s=0.01)
BMC = FenceDeviceSpec("bmc", "redfish")


def view(*nodes: NodeView, instances: tuple[InstanceView, ...] = (), **changes: object) -> View:
    made = View(profile("fast"), 100, {n.id: n for n in nodes}, {i.id: i for i in instances})
    return replace(made, **changes)  # type: ignore[arg-type]


def found(seen: View, facts: Facts = KNOWN, open_ids: tuple[str, ...] = ()) -> dict[str, Severity]:
    return {name: one.severity for name, one in judge(seen, facts, NOW, open_ids).conditions.items()}


def fenced(name: str, **changes: object) -> NodeView:
    made = replace(node(name), **changes)  # type: ignore[arg-type]
    return replace(made, spec=replace(made.spec, fence_devices=(BMC,)))


def gateway(on: str, *, healthy: bool = True, kind: str = "s3") -> InstanceView:
    return vm(
        f"{kind}/main/gw-{on}",
        on=on,
        spec={"kind": kind, "service": "main", "exclusivity": Exclusivity.EVERYWHERE},
        status={"healthy": healthy},
    )


# --- the table ------------------------------------------------------------------------------------------------------


def test_every_state_knows_what_every_event_means() -> None:
    """But that what is cleared cannot be acknowledged."""
    known = {(row.state, row.event) for row in ALARM_TABLE}
    assert len(known) == len(ALARM_TABLE)
    assert set(product(AlarmState, AlarmEvent)) - known == {(AlarmState.CLEARED, AlarmEvent.ACKNOWLEDGE)}
    assert alarm_next(AlarmState.ACKNOWLEDGED, AlarmEvent.WORSENED) is AlarmState.RAISED


# --- conditions -----------------------------------------------------------------------------------------------------


def test_a_sound_cluster_has_none() -> None:
    assert not found(view(node("n1"), node("n2"), node("n3"), instances=(vm(on="n1"), gateway("n1"), gateway("n2"))))


def test_nodes() -> None:
    unsure = replace(node("n3").beat, watchdog=None)  # type: ignore[type-var]
    quarantine = NodeHealth(quarantined="it failed 3 times")
    seen = view(
        node("n1", missed_for=3.0),
        claimed("n2"),
        node("n3", beat=unsure),
        node("n4", health=quarantine),
        node("n5", lost_networks=("storage",)),
        node("n6", missed_for=300.0),
    )
    assert found(seen) == {
        "node-suspect:n1": Severity.WARNING,
        "node-dead:n2": Severity.ERROR,
        "watchdog-missing:n3": Severity.ERROR,
        "node-quarantined:n4": Severity.WARNING,
        "network-lost:n5:storage": Severity.WARNING,
        "node-suspect:n6": Severity.ERROR,
    }


def test_a_node_that_was_shut_down_is_no_alarm() -> None:
    released = replace(claimed("n2"), fence=replace(claimed("n2").fence, proof=Proof.RELEASED))
    assert not found(view(node("n1"), released))


def test_a_watchdog_is_missed_less_where_a_device_answers() -> None:
    beat = replace(node("n1").beat, watchdog=None)  # type: ignore[type-var]
    seen = view(fenced("n1", beat=beat))
    good = {"n1": (FenceTest("bmc", True, "on"),)}
    bad = {"n1": (FenceTest("bmc", False, "no answer", failures=3),)}
    assert found(seen, replace(KNOWN, fence_tests=good)) == {"watchdog-missing:n1": Severity.WARNING}
    assert found(seen, replace(KNOWN, fence_tests=bad)) == {
        "watchdog-missing:n1": Severity.ERROR,
        "fence-test-failed:n1:bmc": Severity.ERROR,
    }
    assert not found(replace(seen, pause=HaPause(PauseMode.FREEZE)), replace(KNOWN, fence_tests=good))


def test_a_fence_device_must_fail_twice_and_lie_once() -> None:
    once = replace(KNOWN, fence_tests={"n1": (FenceTest("bmc", False, "no answer", 1),)})
    judged = judge(view(fenced("n1")), once, NOW)
    assert not judged.conditions and not judged.knows("fence-test-failed:n1:bmc")
    twice = replace(KNOWN, fence_tests={"n1": (FenceTest("bmc", False, "no answer", 2),)})
    assert found(view(fenced("n1")), twice) == {"fence-test-failed:n1:bmc": Severity.WARNING}, "its watchdog is left"
    lies = replace(KNOWN, fence_tests={"n1": (FenceTest("bmc", False, "says off", 1, lies=True),)})
    assert found(view(fenced("n1")), lies) == {"fence-test-failed:n1:bmc": Severity.ERROR}
    assert not judge(view(fenced("n1")), KNOWN, NOW).knows("fence-test-failed:n1:bmc"), "not tested yet"


def test_gateways() -> None:
    down = node("n2", missed_for=5.0)
    both = (gateway("n1"), gateway("n2"))
    assert "single-gateway:s3:main" not in found(view(node("n1"), node("n2"), instances=both))
    assert found(view(node("n1"), down, instances=both))["single-gateway:s3:main"] is Severity.WARNING
    sick = (gateway("n1", healthy=False), gateway("n2"))
    assert found(view(node("n1"), down, instances=sick))["single-gateway:s3:main"] is Severity.ERROR
    assert not found(view(node("n1"), instances=(gateway("n1"),))), "there never was another one"
    moved = (gateway("n1"), vm("s3/main/gw-n2", on="n1", spec={"kind": "s3", "exclusivity": Exclusivity.EVERYWHERE}))
    assert "single-gateway:s3:main" in found(view(node("n1"), node("n2"), instances=moved)), "one node carries both"


def test_instances_that_wait_or_fail() -> None:
    seen = view(node("n1"), instances=(vm("vm/a", on=""), vm("vm/b", on="n1"), vm("vm/c", on="n1")))
    facts = replace(
        KNOWN, waiting={"vm/a": "no room", "vm/b": "no room there", "vm/x": "gone"}, failed={"vm/c": "exit 1"}
    )
    assert found(seen, facts) == {
        "instance-waiting:vm:a": Severity.ERROR,
        "instance-waiting:vm:b": Severity.WARNING,
        "instance-failed:vm:c": Severity.ERROR,
    }


def test_what_runs_and_does_not_answer_has_failed_after_a_while() -> None:
    sick = vm("vm/a", status={"healthy": False, "detail": "no heartbeat"}, unhealthy_since=NOW - 31)
    fresh = vm("vm/b", status={"healthy": False, "detail": "no heartbeat"}, unhealthy_since=NOW - 5)
    assert found(view(node("n1"), instances=(sick, fresh))) == {"instance-failed:vm:a": Severity.ERROR}
    assert not found(view(node("n1"), instances=(sick,)), replace(KNOWN, waiting={"vm/a": "x"})).get(
        "instance-failed:vm:a"
    )


def test_the_cluster() -> None:
    lost = GuaranteeWord(1, False, ("n1",), ("vm/a",), text="if n1 fails vm/a does not fit")
    seen = view(node("n1"), compute=ComputeSpec(("n1",)))
    assert found(seen, replace(KNOWN, guarantee=lost)) == {"guarantee-lost:cluster": Severity.WARNING}
    assert not judge(seen, KNOWN, NOW).knows("guarantee-lost:cluster"), "no answer yet"
    paused = replace(seen, compute=None, pause=HaPause(PauseMode.FREEZE, "ann", "", "2026-06-01T10:30:00Z"))
    assert found(paused) == {"ha-paused:cluster": Severity.WARNING}
    assert not found(paused, replace(KNOWN, wall="2026-06-01T11:00:00Z"))
    assert found(view(node("n1")), replace(KNOWN, hold="most nodes are suspect")) == {"hold:cluster": Severity.ERROR}
    failing = {"office": Delivery(1, failures=5, error="refused"), "good": Delivery(1)}
    assert found(view(node("n1")), replace(KNOWN, deliveries=failing)) == {"receiver-failing:office": Severity.WARNING}


def test_the_store() -> None:
    gib = 1024**3
    members = (
        StoreMember("n1", True, db_bytes=gib, quota_bytes=2 * gib),
        StoreMember("n2", True, db_bytes=int(1.7 * gib), quota_bytes=2 * gib),
        StoreMember("n3", False, quota_bytes=2 * gib),
    )
    facts = replace(KNOWN, members=members, latency_s=0.4, management=ManagementSpec(("n1", "n2", "n3")))
    assert found(view(node("n1")), facts) == {
        "store-space:n2": Severity.WARNING,
        "store-member-missing:n3": Severity.WARNING,
        "management-degraded:cluster": Severity.ERROR,
        "store-slow:cluster": Severity.WARNING,
    }
    full = replace(KNOWN, members=(replace(members[0], errors=("memberID:1 alarm:NOSPACE ",)),))
    assert found(view(node("n1")), full) == {"store-space:n1": Severity.ERROR}
    blind = judge(view(node("n1")), Facts(wall=WALL), NOW)
    assert not any(blind.knows(one) for one in ("store-space:n2", "store-slow:cluster", "management-degraded:cluster"))


@pytest.mark.parametrize(("members", "bad"), [(5, 1), (3, 0), (1, 0)])
def test_a_management_plane_that_survives_another_failure_is_not_degraded(members: int, bad: int) -> None:
    names = tuple(f"n{number}" for number in range(members))
    state = tuple(StoreMember(name, index >= bad) for index, name in enumerate(names))
    facts = replace(KNOWN, members=state, management=ManagementSpec(names))
    assert "management-degraded:cluster" not in found(view(node("n0")), facts)


def test_what_swings_around_a_limit_keeps_its_alarm() -> None:
    slow, skew = "store-slow:cluster", "clock-skew:n1"
    seen = view(node("n1"))
    facts = replace(KNOWN, latency_s=0.2, offsets_s={"n1": 1.5})
    assert not found(seen, facts)
    assert set(found(seen, facts, (slow, skew))) == {slow, skew}


def test_reports() -> None:
    reports = {
        "n1": NodeReport("s", WALL, "2026-06-19T00:00:00Z", "2036-01-01T00:00:00Z", {"10.0.0.9": "02:00:00:00:00:09"}),
        "n2": NodeReport("s", WALL, "2026-06-03T00:00:00Z", "2036-01-01T00:00:00Z"),
        "gone": NodeReport("s", WALL, "2026-06-03T00:00:00Z"),
    }
    facts = replace(KNOWN, reports=reports, offsets_s={"n1": -3.0, "n2": 0.1})
    assert found(view(node("n1"), node("n2")), facts) == {
        "certificate-expires:n1": Severity.WARNING,
        "certificate-expires:n2": Severity.ERROR,
        "address-conflict:10.0.0.9": Severity.ERROR,
        "clock-skew:n1": Severity.WARNING,
    }
    soon = {"n1": replace(reports["n1"], certificate_ends="", authority_ends="2026-08-10T00:00:00Z", conflicts={})}
    assert found(view(node("n1")), replace(KNOWN, reports=soon)) == {"certificate-expires:cluster": Severity.WARNING}


def test_a_site_that_fails_is_not_ten_thousand_alarms() -> None:
    names = [f"vm/{number:04}" for number in range(3000)]
    seen = view(node("n1"), instances=tuple(vm(name, on="") for name in names))
    facts = replace(KNOWN, waiting=dict.fromkeys(names, "no room"))
    raised = alarm_id(AlarmKind.INSTANCE_WAITING, "vm/2999")
    conditions = judge(seen, facts, NOW, (raised,)).conditions
    assert len(conditions) == MANY
    assert raised in conditions and alarm_id(AlarmKind.INSTANCE_WAITING, REST) in conditions


def test_every_kind_is_raised_somewhere() -> None:
    code = inspect.getsource(core_alarm) + inspect.getsource(alarm_instances)
    assert [kind.name for kind in AlarmKind if f"AlarmKind.{kind.name}" not in code] == ["TEST"]


# --- the life of an alarm -------------------------------------------------------------------------------------------


class Life:
    """A tracker and the alarms it has made."""

    def __init__(self) -> None:
        self.tracker, self.alarms, self.now = Tracker(), dict[str, Alarm](), NOW

    def look(self, *nodes: NodeView, wait: float = 0.0, settled: Facts = KNOWN) -> list[str]:
        """What changes after so long with these nodes."""
        self.now += wait
        open_ids = {name for name, alarm in self.alarms.items() if alarm.open}
        judged = judge(view(*nodes), settled, NOW, open_ids)
        changed = self.tracker.step(judged, self.alarms, self.now, f"at {self.now:g}")
        self.alarms |= {alarm.id: alarm for alarm in changed}
        return [f"{alarm.id} {alarm.state}" for alarm in changed]


GOOD, BAD = node("n2"), claimed("n2")


def test_raised_after_a_while_and_cleared_after_a_while() -> None:
    life = Life()
    assert not life.look(BAD)
    assert not life.look(GOOD, wait=1)
    assert not life.look(BAD, wait=RAISE_S), "it was gone meanwhile"
    assert life.look(BAD, wait=RAISE_S) == ["node-dead:n2 raised"]
    assert not life.look(BAD, wait=1000)
    assert not life.look(GOOD)
    assert not life.look(BAD, wait=1)
    assert not life.look(GOOD, wait=1)
    assert life.look(GOOD, wait=CLEAR_S) == ["node-dead:n2 cleared"]
    assert life.alarms["node-dead:n2"].cleared_at
    life.look(BAD)
    assert life.look(BAD, wait=RAISE_S) == ["node-dead:n2 raised"]
    assert life.alarms["node-dead:n2"].number == 2 and not life.alarms["node-dead:n2"].cleared_at


def test_the_next_leader_raises_nothing_twice_and_clears_nothing_that_it_does_not_know() -> None:
    life = Life()
    life.look(BAD)
    life.look(BAD, wait=RAISE_S)
    device = "fence-test-failed:n1:bmc"
    life.alarms[device] = replace(life.alarms["node-dead:n2"], id=device, kind="fence-test-failed")
    life.tracker = Tracker()
    assert not life.look(fenced("n1"), BAD)
    assert not life.look(fenced("n1"), BAD, wait=1000)
    tested = replace(KNOWN, fence_tests={"n1": (FenceTest("bmc", True, "on"),)})
    life.look(fenced("n1"), BAD, settled=tested)
    assert life.look(fenced("n1"), BAD, wait=CLEAR_S, settled=tested) == [f"{device} cleared"]


def test_what_gets_worse_is_raised_again_and_never_becomes_more_harmless() -> None:
    life = Life()
    bad, worse = node("n2", missed_for=5.0), node("n2", missed_for=500.0)
    life.look(bad)
    life.look(bad, wait=RAISE_S)
    seen = acknowledged(life.alarms["node-suspect:n2"], "ann", WALL, "on my way")
    assert seen is not None and seen.acknowledged_by == "ann"
    life.alarms[seen.id] = seen
    assert not life.look(bad, wait=10)
    assert life.look(worse, wait=1) == ["node-suspect:n2 raised"]
    assert not life.look(bad, wait=1), "other words alone can wait"
    assert life.look(bad, wait=WORDS_S) == ["node-suspect:n2 raised"], "only its text changes"
    alarm = life.alarms["node-suspect:n2"]
    assert alarm.severity is Severity.ERROR and alarm.change == 2
    assert acknowledged(replace(alarm, state=AlarmState.CLEARED), "ann", WALL, "") is None


def test_what_comes_back_again_and_again_stays_raised_longer_each_time() -> None:
    life = Life()
    quiet = []
    for _ in range(7):
        life.look(BAD)
        assert life.look(BAD, wait=RAISE_S) == ["node-dead:n2 raised"]
        life.look(GOOD)
        began = life.now
        while not life.look(GOOD, wait=1):
            assert life.now - began <= STEADY_S
        quiet.append(life.now - began)
    first = CLEAR_AFTER_S[AlarmKind.NODE_DEAD]
    assert quiet == [first * 2**n for n in range(7)], quiet
    life.now += FLAPS_S
    life.look(BAD)
    life.look(BAD, wait=RAISE_S)
    life.look(GOOD)
    assert life.look(GOOD, wait=first) == ["node-dead:n2 cleared"], "that was long ago"
    assert len(life.alarms) == 1 and life.alarms["node-dead:n2"].number == 8


def test_what_a_receiver_has_not_heard_the_end_of_is_kept_for_it_up_to_a_bound() -> None:
    over = Alarm("a", "node-dead", "n", Severity.ERROR, "", "", AlarmState.CLEARED, "1", change=2, cleared_at="2")
    many = {f"a{n}": replace(over, id=f"a{n}", cleared_at=f"{n:04}") for n in range(CLEARED_KEPT + 3)}
    away = Delivery(1, {"a0": (1, 1), "a1": (1, 2), "a2": (1, 1)})
    assert to_forget(many, [Delivery(2), away]) == ["a1"]
    too_many = {f"a{n:04}": replace(over, id=f"a{n:04}", cleared_at=f"{n:04}") for n in range(CLEARED_WAITING + 1)}
    assert to_forget(too_many, [Delivery(1, dict.fromkeys(too_many, (1, 1)))]) == ["a0000"]


def test_what_was_over_long_ago_is_forgotten() -> None:
    alarm = Alarm("a", "node-dead", "n", Severity.ERROR, "", "", AlarmState.CLEARED, "1", cleared_at="2")
    many = {f"a{n}": replace(alarm, id=f"a{n}", cleared_at=f"{n:04}") for n in range(CLEARED_KEPT + 3)}
    many["open"] = replace(alarm, state=AlarmState.RAISED)
    assert to_forget(many) == ["a0", "a1", "a2"]


# --- what receivers are told ----------------------------------------------------------------------------------------


def alarm(name: str, severity: Severity = Severity.ERROR, **changes: object) -> Alarm:
    made = Alarm(f"node-dead:{name}", "node-dead", name, severity, "text", "advice", AlarmState.RAISED, WALL)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_receiver_is_told_of_each_change_once() -> None:
    receiver = Receiver("office", ReceiverType.WEBHOOK, Severity.WARNING)
    alarms = {one.id: one for one in (alarm("n1"), alarm("n2", Severity.INFO))}
    over = alarm("n3", state=AlarmState.CLEARED, cleared_at=WALL)
    delivery = first_delivery(receiver, {**alarms, over.id: over})
    alarms[over.id] = over
    pending = due(receiver, delivery, alarms)
    assert [one.subject for one in pending] == ["n1"], "nothing harmless, nothing that was over before"
    delivery = after(delivery, pending, alarms, WALL)
    assert not due(receiver, delivery, alarms)
    alarms["node-dead:n1"] = alarm("n1", state=AlarmState.ACKNOWLEDGED)
    assert not due(receiver, delivery, alarms), "who acknowledges knows"
    alarms["node-dead:n1"] = alarm("n1", Severity.INFO, state=AlarmState.CLEARED, change=2, cleared_at=WALL)
    assert [one.state for one in due(receiver, delivery, alarms)] == [AlarmState.CLEARED]
    alarms["node-dead:n3"] = alarm("n3", number=2)
    assert {one.subject for one in due(receiver, delivery, alarms)} == {"n1", "n3"}


def test_a_receiver_that_was_away_hears_of_what_is_over_too() -> None:
    receiver = Receiver("office", ReceiverType.WEBHOOK)
    over = alarm("n1", state=AlarmState.CLEARED, change=2, cleared_at=WALL)
    assert due(receiver, Delivery(receiver.serial), {over.id: over}) == [over]
