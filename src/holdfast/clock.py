"""Clocks: the node's real one, and one that tests move by hand.

Time in decisions is CLOCK_BOOTTIME: it goes on while the machine is suspended and is not moved by NTP steps, so a deadline
that passed during a suspend is seen as passed at the first instruction after it.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

SETTLE_ROUNDS = 50
"""Passes of the event loop ManualClock grants the tasks it woke: more than any chain of awaits without real I/O needs."""


class SystemClock:
    """The node's own clock (port Clock).

    `sleep` and `timeout` are timers of the event loop and stand still while the machine is suspended: they may end late,
    never early. Whoever guards a deadline compares `now()` after waking.
    """

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> str:
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(max(0.0, seconds))


class ManualClock:
    """A clock that moves only by `advance` (port Clock). Sleepers wake in the order of their times, then of their calls."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._sequence = itertools.count()
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> str:
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._now)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def sleepers(self) -> int:
        """How many timers are pending; a test may wait until its subject sleeps."""
        return sum(1 for _, _, timer in self._timers if not timer.done())

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        timer = self._timer(seconds)
        try:
            await timer
        finally:
            timer.cancel()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return self._timeout(seconds)

    async def advance(self, seconds: float) -> None:
        """Move the time forward. Each sleeper wakes at exactly its own time, and what it does (sleeping again included)
        happens before the next one is woken."""
        assert seconds >= 0, "time does not go back"
        target = self._now + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= target:
            when, _, timer = heapq.heappop(self._timers)
            if timer.done():
                continue
            self._now = max(self._now, when)
            timer.set_result(None)
            await self.settle()
        self._now = target

    async def settle(self) -> None:
        """Let every task run until it waits for something."""
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)

    def _timer(self, seconds: float) -> "asyncio.Future[None]":
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (self._now + seconds, next(self._sequence), timer))
        return timer

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        async with asyncio.timeout(0 if seconds <= 0 else None) as scope:
            if seconds <= 0:
                yield scope
                return
            timer = self._timer(seconds)

            def expire(done: "asyncio.Future[None]") -> None:
                if not done.cancelled():
                    scope.reschedule(asyncio.get_running_loop().time())

            timer.add_done_callback(expire)
            try:
                yield scope
            finally:
                timer.remove_done_callback(expire)
                timer.cancel()
