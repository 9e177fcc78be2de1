"""One simulated machine: power, processes, watchdog, and the real daemons of Holdfast on it."""

import asyncio
import contextvars
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.sim.clock import NodeClock
from holdfast.sim.guard import SimGuard, WatchdogDevice
from holdfast.sim.loop import LIFE, Life

if TYPE_CHECKING:
    from holdfast.manager.loop import Manager
    from holdfast.sim.daemons import AgentRun
    from holdfast.sim.world import World

BOOT_S = 10.0
"""From power on to the start of the daemons."""
KILL_S = 0.1
"""What the guard kills is gone after so long at the latest."""


@dataclass(slots=True)
class Run:
    """One execution of an instance on a machine."""

    kind: str
    strict: bool
    number: int
    """Counts the executions of the instance in the whole cluster."""
    ended: "asyncio.Future[bool]"
    """True: by its own will, a guest that powered itself off."""


@dataclass
class Machine:
    """See the module's text. Its faults are plain fields; whoever changes one that matters to others calls World.refresh."""

    world: "World"
    name: str
    roles: tuple[Role, ...]
    cpu: float
    memory_mib: int
    has_bmc: bool
    has_watchdog: bool
    rate: float = 1.0
    powered: bool = False
    booting: bool = False
    frozen: bool = False
    suspended_at: float | None = None
    """True time; None: it is not suspended."""
    thawed_at: float = float("-inf")
    """By its own clock, as is `valid_until`."""
    valid_until: float = float("-inf")
    """What the deadline of its agent may be at most: the last beat in the store, counted from when it was sent."""
    watchdog_s: float = 0.0
    """Time-out of its watchdog; 0: what the profile wants."""
    watchdog_taken: bool = False
    """Another program opens the device at the next boot, before the guard could."""
    bmc: str = "normal"
    boots: int = 0
    identity: str = ""
    """Its hardware; a clone of another node's disk in new hardware has that node's name and another identity."""
    cycles: int = 0
    """Times it was switched on."""
    runs: int = 0
    """Starts of the agent, over all boots."""
    live: dict[str, Run] = field(default_factory=dict)
    receiving: dict[str, str] = field(default_factory=dict)
    """Instances that a process here waits for to be handed over live → their kind."""
    known_nodes: bytes | None = None
    """A file on its disk: the nodes of the cluster as its agent last knew them (agent/known_nodes.py)."""
    powered_off: set[str] = field(default_factory=set)
    """Instances that ended here by their own will, and were neither started nor stopped since."""
    clock: NodeClock = field(init=False)
    device: WatchdogDevice | None = None
    guard: SimGuard | None = None
    agent: "AgentRun | None" = None
    agent_life: Life | None = None
    manager_life: Life | None = None
    manager: "Manager | None" = None

    def __post_init__(self) -> None:
        self.clock = NodeClock(self.world.loop)
        self.identity = self.identity or self.name

    @property
    def boot_id(self) -> str:
        return f"boot-{self.identity}-{self.boots}"

    @property
    def in_place(self) -> bool:
        """It is what the others reach under this name, and no clone beside the real one."""
        return self.world.machines.get(self.name) is self

    def capacity(self) -> tuple[float, int]:
        """Cores and MiB."""
        return self.cpu, self.memory_mib

    # --- power

    def power_on(self) -> None:
        """Begin to boot."""
        if self.powered:
            return
        self.powered = self.booting = True
        self.world.log.say("power-on", "" if self.in_place else "a clone of it", node=self.name)
        self.cycles += 1
        cycle = self.cycles
        self.world.loop.hardware(BOOT_S, self._booted, cycle)
        self.world.refresh()

    def _booted(self, cycle: int) -> None:
        if self.booting and self.cycles == cycle:
            self.boot()

    def boot(self) -> None:
        """The daemons start. CLOCK_BOOTTIME of a new boot has nothing to do with that of the former one."""
        self.powered, self.booting, self.frozen = True, False, False
        self.boots += 1
        self.clock = NodeClock(self.world.loop, self.world.random.uniform(10.0, 5000.0), self.rate)
        self.thawed_at = self.valid_until = float("-inf")
        self.device = None
        if self.has_watchdog and not self.watchdog_taken:
            self.device = WatchdogDevice(self.world.loop, self.world.random, self.world.timing, self._watchdog_fires)
            self.device.timeout_s = self.watchdog_s or self.device.timeout_s
        self.start_guard()
        self.start_agent()
        self.start_manager()
        self.world.refresh()

    def power_off(self) -> None:
        """At once, as if the plug were pulled."""
        if not self.powered:
            return
        self.powered = self.booting = self.frozen = False
        self.suspended_at = None
        self.world.log.say("power-off", "", node=self.name)
        if self.device is not None:
            self.device.close()
            self.device = None
        self._end_daemons()
        self.receiving.clear()
        self.powered_off.clear()
        for name in list(self.live):
            self.end(name, "power lost")
        if self.in_place:
            self.world.addresses.power_off(self.name)
        self.world.refresh()

    def reset(self) -> None:
        """Off and on again."""
        self.power_off()
        self.power_on()

    def _watchdog_fires(self) -> None:
        idle = self.guard is not None and self.guard.gate.state.value == "idle"
        self.world.log.say("watchdog-fired", "", node=self.name)
        # A machine that stood still so long is hung; its guard has a pet period to be heard again.
        ran = not self.frozen and self.clock.now() - self.thawed_at >= self.world.timing.p
        if idle and ran and self.guard is not None and self.guard.life.alive:
            self.world.checks.violated("INV-5", f"{self.name} had stopped cleanly and was reset by its watchdog")
        self.device = None
        self.reset()

    # --- pauses

    def freeze(self) -> None:
        """Everything that runs on it stands still; its clock and its watchdog do not."""
        if self.powered and not self.frozen:
            self.frozen = True
            for life in self._lives():
                life.frozen = True
            self.world.log.say("frozen", "", node=self.name)
            self.world.refresh()

    def suspend(self) -> None:
        """To memory: the watchdog stands still too, and so do all timers; CLOCK_BOOTTIME alone goes on."""
        if self.powered and not self.booting and not self.frozen:
            self.freeze()
            self.suspended_at = self.world.loop.time()
            if self.device is not None:
                self.device.hold()

    def thaw(self) -> None:
        """It goes on, after a suspension too."""
        if not self.frozen:
            return
        self.frozen = False
        self.thawed_at = self.clock.now()
        slept_s = 0.0
        if self.suspended_at is not None:
            slept_s, self.suspended_at = self.world.loop.time() - self.suspended_at, None
            self.thawed_at += self.world.timing.p  # until then the guard's timer may run on
            if self.device is not None:
                self.device.release()
        for life in self._lives():
            self.world.loop.thaw(life, slept_s)
        self.world.log.say("thawed", "", node=self.name)
        self.world.refresh()

    def _lives(self) -> list[Life]:
        lives = [self.agent_life, self.manager_life, self.guard.life if self.guard else None]
        return [life for life in lives if life is not None]

    # --- daemons

    def start_guard(self) -> None:
        """A new guard process; the device stays as a former one left it."""
        self.guard = SimGuard(
            self.world.loop,
            self.world.random,
            self.clock,
            self.world.timing,
            self.device,
            strict_left=lambda: bool(self.receiving) or any(run.strict for run in self.live.values()),
            kill=self._kill_strict,
        )

    def stop_guard(self) -> None:
        """Killed: the device stays open and counts."""
        if self.guard is not None and self.guard.life.alive:
            self.world.bury(self.guard.life)
            self.world.log.say("guard-stopped", "", node=self.name)

    def restart_guard(self) -> None:
        """As systemd does."""
        if not self.powered or self.booting or (self.guard is not None and self.guard.life.alive):
            return
        self.start_guard()
        assert self.guard is not None
        self.guard.life.frozen = self.frozen
        self.world.log.say("guard-started", "", node=self.name)
        if self.agent is not None:
            self.world.spawn(self.agent_life, self.agent.guard_link.again())

    def start_agent(self) -> None:
        if not self.powered or self.booting or (self.agent_life is not None and self.agent_life.alive):
            return
        self.runs += 1
        self.agent_life = Life()
        self.agent_life.frozen = self.frozen
        self._in(self.agent_life, self.world.start_agent, self)

    def stop_agent(self) -> None:
        """Killed without a word. What it had started goes on."""
        if self.agent_life is not None and self.agent_life.alive:
            self.world.bury(self.agent_life)
            self.world.log.say("agent-stopped", "", node=self.name)
            if self.guard is not None:
                self.guard.gone()
            self.agent = None
            self.world.refresh()

    def start_manager(self) -> None:
        if Role.MANAGEMENT in self.roles and self.name in self.world.managers and self.in_place:
            self.manager_life = Life()
            self._in(self.manager_life, self.world.start_manager, self)

    def _in(self, life: Life, start: object, *args: object) -> None:
        """Call `start` as a part of that process."""
        context = contextvars.Context()
        context.run(LIFE.set, life)
        context.run(start, *args)  # type: ignore[arg-type]

    def _end_daemons(self) -> None:
        for life in self._lives():
            self.world.bury(life)
        self.guard = self.agent = self.agent_life = self.manager_life = self.manager = None

    # --- what runs

    def execute(self, instance: InstanceSpec, asked_at: float) -> None:
        """A start takes effect: from here on the instance touches its data. `asked_at`: when its driver was last told that
        it is allowed (this node's clock)."""
        if instance.id in self.live:
            return
        self.powered_off.discard(instance.id)
        strict = instance.exclusivity is Exclusivity.STRICT
        number = self.world.next_run(instance.id)
        self.live[instance.id] = Run(instance.kind, strict, number, self.world.loop.create_future())
        self.world.log.say("instance-started", "", node=self.name, instance=instance.id)
        self.world.checks.started(self, instance)
        self.world.premises.started(self, instance, asked_at)

    def take_over(self, instance: InstanceSpec, source: "Machine") -> None:
        """The instant of a live migration: the source executes it no more, this machine does."""
        self.receiving.pop(instance.id)
        run = source.live.pop(instance.id)
        _end(run)
        self.live[instance.id] = Run(run.kind, run.strict, run.number, self.world.loop.create_future())
        self.world.log.say("migrated", f"live from {source.name}", node=self.name, instance=instance.id)
        self.world.checks.executors(instance.id)

    def end(self, instance: str, why: str, *, powered_off: bool = False) -> None:
        """It ends: stopped, killed, crashed, with its machine, or by its own will."""
        run = self.live.pop(instance, None)
        if run is not None:
            _end(run, powered_off)
            if powered_off:
                self.powered_off.add(instance)
            self.world.log.say("instance-stopped", why, node=self.name, instance=instance)
            if run.strict and self.powered:
                self.world.premises.ended(self, instance)

    def _kill_strict(self) -> None:
        boots = self.boots
        victims = [(name, run) for name, run in self.live.items() if run.strict]

        def kill() -> None:
            if self.boots == boots:
                self.receiving.clear()
            for name, run in victims:
                if self.boots != boots or self.live.get(name) is not run:
                    continue
                if self.world.trouble.hangs("kill", name):
                    self.world.premises.survived(name)
                else:
                    self.end(name, "killed by the guard")

        self.world.loop.hardware(self.world.random.uniform(0.0, KILL_S), kill)

    def write(self, instance: str) -> None:
        """A client's write through this execution is acknowledged."""
        run = self.live.get(instance)
        if run is not None and run.strict and run.number != self.world.run_numbers[instance]:
            self.world.checks.violated(
                "INV-6", f"{instance} on {self.name} took a write after a later execution had begun elsewhere"
            )


def _end(run: Run, powered_off: bool = False) -> None:
    if not run.ended.done():
        run.ended.set_result(powered_off)
