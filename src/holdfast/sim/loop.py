"""An event loop in virtual time, and the lives of the simulated processes on it.

Time jumps to the next timer whenever nothing is ready to run: no real time, no threads, no files. Each simulated process
has a `Life`; all that its tasks want to run is dropped once it is dead (a power failure runs no `finally`) and kept back
while it is frozen. Order is fixed by time and by the order of the calls, so that equal inputs give equal runs.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

WIND_DOWN_ROUNDS = 5
"""A task may catch its cancellation and wait again; so often it is cancelled anew."""


class Life:
    """One run of one simulated process."""

    __slots__ = ("alive", "frozen", "kept")

    def __init__(self) -> None:
        self.alive = True
        self.frozen = False
        self.kept: list[Handle] = []
        """What became ready while it was frozen."""


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("LIFE", default=None)
"""Whose code runs; inherited by every task and timer it makes. None: the world's own."""


class Handle:
    """A scheduled call (what asyncio calls Handle and TimerHandle)."""

    __slots__ = ("_args", "_callback", "_when", "context", "life")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context, when: float
    ) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self.context = context
        self.life: Life | None = context.get(LIFE)
        self._when = when

    def cancel(self) -> None:
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        return self._callback is None

    def when(self) -> float:
        return self._when

    def delay(self, seconds: float) -> None:
        self._when += seconds

    def run(self) -> None:
        if self._callback is not None:
            self.context.run(self._callback, *self._args)


class VirtualLoop(asyncio.AbstractEventLoop):
    """See the module's text. Only what asyncio's tasks, futures, timeouts and locks need."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sequence = 0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._dropped: list[Handle] = []
        """What dead processes would have done next."""
        self.failures: list[BaseException] = []
        """Exceptions that left a callback: a bug of the simulator or of what is simulated."""

    # --- time and calls

    def time(self) -> float:
        """Virtual seconds since the loop was made: the true time of the simulated world."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context, self._now)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context, when)
        self._sequence += 1
        heapq.heappush(self._timers, (when if when > self._now else self._now, self._sequence, handle))
        return handle

    def hardware(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Like call_later, but on behalf of the world: whoever asks for it may be dead or frozen by then."""
        return self.call_at(self._now + delay, callback, *args, context=contextvars.Context())  # type: ignore[no-any-return]

    # --- running

    def run_until(self, end: float, stop: Callable[[], bool] | None = None) -> None:
        """Run what is due until the virtual time `end`, or until `stop()` is true at a change of the time."""
        ready, timers = self._ready, self._timers
        asyncio._set_running_loop(self)
        try:
            while True:
                while ready:
                    self._dispatch(ready.popleft())
                while timers and timers[0][2].cancelled():
                    heapq.heappop(timers)
                if not timers or timers[0][0] > end:
                    self._now = max(self._now, end)
                    return
                when, _, handle = heapq.heappop(timers)
                if when > self._now:
                    if stop is not None and stop():
                        heapq.heappush(timers, (when, 0, handle))
                        return
                    self._now = when
                self._dispatch(handle)
        finally:
            asyncio._set_running_loop(None)

    def _dispatch(self, handle: Handle) -> None:
        life = handle.life
        if life is not None:
            if not life.alive:
                self._dropped.append(handle)
                return
            if life.frozen:
                life.kept.append(handle)
                return
        try:
            handle.run()
        except Exception as error:
            self.failures.append(error)

    def drop(self, life: Life) -> None:
        """The process is dead; what was kept back for it is never done."""
        self._dropped.extend(life.kept)
        life.kept.clear()

    def wind_down(self) -> None:
        """The run is over: let every task end, the dead ones' too, so that nothing of them is left in memory."""
        lives = {handle.life for handle in (*self._dropped, *self._ready) if handle.life}
        lives |= {handle.life for _, _, handle in self._timers if handle.life}
        self._ready.extend(self._dropped)
        for life in lives:
            self._ready.extend(life.kept)
            life.alive, life.frozen = True, False
        asyncio._set_running_loop(self)
        try:
            for _ in range(WIND_DOWN_ROUNDS):
                left = asyncio.all_tasks(self)
                for task in left:
                    task.cancel()
                while self._ready:
                    self._dispatch(self._ready.popleft())
                if not left:
                    return
        finally:
            asyncio._set_running_loop(None)

    def thaw(self, life: Life, slept_s: float = 0.0) -> None:
        """Let a frozen process go on with what it was about to do. `slept_s`: its machine was suspended for so long,
        in which timers (CLOCK_MONOTONIC) stand still: each fires so much later."""
        life.frozen = False
        if not slept_s:
            self._ready.extend(life.kept)
            life.kept.clear()
            return
        mine = [timer for timer in self._timers if timer[2].life is life]
        self._timers[:] = [timer for timer in self._timers if timer[2].life is not life]
        heapq.heapify(self._timers)
        # What became due meanwhile has a smaller number than what is made now: the order stays.
        for handle in [*life.kept, *(handle for _, _, handle in sorted(mine, key=lambda timer: timer[:2]))]:
            self._sequence += 1
            handle.delay(slept_s)
            heapq.heappush(self._timers, (max(self._now, handle.when()), self._sequence, handle))
        life.kept.clear()

    # --- what asyncio asks of a loop

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> Any:
        return asyncio.Task(coro, loop=self, name="", context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of dead processes are destroyed while pending; that is what death is. Anything else is a failure."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.failures.append(error)

    def _timer_handle_cancelled(self, _handle: object) -> None: ...


def spawn(loop: VirtualLoop, life: Life | None, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Start a coroutine as a part of that process."""
    context = contextvars.Context()
    context.run(LIFE.set, life)
    return loop.create_task(coroutine, context=context)  # type: ignore[no-any-return]
