"""Simulated fence devices: one BMC per machine that has power fencing, and what can be wrong with it."""

import asyncio
from typing import TYPE_CHECKING

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError
from holdfast.ports import PowerReading
from holdfast.sim.loop import LIFE

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

ANSWER_S = 0.05
SLOW_S = 4.0
LATE_S = 30.0


class SimPower:
    """Port PowerFence. `machine.bmc` says how it behaves: `normal`; `dead` (never answers); `slow`; `unknown` (cannot
    tell the power state); `late` (takes the order and obeys it half a minute later, whatever happens meanwhile); `lie` (says
    that it switched, and did not; the state read back is the truth); `lie-state` (says `off` for a machine that runs: the
    one lie that nothing can find out, and which voids the proof)."""

    def __init__(self, world: "World", machine: "Machine") -> None:
        self._world = world
        self._machine = machine

    async def read(self, *, timeout: float) -> PowerReading:
        await self._reach(timeout)
        if self._machine.bmc == "unknown":
            return PowerReading("unknown", "the BMC does not know")
        if self._machine.bmc == "lie-state":
            return PowerReading("off")
        return PowerReading("on" if self._machine.powered else "off")

    async def off(self, *, timeout: float) -> None:
        asked_by = LIFE.get()
        await self._reach(timeout)
        if self._machine.bmc in ("lie", "lie-state"):
            return
        if asked_by is not None and asked_by in (self._machine.manager_life, self._machine.agent_life):
            self._world.checks.violated("INV-5", f"the manager on {self._machine.name} switched its own node off")
        if self._machine.powered:
            self._world.loop.hardware(LATE_S if self._machine.bmc == "late" else 0.0, self._switch_off)

    def _switch_off(self) -> None:
        if self._machine.powered:
            self._world.log.say("power-fenced", "switched off by its BMC", node=self._machine.name)
            self._machine.power_off()

    async def on(self, *, timeout: float) -> None:
        await self._reach(timeout)
        self._world.loop.hardware(0.0, self._machine.power_on)

    async def close(self) -> None: ...

    async def _reach(self, timeout: float) -> None:
        delay = SLOW_S if self._machine.bmc == "slow" else ANSWER_S
        if self._machine.bmc == "dead" or delay > timeout:
            await asyncio.sleep(timeout)
            raise FenceError(f"the BMC of {self._machine.name} does not answer", "A fault of the scenario.")
        await asyncio.sleep(delay)


class SimPowerFences:
    """Port PowerFences of all managers."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def open(self, device: FenceDeviceSpec) -> SimPower:
        return SimPower(self._world, self._world.machines[device.options["node"]])
