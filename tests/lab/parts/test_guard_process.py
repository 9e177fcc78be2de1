"""The guard as its own process, on a real watchdog device (FUSE) and a real control group. Needs root."""

import asyncio
import json
import signal
import socket
import subprocess
import sys

import pytest
from guard_world import GuardWorld, until

pytestmark = pytest.mark.lab


@pytest.fixture
async def world(tmp_path):
    made = GuardWorld(tmp_path)
    try:
        made.boot()
        yield made
    finally:
        await made.close()


@pytest.fixture
async def nowayout(tmp_path):
    made = GuardWorld(tmp_path, nowayout=True)
    try:
        made.boot()
        yield made
    finally:
        await made.close()


async def pets(world: GuardWorld, times: int = 3) -> None:
    before = world.device.pings
    await until(lambda: world.device.pings >= before + times, "the watchdog is petted")


async def test_the_device_is_opened_only_once_the_agent_has_told_something(world):
    world.start_guard()
    link = await world.connected()
    assert await link.attest() is None
    assert "not open yet" in link.reason
    assert not world.device.is_open
    assert await link.set_idle()
    attestation = await link.attest()
    assert attestation is not None
    assert (attestation.device, attestation.timeout_s) == (str(world.watchdog), 2)
    assert attestation.identity == "Holdfast lab watchdog"
    assert world.device.armed


async def test_idle_keeps_the_node_alive_even_when_the_agent_dies(world):
    world.start_guard()
    link = await world.connected()
    assert await link.set_idle()
    await link.close()
    await pets(world, 12)  # longer than the time-out of the device
    assert not world.node_dead.is_set()


async def test_agent_dies_strict_group_is_killed_at_d_and_the_watchdog_fires(world):
    world.start_guard()
    unit = world.start_strict_unit()
    link = await world.connected()
    deadline = world.now() + 1.0
    assert await link.set_deadline(deadline, 0.5)
    await link.close()
    await until(lambda: unit.poll() is not None, "the strict unit is killed")
    killed_at = world.now()
    assert killed_at >= deadline
    assert world.device.armed and not world.device.fired
    await asyncio.wait_for(world.node_dead.wait(), 20)
    assert world.device.fired_at >= deadline
    assert "strict group killed" in world.log()


async def test_an_agent_restarted_within_the_deadline_adopts_what_runs(world):
    world.start_guard()
    unit = world.start_strict_unit()
    first = await world.connected("first")
    assert await first.set_deadline(world.now() + 1.5, 0.5)
    assert await first.farewell(restart=True)
    second = await world.connected("second")
    for _ in range(6):
        assert await second.set_deadline(world.now() + 1.5, 0.5)
        await pets(world, 2)
    assert unit.poll() is None and not world.node_dead.is_set()


async def test_a_hung_agent_is_killed_over_at_d_plus_g_and_not_before(world):
    """The connection stays, nothing is said any more (SIGSTOP of the agent)."""
    world.start_guard()
    unit = world.start_strict_unit()
    link = await world.connected()
    deadline = world.now() + 0.5
    assert await link.set_deadline(deadline, 0.7)
    await until(lambda: unit.poll() is not None, "the strict unit is killed")
    assert world.now() >= deadline + 0.7
    await asyncio.wait_for(world.node_dead.wait(), 20)


async def test_a_node_that_stopped_cleanly_in_time_is_not_rebooted(world):
    """INV-5: the deadline passes, the agent stops everything within the grace and declares idle."""
    world.start_guard()
    unit = world.start_strict_unit()
    link = await world.connected()
    deadline = world.now() + 0.5
    assert await link.set_deadline(deadline, 1.0)
    await until(lambda: world.now() > deadline, "the deadline passes")
    assert not await link.set_idle(), "the strict unit still runs"
    unit.kill()
    unit.wait()
    assert await link.set_idle()
    await pets(world, 15)
    assert not world.node_dead.is_set()


async def test_farewell_of_an_idle_node_disarms(world):
    guard = world.start_guard()
    link = await world.connected()
    assert await link.set_deadline(world.now() + 5, 0.5)
    assert not await link.farewell(restart=False)
    assert "idle first" in link.reason
    assert await link.set_idle()
    assert await link.farewell(restart=False)
    await until(lambda: not world.device.armed and not world.device.is_open, "the device is disarmed")
    guard.terminate()
    assert guard.wait(20) == 0
    assert not world.node_dead.is_set()


async def test_terminate_disarms_an_idle_node_and_is_ignored_otherwise(world):
    guard = world.start_guard()
    link = await world.connected()
    assert await link.set_deadline(world.now() + 10, 0.5)
    guard.terminate()
    await until(lambda: "terminate ignored" in world.log(), "the guard says that it goes on")
    await pets(world)
    assert await link.set_idle()
    guard.terminate()
    assert guard.wait(20) == 0
    await until(lambda: not world.device.armed, "the device is disarmed")


async def test_a_nowayout_device_is_petted_on_after_the_farewell(nowayout):
    nowayout.start_guard()
    link = await nowayout.connected()
    assert await link.set_idle()
    assert await link.farewell(restart=False)
    await pets(nowayout, 15)
    assert not nowayout.node_dead.is_set()
    assert "nowayout" in nowayout.log()


