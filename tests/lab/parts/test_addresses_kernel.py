"""What only real interfaces can show about service addresses and datagrams. Namespaces of its own; needs root."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from holdfast.core.model import ServiceAddress
from holdfast.errors import AddressInUse
from holdfast.net.beats import UdpBus
from holdfast.net.sysctl import sysctl_arp, sysctl_nonlocal_bind
from lan import PORT, Client, Lan, inside

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HANG_S = 20.0
BOTH = pytest.mark.parametrize("ip", ["10.78.0.101", "fd78::101"])


@pytest.fixture
async def lan() -> AsyncIterator[Lan]:
    made = Lan()
    try:
        await made.up()
        yield made
    finally:
        await made.close_agents()
        made.down()


SETTINGS = {
    "ipv4/ip_nonlocal_bind": "1",
    "ipv6/ip_nonlocal_bind": "1",
    "ipv4/conf/eth0/arp_ignore": "1",
    "ipv4/conf/eth0/arp_announce": "2",
}


def public(ip: str) -> ServiceAddress:
    return ServiceAddress(ip, "public")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + HANG_S
    while not await condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)


@BOTH
async def test_without_an_announcement_the_client_stays_with_the_old_node(lan: Lan, ip: str) -> None:
    """Why announcements are needed at all, and that ours is what moves a client with a confirmed cache entry."""
    client, first, second = Client(lan.hosts["client"]), lan.hosts["n1"].agent(), lan.hosts["n2"].agent()
    for node in ("n1", "n2"):
        lan.hosts[node].echo(ip)
    await first.add(public(ip), 60)
    assert await client.finds(ip, "n1")
    await first.remove(public(ip))
    await second.add(public(ip), 60)
    assert await client.ask(ip, 0.3) == ""
    await second.announce(public(ip))
    assert await client.finds(ip, "n2")


@BOTH
async def test_the_last_announcer_wins(lan: Lan, ip: str) -> None:
    """Both have it (a healed partition): the rightful owner announces again and gets the clients back."""
    client, first, second = Client(lan.hosts["client"]), lan.hosts["n1"].agent(), lan.hosts["n2"].agent()
    for node in ("n1", "n2"):
        lan.hosts[node].echo(ip)
    await first.add(public(ip), 60)
    assert await client.finds(ip, "n1")
    await second.add(public(ip), 60)
    for agent, name in ((second, "n2"), (first, "n1"), (second, "n2")):
        await agent.announce(public(ip))
        assert await client.finds(ip, name)


@BOTH
async def test_a_killed_agent_leaves_no_address_behind(lan: Lan, ip: str) -> None:
    program = (
        "import asyncio\nfrom holdfast.net.addresses import KernelAddresses\n"
        "from holdfast.core.model import ServiceAddress\n"
        "async def main():\n    agent = KernelAddresses({'public': '10.78.0.11'})\n    while True:\n"
        f"        await agent.add(ServiceAddress({ip!r}, 'public'), 2)\n        print('renewed', flush=True)\n"
        "        await asyncio.sleep(0.5)\nasyncio.run(main())\n"
    )
    process = lan.hosts["n1"].spawn(program)
    assert process.stdout is not None
    for _ in range(6):  # beyond the first lifetime
        assert await asyncio.to_thread(process.stdout.readline) == b"renewed\n"
    observer = lan.hosts["n1"].agent()
    assert await observer.present() == [ip]
    process.kill()

    async def gone() -> bool:
        return await observer.present() == []

    await until(gone)
    assert ip not in lan.hosts["n1"].ip("address")


@BOTH
async def test_a_muted_server_sends_no_reset(lan: Lan, ip: str) -> None:
    """The point of a mute: connections freeze instead of breaking while the server stops."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    agent = lan.hosts["n1"].agent()
    await agent.add(public(ip), 60)
    loop = asyncio.get_running_loop()
    server, client = (
        lan.hosts["n1"].socket(family, socket.SOCK_STREAM),
        lan.hosts["client"].socket(family, socket.SOCK_STREAM),
    )
    late = lan.hosts["client"].socket(family, socket.SOCK_STREAM)
    with server, client, late:
        server.bind((ip, PORT))
        server.listen()
        for handle in (server, client, late):
            handle.setblocking(False)
        await asyncio.wait_for(loop.sock_connect(client, (ip, PORT)), HANG_S)
        connection, _ = await asyncio.wait_for(loop.sock_accept(server), HANG_S)
        await agent.mute(public(ip))
        connection.close()
        server.close()
        await loop.sock_sendall(client, b"still there?")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(client, 1), 0.4)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_connect(late, (ip, PORT)), 0.4)
        await agent.unmute(public(ip))
        # Now the retransmissions get through and end the connection: it was the mute that had hidden it.
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(client, 1), HANG_S) == b""


