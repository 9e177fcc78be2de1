"""Updates and zone transfers with the name servers that people run, and what their tools see of ours."""

import asyncio
import base64
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import dns.name
import dns.tsig
import pytest
from dns_daemons import HANG_S, KEY, SECRET, ZONE, Daemon, free_port, primary, secondary

from holdfast.clock import SystemClock
from holdfast.core.dns_model import DnsRecords, Secondary, ServedZone, TsigKey
from holdfast.net.dns.answer import Desk
from holdfast.net.dns.book import make_book
from holdfast.net.dns.server import NameServer
from holdfast.net.dns.transfer import Notifier, Peer, admission, keyring, signer
from holdfast.net.dns.update import Update, UpdateFailed, push

KINDS = ("knot", "bind")
NAME = f"s3.{ZONE}"
STORED = TsigKey(KEY, SECRET)
OTHER_SECRET = base64.b64encode(b"another secret of the same length").decode()


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with primary(request.param) as daemon:
        yield daemon


def key(secret: str = SECRET, name: str = KEY) -> dns.tsig.Key:
    return signer(TsigKey(name, secret), lambda stored: stored)


def state(server: Daemon, serial: int, *addresses: str, **changes: object) -> Update:
    names = {NAME: addresses, f"*.{NAME}": addresses} if addresses else {}
    update = Update("127.0.0.1", server.port, ZONE, 5, key(), serial, names, ())
    return replace(update, **changes)  # type: ignore[arg-type]


async def ask(server: Daemon, name: str, rdtype: str = "A") -> set[str]:
    return await asyncio.to_thread(server.ask, name, rdtype)


# --- updates (RFC 2136) --------------------------------------------------------------------------------------------


async def test_a_state_replaces_the_last_one_and_touches_nothing_else(server: Daemon) -> None:
    await push(state(server, 100, "10.78.0.61", "10.78.0.62", "fd78::61"), timeout=HANG_S)
    assert await ask(server, NAME) == await ask(server, f"bucket.{NAME}") == {"10.78.0.61", "10.78.0.62"}
    assert await ask(server, NAME, "AAAA") == {"fd78::61"}
    await push(state(server, 101, "10.78.0.62"), timeout=HANG_S)
    assert (await ask(server, NAME), await ask(server, NAME, "AAAA")) == ({"10.78.0.62"}, set())
    await push(state(server, 101, "10.78.0.62"), timeout=HANG_S)
    await push(state(server, 102, forget=(NAME, f"*.{NAME}")), timeout=HANG_S)
    assert await ask(server, NAME) == set()
    assert await ask(server, f"_epoch.{ZONE}", "TXT") == {"102"}
    assert await ask(server, f"kept.{ZONE}") == {"192.0.2.7"}


async def test_an_older_state_is_not_written(server: Daemon) -> None:
    await push(state(server, 200, "10.78.0.61"), timeout=HANG_S)
    with pytest.raises(UpdateFailed, match="has the state 200 already, which is newer than 199"):
        await push(state(server, 199, "10.78.0.99"), timeout=HANG_S)
    assert await ask(server, NAME) == {"10.78.0.61"}


async def test_a_writer_that_was_paused_in_the_middle_is_refused_by_the_server(server: Daemon) -> None:
    """It had read the state, and somebody else wrote before its own update arrived."""
    await push(state(server, 300, "10.78.0.61"), timeout=HANG_S)
    async with pausing(server.port, before=2) as (port, paused, go_on):
        late = asyncio.create_task(push(replace(state(server, 301, "10.78.0.99"), port=port), timeout=HANG_S))
        async with asyncio.timeout(HANG_S):
            await paused.wait()
        await push(state(server, 302, "10.78.0.62"), timeout=HANG_S)
        go_on.set()
        with pytest.raises(UpdateFailed, match="changed by somebody else"):
            await late
    assert await ask(server, NAME) == {"10.78.0.62"}
    assert await ask(server, f"_epoch.{ZONE}", "TXT") == {"302"}


async def test_a_wrong_key_is_named(server: Daemon) -> None:
    for wrong in (key(OTHER_SECRET), key(name="unknown-key")):
        with pytest.raises(UpdateFailed, match=f"does not accept the key {wrong.name}"):
            await push(state(server, 900, "10.78.0.99", key=wrong), timeout=HANG_S)
    with pytest.raises(UpdateFailed):
        await push(state(server, 900, "10.78.0.99", zone="elsewhere.example"), timeout=HANG_S)
    assert "10.78.0.99" not in await ask(server, NAME)


