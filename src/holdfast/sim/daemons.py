"""The real agent and manager on a simulated machine, put together as `agent/__main__` and `manager/__main__` do it."""

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.agent.beacon import Beacon
from holdfast.agent.context import NodeContext
from holdfast.agent.executor import Executor, concerns_agents
from holdfast.agent.identity import Identity
from holdfast.agent.known_nodes import Memory
from holdfast.agent.orders import MirrorOrders
from holdfast.agent.report import Reporter
from holdfast.agent.session import Session
from holdfast.config import BEAT_PORT, REPORT_PORT
from holdfast.core.admission import Guarantee
from holdfast.core.leaving import ShutdownKind
from holdfast.core.make_room import RoomProblem, RoomSolution
from holdfast.core.model import KINDS
from holdfast.core.validity import SessionState
from holdfast.core.view import View
from holdfast.errors import StoreRejected
from holdfast.manager.guarantee import assess
from holdfast.manager.loop import Manager
from holdfast.net.announce import Announcer
from holdfast.net.memory import MemoryAddresses
from holdfast.net.messages import decode_report
from holdfast.planning.cpsat import CpSatSolver
from holdfast.sim.detection import ModelBeacon, ModelDetector
from holdfast.sim.driver import SimDriver, SimProbe
from holdfast.sim.link import SimGuardLink
from holdfast.sim.loop import LIFE
from holdfast.sim.power import SimPowerFences
from holdfast.sim.restoring import replace_daemon
from holdfast.sim.store import SimStore
from holdfast.store.mirror import WENT_BACK, Mirror

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

ADVISORY_ADDRESS_S = 4.0
"""As the agent's own (agent/__main__)."""


class SimBus:
    """Port DatagramBus of one daemon: one UDP port of one machine."""

    def __init__(self, world: "World", machine: "Machine", port: int) -> None:
        self._world = world
        self._machine = machine
        self._handlers: list[Callable[[bytes, str, str], None]] = []
        self.context = contextvars.copy_context()
        """The daemon's: what arrives while it is frozen waits."""
        self.life = LIFE.get()
        if machine.in_place:
            world.sockets[machine.name, port] = self

    def send(self, payload: bytes, host: str, port: int) -> None:
        receiver, network = self._world.hosts[host]
        sender = self._machine.name
        bus = self._world.sockets.get((receiver, port))
        if bus is not None:
            self._world.network.send(sender, receiver, network, lambda: bus.receive(payload, sender, host), bus.context)

    def on_receive(self, handler: Callable[[bytes, str, str], None]) -> None:
        self._handlers.append(handler)

    def receive(self, payload: bytes, sender: str, host: str) -> None:
        for handler in self._handlers:
            handler(payload, sender, host)


