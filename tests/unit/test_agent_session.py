"""The agent's session against a memory store: what a pause permits and what not, and how a node takes leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.agent.identity import Identity
from holdfast.agent.orders import MirrorOrders
from holdfast.agent.seams import Former
from holdfast.agent.session import MOVE_OFF_S, Session
from holdfast.agent.shutdown import HINT_FILE, shutdown_kind
from holdfast.clock import ManualClock
from holdfast.core.leaving import ShutdownKind
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    Exclusivity,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Proof,
    Role,
    ShutdownPolicy,
    WatchdogAttestation,
)
from holdfast.core.policy import HaPause, Maintenance, PauseMode
from holdfast.core.timing import profile
from holdfast.core.validity import SessionState
from holdfast.errors import StoreUnavailable
from holdfast.fencing.guard import core as guard_core
from holdfast.ports import Delete, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import Faults, MemoryCluster, MemoryStore, WriteFault
from holdfast.store.mirror import Mirror

T = profile("fast")
STEP_S = 0.05
VOLUME = InstanceSpec("nfs/v", "nfs", "v", Exclusivity.STRICT, Role.STORAGE)
PAUSE = HaPause(PauseMode.FREEZE)


class Guard:
    """Port GuardLink over the real guard's decisions."""

    def __init__(self, clock: ManualClock, workload: "Workload") -> None:
        self._clock = clock
        self._workload = workload
        self.gate = guard_core.Gate()
        self.present = True
        self.unheard = False
        """It refused the last deadline it was told."""
        self.blind_to_stops = False
        """It sees strict processes whatever the agent says."""
        self.nowayout = False
        """Its watchdog cannot be disarmed."""
        self.refuses_deadlines = False

    def state(self) -> str:
        return self.gate.state

    @property
    def connected(self) -> bool:
        return self.present and not self.unheard

    async def attest(self) -> WatchdogAttestation | None:
        closed = not self.present or self.gate.state is guard_core.State.WAITING
        return None if closed else WatchdogAttestation("/dev/watchdog", "fake", int(T.W))

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        if not self.present or self.refuses_deadlines:
            return False
        self.gate, row = guard_core.tell_deadline(self.gate, deadline, grace, self._clock.now())
        return not row.refused

    async def set_idle(self) -> bool:
        left = self._workload.running or self.blind_to_stops
        return self._apply(guard_core.Event.IDLE_REFUSED if left else guard_core.Event.IDLE)

    async def pause(self) -> bool:
        told = self._apply(guard_core.Event.PAUSE)
        return self._apply(guard_core.Event.DISARM_REFUSED) if told and self.nowayout else told

    async def farewell(self, *, restart: bool) -> bool:
        return self._apply(guard_core.Event.FAREWELL_RESTART if restart else guard_core.Event.FAREWELL_IDLE)

    def _apply(self, event: guard_core.Event) -> bool:
        if not self.present:
            return False
        self.gate, row = guard_core.apply(self.gate, event, self._clock.now())
        return row is not None and not row.refused