async def test_mutes_of_an_earlier_agent_are_flushed(lan: Lan) -> None:
    client, host = Client(lan.hosts["client"]), lan.hosts["n1"]
    host.echo("10.78.0.101")
    await host.agent().add(public("10.78.0.101"), 60)
    await host.agent().mute(public("10.78.0.101"))
    assert await client.ask("10.78.0.101") == ""
    await host.agent().flush()
    assert await client.finds("10.78.0.101", "n1")
    assert "holdfast" not in host.nft()


async def test_addresses_of_others_are_left_alone(lan: Lan) -> None:
    host = lan.hosts["n1"]
    host.ip("address", "add", "10.78.0.150/32", "dev", "eth0")
    agent = host.agent()
    with pytest.raises(AddressInUse):
        await agent.add(public("10.78.0.150"), 60)
    await agent.remove(public("10.78.0.150"))
    for ip in ("10.78.0.101", "fd78::101"):
        await agent.add(public(ip), 60)
    assert await host.agent().present() == ["10.78.0.101", "fd78::101"]
    await host.agent().drop_all()
    left = host.ip("address")
    assert "10.78.0.150/32" in left and "10.78.0.11/24" in left and "fd78::11/64" in left
    assert "10.78.0.101" not in left and "fd78::101" not in left


@BOTH
async def test_routes_and_own_connections_do_not_change(lan: Lan, ip: str) -> None:
    """Connections that the node opens come from its own address, even to a neighbour whose address is nearer to ours."""
    host = lan.hosts["n1"]
    before = host.ip("route") + host.ip("-6", "route")
    await host.agent().add(public(ip), 60)
    assert host.ip("route") + host.ip("-6", "route") == before
    family, near = (socket.AF_INET6, "fd78::100") if ":" in ip else (socket.AF_INET, "10.78.0.100")
    with host.socket(family, socket.SOCK_DGRAM) as handle:
        handle.connect((near, PORT))
        assert handle.getsockname()[0] in (host.ip4, host.ip6)


async def test_prepare_makes_the_node_ready(lan: Lan) -> None:
    host = lan.hosts["n1"]
    await host.agent().mute(public("10.78.0.101"))
    with inside(host.namespace):
        await host.agent().kernel.prepare()
        settings = {name: Path(f"/proc/sys/net/{name}").read_text().strip() for name in SETTINGS}
    assert settings == SETTINGS
    assert "holdfast" not in host.nft()


async def test_a_node_answers_only_where_the_address_is(lan: Lan) -> None:
    """Two interfaces on one segment: without arp_ignore the kernel also answers on the wrong one."""
    host, other = lan.hosts["n1"], lan.hosts["n2"].agent()
    lan.plug(host, "eth1", "02:00:00:99:00:01")
    host.ip("address", "add", "10.99.0.1/24", "dev", "eth1")
    await host.agent().add(public("10.78.0.101"), 60)
    with inside(host.namespace):
        for interface in ("eth0", "eth1"):
            sysctl_arp(interface)
    for _ in range(5):
        assert await other.probe(public("10.78.0.101")) == host.mac


async def test_a_server_can_listen_before_its_address_is_there(lan: Lan) -> None:
    host = lan.hosts["n1"]
    with inside(host.namespace):
        sysctl_nonlocal_bind()
    for family, ip in ((socket.AF_INET, "10.78.0.101"), (socket.AF_INET6, "fd78::101")):
        with host.socket(family, socket.SOCK_STREAM) as handle:
            handle.bind((ip, PORT))