class AgentRun:
    """One run of the agent; made in its own process's context."""

    def __init__(self, world: "World", machine: "Machine") -> None:
        self._world = world
        self._machine = machine
        life = LIFE.get()
        assert life is not None
        clock, name = machine.clock, machine.name
        store = self.store = SimStore(world.store, world.loop, name, patient=True)
        self._mirror = Mirror(store, notable=concerns_agents)
        identity = Identity(f"{machine.identity}-{machine.runs}", machine.boot_id, f"machine-{machine.identity}")
        addresses = MemoryAddresses(world.addresses, name, world.addresses_of(name))
        announcer = self._announcer = Announcer(addresses, clock)
        context = NodeContext(
            node=name,
            session=identity.session,
            store=store,
            clock=clock,
            addresses=addresses,
            announcer=announcer,
            # The session is made below: it needs the executor, which needs this context.
            allowed=lambda: self.session.allowed(),  # noqa: PLW0108
            may_stay=lambda: self.session.may_stay(),  # noqa: PLW0108
            deadline=lambda: self.session.validity.deadline,
            advisory_address_s=ADVISORY_ADDRESS_S,
        )
        self.executor = Executor(
            context,
            {kind: SimDriver(machine, kind) for kind in KINDS},
            {kind: SimProbe(world, kind, name) for kind in KINDS},
            self._mirror,
            lambda: self.session.fence_epoch,
        )
        orders = self._orders = MirrorOrders(self._mirror, name, lambda: self.session.fence_epoch)
        memory = Memory(name, store, self._mirror, lambda: machine.known_nodes, self._keep)
        self.guard_link = SimGuardLink(machine)
        self.session = Session(
            name, store, self.guard_link, clock, world.timing, identity, self.executor, machine.capacity, orders,
            memory,
        )  # fmt: skip
        self.session.on_state = self._said
        self._mirror.on_change(self.session.seen)
        self._mirror.on_regress(lambda: self.session.distrust(WENT_BACK))
        self.beacon: Beacon | ModelBeacon = (
            self._model_beacon() if world.models_detection else self._real_beacon(identity)
        )
        reporter = Reporter(
            name, identity.session, store, clock, addresses,
            active=lambda: self.session.state is SessionState.ACTIVE, wanted=self.executor.addresses,
        )  # fmt: skip
        for part in (self._mirrored(), self._live(), self._follow(), reporter.run(), memory.run()):
            world.spawn(life, part)

    def _keep(self, content: bytes) -> None:
        self._machine.known_nodes = content

    async def _mirrored(self) -> None:
        life = LIFE.get()
        try:
            await self._mirror.run()
        except StoreRejected:
            replace_daemon(self._world, self._machine, life)

    @property
    def begun(self) -> bool:
        """It has reached the store, and is more than a process that waits for it."""
        return self._mirror.ready.is_set()

    async def release(self, kind: str) -> None:
        """The machine is shut down or rebooted in an orderly way."""
        await self.session.leave(ShutdownKind(kind))
        if self._machine.manager is not None:
            await self._machine.manager.resign()
        await self.session.release()

    async def _live(self) -> None:
        await self._mirror.ready.wait()
        await self.executor.adopt()
        if isinstance(self.beacon, Beacon):
            self._world.spawn(LIFE.get(), self.beacon.run())
        await self.session.run()

    def _model_beacon(self) -> ModelBeacon:
        healed = self._announcer.again
        return ModelBeacon(self._world, self._machine.name, self.session.hurry, self._isolated, healed)

    def _real_beacon(self, identity: Identity) -> Beacon:
        return Beacon(
            self._machine.name,
            identity.boot_id,
            SimBus(self._world, self._machine, BEAT_PORT),
            self._machine.clock,
            self._mirror,
            last_commit=lambda: self.session.last_commit,
            hurry=self.session.hurry,
            on_isolated=self._isolated,
            on_healed=self._announcer.again,
            refuses=self._world.kernel_refuses(self._machine.name),
        )

    async def _follow(self) -> None:
        while True:
            await self._mirror.changed.wait()
            self._mirror.changed.clear()
            self.executor.refresh()

    def _isolated(self, isolated: bool) -> None:
        """While HA is paused nobody starts elsewhere what is given up here."""
        self.executor.set_isolated(isolated and not self._orders.paused())

    def _said(self, state: SessionState) -> None:
        kind = {SessionState.STOPPING: "node-stopping", SessionState.IDLE: "node-idle"}.get(state)
        if kind:
            self._world.log.say(kind, "its deadline passed or it was claimed", node=self._machine.name)


async def _solve(problem: RoomProblem) -> RoomSolution:
    """At once: its answer depends on the problem alone."""
    return CpSatSolver(work_s=1.0).solve(problem)


async def _assess(view: View, tolerate: int, now: float) -> Guarantee:
    """At once, likewise."""
    return assess(view, tolerate, now)


def start_manager(world: "World", machine: "Machine") -> None:
    """One run of the manager, in its own process's context."""
    life = LIFE.get()
    assert life is not None
    store = SimStore(world.store, world.loop, machine.name)
    probes = {kind: SimProbe(world, kind, machine.name) for kind in KINDS}
    detector = ModelDetector(world, machine.name, lambda: manager.wake()) if world.models_detection else None  # noqa: PLW0108
    manager = Manager(
        store,
        machine.clock,
        machine.name,
        f"manager-{machine.name}-{machine.runs}",
        SimPowerFences(world),
        probes,
        detector=detector,
        solve=_solve,
        assess=_assess,
    )
    bus = SimBus(world, machine, REPORT_PORT)

    def received(payload: bytes, sender: str, _host: str) -> None:
        report = decode_report(payload)
        if report is not None:
            manager.report(sender, report.self_suspect, report.targets)

    bus.on_receive(received)
    machine.manager = manager

    async def run() -> None:
        try:
            await manager.run()
        except StoreRejected:
            replace_daemon(world, machine, life)

    world.spawn(life, run())
