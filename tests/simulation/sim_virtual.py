"""An event loop in which time is virtual: it jumps to the next timer whenever nothing is ready to run."""

import asyncio
import contextvars
import selectors
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta


class _Jump(selectors.SelectSelector):
    """Instead of waiting for files, moves the loop's time forward by as much as it would have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "deadlock: nothing is scheduled"
        self.now += max(0.0, timeout)
        return super().select(0)


OWNER: contextvars.ContextVar[list["asyncio.Task[object]"] | None] = contextvars.ContextVar("OWNER", default=None)
"""Collects every task that is made in this context: all that must vanish at the power-off of one node."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: no real time, no threads."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-9
        self.set_task_factory(self._make_task)

    @staticmethod
    def _make_task(loop: asyncio.AbstractEventLoop, coro, **kw):  # type: ignore[no-untyped-def]
        task = asyncio.Task(coro, loop=loop, **kw)
        owner = OWNER.get()
        if owner is not None:
            owner.append(task)
        return task

    def time(self) -> float:
        return self._jump.now


class NodeClock:
    """Port Clock of one node: stands still for the node's own code while the node is frozen, though time goes on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.thawed = asyncio.Event()
        self.thawed.set()

    def now(self) -> float:
        return 1000.0 + self._loop.time()

    def wall(self) -> str:
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now())).isoformat()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        await self.thawed.wait()

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[object]:
        try:
            async with asyncio.timeout(max(0.0, seconds)) as scope:
                yield scope
        finally:
            if not self.thawed.is_set():
                await self.thawed.wait()
