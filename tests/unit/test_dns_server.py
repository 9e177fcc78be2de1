"""The name server on real sockets, and the process that follows the store."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from dns_world import ADDRESSES, NAME, ZONE, desk, malformed, records
from holdfast.clock import SystemClock
from holdfast.core.dns_model import DnsRecords, Secondary, ServedZone
from holdfast.nameserver.follow import Follower
from holdfast.net.dns import server as dns_server
from holdfast.net.dns.answer import Desk
from holdfast.net.dns.book import make_book
from holdfast.net.dns.check import check_zone
from holdfast.net.dns.limit import BURST
from holdfast.net.dns.server import NameServer
from holdfast.net.dns.transfer import Notifier
from holdfast.ports import Put
from holdfast.store import codec, keys
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster

HANG_S = 60.0


def free_port() -> int:
    """Free for UDP and TCP, of both families."""
    for _ in range(50):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for family, kind, host in (
                    (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
                    (socket.AF_INET6, socket.SOCK_STREAM, "::1"),
                    (socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
                ):
                    stack.enter_context(socket.socket(family, kind)).bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(
    get: Callable[[], Desk], *, idle_s: float = 10.0, addresses: tuple[str, ...] = ("127.0.0.1", "::1")
) -> AsyncIterator[int]:
    port = free_port()
    server = NameServer(addresses, SystemClock(), get, port=port, idle_s=idle_s)
    running = asyncio.create_task(server.run())
    try:
        await until(lambda: len(server.bound) == len(addresses))
        yield port
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()


async def ask(port: int, name: str = NAME, host: str = "127.0.0.1", *, tcp: bool = False) -> set[str]:
    query = dns.message.make_query(name, "A")
    how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    answer = await how(query, host, HANG_S, port=port)
    return {str(rdata) for rrset in answer.answer for rdata in rrset}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    world = desk(many=300)
    async with serving(lambda: world) as made:
        yield made


async def test_both_transports_of_both_families(port: int) -> None:
    for host in ("127.0.0.1", "::1"):
        for tcp in (False, True):
            assert await ask(port, host=host, tcp=tcp) == set(ADDRESSES)


async def test_several_questions_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wires = [dns.message.make_query(NAME, "A", id=number).to_wire() for number in range(1, 6)]
    writer.write(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
    for number in range(1, 6):
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        assert dns.message.from_wire(await reader.readexactly(length)).id == number
    writer.close()
    await writer.wait_closed()


async def test_a_silent_connection_is_closed() -> None:
    world = desk()
    async with serving(lambda: world, idle_s=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00")
        async with asyncio.timeout(HANG_S):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_connections_of_one_network_are_counted(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(dns_server.CONNECTIONS_PER_NETWORK)]
    for reader, writer in held:
        wire = dns.message.make_query(NAME, "A").to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        await reader.readexactly(2)
    more, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(HANG_S):
        with contextlib.suppress(ConnectionResetError):
            assert await more.read() == b"", "one too many"
    assert await ask(port, host="::1", tcp=True) == set(ADDRESSES), "another network is served"
    for _, each in [*held, (more, writer)]:
        each.close()


async def test_a_flood_is_cut_off_and_others_are_served(port: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        flood.connect(("127.0.0.1", port))
        answers = 0
        for wire in (w for w in malformed(int(BURST) * 4, seed=1) if len(w) >= 12 and not w[2] & 0x80):
            flood.send(wire)
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                while flood.recv(2048):
                    answers += 1
        assert await ask(port, host="::1") == set(ADDRESSES)
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await loop.sock_recv(flood, 2048)
            except TimeoutError:
                break
            answers += 1
    assert 0 < answers < BURST * 3, "far fewer than were asked for"


async def test_an_address_that_is_taken_is_served_as_soon_as_it_is_free() -> None:
    world, port = desk(), free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        server = NameServer(("127.0.0.1", "::1"), SystemClock(), lambda: world, port=port)
        running = asyncio.create_task(server.run())
        await until(lambda: server.bound == ("::1",))
        assert await ask(port, host="::1") == set(ADDRESSES)
    await until(lambda: len(server.bound) == 2)
    assert await ask(port) == set(ADDRESSES)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.close()


async def test_the_checks_see_a_good_server_and_a_bad_one() -> None:
    own = ServedZone(ZONE, f"a@{ZONE}", 5, 5, {f"ns-n1.{ZONE}": ("127.0.0.1",)})
    published = replace(records(), zones=(own,))
    good = Desk(make_book(published), about={"status.holdfast.": "current: serial 77"})
    async with serving(lambda: good, addresses=("127.0.0.1",)) as port:
        found = await check_zone(own, published, resolver="127.0.0.1", port=port, resolver_port=port)
        ours = {one.check: one.ok for one in found if one.where.startswith("ns-n1")}
        assert ours == dict.fromkeys(
            ("authoritative", "serial", "edns", "tcp", "ns", "recursion", "records", "store"), True
        ), found
        newer = DnsRecords({NAME: ("10.9.9.9",)}, 78, "", (own,))
        bad = {one.check for one in await check_zone(own, newer, resolver="127.0.0.1", port=port) if not one.ok}
        assert {"serial", "records"} <= bad
    gone = await check_zone(own, published, resolver="127.0.0.1", port=port, resolver_port=port)
    assert [one.check for one in gone if not one.ok] == ["answers", "delegation"]


# --- following the store -------------------------------------------------------------------------------------------


class Process:
    """What one start of the name server's process has."""

    def __init__(self, cluster: MemoryCluster, file: Path, *, without_store: bool = False) -> None:
        self.faults = Faults(unavailable=without_store)
        self.store = MemoryStore(cluster, SystemClock(), faults=self.faults)
        self.follower = Follower(self.store, SystemClock(), "n1", file, lambda locked: locked, Notifier(SystemClock()))
        self.task = asyncio.create_task(self.follower.run())

    def says(self) -> str:
        return self.follower.desk.about.get("status.holdfast.", "")

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.store.close()


