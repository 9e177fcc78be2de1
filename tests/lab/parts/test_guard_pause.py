"""The real guard while high availability is paused: real watchdog device (FUSE), real control group. Needs root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from guard_world import GuardWorld, until

pytestmark = pytest.mark.lab

LONG_S = 4.0
"""Longer than grace, time-out and jitter of the device together."""


@asynccontextmanager
async def booted(directory: Path, **device: object) -> AsyncIterator[GuardWorld]:
    made = GuardWorld(directory, **device)
    try:
        made.boot()
        yield made
    finally:
        await made.close()


async def test_a_paused_node_is_left_alone_until_a_deadline_is_told(tmp_path: Path) -> None:
    async with booted(tmp_path) as world:
        world.start_guard()
        unit = world.start_strict_unit()
        link = await world.connected("first")
        assert await link.set_deadline(world.now() + 1.0, 0.2)
        await until(lambda: world.device.armed, "the watchdog is armed")
        assert await link.pause()
        await until(lambda: not world.device.armed, "the watchdog is disarmed")
        assert await link.attest() is None
        await link.close()  # and its agent dies
        await asyncio.sleep(LONG_S)
        assert unit.poll() is None
        assert not world.node_dead.is_set()
        again = await world.connected("second")
        assert await again.attest() is None, "a new agent has told nothing yet"
        deadline = world.now() + 1.0
        assert await again.set_deadline(deadline, 0.2)
        assert await again.attest() is not None
        await until(lambda: unit.poll() is not None, "the deadline counts again")
        assert world.now() >= deadline


async def test_a_guard_that_is_restarted_in_a_pause_does_not_enforce_the_last_deadline(tmp_path: Path) -> None:
    async with booted(tmp_path) as world:
        guard = world.start_guard()
        unit = world.start_strict_unit()
        link = await world.connected()
        assert await link.set_deadline(world.now() + 0.7, 0.2)
        assert await link.pause()
        guard.kill()
        guard.wait()
        world.start_guard()
        await until(lambda: link.connected, "the link is back")
        await asyncio.sleep(LONG_S)
        assert unit.poll() is None
        assert not world.node_dead.is_set()


async def test_a_watchdog_that_cannot_be_disarmed_is_petted_through_a_pause(tmp_path: Path) -> None:
    async with booted(tmp_path, nowayout=True) as world:
        world.start_guard()
        unit = world.start_strict_unit()
        link = await world.connected()
        assert await link.set_deadline(world.now() + 1.0, 0.2)
        await until(lambda: world.device.armed, "the watchdog is armed")
        await link.pause()
        pings = world.device.pings
        await until(lambda: world.device.pings >= pings + 12, "it is petted on")
        assert unit.poll() is None
        assert not world.node_dead.is_set()
