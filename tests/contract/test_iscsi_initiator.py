"""The user-space iSCSI client against real tgtd daemons on loopback: two daemons over the same files stand for two nodes.

Access states of paths, which tgt has not, and the journal: test_iscsi_journal.py.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import tgt_daemon
from tgt_daemon import HANG_S, INITIATOR, TARGET, WWID, TgtNode, until

from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.initiator import NoSuchUnit, open_path
from holdfast.services.iscsi.multipath import MultipathClient, NoPath, Timing, WrongUnit
from holdfast.services.iscsi.scsi import STATUS_RESERVATION_CONFLICT, Capacity, ReservationType, Reserve, ScsiError
from holdfast.services.iscsi.session import Chap, Login, LoginRefused, PathLost

pytestmark = pytest.mark.skipif(bool(tgt_daemon.available()), reason=tgt_daemon.available())
LOGIN = Login(TARGET, INITIATOR)
QUICK = Timing(patience=HANG_S, check=0.1, retry=0.02)
BLOCKS = 8
DISK_BYTES = 4 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(DISK_BYTES))
    return path


@pytest.fixture
def one(tmp_path: Path, disk: Path) -> Iterator[TgtNode]:
    with tgt_daemon.nodes(TgtNode("127.0.0.2", tmp_path / "n1", {1: (disk, WWID)})) as (node,):
        yield node


@pytest.fixture
def two(tmp_path: Path, disk: Path) -> Iterator[tuple[TgtNode, ...]]:
    made = (TgtNode(f"127.0.0.{n}", tmp_path / f"n{n}", {1: (disk, WWID)}) for n in (2, 3))
    with tgt_daemon.nodes(*made) as both:
        yield both


@asynccontextmanager
async def both_paths(nodes: tuple[TgtNode, ...], timing: Timing = QUICK) -> AsyncIterator[MultipathClient]:
    async with asyncio.timeout(HANG_S):
        async with MultipathClient([node.portal for node in nodes], LOGIN, 1, timing=timing) as client:
            yield client


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def page(text: bytes) -> bytes:
    return text.ljust(BLOCKS * 512, b".")


# --- one path -----------------------------------------------------------------------------------------------------------


async def test_a_disk_says_who_it_is_and_keeps_what_is_written(one: TgtNode, disk: Path) -> None:
    async with open_path(one.portal, LOGIN, 1) as path:
        about, identity = await path.inquiry(), await path.identify()
        assert (about.vendor, about.tpgs) == ("HOLDFAST", 0)
        assert (identity.wwid, identity.serial) == (f"3{WWID}", "sn1")
        assert await path.capacity() == Capacity(DISK_BYTES // 512, 512)
        assert path.attentions == [(0x29, 0x00)], "the target's power-on is told once, and is no error"
        await path.test_unit_ready()
        await path.write(16, page(b"first"), 512, fua=True)
        assert await path.read(16, BLOCKS, 512) == page(b"first") == disk.read_bytes()[8192:12288]
        await path.synchronize_cache()
        assert (await path.caching()).fua


async def test_large_and_concurrent_commands(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 1, timeout_s=HANG_S) as path:
        whole = os.urandom(1 << 20)
        await path.write(0, whole, 512)
        assert await path.read(0, 2048, 512) == whole
        await asyncio.gather(*(path.write(n * BLOCKS, page(b"%d" % n), 512) for n in range(200)))
        found = await asyncio.gather(*(path.read(n * BLOCKS, BLOCKS, 512) for n in range(200)))
        assert found == [page(b"%d" % n) for n in range(200)]


async def test_errors_of_the_unit_have_their_numbers(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 1) as path:
        with pytest.raises(ScsiError, match="5/21/00") as beyond:
            await path.read(1 << 40, 1, 512)
        assert (beyond.value.key, beyond.value.asc, beyond.value.ascq) == (5, 0x21, 0)
        with pytest.raises(ScsiError):
            await path.port_groups()
        await path.test_unit_ready()


async def test_a_number_without_a_unit(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 7) as path:
        with pytest.raises(NoSuchUnit, match="LUN 7"):
            await path.identify()
        with pytest.raises(ScsiError) as refused:
            await path.test_unit_ready()
        assert refused.value.not_this_path


async def test_wrong_target_and_nobody_there(one: TgtNode) -> None:
    with pytest.raises(LoginRefused, match="not found") as refused:
        async with open_path(one.portal, Login(f"{TARGET}x", INITIATOR), 1):
            pass
    assert (refused.value.status_class, refused.value.status_detail) == (2, 3)
    one.kill()
    with pytest.raises(PathLost, match="refused"):
        async with open_path(one.portal, LOGIN, 1):
            pass


async def test_only_those_on_the_list_may_log_in(tmp_path: Path, disk: Path) -> None:
    with tgt_daemon.nodes(TgtNode("127.0.0.2", tmp_path / "n1", {1: (disk, WWID)}, initiators=(INITIATOR,))) as (node,):
        async with open_path(node.portal, LOGIN, 1) as path:
            await path.test_unit_ready()
        with pytest.raises(LoginRefused) as refused:
            async with open_path(node.portal, Login(TARGET, f"{INITIATOR}x"), 1):
                pass
        assert refused.value.status_class == 2


ACCOUNT, OUTGOING = ("client", "secret-of-client"), ("target", "secret-of-target")


@pytest.mark.parametrize(
    ("chap", "target_chap", "fits"),
    [
        (Chap(*ACCOUNT), None, True),
        (Chap(*ACCOUNT), Chap(*OUTGOING), True),
        (None, None, False),
        (Chap("client", "something-else-1"), None, False),
        (Chap("somebody", ACCOUNT[1]), None, False),
        (Chap(*ACCOUNT), Chap("target", "something-else-2"), False),
    ],
    ids=["right", "both right", "none", "wrong secret", "wrong user", "the target knows another secret"],
)
async def test_chap(tmp_path: Path, disk: Path, chap: Chap | None, target_chap: Chap | None, fits: bool) -> None:
    node = TgtNode("127.0.0.2", tmp_path / "n1", {1: (disk, WWID)}, account=ACCOUNT, outgoing=OUTGOING)
    with tgt_daemon.nodes(node):
        login = Login(TARGET, INITIATOR, chap, target_chap)
        if fits:
            async with open_path(node.portal, login, 1) as path:
                await path.test_unit_ready()
        else:
            with pytest.raises(LoginRefused):
                async with open_path(node.portal, login, 1):
                    pass


async def test_persistent_reservations(one: TgtNode) -> None:
    async with (
        open_path(one.portal, LOGIN, 1) as ours,
        open_path(one.portal, Login(TARGET, f"{INITIATOR}2"), 1) as theirs,
    ):
        await ours.reserve(Reserve.REGISTER, new_key=0xA)
        await theirs.reserve(Reserve.REGISTER, new_key=0xB)
        await ours.reserve(Reserve.RESERVE, key=0xA, kind=ReservationType.WRITE_EXCLUSIVE)
        assert sorted(await theirs.reservation_keys()) == [0xA, 0xB]
        assert await theirs.reservation() == scsi.Reservation(0xA, ReservationType.WRITE_EXCLUSIVE)
        with pytest.raises(ScsiError, match="reservation conflict") as conflict:
            await theirs.write(0, page(b"theirs"), 512)
        assert conflict.value.status == STATUS_RESERVATION_CONFLICT and not conflict.value.not_this_path
        await theirs.read(0, BLOCKS, 512)
        await theirs.reserve(Reserve.PREEMPT, key=0xB, new_key=0xA, kind=ReservationType.WRITE_EXCLUSIVE)
        await theirs.write(0, page(b"theirs"), 512)
        await theirs.reserve(Reserve.CLEAR, key=0xB)
        assert await theirs.reservation_keys() == [] and await theirs.reservation() is None


async def test_a_daemon_killed_in_mid_write_ends_every_command_with_path_lost(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 1, timeout_s=HANG_S) as path:
        await path.test_unit_ready()
        one.freeze()
        writes = [asyncio.create_task(path.write(n * BLOCKS, page(b"%d" % n), 512)) for n in range(20)]
        await asyncio.sleep(0)
        one.kill()
        ended = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(error, PathLost) for error in ended), ended
        assert path.session.problem
        with pytest.raises(PathLost):
            await path.test_unit_ready()


async def test_silence_ends_the_path(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 1, timeout_s=0.5) as path:
        await path.test_unit_ready()
        one.freeze()
        with pytest.raises(PathLost, match="not answered within"):
            await path.read(0, 1, 512)
        with pytest.raises(PathLost, match="not answered within"):
            async with open_path(one.portal, LOGIN, 1, timeout_s=0.2):
                pass


async def test_a_command_nobody_waits_for_any_more_harms_nobody(one: TgtNode) -> None:
    async with open_path(one.portal, LOGIN, 1, timeout_s=HANG_S) as path:
        await path.test_unit_ready()
        one.freeze()
        write = asyncio.create_task(path.write(0, page(b"late"), 512))
        await asyncio.sleep(0)
        write.cancel()
        one.thaw()
        assert isinstance((await asyncio.gather(write, return_exceptions=True))[0], asyncio.CancelledError)
        # It was sent or it was not; what was sent is carried out.
        assert await path.read(0, BLOCKS, 512) in (page(b"late"), bytes(BLOCKS * 512))


async def test_nothing_is_left_behind(one: TgtNode) -> None:
    before = open_files()
    for _ in range(30):
        async with open_path(one.portal, LOGIN, 1) as path:
            await path.write(0, page(b"again"), 512)
        with pytest.raises(LoginRefused):
            async with open_path(one.portal, Login(f"{TARGET}x", INITIATOR), 1):
                pass
    assert open_files() == before


# --- several paths ------------------------------------------------------------------------------------------------------


async def test_the_second_path_goes_on_and_the_first_one_returns(two: tuple[TgtNode, ...]) -> None:
    first, second = two
    async with both_paths(two) as client:
        await client.write(0, page(b"a"))
        assert client.last and client.last.portal == first.portal and client.wwid == f"3{WWID}"
        first.freeze()
        write = asyncio.create_task(client.write(8, page(b"b")))
        await asyncio.sleep(0)
        first.kill()
        await write
        assert client.last.portal == second.portal and client.last.attempts > 1
        assert client.longest and client.longest.took >= client.last.took > 0
        assert await client.read(0, 2 * BLOCKS) == page(b"a") + page(b"b")
        first.start()
        await until(lambda: client.paths[0].serves)
        assert await client.read(8, BLOCKS) == page(b"b") and client.last.portal == second.portal
        second.kill()
        assert await client.read(8, BLOCKS) == page(b"b") and client.last.portal == first.portal
        assert client.switches == 2


async def test_a_frozen_daemon_is_left_after_its_time(two: tuple[TgtNode, ...]) -> None:
    async with both_paths(two, Timing(patience=HANG_S, check=0.1, answer=0.3, retry=0.02)) as client:
        await client.read(0, 1)
        two[0].freeze()
        await client.write(0, page(b"through"))
        assert client.last and client.last.portal == two[1].portal
        assert client.paths[0].problem


async def test_without_any_path_it_waits_and_goes_on(two: tuple[TgtNode, ...]) -> None:
    async with both_paths(two) as client:
        await client.write(0, page(b"before"))
        for node in two:
            node.kill()
        write = asyncio.create_task(client.write(8, page(b"after")))
        await until(lambda: not any(view.serves for view in client.paths))
        assert not write.done()
        two[1].start()
        await write
        assert await client.read(0, 2 * BLOCKS) == page(b"before") + page(b"after")


async def test_patience_ends_with_a_reason_for_each_path(two: tuple[TgtNode, ...]) -> None:
    async with both_paths(two, Timing(patience=0.5, check=0.1, retry=0.02)) as client:
        for node in two:
            node.kill()
        with pytest.raises(NoPath) as nowhere:
            await client.read(0, 1)
        assert all(node.portal in nowhere.value.message for node in two)


async def test_a_unit_that_goes_from_a_path_and_returns_costs_no_login(two: tuple[TgtNode, ...]) -> None:
    """What a standby path is with tgt."""
    async with both_paths(two) as client:
        await client.write(0, page(b"a"))
        two[0].target("--op", "delete", "--mode", "logicalunit", "--lun", "1")
        await client.write(8, page(b"b"))
        assert client.last and client.last.portal == two[1].portal
        two[0].add_disks()
        await until(lambda: client.paths[0].serves)
        two[1].target("--op", "delete", "--mode", "logicalunit", "--lun", "1")
        assert await client.read(0, 2 * BLOCKS) == page(b"a") + page(b"b")
        assert client.last.portal == two[0].portal and [view.logins for view in client.paths] == [1, 1]


async def test_an_error_of_the_unit_is_no_reason_to_go_elsewhere(two: tuple[TgtNode, ...]) -> None:
    async with both_paths(two) as client:
        with pytest.raises(ScsiError, match="5/21/00"):
            await client.read(1 << 40, 1)
        assert client.switches == 0


async def test_a_path_to_another_unit_is_refused(tmp_path: Path, two: tuple[TgtNode, ...]) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(DISK_BYTES))
    two[1].kill()
    two[1].disks = {1: (other, "600140500000000000000000000000cc")}
    two[1].start()
    with pytest.raises(WrongUnit, match="leads to 3600140500000000000000000000000"):
        async with both_paths(two):
            pass
    meant = MultipathClient([two[0].portal], LOGIN, 1, wwid="3600140500000000000000000000000cc", timing=QUICK)
    with pytest.raises(WrongUnit):
        async with meant:
            pass


async def test_a_path_that_turns_to_another_unit_is_not_used_again(tmp_path: Path, two: tuple[TgtNode, ...]) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(DISK_BYTES))
    async with both_paths(two) as client:
        await client.write(0, page(b"ours"))
        two[0].kill()
        two[0].disks = {1: (other, "600140500000000000000000000000cc")}
        two[0].start()
        await until(lambda: client.paths[0].refused)
        assert await client.read(0, BLOCKS) == page(b"ours")
        assert not client.paths[0].serves and "leads to" in client.paths[0].problem
