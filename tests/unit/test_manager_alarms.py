"""The leading manager's alarms: what it writes, what it leaves to others, and whom it tells."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from decide_world import NOW, claimed, node

from holdfast.clock import ManualClock
from holdfast.core.alarm import Judgement
from holdfast.core.alarm_life import CLEARED_KEPT, RAISE_S, acknowledged
from holdfast.core.alarm_model import (
    Alarm,
    AlarmState,
    Delivery,
    ManagerHealth,
    NodeReport,
    Notice,
    Receiver,
    ReceiverType,
    StoreMember,
)
from holdfast.core.history import Event, ManagerView, Severity
from holdfast.core.model import FenceDeviceSpec, ManagementSpec
from holdfast.core.timing import profile
from holdfast.core.view import NodeView, View
from holdfast.errors import HoldfastError, StoreUnknownOutcome
from holdfast.manager.alarms import HEALTH_S, AlarmDesk
from holdfast.manager.commit import EventLog
from holdfast.manager.delivery import ERROR_CHARS, FIRST_RETRY_S, LAST_RETRY_S, REPEAT_S
from holdfast.manager.election import LostLeadership
from holdfast.manager.fence_tests import FIRST_S, PERIOD_S
from holdfast.ports import Compare, Delete, Op, PowerReading, Put, TxnResult
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.measured import MeasuredStore
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

DEAD = "node-dead:n2"
HOOK = Receiver("hook", ReceiverType.WEBHOOK, serial=1)
WAIT_S = 10.0


class Devices:
    """Port PowerFences: one device, of whatever node. A test that switches anything fails."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.state = "on"

    def open(self, device: FenceDeviceSpec) -> "Devices":
        return self

    async def read(self, *, timeout: float) -> PowerReading:
        self.reads.append(self.state)
        return PowerReading(self.state)

    async def off(self, *, timeout: float) -> None:
        raise AssertionError("a test switches nothing")

    async def on(self, *, timeout: float) -> None:
        raise AssertionError("a test switches nothing")

    async def close(self) -> None: ...


