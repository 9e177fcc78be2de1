"""The two clocks keep the promises of the Clock port."""

import asyncio

import pytest

from holdfast.clock import ManualClock, SystemClock
from holdfast.ports import Clock


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), ManualClock()]
    assert all(clock.wall().endswith("Z") for clock in clocks)


async def test_system_clock_moves_and_times_out() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.01)
    assert clock.now() > before
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.01):
            await asyncio.Event().wait()


async def test_manual_clock_wakes_in_order_at_exact_times() -> None:
    clock = ManualClock(start=100.0)
    seen: list[tuple[str, float]] = []

    async def ticker(name: str, period: float) -> None:
        while True:
            await clock.sleep(period)
            seen.append((name, clock.now()))

    tasks = [asyncio.create_task(ticker("a", 2.0)), asyncio.create_task(ticker("b", 3.0))]
    await clock.advance(6.5)
    assert seen == [("a", 102.0), ("b", 103.0), ("a", 104.0), ("b", 106.0), ("a", 106.0)]
    assert clock.now() == 106.5
    for task in tasks:
        task.cancel()


async def test_manual_timeout_cancels_its_body() -> None:
    clock = ManualClock()

    async def body(limit: float, work: float) -> str:
        try:
            async with clock.timeout(limit):
                await clock.sleep(work)
        except TimeoutError:
            return f"late at {clock.now()}"
        return "done"

    slow = asyncio.create_task(body(1.0, 5.0))
    quick = asyncio.create_task(body(5.0, 1.0))
    await clock.advance(2.0)
    assert await slow == "late at 1001.0"
    assert await quick == "done"
    assert clock.sleepers == 0


async def test_manual_timeout_of_zero_expires_at_once() -> None:
    clock = ManualClock()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.Event().wait()


async def test_an_outer_cancellation_stays_a_cancellation() -> None:
    clock = ManualClock()

    async def body() -> None:
        async with clock.timeout(10):
            await clock.sleep(20)

    task = asyncio.create_task(body())
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