async def test_a_server_that_is_away() -> None:
    with pytest.raises(UpdateFailed, match="cannot be updated"):
        await push(Update("127.0.0.1", free_port(), ZONE, 5, key(), 1, {}), timeout=HANG_S)


@contextlib.asynccontextmanager
async def pausing(port: int, *, before: int) -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A relay to the server that holds one connection, by number, until it may go on."""
    paused, go_on, count = asyncio.Event(), asyncio.Event(), 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == before:
            paused.set()
            await go_on.wait()
        there, to = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, to), _copy(there, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], paused, go_on
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


# --- secondaries ---------------------------------------------------------------------------------------------------


class Ours:
    """Our server with one secondary that signs with the key."""

    def __init__(self) -> None:
        self.port = free_port()
        self.desk = Desk()
        self.notifier = Notifier(SystemClock())
        self.server = NameServer(("127.0.0.1",), SystemClock(), lambda: self.desk, port=self.port)

    def publish(self, serial: int, *addresses: str, told: int) -> None:
        servers = {f"ns-n1.{ZONE}": ("127.0.0.1",)}
        zones = (ServedZone(ZONE, f"hostmaster@{ZONE}", 5, 5, servers),)
        many = {f"v{k}.{ZONE}": ("10.78.1.1",) for k in range(450)}  # several messages
        spec = Secondary("theirs", ("127.0.0.1",), (("127.0.0.1", told),), STORED)
        peer = Peer(spec, signer(STORED, lambda stored: stored))
        book = make_book(DnsRecords({NAME: addresses, f"*.{NAME}": addresses, **many}, serial, "", zones))
        self.desk = Desk(book, keyring([peer]), admission([peer]))
        self.notifier.tell(book, {"theirs": peer})


@pytest.fixture
async def ours() -> AsyncIterator[Ours]:
    made = Ours()
    running = asyncio.create_task(made.server.run())
    async with asyncio.timeout(HANG_S):
        while not made.server.bound:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.server.close()
    await made.notifier.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_secondary_copies_the_zone_and_is_told_of_changes(ours: Ours, kind: str) -> None:
    ours.publish(70, "10.78.0.61", told=free_port())
    with contextlib.ExitStack() as stack:
        theirs = await asyncio.to_thread(stack.enter_context, secondary(kind, ours.port))
        await has(theirs, 70)
        for serial, address in ((71, "10.78.0.62"), (72, "10.78.0.63")):
            ours.publish(serial, address, told=theirs.port)
            await has(theirs, serial)  # the zone's refresh is 60 s: it must have been told
            assert await ask(theirs, f"bucket.{NAME}") == {address}
        assert await ask(theirs, f"v449.{ZONE}") == {"10.78.1.1"}
        await asyncio.to_thread(stack.close)


async def has(server: Daemon, serial: int) -> None:
    async with asyncio.timeout(45):
        while await asyncio.to_thread(server.serial) != serial:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


# --- their tools against ours --------------------------------------------------------------------------------------


async def run(*words: str) -> str:
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=HANG_S)
    return done.stdout


async def test_dig_and_kdig(ours: Ours) -> None:
    ours.publish(70, "10.78.0.61", told=free_port())
    dig = ("dig", "@127.0.0.1", "-p", str(ours.port), "+tries=5", "+time=10")
    kdig = ("kdig", "@127.0.0.1", "-p", str(ours.port), "+retry=5", "+time=10")
    for tool in (dig, kdig):
        said = await run(*tool, NAME, "A")
        assert "status: NOERROR" in said and "10.78.0.61" in said and " aa" in said, said
        assert "10.78.0.61" in await run(*tool, "+tcp", f"x.y.{NAME}", "A")
        assert "status: NXDOMAIN" in await run(*tool, f"nobody.{ZONE}", "A")
        assert "status: REFUSED" in await run(*tool, "example.org", "A")
        assert f"ns-n1.{ZONE}" in await run(*tool, ZONE, "NS")
        signed = await run(*tool, "-y", f"hmac-sha256:{KEY}:{SECRET}", ZONE, "AXFR")
        assert signed.count("SOA") >= 2 and f"v449.{ZONE}" in signed, signed[-800:]
        assert f"v449.{ZONE}" not in await run(*tool, ZONE, "AXFR"), "without a signature"
        assert f"v449.{ZONE}" not in await run(*tool, "-y", f"hmac-sha256:{KEY}:{OTHER_SECRET}", ZONE, "AXFR")
    assert "status: BADVERS" in await run(*dig, "+edns=1", "+noednsneg", NAME, "A")
    assert "status: NOTIMP" in await run(*dig, "+opcode=status", NAME, "A")