async def test_a_change_is_served_and_an_outage_is_survived_also_by_a_new_process(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    outside = MemoryStore(cluster, SystemClock())
    first = Process(cluster, tmp_path / "dns.json")
    async with serving(lambda: first.follower.desk, addresses=("127.0.0.1",)) as port:
        assert await ask(port) == set()
        values = {keys.DNS_RECORDS: records(5), keys.dns_secondary("x"): Secondary("x", ("192.0.2.0/24",))}
        await outside.txn([], [Put(key, codec.encode(value)) for key, value in values.items()])
        await until(lambda: "current: serial 5" in first.says() and first.follower.desk.may_transfer("192.0.2.7", None))
        assert await ask(port) == set(ADDRESSES)
        assert not first.follower.desk.may_transfer("192.0.3.7", None)
        await outside.txn([], [Put(keys.DNS_RECORDS, codec.encode(records(6, addresses=("10.78.0.62",))))])
        await until(lambda: "serial 6" in first.says())
        assert await ask(port) == {"10.78.0.62"}
        first.faults.unavailable = True
        await until(lambda: first.says() == "last known: serial 6")
        assert await ask(port) == {"10.78.0.62"}
    await first.end()
    second = Process(cluster, tmp_path / "dns.json", without_store=True)
    await until(lambda: second.says() == "last known: serial 6")
    assert second.follower.desk.may_transfer("192.0.2.7", None)
    await outside.txn([], [Put(keys.DNS_RECORDS, codec.encode(records(7)))])
    assert second.says() == "last known: serial 6"
    second.faults.unavailable = False
    await until(lambda: second.says() == "current: serial 7")
    await second.end()
    await outside.close()


async def test_a_record_of_another_version_does_not_end_it(tmp_path: Path) -> None:
    cluster = MemoryCluster()
    outside = MemoryStore(cluster, SystemClock())
    await outside.txn([], [Put(keys.DNS_RECORDS, codec.encode(records(5)))])
    process = Process(cluster, tmp_path / "dns.json")
    await until(lambda: "serial 5" in process.says())
    await outside.txn([], [Put(keys.DNS_RECORDS, b'{"names": 7}')])
    await outside.txn([], [Put(keys.DNS_RECORDS, codec.encode(records(9)))])
    await until(lambda: "serial 9" in process.says())
    await process.end()
    await outside.close()
