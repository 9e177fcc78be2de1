"""The clock of one simulated node: its own offset and rate, and none of its business what time it really is."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from holdfast.sim.loop import VirtualLoop


class NodeClock:
    """Port Clock. `rate` is node seconds per true second; CLOCK_BOOTTIME starts anew with each boot."""

    def __init__(self, loop: VirtualLoop, offset: float = 0.0, rate: float = 1.0) -> None:
        self._loop = loop
        self._rate = rate
        self._true = loop.time()
        self._own = offset
        self.wall_offset = 0.0
        """Seconds the wall clock is wrong; an NTP step changes it."""

    @property
    def rate(self) -> float:
        return self._rate

    def now(self) -> float:
        return self._own + (self._loop.time() - self._true) * self._rate

    def set_rate(self, rate: float) -> None:
        """From now on. Running timers keep their true length, as a kernel's do that was programmed before."""
        self._own, self._true, self._rate = self.now(), self._loop.time(), rate

    def wall(self) -> str:
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._loop.time() + self.wall_offset)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self._rate)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(max(0.0, seconds) / self._rate)
