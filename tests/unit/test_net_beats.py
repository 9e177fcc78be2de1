"""Datagrams: what is accepted, what is refused and counted, and what never raises. On loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.clock import ManualClock
from holdfast.errors import ConfigError, DriverError, InvalidInput
from holdfast.net.beat_keys import BeatKeys, KeyFile
from holdfast.net.beats import MAX_BYTES, UdpBus, next_session
from holdfast.ports import DatagramBus

KEY = b"k" * 32
HANG_S = 10.0


class Party:
    """A bus with what it heard, and a way to see raw datagrams."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        key: bytes | BeatKeys = KEY,
        session: int = 1,
        clock: ManualClock | None = None,
    ):
        self.address = address
        self.bus = UdpBus(name, key, session, [address], 0, clock)
        self.heard: list[tuple[bytes, str, str]] = []
        self.bus.on_receive(lambda payload, sender, source: self.heard.append((payload, sender, source)))
        self.bus.open()
        self.port = self.bus.ports[address]

    def tell(self, other: "Party", payload: bytes) -> None:
        self.bus.send(payload, other.address, other.port)


class Tap:
    """A socket that stands in the receiver's place and hands datagrams on, changed or late."""

    def __init__(self, victim: Party):
        self.victim = victim

    def sealed(self, sender: Party, payload: bytes) -> bytes:
        """A datagram of `sender` for the victim, intercepted on its way."""
        return sender.bus.seal(payload, self.victim.address, self.victim.port)

    def deliver(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(datagram, (self.victim.address, self.victim.port))


@pytest.fixture
async def party() -> AsyncIterator[Callable[..., Party]]:
    made: list[Party] = []

    def make(name: str, address: str = "127.0.0.1", **more: object) -> Party:
        made.append(Party(name, address, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.bus.close()


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_datagram_arrives_with_its_sender(party: Callable[..., Party], address: str) -> None:
    a, b = party("n1", address), party("n2", address)
    port: DatagramBus = a.bus
    port.send(b"hello", address, b.port)
    await until(lambda: b.heard != [])
    assert b.heard == [(b"hello", "n1", address)]
    assert b.bus.stats.received == 1 and a.bus.stats.sent == 1


async def test_a_node_hears_itself(party: Callable[..., Party]) -> None:
    a = party("n1")
    a.tell(a, b"to me")
    await until(lambda: a.heard != [])


async def test_another_key_another_destination_and_noise_are_counted_and_dropped(party: Callable[..., Party]) -> None:
    a, b, c, other = party("n1"), party("n2"), party("n3"), party("n4", key=b"x" * 32)
    tap = Tap(b)
    tap.deliver(tap.sealed(other, b"forged"))
    tap.deliver(Tap(c).sealed(a, b"meant for somebody else"))
    good = tap.sealed(a, b"x" * 20)
    tap.deliver(good[:-20] + b"y" + good[-19:])
    for noise in (b"", b"x", b"\x01" * 40, b"\x02" + good[1:], bytes(MAX_BYTES + 500)):
        tap.deliver(noise)
    tap.deliver(good)
    await until(lambda: b.heard != [])
    assert [payload for payload, _, _ in b.heard] == [b"x" * 20]
    assert b.bus.stats.forged == 3 and b.bus.stats.malformed == 5


async def test_a_datagram_counts_once(party: Callable[..., Party]) -> None:
    a, b = party("n1"), party("n2")
    tap = Tap(b)
    first, second = tap.sealed(a, b"1"), tap.sealed(a, b"2")
    for datagram in (second, first, first, second):
        tap.deliver(datagram)
    await until(lambda: b.bus.stats.replayed == 2)
    assert [payload for payload, _, _ in b.heard] == [b"2", b"1"]


async def test_a_withheld_datagram_is_worthless_after_two_seconds(party: Callable[..., Party]) -> None:
    clock = ManualClock()
    a, b = party("n1", clock=clock), party("n2", clock=clock)
    tap = Tap(b)
    a.tell(b, b"usual")
    withheld = tap.sealed(a, b"withheld")
    await until(lambda: len(b.heard) == 1)
    await clock.advance(3)
    tap.deliver(withheld)
    await until(lambda: b.bus.stats.stale == 1)
    a.tell(b, b"still usual")
    await until(lambda: len(b.heard) == 2)


async def test_an_older_session_is_refused(party: Callable[..., Party]) -> None:
    old, new, b = party("n1", session=5), party("n1", session=6), party("n2")
    old.tell(b, b"old")
    await until(lambda: len(b.heard) == 1)
    new.tell(b, b"new")
    await until(lambda: len(b.heard) == 2)
    old.tell(b, b"old again")
    await until(lambda: b.bus.stats.old_session == 1)


async def test_sending_never_raises(party: Callable[..., Party]) -> None:
    a = party("n1")
    a.bus.send(b"x", "fd77::1", 7410)
    a.bus.send(b"x", "nonsense", 7410)
    a.bus.send(b"x" * MAX_BYTES, "127.0.0.1", 7410)
    a.bus.send(b"x", "255.255.255.255", 7410)
    a.bus.close()
    a.bus.send(b"x", "127.0.0.1", 7410)
    assert a.bus.stats.not_sent == 5


async def test_a_failing_handler_does_not_stop_the_listener(party: Callable[..., Party]) -> None:
    a, b = party("n1"), party("n2")

    def fail(_payload: bytes, _sender: str, _source: str) -> None:
        raise RuntimeError("handler")

    b.bus.on_receive(fail)
    a.tell(b, b"1")
    a.tell(b, b"2")
    await until(lambda: len(b.heard) == 2)
    assert b.bus.stats.handler_errors == 2


async def test_a_taken_port_and_a_bad_key_are_explained(party: Callable[..., Party]) -> None:
    a = party("n1")
    with pytest.raises(DriverError, match="cannot listen"):
        UdpBus("n2", KEY, 1, ["127.0.0.1"], a.port).open()
    with pytest.raises(InvalidInput, match="16 to 64"):
        UdpBus("n2", b"short", 1, ["127.0.0.1"], 0)


async def test_an_address_may_come_later() -> None:
    bus = UdpBus("n1", KEY, 1, ["203.0.113.7", "2001:db8::7"], 0)
    bus.open()
    assert set(bus.ports) == {"203.0.113.7", "2001:db8::7"}
    bus.close()


def test_session_numbers_grow_and_survive_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "session"
    numbers = [next_session(path) for _ in range(5)]
    assert numbers == sorted(numbers) and len(set(numbers)) == 5
    path.write_text("rubbish")
    assert 0 < next_session(path) < 2**64
    assert next_session(Path("/proc/nowhere/session")) > 0


# --- the key changes ------------------------------------------------------------------------------------------------------


def key_file(where: Path, clock: ManualClock, key: bytes, before: bytes = b"") -> KeyFile:
    where.mkdir(exist_ok=True)
    (where / "beat.key").write_bytes(key)
    if before:
        (where / "beat.previous").write_bytes(before)
    return KeyFile(where / "beat.key", clock)


async def test_nobody_falls_silent_while_the_key_changes(party: Callable[..., Party], tmp_path: Path) -> None:
    """n1 has learnt the new key, n2 has not yet, then it has: each hears the other all the time."""
    clock, new = ManualClock(), b"n" * 32
    first = party("n1", clock=clock, key=key_file(tmp_path / "1", clock, new, KEY))
    keys = key_file(tmp_path / "2", clock, KEY)
    second = party("n2", clock=clock, key=keys)
    for _ in range(2):
        first.heard.clear()
        second.heard.clear()
        first.tell(second, b"hello")
        second.tell(first, b"hello")
        await until(lambda: bool(first.heard and second.heard))
        key_file(tmp_path / "2", clock, new, KEY)
        await clock.advance(2)
        assert list(keys.current()) == [new, KEY]


async def test_who_was_removed_is_not_heard_any_more(party: Callable[..., Party], tmp_path: Path) -> None:
    """It knows the former key, which the others have forgotten, and speaks in its own name or in another's."""
    clock = ManualClock()
    keys = key_file(tmp_path, clock, b"n" * 32, KEY)
    member = party("n1", clock=clock, key=keys)
    removed, liar = party("n4", clock=clock), party("n2", clock=clock)
    removed.tell(member, b"I am n4")
    await until(lambda: bool(member.heard))
    (tmp_path / "beat.previous").unlink()
    await clock.advance(2)
    removed.tell(member, b"I am n4")
    liar.tell(member, b"I am n2")
    await until(lambda: member.bus.stats.forged == 2)
    assert len(member.heard) == 1


async def test_a_key_file_that_is_damaged_later_keeps_the_last_keys(tmp_path: Path) -> None:
    clock = ManualClock()
    keys = key_file(tmp_path, clock, KEY)
    (tmp_path / "beat.key").write_bytes(b"")
    await clock.advance(5)
    assert list(keys.current()) == [KEY]
    with pytest.raises(InvalidInput, match="0 bytes"):
        KeyFile(tmp_path / "beat.key", clock)
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyFile(tmp_path / "none", clock)
