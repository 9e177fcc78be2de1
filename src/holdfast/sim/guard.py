"""The simulated guard process and watchdog device. The guard's decisions are the real ones (fencing.guard.core)."""

import asyncio
from collections.abc import Callable
from random import Random

from holdfast.core.model import WatchdogAttestation
from holdfast.core.timing import Timing
from holdfast.fencing.guard import core
from holdfast.sim.clock import NodeClock
from holdfast.sim.loop import Life, VirtualLoop, spawn

ANSWER_S = 1.0
"""So long the agent waits for an answer of the guard, as the real link does."""
SLOW_WRITE = 0.05
"""Share of pets between whose check and whose write the guard is held up, up to half a pet period."""


class WatchdogDevice:
    """Hardware: resets the machine when it was not petted for its time-out. It has its own clock and stops for nobody."""

    def __init__(self, loop: VirtualLoop, random: Random, timing: Timing, fire: Callable[[], None]) -> None:
        self._loop = loop
        self._timing = timing
        self._fire = fire
        self._random = random
        self._petted_at = 0.0
        self.timeout_s = timing.W
        self.open = False
        self.broken = False
        """It never fires, and nobody notices."""
        self._held_at: float | None = None

    def arm(self) -> None:
        """Opening it starts the countdown."""
        if not self.open:
            self.open = True
            self.pet()
            self._watch()

    def pet(self) -> None:
        self._petted_at = self._loop.time()

    def close(self) -> None:
        """Magic close, or the end of the power."""
        self.open = False

    def hold(self) -> None:
        """The machine is suspended: most drivers stop their device then."""
        self._held_at = self._loop.time()

    def release(self) -> None:
        """It wakes up: the countdown goes on where it stood."""
        assert self._held_at is not None
        self._petted_at += self._loop.time() - self._held_at
        self._held_at = None
        if self.open:
            self._watch()

    def _watch(self) -> None:
        late = self._random.uniform(0.0, self._timing.j)
        due = self._petted_at + self.timeout_s + late
        self._loop.hardware(due - self._loop.time(), self._look, self._petted_at)

    def _look(self, petted_at: float) -> None:
        if not self.open or self._held_at is not None:
            return
        if petted_at == self._petted_at:
            self.open = False
            if not self.broken:
                self._fire()
        else:
            self._watch()


class SimGuard:
    """One run of the guard process (port GuardLink for the agent). `kill` ends every strict process of the node."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        clock: NodeClock,
        timing: Timing,
        device: WatchdogDevice | None,
        strict_left: Callable[[], bool],
        kill: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._random = random
        self._clock = clock
        self._timing = timing
        self._device = device
        self._strict_left = strict_left
        self._kill = kill
        self.life = Life()
        self.gate = core.Gate()
        self._wake = asyncio.Event()
        spawn(loop, self.life, self._run())

    # --- port GuardLink, called by the agent

    @property
    def connected(self) -> bool:
        return self.life.alive

    @property
    def present(self) -> bool:
        return self.life.alive

    async def attest(self) -> WatchdogAttestation | None:
        if not await self._answers() or self._device is None or not self._device.open:
            return None
        return WatchdogAttestation("/dev/watchdog", "simulated", int(self._device.timeout_s))

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        if not await self._answers():
            return False
        self.gate, row = core.tell_deadline(self.gate, deadline, grace, self._clock.now())
        return self._taken(row)

    async def set_idle(self) -> bool:
        return await self._tell(core.Event.IDLE_REFUSED if self._strict_left() else core.Event.IDLE)

    async def pause(self) -> bool:
        return await self._tell(core.Event.PAUSE)

    async def farewell(self, *, restart: bool) -> bool:
        return await self._tell(core.Event.FAREWELL_RESTART if restart else core.Event.FAREWELL_IDLE)

    # --- from the machine

    def hello(self) -> None:
        """An agent has started and connected."""
        self._event(core.Event.HELLO)

    def gone(self) -> None:
        """The agent's process ended without a farewell."""
        self._event(core.Event.GONE)

    # --- inside

    async def _answers(self) -> bool:
        """The message gets through and is handled; False after a time-out (a guard that is dead or does not run)."""
        if self.life.alive and not self.life.frozen:
            return True
        await self._clock.sleep(ANSWER_S)
        return self.life.alive and not self.life.frozen

    async def _tell(self, event: core.Event) -> bool:
        if not await self._answers():
            return False
        return self._event(event)

    def _event(self, event: core.Event) -> bool:
        if not self.life.alive:
            return False
        self.gate, row = core.apply(self.gate, event, self._clock.now())
        return self._taken(row)

    def _taken(self, row: core.Transition | None) -> bool:
        if row is None:
            return False
        self._act(row)
        self._wake.set()
        return not row.refused

    def _act(self, row: core.Transition) -> None:
        for action in row.actions:
            if action is core.Action.OPEN and self._device is not None and core.may_pet(self.gate, self._clock.now()):
                self._device.arm()
            elif action is core.Action.KILL:
                self._kill()
            elif action is core.Action.DISARM and self._device is not None:
                self._device.close()

    async def _run(self) -> None:
        """Pets, and does what the time alone brings about. Stands still with the node."""
        while True:
            self._wake.clear()
            self.gate, row = core.tick(self.gate, self._clock.now())
            if row is not None:
                self._act(row)
            if self._device is not None and self._device.open and core.may_pet(self.gate, self._clock.now()):
                if self._random.random() < SLOW_WRITE:
                    await self._clock.sleep(self._random.uniform(0.0, self._timing.p / 2))
                self._device.pet()
            await self._pause()

    async def _pause(self) -> None:
        at = core.next_wake(self.gate)
        left = self._timing.p if at is None else min(self._timing.p, at - self._clock.now())
        try:
            async with self._clock.timeout(max(0.001, left)):
                await self._wake.wait()
        except TimeoutError:
            pass
