"""The announcer's rounds, under a manual clock and a network in memory."""

from holdfast.clock import ManualClock
from holdfast.core.model import ServiceAddress
from holdfast.net.announce import Announcer
from holdfast.net.memory import MemoryAddresses, MemoryNetwork

VOL1, VOL2 = ServiceAddress("10.78.0.101", "public"), ServiceAddress("10.78.0.102", "public")


def world() -> tuple[ManualClock, MemoryNetwork, Announcer]:
    clock = ManualClock(start=0.0)
    network = MemoryNetwork(clock, {"public": ("10.78.0.0/24",)})
    return clock, network, Announcer(MemoryAddresses(network, "n1", {"public": "10.78.0.11"}), clock)


def times(network: MemoryNetwork, address: ServiceAddress) -> list[float]:
    return [round(at, 3) for at, _, ip in network.rounds if ip == address.ip]


async def test_an_address_that_came_up_is_announced_at_once_and_again() -> None:
    clock, network, announcer = world()
    announcer.up(VOL1)
    await clock.advance(10)
    assert times(network, VOL1) == [0.0, 0.1, 0.3, 1.0, 3.0]


async def test_an_address_that_leaves_is_not_announced_any_more() -> None:
    clock, network, announcer = world()
    announcer.up(VOL1)
    announcer.up(VOL2)
    await clock.advance(0.2)
    announcer.down(VOL1)
    announcer.again()
    await clock.advance(10)
    assert times(network, VOL1) == [0.0, 0.1]
    assert times(network, VOL2) == [0.0, 0.1, 0.2, 0.3, 0.5, 1.2, 3.2]


async def test_after_a_partition_all_are_announced_again() -> None:
    clock, network, announcer = world()
    announcer.up(VOL1)
    await clock.advance(100)
    announcer.again()
    await clock.advance(100)
    assert times(network, VOL1)[5:] == [100.0, 100.1, 100.3, 101.0, 103.0]


async def test_a_failing_round_does_not_end_the_others() -> None:
    clock, network, announcer = world()
    network.cut.add(("n1", "public"))
    announcer.up(VOL1)
    await clock.advance(0.5)
    network.cut.clear()
    await clock.advance(10)
    assert times(network, VOL1) == [1.0, 3.0]
    await announcer.close()