class Workload:
    """One strict instance that runs whenever it may."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.running = False
        self.stop_takes_s = 0.0

    async def stop_strict(self, grace_s: float) -> bool:
        assert grace_s <= T.F, "a stop is given no longer than a deadline could last"
        if self.running:
            await self._clock.sleep(self.stop_takes_s)
        self.running = False
        return True

    async def stop_all(self, grace_s: float) -> bool:
        return await self.stop_strict(grace_s)

    def resume(self) -> None:
        self.running = True


def _capacity() -> tuple[float, int]:
    return 4.0, 8192


@dataclass
class Node:
    """n1, with its session running."""

    cluster: MemoryCluster
    clock: ManualClock
    boot: str = "boot-1"
    run: int = 1
    faults: Faults = field(default_factory=Faults)
    former: Former | None = None

    def __post_init__(self) -> None:
        self.workload = Workload(self.clock)
        self.guard = Guard(self.clock, self.workload)
        store = MemoryStore(self.cluster, self.clock, faults=self.faults)
        self.mirror = Mirror(store)
        identity = Identity(f"session-{self.boot}-{self.run}", self.boot, "machine")
        orders = MirrorOrders(self.mirror, "n1", lambda: self.session.fence_epoch)
        self.session = Session(
            "n1", store, self.guard, self.clock, T, identity, self.workload, _capacity, orders, self.former
        )
        self.mirror.on_change(self.session.seen)
        self._seen_beat = (0, 0.0)

    def put(self, key: str, value: object) -> int:
        return self.cluster.txn([], [Put(key, encode(value))], ()).revision

    def delete(self, key: str) -> None:
        self.cluster.txn([], [Delete(key)], ())

    def beat(self) -> Beat:
        entry = self.cluster.get(keys.beat("n1"))
        assert entry is not None
        return decode(entry.value, Beat)

    async def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            await self.clock.advance(STEP_S)
            self.check()

    def check(self) -> None:
        """What the manager may believe by the last beat in the store: where that attests a watchdog, whatever runs is
        covered by a deadline that the guard knows, and that is no later than the one of this beat."""
        entry, now = self.cluster.get(keys.beat("n1")), self.clock.now()
        if entry is None:
            return
        if entry.mod_revision != self._seen_beat[0]:
            self._seen_beat = (entry.mod_revision, now)
        gate, state = self.guard.gate, self.session.state
        if self.workload.running and not self.beat().paused:
            # It was sent before it was seen here.
            assert self.session.validity.deadline <= self._seen_beat[1] + T.F
            if self.beat().watchdog is not None:
                assert gate.state is guard_core.State.ARMED
                assert gate.deadline <= self._seen_beat[1] + T.F
        if self.workload.running and state is SessionState.ACTIVE and self.guard.connected:
            assert gate.state is not guard_core.State.ARMED or gate.end > now, "it runs, and the guard would not pet"
        if state is SessionState.IDLE:
            assert gate.state is guard_core.State.IDLE, "INV-5: it stopped cleanly and would be reset"

    async def until(self, state: SessionState, bound: float = 30.0) -> float:
        began = self.clock.now()
        while self.session.state is not state:
            assert self.clock.now() - began < bound, f"{self.session.state}, not {state}, after {bound} s"
            await self.run_for(STEP_S)
        return self.clock.now() - began


def new_cluster(clock: ManualClock, policy: ShutdownPolicy = ShutdownPolicy.FAILOVER) -> MemoryCluster:
    cluster = MemoryCluster(clock)
    values: dict[str, object] = {
        keys.CLUSTER: ClusterSpec("c", "c", "fast", shutdown_policy=policy),
        keys.instance(VOLUME.id): VOLUME,
    }
    for name in ("n1", "n2"):
        values[keys.node_spec(name)] = NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"})
        values[keys.fence(name)] = Fence(1)
    values[keys.beat("n2")] = Beat("s2", "b2", "m2", 1, 1, BeatPhase.ACTIVE)
    cluster.txn([], [Put(key, encode(value)) for key, value in values.items()], ())
    return cluster


@asynccontextmanager
async def begun(node: Node) -> AsyncIterator[Node]:
    tasks = [asyncio.create_task(node.mirror.run()), asyncio.create_task(node.session.run())]
    try:
        yield node
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def living(node: Node, settle_s: float = 3.0) -> AsyncIterator[Node]:
    async with begun(node):
        await node.until(SessionState.ACTIVE)
        await node.run_for(settle_s)
        yield node


@asynccontextmanager
async def active(policy: ShutdownPolicy = ShutdownPolicy.FAILOVER) -> AsyncIterator[Node]:
    clock = ManualClock()
    async with living(Node(new_cluster(clock, policy), clock)) as node:
        yield node


# --- pause --------------------------------------------------------------------------------------------------------------


async def test_the_watchdog_is_attested_as_soon_as_the_guard_has_a_deadline() -> None:
    clock = ManualClock()
    node = Node(new_cluster(clock), clock)
    async with living(node, settle_s=0.2):
        assert node.beat().watchdog is not None


async def test_without_a_pause_a_store_that_is_away_ends_what_runs_at_the_deadline() -> None:
    async with active() as node:
        node.faults.unavailable = True
        took = await node.until(SessionState.IDLE)
        assert T.F - T.H - 0.5 < took < T.F + 0.5
        assert not node.workload.running


async def test_paused_and_acknowledged_a_node_goes_on_without_the_store() -> None:
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(0.5)
        beat = node.beat()
        assert (beat.paused, beat.watchdog, beat.phase) == (True, None, BeatPhase.ACTIVE), (
            "at once, not at the next beat"
        )
        node.faults.partitioned = True
        await node.run_for(20 * T.F)
        assert node.session.state is SessionState.ACTIVE
        assert node.workload.running
        assert node.guard.state() == "waiting", "disarmed: a node that stands still is not reset"
        node.faults.partitioned = False
        await node.run_for(5)
        node.delete(keys.PAUSE)
        await node.run_for(0.3)
        assert node.guard.state() == "armed"
        assert (node.beat().paused, node.beat().watchdog) == (False, WatchdogAttestation("/dev/watchdog", "fake", 5))
        assert node.session.state is SessionState.ACTIVE


@pytest.mark.parametrize("fault", list(WriteFault))
async def test_a_pause_that_was_not_certainly_committed_extends_nothing(fault: WriteFault) -> None:
    """Seen, but the paused beat may not be in the store: the one before it may be claimed on time."""
    async with active() as node:
        node.faults.next_writes.append(fault)
        node.put(keys.PAUSE, PAUSE)
        while node.faults.next_writes:
            await node.run_for(STEP_S)
        last = node.session.last_commit
        node.faults.unavailable = True
        await node.until(SessionState.IDLE, bound=last + T.F + 1 - node.clock.now())


@pytest.mark.parametrize("fault", [WriteFault.LOST, WriteFault.APPLIED, WriteFault.LATE])
async def test_the_first_beat_after_a_pause_ends_it_before_it_is_sent(fault: WriteFault) -> None:
    """It attests a watchdog and may be in the store though nobody knows: from then on the manager may claim on time."""
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(100)
        node.faults.next_writes.append(fault)
        node.delete(keys.PAUSE)
        while node.faults.next_writes:
            await node.run_for(STEP_S)
        sent = node.clock.now()
        node.faults.unavailable = True
        while node.workload.running:
            await node.run_for(STEP_S)
            assert node.guard.gate.deadline <= sent + T.F
        assert node.clock.now() <= sent + T.F + 2 * STEP_S
        node.put(keys.PAUSE, PAUSE)  # and a new pause that is not acknowledged does not help
        await node.run_for(T.F)
        assert not node.workload.running


async def test_a_guard_that_is_not_told_of_the_end_of_the_pause_attests_nothing() -> None:
    """Its device is petted throughout, since it cannot be disarmed; so it would not end a node whose agent hangs."""
    async with active() as node:
        node.guard.nowayout = True
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        assert node.guard.state() == "idle"
        node.guard.refuses_deadlines = True
        node.delete(keys.PAUSE)
        await node.run_for(3)
        assert (node.beat().paused, node.beat().watchdog) == (False, None)
        node.guard.refuses_deadlines = False
        await node.run_for(3)
        assert node.beat().watchdog is not None
        assert node.guard.state() == "armed"


async def test_an_agent_that_returns_after_a_pause_attests_only_what_it_has_told() -> None:
    clock = ManualClock()
    cluster = new_cluster(clock)
    async with living(Node(cluster, clock)) as node:
        node.guard.nowayout = True
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        node.delete(keys.PAUSE)
        again = Node(cluster, clock, run=2)
        again.guard.gate, again.workload.running = node.guard.gate, True
    async with living(again):
        assert again.workload.running, "adopted; see check()"
        assert again.beat().watchdog is not None


async def test_a_pause_seen_while_an_unpaused_beat_is_under_way_has_to_wait_for_the_next() -> None:
    async with active() as node:
        node.faults.request_delay_s = 0.4
        await node.run_for(2)
        sequence = node.beat().sequence
        while node.beat().sequence == sequence:
            await node.run_for(STEP_S)
        await node.run_for(T.H - 0.2)
        node.put(keys.PAUSE, PAUSE)  # the next beat is under way for 0.2 s
        await node.run_for(5)
        assert node.session.validity.paused


async def test_a_release_during_a_pause_is_one_like_any_other() -> None:
    async with active(ShutdownPolicy.MIGRATE) as node:
        node.put(keys.placement(VOLUME.id), Placement("n1", 5, 1))
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        assert await _released(node, ShutdownKind.SHUTDOWN) < 3
        assert node.beat().phase is BeatPhase.RELEASED


async def test_a_node_that_stands_still_in_a_pause_goes_on() -> None:
    """The time that passed meanwhile ends nothing."""
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        assert node.session.validity.paused
        assert node.session.may_stay()
        assert node.session.validity.may_run(node.clock.now() + 1e6)


async def test_a_new_pause_counts_from_its_own_acknowledgement() -> None:
    """An unpaused beat is in the store, though nobody knows; the next pause is seen and not acknowledged."""
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(100)
        node.faults.next_writes.extend([WriteFault.APPLIED, *[WriteFault.LOST] * 99])
        node.delete(keys.PAUSE)
        while len(node.faults.next_writes) == 100:
            await node.run_for(STEP_S)
        sent = node.clock.now()
        await node.run_for(2)
        assert not node.beat().paused
        node.put(keys.PAUSE, PAUSE)
        await node.until(SessionState.IDLE, bound=sent + T.F + 1 - node.clock.now())


async def test_a_claim_during_a_pause_is_not_outlived_by_a_slow_stop() -> None:
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        node.workload.stop_takes_s = 60
        release = asyncio.create_task(node.session.release())
        await node.run_for(1)
        node.put(keys.fence("n1"), Fence(2, Proof.OPERATOR))
        node.session.hurry()
        await node.run_for(0.3)
        told = node.guard.gate.deadline
        await node.run_for(T.F)
        assert node.session.state is SessionState.RELEASING
        assert node.guard.gate.deadline == told, "the guard ends it"
        release.cancel()


async def test_a_claim_ends_what_runs_during_a_pause_too() -> None:
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        await node.run_for(2)
        node.put(keys.fence("n1"), Fence(2, Proof.OPERATOR))
        await node.run_for(0.5)
        assert node.session.state is not SessionState.ACTIVE
        assert not node.workload.running
        await node.until(SessionState.ACTIVE)
        assert (node.session.fence_epoch, node.beat().paused) == (2, True)


async def test_a_node_that_is_stopping_when_a_pause_comes_stops_and_stays_idle() -> None:
    """The guard must not be told a deadline for a node where nothing runs (INV-5; checked in run_for)."""
    async with active() as node:
        node.workload.stop_takes_s = 4.0
        node.faults.unavailable = True
        await node.until(SessionState.STOPPING)
        node.put(keys.PAUSE, PAUSE)
        node.faults.unavailable = False
        while not node.beat().paused:
            await node.run_for(STEP_S)
        node.faults.next_writes.extend([WriteFault.REFUSED] * 999)
        await node.until(SessionState.IDLE)
        await node.run_for(T.F)
        node.delete(keys.PAUSE)
        await node.run_for(3 * T.F)
        assert not node.workload.running
        assert node.beat().paused
        node.faults.next_writes.clear()
        await node.until(SessionState.ACTIVE)
        assert node.workload.running


async def test_a_beat_under_way_does_not_undo_the_end_of_a_session_that_distrusts_the_store() -> None:
    async with active() as node:
        node.put(keys.PAUSE, PAUSE)
        node.faults.request_delay_s = 0.4
        await node.run_for(2)
        sequence = node.beat().sequence
        while node.beat().sequence == sequence:
            await node.run_for(STEP_S)
        await node.run_for(T.H - 0.2)
        node.session.distrust("it went back in time")  # the next beat is under way for 0.2 s
        states: list[SessionState] = []
        node.session.on_state = states.append
        await node.run_for(2)
        assert node.beat().sequence == sequence + 2
        assert SessionState.ACTIVE not in states
        assert not node.workload.running
        assert not node.session.validity.paused


# --- leaving ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kind", "word"),
    [
        ("failover", "reboot", "failover"),
        ("freeze", "shutdown", "freeze"),
        ("conditional", "reboot", "freeze"),
        ("conditional", "shutdown", "failover"),
        ("migrate", "shutdown", "migrate"),
    ],
)
async def test_the_release_says_what_is_to_become_of_the_instances(policy: str, kind: str, word: str) -> None:
    async with active(ShutdownPolicy(policy)) as node:
        await asyncio.wait_for(_released(node, ShutdownKind(kind)), 10)
        beat = node.beat()
        assert (beat.phase, beat.leaving, beat.watchdog) == (BeatPhase.RELEASED, word, None)
        assert node.guard.gate.state is guard_core.State.WAITING, "disarmed"


async def _released(node: Node, kind: ShutdownKind) -> float:
    """Seconds the release took."""
    began = node.clock.now()
    release = asyncio.create_task(node.session.release(kind))
    while not release.done():
        assert node.clock.now() - began < 2 * MOVE_OFF_S
        await node.run_for(STEP_S)
    release.result()
    assert not node.workload.running
    return node.clock.now() - began


async def test_a_node_that_migrates_its_instances_waits_until_they_are_gone() -> None:
    async with active(ShutdownPolicy.MIGRATE) as node:
        node.put(keys.placement(VOLUME.id), Placement("n1", 5, 1))
        await node.run_for(1)
        release = asyncio.create_task(node.session.release(ShutdownKind.REBOOT))
        await node.run_for(2)
        assert (node.beat().phase, node.beat().leaving) == (BeatPhase.ACTIVE, "migrate"), "the manager is told"
        assert node.workload.running
        node.put(keys.placement(VOLUME.id), Placement("n1", 6, 1, Goal.STOP))
        await node.run_for(2)
        assert not release.done(), "it has not stopped"
        node.put(keys.status(VOLUME.id), InstanceStatus("n1", "s", 6, InstanceState.STOPPED))
        await node.run_for(2)
        assert release.done()
        assert node.beat().phase is BeatPhase.RELEASED


async def test_the_wait_for_a_migration_is_bounded() -> None:
    async with active(ShutdownPolicy.MIGRATE) as node:
        node.put(keys.placement(VOLUME.id), Placement("n1", 5, 1))
        await node.run_for(1)
        assert MOVE_OFF_S <= await _released(node, ShutdownKind.SHUTDOWN) < MOVE_OFF_S + 3


@pytest.mark.parametrize(
    "reason", ["paused", "leaving", "gone", "maintenance", "elsewhere", "old epoch", "role", "stopped"]
)
async def test_nobody_waits_for_a_migration_that_cannot_come(reason: str) -> None:
    async with active(ShutdownPolicy.MIGRATE) as node:
        placement = Placement("n2" if reason == "elsewhere" else "n1", 5, 0 if reason == "old epoch" else 1)
        node.put(keys.placement(VOLUME.id), placement)
        beat = Beat("s2", "b2", "m2", 2, 1, BeatPhase.ACTIVE)
        changes: dict[str, dict[str, object]] = {
            "paused": {keys.PAUSE: PAUSE},
            "leaving": {keys.beat("n2"): Beat("s2", "b2", "m2", 2, 1, BeatPhase.ACTIVE, leaving="migrate")},
            "gone": {keys.fence("n2"): Fence(2, Proof.POWER_OFF)},
            "maintenance": {keys.maintenance("n2"): Maintenance("ann")},
            "role": {keys.node_spec("n2"): NodeSpec("n2", (Role.COMPUTE,), {"management": "10.0.0.2"})},
            "stopped": {keys.instance(VOLUME.id): _with_desired("stopped")},
        }
        for key, value in changes.get(reason, {keys.beat("n2"): beat}).items():
            node.put(key, value)
        await node.run_for(1)
        assert await _released(node, ShutdownKind.SHUTDOWN) < 3


def _with_desired(word: str) -> dict[str, object]:
    raw = decode(encode(VOLUME), dict)
    return {**raw, "desired": word}


async def test_a_frozen_node_rejoins_with_the_epoch_it_had() -> None:
    clock = ManualClock()
    cluster = new_cluster(clock, ShutdownPolicy.CONDITIONAL)
    async with living(Node(cluster, clock)) as node:
        await _released(node, ShutdownKind.REBOOT)
    async with living(Node(cluster, clock, boot="boot-2")) as node:
        assert (node.session.fence_epoch, node.workload.running) == (1, True)
        assert node.beat().leaving == ""


# --- who may not join ---------------------------------------------------------------------------------------------------


class Remembered:
    """What this node knew of a store that was lost."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.told = 0
        self.fails = False

    async def tell(self) -> None:
        if self.fails:
            raise StoreUnavailable("the store cannot be reached", "It is asked again.")
        self.told += 1

    def was(self, machine_id: str) -> bool:
        return machine_id == self.machine


