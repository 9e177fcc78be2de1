"""Who is connected, who was, and whom a server may forget."""

import asyncio
import ipaddress
import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.errors import DriverError
from holdfast.services.nfs import clients, recovery, tcp
from holdfast.services.nfs.clients import ABSENT_S, KEEP_FORMER_S, ClientMemory
from holdfast.services.nfs.tcp import Peer
from holdfast.services.storage import MARKER, SharedStorage

A, B = Peer("10.0.0.1", 700), Peer("10.0.0.2", 800)

PROC_TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 65004E0A:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 65004E0A:0801 C8004E0A:02BC 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
"""
PROC_TCP6 = """  sl  local_address                         remote_address                        st tx_queue
   0: 0000000000000000FFFF000065004E0A:0801 0000000000000000FFFF0000C8004E0A:02BD 01 00000000:00000000 00:0
   1: 000078FD000000000000000001010000:0801 000078FD000000000000000000020000:02BE 01 00000000:00000000 00:0
"""


def test_the_kernels_tables() -> None:
    if struct.pack("=H", 1) != b"\1\0":
        pytest.skip("the sample is of a little-endian machine")
    listen, four = tcp.parse(PROC_TCP)
    assert (listen.local, listen.state) == (Peer("10.78.0.101", 2049), tcp.LISTEN)
    assert (four.remote, four.state) == (Peer("10.78.0.200", 700), tcp.ESTABLISHED)
    mapped, six = tcp.parse(PROC_TCP6)
    assert (mapped.local, mapped.remote) == (Peer("10.78.0.101", 2049), Peer("10.78.0.200", 701))
    assert six.local == Peer("fd78::101", 2049)


def test_a_listener_is_seen_at_its_own_address_only() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not tcp.listening("127.0.0.1", port)
        server.listen()
        assert tcp.listening("127.0.0.1", port)
        assert not tcp.listening("127.0.0.2", port)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(1, 65535), st.integers(1, 65535))
def test_a_tickle_has_a_right_checksum(
    source: ipaddress.IPv4Address, target: ipaddress.IPv4Address, source_port: int, target_port: int
) -> None:
    segment = tcp.ack(source.packed, source_port, target.packed, target_port, checksum=True)
    pseudo = source.packed + target.packed + struct.pack(">BBH", 0, 6, len(segment)) + segment
    total = sum(struct.unpack(f">{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert struct.unpack_from(">HHII", segment) == (source_port, target_port, 0, 0)


def test_clients_survive_the_file_and_damage_is_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    assert clients.load(file) == frozenset()
    clients.save(file, {A, B})
    assert clients.load(file) == {A, B}
    assert list(tmp_path.iterdir()) == [file]
    file.write_bytes(b'{"clients": [["10.0')
    assert clients.load(file) == frozenset()


def test_former_clients_are_kept_until_they_are_back_or_time_is_up() -> None:
    memory = ClientMemory()
    memory.adopt_former(frozenset({A, B}), 100.0)
    assert memory.waiting(frozenset()) == {A, B}
    back = Peer(A.ip, 701)
    assert memory.waiting(frozenset({back})) == {B}
    assert memory.look(frozenset({back}), 101.0) == {back, B}
    assert memory.look(frozenset({back}), 100.0 + KEEP_FORMER_S) == {back}


def watch(memory: ClientMemory, connected: set[Peer], begin: float, seconds: float) -> float:
    for i in range(int(seconds) + 1):
        memory.look(frozenset(connected), begin + i)
    return begin + int(seconds)


def test_only_clients_watched_to_be_absent_are_forgotten() -> None:
    memory = ClientMemory()
    at = watch(memory, {A, B}, 100.0, 5)
    assert memory.absent({A.ip, B.ip, "10.0.0.9"}) == set()
    at = watch(memory, {A}, at, ABSENT_S - 2)
    assert memory.absent({A.ip, B.ip}) == set()
    at = watch(memory, {A}, at, 5)
    assert memory.absent({A.ip, B.ip, "10.0.0.9"}) == {B.ip, "10.0.0.9"}
    assert memory.absent({A.ip}) == set()


def test_a_gap_in_watching_begins_it_anew() -> None:
    memory = ClientMemory()
    at = watch(memory, {A}, 100.0, ABSENT_S + 5)
    assert memory.absent({B.ip}) == {B.ip}
    memory.look(frozenset(), at + 20.0)
    assert memory.absent({A.ip, B.ip}) == set()


def make_records(root: Path, directory: str, *names: str) -> None:
    for name in names:
        (root / "v4recov" / directory / name / "rest-of-a-long-name").mkdir(parents=True)


def names(root: Path, directory: str) -> set[str]:
    return {path.name for path in (root / "v4recov" / directory).iterdir()}


PROBE = "::ffff:10.0.0.9-(22:holdfast-probe-host-77)"
FOUR = "::ffff:10.0.0.1-(30:Linux NFSv4.2 client)"
SIX = "fd78::2-(5:abcde)"


def test_recovery_directory_before_a_start(tmp_path: Path) -> None:
    make_records(tmp_path, "node1.aaaaaa", PROBE, FOUR, SIX)
    make_records(tmp_path, "node1.orphan", FOUR)
    (tmp_path / "v4recov" / "node1").symlink_to("node1.aaaaaa")
    assert recovery.recorded_clients(tmp_path) == {"10.0.0.1", "fd78::2"}
    recovery.tidy_before_start(tmp_path)
    assert names(tmp_path, "node1.aaaaaa") == {FOUR, SIX}
    assert not (tmp_path / "v4recov" / "node1.orphan").exists()


def test_without_a_link_nothing_is_known_to_be_an_orphan(tmp_path: Path) -> None:
    make_records(tmp_path, "node1.aaaaaa", FOUR)
    recovery.tidy_before_start(tmp_path)
    recovery.tidy_before_start(tmp_path / "not-there")
    assert names(tmp_path, "node1.aaaaaa") == {FOUR}


def test_forget_removes_exactly_the_named_clients(tmp_path: Path) -> None:
    make_records(tmp_path, "node1.aaaaaa", PROBE, FOUR, SIX, "strange")
    recovery.forget(tmp_path, {"10.0.0.1", "10.0.0.9"}, set)
    assert names(tmp_path, "node1.aaaaaa") == {PROBE, SIX, "strange"}
    assert {path.name for path in tmp_path.iterdir()} == {"v4recov"}


def test_a_client_that_returns_meanwhile_keeps_its_record(tmp_path: Path) -> None:
    make_records(tmp_path, "node1.aaaaaa", FOUR, SIX)
    before = sorted(tmp_path.rglob("*"))

    def returned() -> set[str]:
        assert names(tmp_path, "node1.aaaaaa") == set()
        make_records(tmp_path, "node1.aaaaaa", SIX)  # the server made a new one for this client
        return {"10.0.0.1", "fd78::2"}

    recovery.forget(tmp_path, {"10.0.0.1", "fd78::2"}, returned)
    assert sorted(tmp_path.rglob("*")) == before


async def test_a_hung_storage_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    storage = SharedStorage(str(tmp_path), SystemClock())
    release = threading.Event()
    with pytest.raises(DriverError, match="hangs"):
        await storage.run(release.wait, timeout=0.05, what="a test")
    with pytest.raises(DriverError, match="hangs"):
        await storage.run(lambda: None, timeout=5, what="more work while it is stuck")
    release.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await storage.run(lambda: 7, timeout=5, what="work after it came back") == 7
                break
            except DriverError:
                await asyncio.sleep(0.01)


async def test_storage_that_is_not_mounted_is_not_served(tmp_path: Path) -> None:
    storage = SharedStorage(str(tmp_path / "empty"), SystemClock())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DriverError, match="not mounted"):
        await storage.check(timeout=5)
    (tmp_path / "empty" / MARKER).touch()
    await storage.check(timeout=5)
    assert [path.name for path in (tmp_path / "empty").iterdir()] == [MARKER]


async def test_storage_errors_are_named(tmp_path: Path) -> None:
    storage = SharedStorage(str(tmp_path), SystemClock())
    with pytest.raises(DriverError, match="reading failed"):
        await storage.run((tmp_path / "missing").read_text, timeout=5, what="reading")
