"""Calls in threads that may never end."""

import asyncio
import threading
import time

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import DriverError
from holdfast.services.storage import SharedStorage
from holdfast.services.threads import TookTooLong, in_thread

LONG_S = 30.0


async def test_what_it_gives_and_what_it_raises() -> None:
    clock = SystemClock()
    assert await in_thread(lambda: 7, clock, LONG_S, name="t") == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, clock, LONG_S, name="t")


async def test_what_came_in_the_last_moment_counts() -> None:
    """On a node short of processor time the result and the time limit are found together. The TimeoutError that came of it
    was nobody's: the agent took it for a failure of the machine that it had only looked at, and ended that."""

    def work() -> int:
        time.sleep(0.1)
        return 7

    asyncio.get_running_loop().call_later(0.05, time.sleep, 0.3)  # the event loop stands; the call and its time end
    assert await in_thread(work, SystemClock(), 0.2, name="t") == 7


async def test_whoever_asked_gives_up_and_is_told_when_it_ends_after_all() -> None:
    release, late = threading.Event(), asyncio.Event()
    with pytest.raises(TookTooLong):
        await in_thread(lambda: release.wait(LONG_S), SystemClock(), 0.01, name="t", late=late.set)
    assert not late.is_set()
    release.set()
    async with asyncio.timeout(LONG_S):
        await late.wait()


async def test_a_storage_that_says_timed_out_does_not_hang_and_is_asked_again() -> None:
    """ETIMEDOUT of a network file system is an answer. It was taken for a call that hangs: nothing was asked any more."""

    def timed_out() -> None:
        raise TimeoutError(110, "Connection timed out")

    storage = SharedStorage("/shared", SystemClock())
    with pytest.raises(DriverError, match="looking failed"):
        await storage.run(timed_out, timeout=LONG_S, what="looking")
    assert await storage.run(lambda: 7, timeout=LONG_S, what="looking") == 7
