"""Blocking calls in a bounded set of threads, each with a deadline: a storage that hangs takes threads, not the gateway."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.ports import Clock
from holdfast.services.backup_gateway.backends.port import Unavailable

T = TypeVar("T")

THREADS = 32


class Workers:
    """Threads are made as they are needed, and are daemons: one that hangs in the kernel does not hold up the exit."""

    def __init__(self, clock: Clock, timeout_s: float, what: str) -> None:
        self._clock = clock
        self._timeout = timeout_s
        self._what = what
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._late = 0
        """Calls that were given up and have not ended."""

    async def run(self, work: Callable[[], T], timeout_s: float | None = None) -> T:
        """Raises what `work` raises, and Unavailable if it has not ended in time; it may still take effect then."""
        if self._late >= THREADS:
            raise self._hangs()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        given_up = False

        def settle(result: Any, error: BaseException | None) -> None:
            self._busy -= 1
            if given_up:
                self._late -= 1
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def job() -> None:
            try:
                outcome: tuple[Any, BaseException | None] = (work(), None)
            except BaseException as error:
                outcome = (None, error)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, *outcome)

        self._busy += 1
        if self._busy > self._threads and self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._work, daemon=True, name="backend").start()
        self._jobs.put(job)
        try:
            async with self._clock.timeout(self._timeout if timeout_s is None else timeout_s):
                return await future
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()  # it came in the very last moment; or the error is the work's own
            raise self._hangs() from None
        finally:
            if future.cancelled() or not future.done():
                given_up = True
                self._late += 1

    def close(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _hangs(self) -> Unavailable:
        return Unavailable(f"{self._what} does not answer", "Check the storage and this node's connection to it.")
