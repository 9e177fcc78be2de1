"""What is judged at once of a whole cluster is what is judged of each thing by itself, bounded. Over random histories."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from holdfast.core.alarm import REST, judge
from holdfast.core.alarm_life import Tracker
from holdfast.core.alarm_model import MANY, Alarm, AlarmKind, Condition, Facts, alarm_id
from holdfast.core.history import Severity
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Exclusivity,
    Fence,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Role,
    WatchdogAttestation,
)
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

STEPS = 20
OF_INSTANCES = (AlarmKind.INSTANCE_WAITING, AlarmKind.INSTANCE_FAILED)
OF_NODES = (AlarmKind.NODE_SUSPECT, AlarmKind.NODE_DEAD, AlarmKind.WATCHDOG_MISSING, AlarmKind.CLOCK_SKEW)
KINDS = (*OF_INSTANCES, *OF_NODES, AlarmKind.SINGLE_GATEWAY)


class History:
    """A cluster in which everything changes now and then, often much of it at once."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 1000.0
        self.nodes = {f"n{number:02}": _node(f"n{number:02}") for number in range(self.chance.choice((4, 70)))}
        self.instances = {one.id: one for one in self._made(self.chance.choice((30, 150, 400)))}
        self.waiting: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.offsets: dict[str, float] = {}

    def _made(self, count: int) -> Iterator[InstanceView]:
        for number in range(count):
            node = self.chance.choice(list(self.nodes))
            gateway = number % 5 == 0
            name = f"s3/c{number // 20}/gw-{number}" if gateway else f"vm/m{number:03}"
            exclusivity = Exclusivity.EVERYWHERE if gateway else Exclusivity.STRICT
            spec = InstanceSpec(name, name.split("/")[0], name.split("/")[1], exclusivity, Role.COMPUTE)
            status = InstanceStatus(node, "s", 10, InstanceState.RUNNING, healthy=True)
            yield InstanceView(spec, 7, placement=Placement(node, 10, 1), placement_revision=7, status=status)

    def step(self) -> None:
        self.now += self.chance.choice((0.5, 1.0, 5.0, 40.0))
        share = self.chance.choice((0.0, 0.01, 0.1, 0.9))
        for name in [name for name in self.nodes if self.chance.random() < share]:
            self._change_node(name)
        for name in [name for name in self.instances if self.chance.random() < share]:
            self._change_instance(name)

    def _change_node(self, name: str) -> None:
        node = self.nodes[name]
        assert node.beat is not None
        self.offsets[name] = self.chance.choice((0.0, -1.5, 3.0))
        self.nodes[name] = replace(
            node,
            beat_seen_at=self.now + self.chance.choice((1e6, -100.0)),
            fence=Fence(self.chance.choice((1, 1, 2))),
            beat=replace(node.beat, watchdog=self.chance.choice((node.beat.watchdog, None))),
        )

    def _change_instance(self, name: str) -> None:
        one = self.instances[name]
        for said, text in ((self.waiting, "no room"), (self.failed, "exit 1")):
            said.pop(name, None)
            if self.chance.random() < 0.5:
                said[name] = f"{text} {self.chance.randrange(3)}"
        assert one.status is not None
        self.instances[name] = replace(
            one,
            spec=replace(one.spec, desired=self.chance.choice((Desired.STARTED, Desired.STARTED, Desired.STOPPED))),
            status=replace(one.status, healthy=self.chance.random() < 0.5, epoch=self.chance.choice((10, 10, 9))),
            unhealthy_since=self.chance.choice((None, self.now, self.now - 60)),
            deleting=self.chance.random() < 0.1,
        )

    def view(self) -> View:
        return View(profile("fast"), 1, dict(self.nodes), dict(self.instances))

    def facts(self) -> Facts:
        said = {"waiting": dict(self.waiting), "failed": dict(self.failed), "offsets_s": dict(self.offsets)}
        return Facts(wall="2026-01-01T00:00:00Z", members=(), latency_s=0.01, **said)  # type: ignore[arg-type]


def _node(name: str) -> NodeView:
    dog = WatchdogAttestation("/dev/watchdog", "test", 5)
    beat = Beat("s", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, dog)
    return NodeView(NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1"}), Fence(1), 5, beat, 50, 1e9)


# --- each by itself --------------------------------------------------------------------------------------------------


def one_by_one(view: View, facts: Facts, now: float, open_ids: frozenset[str]) -> dict[str, Condition]:
    """Straight from the words: each thing judged in a cluster in which there is nothing else, then so many of each kind."""
    found: dict[AlarmKind, list[Condition]] = {}
    for part, about in parts(view):
        for condition in judge(part, facts, now, open_ids).conditions.values():
            if condition.kind in about:
                found.setdefault(condition.kind, []).append(condition)
    return {one.id: one for conditions in found.values() for one in bounded(conditions, open_ids)}


def parts(view: View) -> Iterator[tuple[View, tuple[AlarmKind, ...]]]:
    for name, node in view.nodes.items():
        yield replace(view, nodes={name: node}, instances={}), OF_NODES
    services: dict[str, dict[str, InstanceView]] = {}
    for name, instance in view.instances.items():
        yield replace(view, instances={name: instance}), OF_INSTANCES
        services.setdefault("/".join(name.split("/")[:2]), {})[name] = instance
    for together in services.values():
        yield replace(view, instances=together), (AlarmKind.SINGLE_GATEWAY,)


def bounded(conditions: list[Condition], open_ids: frozenset[str]) -> list[Condition]:
    if len(conditions) <= MANY:
        return conditions
    ordered = sorted(conditions, key=lambda one: (one.id not in open_ids, one.subject))
    first, rest = ordered[: MANY - 1], ordered[MANY - 1 :]
    worst = max((one.severity for one in rest), key=[Severity.INFO, Severity.WARNING, Severity.ERROR].index)
    text = f"the same as the other alarms of this kind is true of more, {rest[0].subject} among them"
    return [*first, Condition(rest[0].kind, REST, worst, text, rest[0].advice)]


@pytest.mark.parametrize("seed", range(8))
def test_all_at_once_is_each_by_itself(seed: int) -> None:
    history, tracker = History(seed), Tracker()
    alarms: dict[str, Alarm] = {}
    many = False
    for _ in range(STEPS if len(history.instances) < 200 else STEPS // 4):
        history.step()
        open_ids = frozenset(name for name, alarm in alarms.items() if alarm.open)
        judged = judge(history.view(), history.facts(), history.now, open_ids)
        wanted = one_by_one(history.view(), history.facts(), history.now, open_ids)
        assert {name: one for name, one in judged.conditions.items() if one.kind in KINDS} == wanted
        many = many or any(alarm_id(kind, REST) in judged.conditions for kind in KINDS)
        alarms |= {alarm.id: alarm for alarm in tracker.step(judged, alarms, history.now, "now")}
    assert alarms
    assert many or len(history.instances) < 100, "the bound was never reached"
