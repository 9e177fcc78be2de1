"""The order of fence devices and what counts as proof, on devices in memory."""

import asyncio
from dataclasses import dataclass

import pytest

from holdfast.clock import SystemClock
from holdfast.core.model import FenceDeviceSpec
from holdfast.fencing.power import sequence
from holdfast.fencing.power.check import check_device
from holdfast.fencing.power.memory import MemoryFence, MemoryPower
from holdfast.ports import PowerReading

LONG_S, SHARE_S, SHORT_S = 30.0, 1.0, 0.3


async def run(*fences, budget_s=LONG_S, **options):
    named = [(f"d{index}", fence) for index, fence in enumerate(fences, 1)]
    return await sequence.fence_off(named, SystemClock(), budget_s, poll_s=0.005, **options)


async def test_first_device_that_works_is_enough():
    power = MemoryPower()
    second = MemoryFence(power)
    outcome = await run(MemoryFence(power), second)
    assert (outcome.verified_off, outcome.device, outcome.found_off) == (True, "d1", False)
    assert power.history == ["off"] and second.asked == []


async def test_off_is_believed_only_when_read_twice():
    fence = MemoryFence(MemoryPower())
    assert (await run(fence)).verified_off
    assert fence.asked == ["read", "off", "read", "read"]


async def test_a_node_found_off_is_proof_and_is_not_switched():
    power = MemoryPower(powered=False)
    outcome = await run(MemoryFence(power))
    assert outcome.verified_off and outcome.found_off and power.history == []


class Readings:
    """A device that reads what it is told, one after the other, and the last for ever."""

    def __init__(self, *states):
        self.states = list(states)
        self.offs = 0

    async def read(self, *, timeout):
        return PowerReading(self.states.pop(0) if len(self.states) > 1 else self.states[0])

    async def off(self, *, timeout):
        self.offs += 1

    async def on(self, *, timeout):
        raise AssertionError("nobody asked for that")

    async def close(self):
        pass


async def test_a_single_off_between_two_on_proves_nothing():
    fence = Readings("off", "on", "off", "on", "off", "on")
    outcome = await run(fence, budget_s=SHORT_S)
    assert not outcome.verified_off and fence.offs == 1


@pytest.mark.parametrize("states", [("on", "unknown"), ("unknown",), ("off", "unknown"), ("on", "off", "unknown")])
async def test_unknown_is_never_off(states):
    outcome = await run(Readings(*states), budget_s=SHORT_S)
    assert not outcome.verified_off and outcome.device == ""


@pytest.mark.parametrize("mode", ["unreachable", "refuses", "stuck", "unknown"])
async def test_the_next_device_is_tried(mode):
    power = MemoryPower()
    outcome = await run(MemoryFence(power, mode), MemoryFence(power), budget_s=2 * SHARE_S)
    assert (outcome.verified_off, outcome.device) == (True, "d2"), outcome.steps
    assert not outcome.found_off, "whatever the first one did, it was on when the attempt began"


async def test_the_second_device_finds_off_what_the_first_has_switched_off():
    """Not `found_off`: we did it, so the node may be switched on again later."""
    power = MemoryPower()

    class SwitchesBlindly(MemoryFence):
        async def read(self, *, timeout):
            await super().read(timeout=timeout)
            return PowerReading("unknown")

    outcome = await run(SwitchesBlindly(power), MemoryFence(power), budget_s=2 * SHARE_S)
    assert outcome.verified_off and outcome.device == "d2" and not outcome.found_off


async def test_a_device_that_takes_the_command_and_reads_on_is_called_a_liar():
    outcome = await run(MemoryFence(MemoryPower(), "stuck"), budget_s=SHORT_S)
    assert "it lies, or is broken" in outcome.steps[-1]


async def test_a_device_that_lies_is_vetoed_while_the_node_lives_and_the_next_is_tried():
    power = MemoryPower()
    liar = MemoryFence(power, "lie")
    outcome = await run(liar, MemoryFence(power), budget_s=2 * SHARE_S, contradiction=lambda: power.powered)
    assert (outcome.verified_off, outcome.device) == (True, "d2")
    assert any("still lives" in step for step in outcome.steps)


async def test_a_device_that_always_reads_off_is_vetoed_while_the_node_lives():
    outcome = await run(Readings("off"), budget_s=SHORT_S, contradiction=lambda: True)
    assert not outcome.verified_off
    assert any("found off, but the node still lives" in step for step in outcome.steps)


async def test_signs_of_life_that_fade_out_only_delay_the_verdict():
    power, asked = MemoryPower(), []

    def contradiction():
        asked.append(power.powered)
        return len(asked) < 4

    outcome = await run(MemoryFence(power), contradiction=contradiction)
    assert outcome.verified_off and len(asked) == 4


async def test_without_devices_nothing_is_proven():
    outcome = await run()
    assert not outcome.verified_off and outcome.steps == ["the node has no fence device"]


async def test_an_unreachable_device_leaves_time_for_the_next():
    power = MemoryPower()
    dead = MemoryFence(power, "unreachable")
    outcome = await run(dead, dead, MemoryFence(power), budget_s=3 * SHARE_S)
    assert outcome.verified_off and outcome.device == "d3"


async def test_late_power_off_after_cancellation_nothing_more_is_sent():
    """The trap: the node was rebooted meanwhile and is healthy."""
    power = MemoryPower()

    class Announces(MemoryFence):
        switching = asyncio.Event()

        async def off(self, *, timeout):
            self.switching.set()
            await super().off(timeout=timeout)

    first, second = Announces(power, delay_s=0.2), MemoryFence(power)
    task = asyncio.create_task(run(first, second))
    async with asyncio.timeout(LONG_S):
        await first.switching.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.3)
    assert power.history == [] and second.asked == [] and first.asked[-1] == "off"


@dataclass
class OneFence:
    """Opens always the same one (port PowerFences)."""

    fence: MemoryFence

    def open(self, device):
        return self.fence


@pytest.mark.parametrize(
    ("mode", "powered", "up", "ok", "says"),
    [
        ("normal", True, True, True, "power is on"),
        ("normal", False, False, True, "power is off"),
        ("normal", False, True, False, "but the node is up"),
        ("unknown", True, True, False, "unknown"),
        ("unreachable", True, True, False, "unreachable"),
    ],
)
async def test_testing_a_device(mode, powered, up, ok, says):
    fence = MemoryFence(MemoryPower(powered), mode)
    device = FenceDeviceSpec("bmc", "redfish")
    found = await check_device(device, OneFence(fence), up=up, timeout=0.1)
    assert found.ok == ok and says in found.text and fence.asked == ["read", "close"]