async def test_a_stopped_guard_lets_the_watchdog_fire(world):
    guard = world.start_guard()
    link = await world.connected()
    assert await link.set_idle()
    guard.send_signal(signal.SIGSTOP)
    await asyncio.wait_for(world.node_dead.wait(), 20)


async def test_a_killed_guard_lets_the_watchdog_fire(world):
    guard = world.start_guard()
    link = await world.connected()
    assert await link.set_deadline(world.now() + 60, 0.5)
    guard.kill()
    await asyncio.wait_for(world.node_dead.wait(), 20)


async def test_a_restarted_guard_is_told_the_deadline_again_and_goes_on(world):
    guard = world.start_guard()
    unit = world.start_strict_unit()
    losses = []
    link = await world.connected(on_disconnect=lambda: losses.append(1))
    assert await link.set_deadline(world.now() + 60, 0.5)
    guard.kill()
    guard.wait()
    await until(lambda: bool(losses), "the loss is reported")
    assert not await link.set_deadline(world.now() + 60, 0.5)
    world.start_guard()
    assert await link.wait_connected(20)
    await pets(world, 15)
    assert unit.poll() is None and not world.node_dead.is_set() and losses == [1]


async def test_a_restarted_guard_without_an_agent_pets_nothing(world):
    guard = world.start_guard()
    world.start_strict_unit()
    link = await world.connected()
    assert await link.set_deadline(world.now() + 60, 0.5)
    await link.close()
    guard.kill()
    guard.wait()
    world.start_guard()
    await until(lambda: world.log().count("ready") == 2, "the second guard is ready")
    assert not world.device.is_open
    await asyncio.wait_for(world.node_dead.wait(), 20)


async def test_a_watchdog_taken_by_somebody_else_is_not_attested(world):
    taker = world.in_node("sh", "-c", f"exec 3>{world.watchdog}; while :; do echo x >&3; sleep 0.5; done")
    await until(lambda: world.device.is_open, "somebody else has the device")
    world.start_guard()
    link = await world.connected()
    assert await link.set_idle(), "the node works without a watchdog, too"
    assert await link.attest() is None
    assert "busy" in link.reason and "busy" in world.log()
    taker.kill()
    taker.wait()
    attested = None
    async with asyncio.timeout(20):
        while attested is None:
            attested = await link.attest()
            await asyncio.sleep(0.05)
    assert attested.timeout_s == 2


async def test_a_device_that_rounds_up_beyond_w_is_not_attested(tmp_path):
    world = GuardWorld(tmp_path, granularity_s=5)
    try:
        world.boot()
        world.start_guard()
        link = await world.connected()
        assert await link.set_idle()
        assert await link.attest() is None
        assert "time-out of 5 s" in link.reason
    finally:
        await world.close()


async def test_only_one_agent_and_only_one_guard(world):
    world.start_guard()
    link = await world.connected()
    assert await link.set_idle()
    # Another living process says hello.
    probe = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET);s.connect(sys.argv[1]);"
        's.send(b\'{"id":7,"do":"hello","session":"x","W":2,"p":1}\');print(s.recv(4096).decode())'
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", probe, str(world.config.guard_socket), stdout=subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(other.communicate(), 20)
    answer = json.loads(output)
    assert answer["id"] == 7 and not answer["ok"] and "another agent" in answer["reason"]
    assert await link.set_idle(), "the first one is not disturbed"
    second = world.start_guard()
    assert second.wait(20) == 1
    assert "another guard runs already" in world.log()


async def test_a_bad_packet_is_answered_and_changes_nothing(world):
    world.start_guard()
    link = await world.connected()
    assert await link.set_deadline(world.now() + 5, 0.5)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with raw:
        raw.settimeout(20)
        raw.connect(str(world.config.guard_socket))
        raw.send(b"{")
        assert json.loads(raw.recv(4096))["ok"] is False
        assert raw.recv(4096) == b"", "who does not say hello is sent away"
    assert not await link.set_deadline(world.now() + 1e6, 0.5), "a wall-clock time, say"
    assert "out of reason" in link.reason
    assert await link.set_deadline(world.now() + 5, 0.5)


async def test_without_a_device_the_strict_group_is_killed_all_the_same(tmp_path):
    world = GuardWorld(tmp_path)
    try:
        world.boot()
        world.config_file.write_text(world.config_file.read_text().replace("dev/watchdog", "dev/none"))
        world.start_guard()
        unit = world.start_strict_unit()
        link = await world.connected()
        assert await link.set_deadline(world.now() + 0.5, 0.2)
        assert await link.attest() is None
        assert "does not exist" in link.reason
        await until(lambda: unit.poll() is not None, "the strict unit is killed")
    finally:
        await world.close()


async def test_a_deadline_that_a_stalled_guard_did_not_hear_is_not_taken_for_heard(world):
    """The guard still believes in idle then: the agent must not start anything, and the word is told again."""
    guard = world.start_guard()
    link = await world.connected(timeout_s=0.3)
    assert await link.set_idle()
    guard.send_signal(signal.SIGSTOP)
    assert not await link.set_deadline(world.now() + 3, 0.5)
    assert not link.connected
    guard.send_signal(signal.SIGCONT)
    await until(lambda: link.connected, "the guard has taken the deadline")
    # No renewal follows: had the guard gone on believing in idle, the node would live for ever.
    await asyncio.wait_for(world.node_dead.wait(), 20)