@pytest.mark.parametrize("why", ["no node", "another machine", "machine not known"])
async def test_whoever_may_not_join_ends_what_runs(why: str) -> None:
    """In a pause of high availability nothing else would: there is no deadline, and the guard kills nothing."""
    clock = ManualClock()
    node = Node(new_cluster(clock), clock)
    if why == "no node":
        node.delete(keys.node_spec("n1"))
    else:
        machine = "another" if why == "another machine" else ""
        node.put(keys.beat("n1"), Beat("", "", machine, 0, 1, BeatPhase.ACTIVE))
    node.workload.running = True
    async with begun(node):
        await node.run_for(3.0)
        assert node.session.state is SessionState.JOINING
        assert node.session.problem
        assert not node.workload.running


@pytest.mark.parametrize("machine", ["machine", "the original"])
async def test_where_a_restored_store_knows_no_machine_the_nodes_own_memory_counts(machine: str) -> None:
    """A copy of its disk remembers the original."""
    clock = ManualClock()
    node = Node(new_cluster(clock), clock, former=Remembered(machine))
    node.put(keys.beat("n1"), Beat("", "", "", 0, 1, BeatPhase.ACTIVE))
    async with begun(node):
        await node.run_for(5.0)
        assert (node.session.state is SessionState.ACTIVE) is (machine == "machine")


