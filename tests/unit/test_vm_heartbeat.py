"""Which silence of a guest counts (services/vm/heartbeat.py)."""

import asyncio
from pathlib import Path

from holdfast.clock import ManualClock
from holdfast.services.vm.heartbeat import STEP_S, Heartbeat


async def look_for(heartbeat: Heartbeat, clock: ManualClock, seconds: int, *, could_beat: bool = True) -> None:
    for _ in range(seconds):
        await clock.advance(1.0)
        heartbeat.look(could_beat=could_beat)


async def test_a_guest_hangs_only_once_it_was_heard() -> None:
    clock = ManualClock()
    heartbeat = Heartbeat(clock, 10.0)
    await look_for(heartbeat, clock, 60)
    assert not heartbeat.hung
    heartbeat.heard()
    await look_for(heartbeat, clock, 10)
    assert not heartbeat.hung
    await look_for(heartbeat, clock, 1)
    assert heartbeat.hung
    heartbeat.begin_anew()
    await look_for(heartbeat, clock, 60)
    assert not heartbeat.hung


async def test_a_machine_that_stood_is_not_silent() -> None:
    """Its storage was lost, or somebody had paused it."""
    clock = ManualClock()
    heartbeat = Heartbeat(clock, 10.0)
    heartbeat.heard()
    await look_for(heartbeat, clock, 5)
    await look_for(heartbeat, clock, 600, could_beat=False)
    assert heartbeat.silent_s() == 5.0
    await look_for(heartbeat, clock, 6)
    assert heartbeat.hung


async def test_a_pause_of_the_listener_is_no_silence_of_the_guest() -> None:
    """A node that was frozen and thawed: guest and agent stood together, and neither has had the time to speak."""
    clock = ManualClock()
    heartbeat = Heartbeat(clock, 5.0)
    heartbeat.heard()
    await clock.advance(11.0)
    heartbeat.look(could_beat=True)
    assert heartbeat.silent_s() == STEP_S
    assert not heartbeat.hung
    await look_for(heartbeat, clock, 2)
    assert heartbeat.hung


async def test_a_heartbeat_is_heard_through_its_socket_also_when_that_comes_later(tmp_path: Path) -> None:
    clock = ManualClock()
    heartbeat = Heartbeat(clock, 5.0, tmp_path / "beat")
    beats: list[int] = []
    try:

        async def guest(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not beats:
                beats.append(1)
                writer.write(b"beat 1\n")
                await writer.drain()
            writer.close()

        await asyncio.sleep(0.01)
        server = await asyncio.start_unix_server(guest, tmp_path / "beat")
        async with asyncio.timeout(20):
            while not heartbeat.hung:  # so it was heard
                await clock.advance(6.0)
                await asyncio.sleep(0.01)
        server.close()
    finally:
        await heartbeat.close()
