"""What every Addresses promises; the same tests run on real interfaces in namespaces (root) and in memory."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from holdfast.clock import ManualClock
from holdfast.core.model import ServiceAddress
from holdfast.errors import DriverError, InvalidInput
from holdfast.net.memory import MemoryAddresses, MemoryNetwork, hardware_of
from holdfast.ports import Addresses
from lan import Client, Lan

HANG_S = 90.0
PREFIXES = ("10.78.0.0/24", "fd78::/64")


class World:
    """Two nodes n1 and n2 and a client on the network `public`."""

    def agent(self, node: str) -> Addresses:
        """The addresses of a node, as an agent sees them that has just started."""
        raise NotImplementedError

    def mac(self, node: str) -> str:
        raise NotImplementedError

    def serve(self, ip: str) -> None:
        """Both nodes listen on the address from now on, whether it is there or not."""

    async def who(self, ip: str) -> str:
        """The node that answers the client, "" if none does."""
        raise NotImplementedError

    async def finds(self, ip: str, node: str) -> bool:
        """Whether the node answers the client, as soon as a client can notice."""
        return await self.who(ip) == node

    async def elapse(self, seconds: float) -> None:
        raise NotImplementedError

    def cable(self, node: str, state: str) -> None:
        raise NotImplementedError

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return


class MemoryWorld(World):
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.network = MemoryNetwork(self.clock, {"public": PREFIXES})

    def agent(self, node: str) -> Addresses:
        return MemoryAddresses(self.network, node, {"public": {"n1": "10.78.0.11", "n2": "10.78.0.12"}[node]})

    def mac(self, node: str) -> str:
        return hardware_of(node)

    async def who(self, ip: str) -> str:
        return self.network.reach(ip, "public")

    async def elapse(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def cable(self, node: str, state: str) -> None:
        (self.network.cut.add if state == "down" else self.network.cut.discard)((node, "public"))


class KernelWorld(World):
    def __init__(self) -> None:
        self.lan = Lan()

    async def open(self) -> None:
        await self.lan.up()
        self.client = Client(self.lan.hosts["client"])

    def agent(self, node: str) -> Addresses:
        return self.lan.hosts[node].agent()

    def mac(self, node: str) -> str:
        return self.lan.hosts[node].mac

    def serve(self, ip: str) -> None:
        for node in ("n1", "n2"):
            self.lan.hosts[node].echo(ip)

    async def who(self, ip: str) -> str:
        return await self.client.ask(ip)

    async def finds(self, ip: str, node: str) -> bool:
        return await self.client.finds(ip, node)

    async def elapse(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cable(self, node: str, state: str) -> None:
        self.lan.cable(self.lan.hosts[node], state)

    async def close(self) -> None:
        await self.lan.close_agents()
        self.lan.down()


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.lab)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "kernel" and os.geteuid() != 0:
        pytest.skip("needs root")
    made: World = MemoryWorld() if request.param == "memory" else KernelWorld()
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture(params=["10.78.0.101", "fd78::101"])
def address(request: pytest.FixtureRequest, world: World) -> ServiceAddress:
    return ServiceAddress(request.param, "public")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + HANG_S
    while not await condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.02)


async def test_an_added_address_answers_until_it_is_removed(world: World, address: ServiceAddress) -> None:
    world.serve(address.ip)
    agent = world.agent("n1")
    assert await agent.present() == []
    assert await world.who(address.ip) == ""
    for _ in range(3):
        await agent.add(address, 60)
    assert await agent.present() == [address.ip]
    await agent.announce(address)
    assert await world.finds(address.ip, "n1")
    for _ in range(2):
        await agent.remove(address)
    assert await agent.present() == []
    assert await world.who(address.ip) == ""


async def test_the_next_agent_finds_and_removes_what_is_left(world: World, address: ServiceAddress) -> None:
    await world.agent("n1").add(address, 60)
    successor = world.agent("n1")
    assert await successor.present() == [address.ip]
    assert await world.agent("n2").present() == []
    await successor.remove(address)
    assert await successor.present() == []


async def test_a_client_follows_an_announced_move(world: World, address: ServiceAddress) -> None:
    world.serve(address.ip)
    agents = {node: world.agent(node) for node in ("n1", "n2")}
    await agents["n1"].add(address, 60)
    await agents["n1"].announce(address)
    assert await world.finds(address.ip, "n1")
    for giver, taker in (("n1", "n2"), ("n2", "n1"), ("n1", "n2")):
        await agents[giver].remove(address)
        await agents[taker].add(address, 60)
        await agents[taker].announce(address)
        assert await world.finds(address.ip, taker)


async def test_a_probe_finds_another_owner_and_not_oneself(world: World, address: ServiceAddress) -> None:
    first, second = world.agent("n1"), world.agent("n2")
    assert await first.probe(address) == ""
    await first.add(address, 60)
    assert await second.probe(address) == world.mac("n1")
    assert await first.probe(address) == ""
    await first.remove(address)
    assert await second.probe(address) == ""


async def test_who_has_an_address_finds_another_who_has_it_too(world: World, address: ServiceAddress) -> None:
    """What an agent asks of the addresses that are on its node (agent/report.py)."""
    first, second = world.agent("n1"), world.agent("n2")
    await first.add(address, 60)
    assert await first.probe(address) == ""
    await second.add(address, 60)
    assert await first.probe(address) == world.mac("n2")
    assert await second.probe(address) == world.mac("n1")
    await second.remove(address)
    assert await first.probe(address) == ""


async def test_a_muted_address_is_silent_and_stays(world: World, address: ServiceAddress) -> None:
    world.serve(address.ip)
    agent = world.agent("n1")
    await agent.add(address, 60)
    await agent.announce(address)
    assert await world.finds(address.ip, "n1")
    for _ in range(2):
        await agent.mute(address)
    assert await world.who(address.ip) == ""
    assert await agent.present() == [address.ip]
    for _ in range(2):
        await agent.unmute(address)
    await agent.announce(address)
    assert await world.finds(address.ip, "n1")


async def test_removing_undoes_the_mute(world: World, address: ServiceAddress) -> None:
    world.serve(address.ip)
    agent = world.agent("n1")
    await agent.add(address, 60)
    await agent.mute(address)
    await agent.remove(address)
    await agent.add(address, 60)
    await agent.announce(address)
    assert await world.finds(address.ip, "n1")


async def test_without_a_renewal_the_address_vanishes(world: World, address: ServiceAddress) -> None:
    agent = world.agent("n1")
    kept = ServiceAddress("10.78.0.102", "public")
    await agent.add(address, 1)
    await agent.add(kept, 1)

    async def only_the_renewed_one_is_left() -> bool:
        await world.elapse(0.3)
        await agent.add(kept, 3)
        return await agent.present() == [kept.ip]

    await until(only_the_renewed_one_is_left)


async def test_what_does_not_fit_the_network_is_refused(world: World) -> None:
    agent = world.agent("n1")
    for wrong in (
        ServiceAddress("10.78.0.101", "storage"),
        ServiceAddress("10.79.0.101", "public"),
        ServiceAddress("fd79::101", "public"),
        ServiceAddress("10.78.0.11", "public"),
        ServiceAddress("10.78.0.101/24", "public"),
        ServiceAddress("nonsense", "public"),
    ):
        for call in (agent.probe(wrong), agent.add(wrong, 60)):
            with pytest.raises(InvalidInput) as caught:
                await call
            assert caught.value.advice
    assert await agent.present() == []


async def test_a_link_that_is_down_is_an_error(world: World, address: ServiceAddress) -> None:
    agent = world.agent("n1")
    world.cable("n1", "down")
    for call in (agent.probe(address), agent.add(address, 60), agent.announce(address)):
        with pytest.raises(DriverError):
            await call
    assert await agent.present() == []
    world.cable("n1", "up")

    async def works() -> bool:
        try:
            await agent.add(address, 60)
        except DriverError:  # the kernel reports the carrier a moment later
            return False
        return await agent.present() == [address.ip]

    await until(works)
