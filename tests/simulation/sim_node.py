"""One simulated machine: hardware, guard and watchdog, drivers, and the real daemons on it."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim_virtual import OWNER, NodeClock

from holdfast.agent.beacon import Beacon
from holdfast.agent.context import NodeContext
from holdfast.agent.executor import Executor
from holdfast.agent.identity import Identity
from holdfast.agent.session import Session
from holdfast.config import BEAT_PORT, REPORT_PORT
from holdfast.core.model import (
    InstanceSpec,
    WatchdogAttestation,
)
from holdfast.core.timing import Timing
from holdfast.errors import DriverError
from holdfast.manager.loop import Manager
from holdfast.net.announce import Announcer
from holdfast.net.memory import MemoryAddresses
from holdfast.net.messages import decode_report
from holdfast.ports import Compare, Entry, Op, Snapshot, StepRecorder, TxnResult, WatchBatch
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.mirror import Mirror

if TYPE_CHECKING:
    from sim_world import World


class GatedStore:
    """A node's store client: nothing goes out or comes in while the node is frozen."""

    def __init__(self, store: MemoryStore, clock: NodeClock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        await self._clock.thawed.wait()
        result = await self._store.get(key, timeout=timeout)
        await self._clock.thawed.wait()
        return result

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        await self._clock.thawed.wait()
        return await self._store.list(prefix, timeout=timeout)

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        await self._clock.thawed.wait()
        try:
            return await self._store.txn(compare, then, otherwise, timeout=timeout)
        finally:
            await self._clock.thawed.wait()

    async def watch(self, prefix: str) -> AsyncIterator[WatchBatch]:
        async for batch in self._store.watch(prefix):
            await self._clock.thawed.wait()
            yield batch


class SimGuard:
    """Guard and watchdog of one node (port GuardLink). The watchdog is hardware: it runs on while the node is frozen."""

    def __init__(self, node: "SimNode", timing: Timing) -> None:
        self._node = node
        self._timing = timing
        self.connected = True
        self.idle = False
        self.open = False
        self.end = float("-inf")
        self.last_pet = 0.0

    async def attest(self) -> WatchdogAttestation | None:
        if not self._node.has_watchdog or not self.open:
            return None
        return WatchdogAttestation("/dev/watchdog", "simulated", int(self._timing.W))

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        if deadline <= self._node.clock.now():
            return False
        self.idle, self.open = False, True
        self.end = max(self.end, deadline + grace)
        self._pet()
        return True

    async def set_idle(self) -> bool:
        if self._node.live:
            return False
        self.idle = self.open = True
        self._pet()
        return True

    async def pause(self) -> bool:
        self.idle = self.open = False
        return True

    async def farewell(self, *, restart: bool) -> bool:
        self.open = self.open and restart
        return True

    def _pet(self) -> None:
        now = self._node.clock.now()
        if self.idle or now < self.end:
            self.last_pet = now

    async def run(self) -> None:
        """The guard's own loop: stands still with the node."""
        while True:
            await self._node.clock.sleep(self._timing.p)
            self._pet()
            if not self.idle and self._node.clock.now() >= self.end:
                self._node.live.clear()

    async def hardware(self) -> None:
        """The watchdog device. Fires W + j after the last pet: the latest it may."""
        while True:
            await asyncio.sleep(0.1)
            late = self._node.clock.now() - self.last_pet >= self._timing.W + self._timing.j
            if self.open and self._node.has_watchdog and late:
                self._node.world.say(f"watchdog of {self._node.name} fires, idle={self.idle}")
                assert not self.idle or not self._node.clock.thawed.is_set(), "INV-5: an idle node was rebooted"
                asyncio.get_running_loop().call_soon(self._node.reset)
                return


class SimDriver:
    """Driver port: an instance is a name in the node's set of live processes."""

    def __init__(self, node: "SimNode", kind: str, strict: bool) -> None:
        self.kind = kind
        self._node = node
        self._strict = strict

    async def prepare(self, instance: InstanceSpec) -> None: ...

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        await self._node.clock.sleep(0.05)
        if not allowed():
            raise DriverError("not allowed any more")
        if not self._strict:
            return
        if instance.id not in self._node.live:
            self._node.live.add(instance.id)
            self._node.world.starts[instance.id] += 1
        self._node.world.check_inv_1()
        steps.step("server")

    async def address_up(self, instance: InstanceSpec) -> None: ...

    async def tick(self, instance: InstanceSpec) -> None: ...

    async def reconfigure(self, instance: InstanceSpec) -> None: ...

    async def restart_hung(self, instance: InstanceSpec) -> None: ...

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        if self._node.stops_hang:
            await self._node.clock.sleep(1000)
        await self._node.clock.sleep(0.02)
        self._node.live.discard(instance.id)

    async def running(self) -> list[str]:
        return sorted(self._node.live) if self._strict else []

    async def wait_exit(self, instance: InstanceSpec) -> None:
        await asyncio.Event().wait()


class SimProbe:
    def __init__(self, world: "World", kind: str) -> None:
        self.kind = kind
        self._world = world

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        await asyncio.sleep(0.01)
        if instance.kind == "nfs" and not any(instance.id in node.live for node in self._world.nodes.values()):
            return "nobody runs it"
        return ""


class SimBus:
    """DatagramBus of one port of one node."""

    def __init__(self, node: "SimNode", port: int) -> None:
        self._node = node
        self.port = port
        self._handlers: list[Callable[[bytes, str, str], None]] = []

    def send(self, payload: bytes, host: str, port: int) -> None:
        self._node.world.deliver(self._node, payload, host, port)

    def on_receive(self, handler: Callable[[bytes, str, str], None]) -> None:
        self._handlers.append(handler)

    def receive(self, payload: bytes, sender: str) -> None:
        for handler in self._handlers:
            handler(payload, sender, "")


@dataclass
class SimNode:
    """One machine."""

    world: "World"
    name: str
    address: str
    has_watchdog: bool
    clock: NodeClock
    machine: str = ""
    """Its hardware, if it is not the one the name stands for."""
    faults: Faults = field(default_factory=Faults)
    alive: bool = False
    stops_hang: bool = False
    stays_off: bool = False
    """After its watchdog fired."""
    bmc_dead: bool = False
    mute_beats: bool = False
    """Its datagrams to observers are lost; its manager still hears and speaks."""
    cut: bool = False
    live: set[str] = field(default_factory=set)
    boots: int = 0
    runs: int = 0
    """Starts of the agent."""
    guard: SimGuard = field(init=False)
    tasks: list["asyncio.Task[object]"] = field(default_factory=list)
    hardware: list["asyncio.Task[object]"] = field(default_factory=list)
    """Guard and watchdog."""
    buses: dict[int, SimBus] = field(default_factory=dict)
    session: Session | None = None

    def boot(self) -> None:
        assert not self.alive
        self.alive = True
        self.boots += 1
        self.runs += 1
        self.stops_hang = False
        self.clock.thawed.set()
        self.live.clear()
        self.guard = SimGuard(self, self.world.timing)
        contextvars.Context().run(self._start, True)

    def restart_daemons(self, after_s: float) -> None:
        """Agent and manager are killed and started again; guard, watchdog and instances go on."""
        for task in self.tasks:
            task.cancel()
        self.buses.clear()
        self.runs += 1
        boots = self.boots
        again = contextvars.Context()
        self.world.loop.call_later(after_s, lambda: again.run(self._start, False) if self.boots == boots else None)

    def _start(self, booting: bool) -> None:
        """In a context of its own, so that every task of this run is known and ends at the power-off."""
        if booting:
            self.hardware = []
            OWNER.set(self.hardware)
            self._spawn(self.guard.run(), self.guard.hardware())
        self.tasks = []
        OWNER.set(self.tasks)
        self._start_agent()
        if self.name in self.world.managers:
            self._start_manager()

    def _client(self) -> GatedStore:
        return GatedStore(MemoryStore(self.world.cluster, self.clock, faults=self.faults), self.clock)

    def _start_agent(self) -> None:
        timing, store = self.world.timing, self._client()
        mirror = Mirror(store)
        guard = self.guard
        identity = Identity(f"{self.name}-{self.runs}", f"boot-{self.boots}", f"machine-{self.machine or self.name}")
        addresses = MemoryAddresses(self.world.network, self.name, {"management": self.address})
        announcer = Announcer(addresses, self.clock)
        context = NodeContext(
            node=self.name,
            session=identity.session,
            store=store,
            clock=self.clock,
            addresses=addresses,
            announcer=announcer,
            allowed=lambda: session.allowed(),
            may_stay=lambda: session.may_stay(),
            deadline=lambda: session.validity.deadline,
            advisory_address_s=4.0,
        )
        drivers = {"nfs": SimDriver(self, "nfs", True), "panel": SimDriver(self, "panel", False)}
        probes = {kind: SimProbe(self.world, kind) for kind in drivers}
        executor = Executor(context, drivers, probes, mirror, lambda: session.fence_epoch)
        session = Session(self.name, store, guard, self.clock, timing, identity, executor, lambda: (4.0, 8192))
        self.session = session
        bus = self.buses[BEAT_PORT] = SimBus(self, BEAT_PORT)
        beacon = Beacon(
            self.name,
            identity.boot_id,
            bus,
            self.clock,
            mirror,
            lambda: session.last_commit,
            session.hurry,
            executor.set_isolated,
            announcer.again,
        )

        async def live() -> None:
            await mirror.ready.wait()
            await executor.adopt()
            await session.run()

        async def follow() -> None:
            while True:
                await mirror.changed.wait()
                mirror.changed.clear()
                await self.clock.thawed.wait()
                executor.refresh()

        self._spawn(mirror.run(), live(), beacon.run(), follow())

    def _start_manager(self) -> None:
        manager = Manager(self._client(), self.clock, self.name, f"manager-{self.name}-{self.runs}", self.world, {
            kind: SimProbe(self.world, kind) for kind in ("nfs", "panel")
        })  # fmt: skip
        bus = self.buses[REPORT_PORT] = SimBus(self, REPORT_PORT)

        def received(payload: bytes, sender: str, _address: str) -> None:
            report = decode_report(payload)
            if report is not None:
                manager.report(sender, report.self_suspect, report.targets)

        bus.on_receive(received)
        self._spawn(manager.run())

    def _spawn(self, *coroutines: "asyncio._CoroutineLike[None]") -> None:
        for coroutine in coroutines:
            task = asyncio.get_running_loop().create_task(coroutine)
            task.add_done_callback(self.world.task_done)

    def power_off(self) -> None:
        self.alive = False
        self.live.clear()
        self.world.network.power_off(self.name)
        self.buses.clear()
        self.clock.thawed.set()
        for task in [*self.tasks, *self.hardware]:
            task.cancel()
        self.clock = NodeClock(self.world.loop)

    def reset(self) -> None:
        """What a watchdog does."""
        if self.alive:
            self.power_off()
            if not self.stays_off:
                self.world.loop.call_later(3.0, lambda: None if self.alive else self.boot())

    def release(self) -> None:
        """Graceful shutdown; switched off once the agent has ended."""
        session = self.session
        assert session is not None

        async def shut_down() -> None:
            await session.release()
            self.world.say(f"{self.name} is released")
            if self.session is session and self.alive:
                self.world.loop.call_soon(self.power_off)

        self.world.loop.create_task(shut_down())