@BOTH
async def test_a_move_is_a_short_gap_for_clients(
    lan: Lan, ip: str, record_property: Callable[[str, object], None]
) -> None:
    """Measured, not judged: the time between the last answer of the old node and the first of the new one."""
    client, agents = Client(lan.hosts["client"]), [lan.hosts["n1"].agent(), lan.hosts["n2"].agent()]
    for node in ("n1", "n2"):
        lan.hosts[node].echo(ip)
    await agents[0].add(public(ip), 60)
    await agents[0].announce(public(ip))
    gaps, steps = [], {"remove": 0.0, "add": 0.0, "announce": 0.0}
    for turn in range(6):
        old, new, name = agents[turn % 2], agents[(turn + 1) % 2], ("n2", "n1")[turn % 2]
        assert await client.ask(ip) != name
        silent_since = time.monotonic()
        for step, call in (
            ("remove", old.remove(public(ip))),
            ("add", new.add(public(ip), 60)),
            ("announce", new.announce(public(ip))),
        ):
            begin = time.monotonic()
            await call
            steps[step] = max(steps[step], time.monotonic() - begin)
        while await client.ask(ip, 0.02) != name:
            assert time.monotonic() < silent_since + HANG_S
        gaps.append((time.monotonic() - silent_since) * 1000)
    record_property("gap_ms", gaps)
    print(
        f"{ip}: client gap ms {[round(gap, 1) for gap in gaps]}, slowest ms",
        {k: round(v * 1000, 2) for k, v in steps.items()},
    )


@pytest.mark.parametrize("version", [4, 6])
async def test_datagrams_between_nodes(lan: Lan, version: int) -> None:
    def own(name: str) -> str:
        return lan.hosts[name].ip4 if version == 4 else lan.hosts[name].ip6

    buses: dict[str, UdpBus] = {}
    heard: dict[str, list[tuple[bytes, str, str]]] = {"n1": [], "n2": []}
    for name in ("n1", "n2"):
        with inside(lan.hosts[name].namespace):
            buses[name] = UdpBus(name, b"k" * 32, 1, [own(name)], 7410)
            buses[name].on_receive(lambda *heard_of, me=name: heard[me].append(heard_of))
            buses[name].open()

    async def arrives(sender: str, receiver: str) -> bool:
        buses[sender].send(b"x", own(receiver), 7410)
        await asyncio.sleep(0.02)
        return (b"x", sender, own(sender)) in heard[receiver]

    try:
        for pair in (("n1", "n2"), ("n2", "n1"), ("n1", "n1")):
            await until(partial(arrives, *pair))
        lan.hosts["n1"].ip("link", "set", "eth0", "down")
        buses["n1"].send(b"nobody hears this", own("n2"), 7410)
        assert buses["n1"].stats.not_sent >= 1
        lan.hosts["n1"].ip("link", "set", "eth0", "up")
        if version == 6:  # the kernel drops IPv6 addresses with the link
            lan.hosts["n1"].ip("address", "add", f"{own('n1')}/64", "dev", "eth0", "nodad")
        heard["n2"].clear()
        await until(lambda: arrives("n1", "n2"))
    finally:
        for bus in buses.values():
            bus.close()


async def test_datagrams_do_not_take_another_network(lan: Lan) -> None:
    """A beat for the public network must not arrive by another interface, or the loss of the network could not be seen."""
    for name, last in (("n1", 11), ("n2", 12)):
        host = lan.hosts[name]
        lan.plug(host, "eth1", f"02:00:00:99:00:{last:02x}")
        host.ip("address", "add", f"10.99.0.{last}/24", "dev", "eth1")
        with inside(host.namespace):
            for interface in ("eth0", "eth1"):
                sysctl_arp(interface)
    heard: list[bytes] = []
    with inside(lan.hosts["n1"].namespace):
        sender = UdpBus("n1", b"k" * 32, 1, ["10.78.0.11", "10.99.0.11"], 7410)
        sender.open()
    with inside(lan.hosts["n2"].namespace):
        receiver = UdpBus("n2", b"k" * 32, 1, ["10.78.0.12", "10.99.0.12"], 7410)
        receiver.on_receive(lambda payload, _sender, _source: heard.append(payload))
        receiver.open()

    async def arrives(address: str) -> bool:
        sender.send(address.encode(), address, 7410)
        await asyncio.sleep(0.02)
        return address.encode() in heard

    try:
        await until(lambda: arrives("10.78.0.12"))
        await until(lambda: arrives("10.99.0.12"))
        # The wrong way exists: routing would send it through eth1.
        lan.hosts["n1"].ip("route", "add", "10.78.0.12/32", "via", "10.99.0.12", "dev", "eth1")
        lan.cable(lan.hosts["n1"], "down")
        heard.clear()
        for _ in range(5):
            assert not await arrives("10.78.0.12")
        assert await arrives("10.99.0.12")
    finally:
        sender.close()
        receiver.close()
