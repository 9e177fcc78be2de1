"""Is the back-end there? A real read and a small write, at most once a second, whoever asks and however many."""

import asyncio

import structlog

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.port import Backend, Full, Unavailable

_log = structlog.get_logger("holdfast.backup")

FRESH_S = 1.0
DEADLINE_S = 4.0
"""For whoever asks. The probe itself may take longer (a mount); its outcome is then seen by those who ask later."""


class Health:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._problem = ""
        self.full = False
        """The back-end can be read, and has no room."""

    async def problem(self) -> str:
        """Empty: it works. Ends within DEADLINE_S."""
        if self._task is None and self._clock.now() - self._at < FRESH_S:
            return self._problem
        if self._task is None:
            self._task = asyncio.create_task(self._probe())
        try:
            async with self._clock.timeout(DEADLINE_S):
                await asyncio.shield(self._task)
        except TimeoutError:
            return f"the back-end did not answer within {DEADLINE_S:g} s"
        return self._problem

    async def known(self) -> str:
        """As `problem`, for requests: they do not wait for a probe while the last one found no problem."""
        if self._problem or self._at == float("-inf"):
            return await self.problem()
        if self._task is None and self._clock.now() - self._at >= FRESH_S:
            self._task = asyncio.create_task(self._probe())
        return self._problem

    async def _probe(self) -> None:
        problem, full = "", False
        try:
            await self._backend.probe()
        except Full:
            full = True
        except Unavailable as error:
            problem = error.message
        except Exception as error:
            problem = f"{error!r}"
            _log.error("probe failed", exc_info=error)
        if (problem, full) != (self._problem, self.full):
            _log.warning("back-end", problem=problem or "none", full=full)
        self._problem, self.full, self._at, self._task = problem, full, self._clock.now(), None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