class World:
    """A store, one manager's desk, and a receiver that takes what it is told or not. Stands for the election, too."""

    term = 1

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.cluster = MemoryCluster(self.clock)
        self.store = MemoryStore(self.cluster, self.clock)
        self.mirror = Mirror(self.store)
        self.devices = Devices()
        self.told: list[Notice] = []
        self.refuses = ""
        self.leads = True
        self.is_blind = False
        self.takes_notes = True
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while it is judged."""
        self.measured = MeasuredStore(self.store, self.clock)
        self.desk = self.new_desk()
        self.tasks = [asyncio.create_task(self.mirror.run())]

    def new_desk(self) -> AlarmDesk:
        election: Any = self
        return AlarmDesk(
            self.mirror,
            self.clock,
            election,
            "n1",
            self.measured,
            self.devices,
            look=self.look,
            send=self.send,
            apart=self.apart,
        )

    async def look(self, spec: ManagementSpec) -> tuple[StoreMember, ...]:
        """A mistake of whoever asks the members must end nothing."""
        raise RuntimeError("a mistake")

    async def apart(self, judging: Callable[[], Judgement]) -> Judgement:
        judged = judging()
        self.meanwhile()
        await self.until(lambda: self.mirror.revision == self.cluster.list("").revision)
        return judged

    async def commit(self, compare: Sequence[Compare], ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        if not self.leads:
            raise LostLeadership("over")
        if not self.takes_notes and any(op.key.startswith(keys.DELIVERIES) for op in ops):
            raise StoreUnknownOutcome("no answer")
        return await self.store.txn(compare, ops)

    def blind(self) -> bool:
        return self.is_blind

    async def send(self, notice: Notice) -> None:
        if self.refuses:
            raise HoldfastError(self.refuses)
        self.told.append(notice)

    def lead(self) -> None:
        """A term begins."""
        self.desk.begin_term(EventLog(self.term, self.clock))
        self.tasks.append(asyncio.create_task(self.desk.run()))

    async def see(self, *nodes: NodeView, for_s: float = WAIT_S, each_s: float = 1.0, settled: bool = True) -> None:
        for _ in range(round(for_s / each_s)):
            view = View(profile("fast"), 1, {one.id: one for one in nodes}, settled=settled)
            self.desk.observe(view, ManagerView("n1", self.term))
            await self.clock.advance(each_s)
            await self.until(lambda: self.mirror.revision == self.cluster.list("").revision)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)

    def put(self, key: str, value: object) -> None:
        self.cluster.txn([], [Put(key, encode(value))], ())

    def alarm(self, name: str = DEAD) -> Alarm | None:
        entry = self.cluster.get(keys.alarm(name))
        return decode(entry.value, Alarm) if entry else None

    def delivery(self) -> Delivery:
        entry = self.cluster.get(keys.delivery("hook"))
        return decode(entry.value, Delivery) if entry else Delivery()

    def events(self) -> list[str]:
        return [decode(entry.value, Event).kind for entry in self.cluster.list(keys.EVENTS).entries]

    def deliveries(self) -> list[str]:
        return [f"{alarm.id} {alarm.state}" for notice in self.told if not notice.repeats for alarm in notice.alarms]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.mirror.ready.wait()
    made.lead()
    yield made
    made.desk.stop()
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


def well(name: str) -> NodeView:
    """It stays well however long the test takes."""
    return node(name, missed_for=0.0, beat_seen_at=NOW + 10_000)


async def test_raised_once_acknowledged_and_cleared_with_an_event_each(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    await world.see(well("n1"), claimed("n2"))
    raised = world.alarm()
    assert raised is not None and raised.state is AlarmState.RAISED
    seen = acknowledged(raised, "ann", "now", "")
    world.put(keys.alarm(DEAD), seen)
    await world.see(well("n1"), claimed("n2"))
    assert world.alarm() == seen, "nothing is written over it"
    await world.see(well("n1"), well("n2"))
    over = world.alarm()
    assert over is not None and over.state is AlarmState.CLEARED and over.acknowledged_by == "ann"
    assert world.events() == ["alarm-raised", "alarm-cleared"]
    assert world.deliveries() == [f"{DEAD} raised", f"{DEAD} cleared"]


async def test_what_is_acknowledged_while_it_is_judged_is_not_overwritten(world: World) -> None:
    await world.see(well("n1"), node("n2", missed_for=5.0))
    raised = world.alarm("node-suspect:n2")
    assert raised is not None
    seen = acknowledged(raised, "ann", "now", "")
    assert seen is not None
    told = replace(seen, note="cable")

    def acknowledge() -> None:
        world.put(keys.alarm(told.id), told)
        world.meanwhile = lambda: None

    world.meanwhile = acknowledge
    lost = replace(node("n2", missed_for=5.0), power=None)
    view = View(profile("fast"), 1, {"n1": well("n1"), "n2": lost})
    world.desk.observe(view, ManagerView("n1", 1, notes={"n2": "other words"}))
    await world.clock.advance(1)
    await world.until(lambda: world.mirror.revision == world.cluster.list("").revision)
    assert world.alarm(told.id) == told
    world.desk.observe(view, ManagerView("n1", 1, notes={"n2": "other words"}))
    await world.clock.advance(20)
    after = world.alarm(told.id)
    assert after is not None and "other words" in after.text
    assert (after.state, after.acknowledged_by, after.note) == (AlarmState.ACKNOWLEDGED, "ann", "cable")


async def test_what_is_raised_anew_is_not_forgotten_in_the_same_moment(world: World) -> None:
    over = Alarm(DEAD, "node-dead", "n2", Severity.ERROR, "", "", AlarmState.CLEARED, "1", number=7, cleared_at="1")
    world.put(keys.alarm(DEAD), over)
    for number in range(CLEARED_KEPT - 1):
        name = f"node-dead:x{number}"
        world.put(keys.alarm(name), replace(over, id=name, subject=f"x{number}", cleared_at=f"2{number:03}"))
    await world.see(well("n1"), claimed("n2"), for_s=RAISE_S)
    world.put(keys.alarm("node-dead:y"), replace(over, id="node-dead:y", subject="y", cleared_at="3"))
    await world.see(well("n1"), claimed("n2"))
    alarm = world.alarm()
    assert alarm is not None and alarm.open and alarm.number == 8


async def test_what_was_told_and_could_not_be_noted_is_not_told_again(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    await world.see(well("n1"), for_s=2)
    world.takes_notes = False
    await world.see(well("n1"), claimed("n2"), for_s=30)
    assert world.deliveries() == [f"{DEAD} raised"] and not world.delivery().told
    assert world.alarm("receiver-failing:hook") is None, "it is no fault of the receiver's"
    world.takes_notes = True
    await world.see(well("n1"), claimed("n2"), for_s=3)
    assert world.delivery().told == {DEAD: (1, 1)} and world.deliveries() == [f"{DEAD} raised"]


async def test_after_a_time_without_the_store_receivers_are_told_at_once(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    await world.see(well("n1"), claimed("n2"), for_s=3)
    world.refuses = "refused"
    await world.see(well("n1"), claimed("n2"), for_s=3)
    world.refuses, world.is_blind = "", True
    await world.see(well("n1"), claimed("n2"), for_s=200)
    assert not world.told
    world.is_blind = False
    await world.see(well("n1"), claimed("n2"), for_s=2)
    assert world.deliveries() == [f"{DEAD} raised"] and not world.delivery().failures


@pytest.mark.parametrize("spec", [ManagementSpec(("n1",)), "?"])
async def test_whoever_cannot_ask_the_members_of_the_store_ends_nothing(world: World, spec: object) -> None:
    """Neither a mistake in asking, nor a record that cannot be read."""
    world.put(keys.MANAGEMENT, spec)
    await world.see(well("n1"), claimed("n2"), for_s=25)
    assert (world.alarm() is not None) == isinstance(spec, ManagementSpec)
    assert not world.tasks[-1].done()


async def test_of_a_long_answer_only_so_much_is_kept(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    world.refuses = "no\n" * 10_000
    await world.see(well("n1"), claimed("n2"))
    assert 100 < len(world.delivery().error) <= ERROR_CHARS and "\n" not in world.delivery().error


async def test_before_the_observers_are_heard_nothing_is_raised_and_nothing_cleared(world: World) -> None:
    await world.see(well("n1"), claimed("n2"), settled=False)
    assert world.alarm() is None
    await world.see(well("n1"), claimed("n2"))
    before = world.alarm()
    await world.see(well("n1"), well("n2"), settled=False)
    assert world.alarm() == before


async def test_whoever_lost_the_lead_writes_and_sends_nothing(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    world.leads = False
    world.desk.observe(View(profile("fast"), 1, {"n2": claimed("n2")}), ManagerView("n1", 1))
    await world.clock.advance(WAIT_S)
    assert world.alarm() is None and not world.told


async def test_records_that_cannot_be_read_stop_nothing(world: World) -> None:
    """Of a newer version, or written by hand."""
    world.put(keys.receiver("sms"), {"name": "sms", "type": "sms"})
    world.put(keys.alarm("future:x"), {"id": "future:x", "state": "snoozed"})
    world.put(keys.report("n1"), {"strange": True})
    world.put(keys.report("n2"), NodeReport("s", "yesterday", "some day", "2026-01-01T00:00:00"))
    world.put(keys.delivery("hook"), "?")
    world.put(keys.receiver("hook"), HOOK)
    await world.see(well("n1"), claimed("n2"))
    assert world.alarm() is not None
    assert world.deliveries() == [f"{DEAD} raised"]


async def test_a_receiver_that_fails_is_tried_again_ever_more_rarely_and_told_of(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    world.refuses = "refused"
    await world.see(well("n1"), claimed("n2"), for_s=5 + 15 * FIRST_RETRY_S)
    assert world.delivery().failures >= 4 and world.delivery().error == "refused"
    await world.see(well("n1"), claimed("n2"), for_s=5)
    failing = world.alarm("receiver-failing:hook")
    assert failing is not None and failing.open
    failures = world.delivery().failures
    await world.see(well("n1"), claimed("n2"), for_s=2 * LAST_RETRY_S)
    assert world.delivery().failures - failures <= 4
    world.refuses = ""
    await world.see(well("n1"), claimed("n2"), for_s=LAST_RETRY_S + 30)
    assert world.deliveries()[0] == f"{DEAD} raised"
    assert world.delivery().failures == 0 and not world.delivery().error
    over = world.alarm("receiver-failing:hook")
    assert over is not None and not over.open


async def test_of_a_removed_receiver_nothing_is_noted(world: World) -> None:
    world.put(keys.receiver("hook"), HOOK)
    await world.see(well("n1"), well("n2"), for_s=3)
    assert world.delivery().serial == HOOK.serial
    world.cluster.txn([], [Delete(keys.receiver("hook")), Delete(keys.delivery("hook"))], ())
    await world.see(well("n1"), claimed("n2"))
    assert world.cluster.get(keys.delivery("hook")) is None and not world.told
    world.put(keys.receiver("hook"), replace(HOOK, serial=9))
    await world.see(well("n1"), claimed("n2"), for_s=3)
    assert world.deliveries() == [f"{DEAD} raised"], "of what is open a new receiver hears"


async def test_an_alertmanager_is_told_again_what_stands(world: World) -> None:
    world.put(keys.receiver("hook"), replace(HOOK, type=ReceiverType.ALERTMANAGER))
    await world.see(well("n1"), claimed("n2"), for_s=2.5 * REPEAT_S)
    assert world.deliveries() == [f"{DEAD} raised"]
    assert len([notice for notice in world.told if notice.repeats]) == 2


async def test_fence_devices_are_read_now_and_then_and_never_while_a_node_is_down(world: World) -> None:
    device = (FenceDeviceSpec("bmc", "redfish"),)
    up = replace(well("n1"), spec=replace(well("n1").spec, fence_devices=device))
    down = replace(claimed("n2"), spec=replace(claimed("n2").spec, fence_devices=device))
    await world.see(up, down, for_s=FIRST_S - 2)
    assert not world.devices.reads, "recovery goes before"
    await world.see(up, down, for_s=PERIOD_S / 2, each_s=15)
    assert len(world.devices.reads) == 1
    await world.see(up, down, for_s=PERIOD_S, each_s=15)
    assert len(world.devices.reads) == 2
    world.devices.state = "off"
    await world.see(up, down, for_s=PERIOD_S, each_s=15)
    lying = world.alarm("fence-test-failed:n1:bmc")
    assert lying is not None and "says that the power is off" in lying.text


async def test_figures_are_written_rarely_and_what_is_no_node_any_more_is_forgotten(world: World) -> None:
    world.put(keys.report("gone"), NodeReport("s", "2026-01-01T00:00:00Z"))
    world.put(keys.report("n1"), NodeReport("s", "2026-01-01T00:00:00Z"))
    writes = []
    for _ in range(60):
        await world.see(well("n1"), for_s=1)
        entry = world.cluster.get(keys.MANAGER_HEALTH)
        writes.append(entry.mod_revision if entry else 0)
    assert len(set(writes) - {0}) <= 60 / HEALTH_S + 1
    entry = world.cluster.get(keys.MANAGER_HEALTH)
    assert entry is not None and decode(entry.value, ManagerHealth).node == "n1"
    assert [keys.last_part(one.key) for one in world.cluster.list(keys.REPORTS).entries] == ["n1"]