async def test_nothing_is_joined_before_it_is_told_what_the_node_knew() -> None:
    clock = ManualClock()
    former = Remembered("machine")
    former.fails = True
    node = Node(new_cluster(clock), clock, former=former)
    async with begun(node):
        await node.run_for(3.0)
        assert node.cluster.get(keys.beat("n1")) is None
        former.fails = False
        await node.until(SessionState.ACTIVE)
        assert former.told


# --- what kind of shutdown ----------------------------------------------------------------------------------------------

REBOOT_JOBS = """\
 1234 holdfast-agent.service stop running
 1200 reboot.target start waiting
"""
POWEROFF_JOBS = """\
 1200 poweroff.target start waiting
 1234 holdfast-agent.service stop running
"""


@pytest.mark.parametrize(
    ("jobs", "level", "kind"),
    [
        (REBOOT_JOBS, "N 3", ShutdownKind.REBOOT),
        (REBOOT_JOBS.replace("reboot", "kexec"), "", ShutdownKind.REBOOT),
        (POWEROFF_JOBS, "N 6", ShutdownKind.SHUTDOWN),
        ("1234 holdfast-agent.service stop running\n", "", ShutdownKind.SHUTDOWN),
        ("12 reboot.target stop waiting\n", "", ShutdownKind.SHUTDOWN),
        ("", "5 6\n", ShutdownKind.REBOOT),
        ("", "3 0\n", ShutdownKind.SHUTDOWN),
        ("", "", ShutdownKind.SHUTDOWN),
    ],
)
async def test_the_machine_says_whether_it_reboots(jobs: str, level: str, kind: ShutdownKind, tmp_path: Path) -> None:
    async def ask(command: str) -> str:
        return level if command == "runlevel" else jobs

    assert await shutdown_kind(tmp_path, ask) is kind


async def test_a_hint_speaks_of_one_shutdown(tmp_path: Path) -> None:
    async def ask(_command: str) -> str:
        return ""

    (tmp_path / HINT_FILE).write_text("reboot\n")
    assert await shutdown_kind(tmp_path, ask) is ShutdownKind.REBOOT
    assert await shutdown_kind(tmp_path, ask) is ShutdownKind.SHUTDOWN


async def test_a_machine_without_systemd_is_no_failure(tmp_path: Path) -> None:
    assert await shutdown_kind(tmp_path) in ShutdownKind


# --- confirmed stops --------------------------------------------------------------------------------------------------


async def test_a_guard_that_refused_a_deadline_is_still_believed_when_it_sees_processes() -> None:
    async with active() as node:
        node.guard.unheard = node.guard.blind_to_stops = True
        node.faults.unavailable = True
        await node.until(SessionState.STOPPING)
        with pytest.raises(AssertionError, match="after 5 s"):
            await node.until(SessionState.IDLE, 5)
        node.guard.blind_to_stops = False
        await node.until(SessionState.IDLE, 5)
