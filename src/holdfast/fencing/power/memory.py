"""A power switch and fence devices in memory, for tests and the simulator; passes the same contract tests."""

import asyncio
from dataclasses import dataclass, field

from holdfast.errors import FenceError
from holdfast.ports import PowerReading


@dataclass
class MemoryPower:
    """A node's power. Also fits the lab BMC's PowerSwitch."""

    powered: bool = True
    history: list[str] = field(default_factory=list)
    """Every switching that took place, in order."""

    def state(self) -> str:
        return "on" if self.powered else "off"

    def on(self) -> None:
        self.powered = True
        self.history.append("on")

    def off(self) -> None:
        self.powered = False
        self.history.append("off")


@dataclass
class MemoryFence:
    """Port PowerFence on a MemoryPower.

    `mode`: normal · unreachable (never answers) · refuses (actions fail) · lie (reports off, switches nothing) · stuck
    (accepts, switches nothing, reports the truth) · unknown (reads unknown). `delay_s` comes before every effect.
    """

    power: MemoryPower
    mode: str = "normal"
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    _lied_off: bool = False

    async def read(self, *, timeout: float) -> PowerReading:
        await self._call("read", timeout)
        if self.mode == "unknown":
            return PowerReading("unknown", "power state is not known")
        return PowerReading("off" if self._lied_off else self.power.state())

    async def off(self, *, timeout: float) -> None:
        await self._act("off", timeout)

    async def on(self, *, timeout: float) -> None:
        await self._act("on", timeout)

    async def close(self) -> None:
        self.asked.append("close")

    async def _act(self, action: str, timeout: float) -> None:
        await self._call(action, timeout)
        if self.mode == "refuses":
            raise FenceError(f"the device refuses to switch {action}")
        if self.mode == "lie":
            self._lied_off = action == "off"
        elif self.mode == "normal":
            self.power.off() if action == "off" else self.power.on()

    async def _call(self, what: str, timeout: float) -> None:
        self.asked.append(what)
        try:
            async with asyncio.timeout(timeout):
                if self.mode == "unreachable":
                    await asyncio.Event().wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
        except TimeoutError:
            raise FenceError(f"the device is unreachable: no answer within {timeout:g} s") from None
