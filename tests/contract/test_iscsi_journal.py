"""The journal finds what was deliberately lost, torn or made stale, live and at the end, and nothing where nothing is.

And the client's choice by access states, with a target of the tests' own that has them (disk_target.py).
"""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import tgt_daemon
from disk_target import TARGET, Disk, DiskTarget, serving
from tgt_daemon import HANG_S, INITIATOR, WWID, TgtNode, until

from holdfast.errors import ConfigError, InvalidInput
from holdfast.services.iscsi.initiator import open_path
from holdfast.services.iscsi.journal import BLOCK_BYTES, LOST, STALE, TORN, Journal, read_chap
from holdfast.services.iscsi.multipath import MultipathClient, Timing
from holdfast.services.iscsi.scsi import Access
from holdfast.services.iscsi.session import Chap, Login

LOGIN = Login(TARGET, INITIATOR)
QUICK = Timing(patience=HANG_S, check=0.05, retry=0.01)
BLOCK = bytes(BLOCK_BYTES)
NOTHING = {LOST: set[int](), TORN: set[int](), STALE: set[int]()}


@asynccontextmanager
async def client_of(*targets: DiskTarget, timing: Timing = QUICK) -> AsyncIterator[MultipathClient]:
    async with (
        asyncio.timeout(HANG_S),
        serving(*targets),
        MultipathClient([target.portal for target in targets], LOGIN, 1, timing=timing) as client,
    ):
        yield client


async def write(journal: Journal, count: int) -> None:
    """So many blocks, or a few more."""
    stop, ends = asyncio.Event(), journal.written + count
    writing = asyncio.create_task(journal.write(0.0005, stop))
    await until(lambda: journal.written >= ends or writing.done())
    stop.set()
    await writing


# --- the tester is tested -----------------------------------------------------------------------------------------------


async def test_where_nothing_is_wrong_nothing_is_found() -> None:
    async with client_of(DiskTarget(Disk(), 1)) as client:
        journal = Journal(client, io.StringIO(), first=3, blocks=50)
        await write(journal, 120)
        await journal.verify()
        assert journal.found == NOTHING and journal.written >= 120 and journal.read_back == journal.written // 5
        assert len(journal.acked) == 50 and journal.max_stall_s > 0


async def test_damage_is_found_at_the_end_and_has_its_name() -> None:
    disk, log = Disk(), io.StringIO()
    async with client_of(DiskTarget(disk, 1)) as client:
        journal = Journal(client, log, blocks=60)
        await write(journal, 60)
        older = bytes(disk.data)
        await write(journal, 60)
        disk.data[:] = damaged(disk.data, older)
        await journal.verify()
    assert journal.found == {LOST: set(range(20)), TORN: set(range(20, 40)), STALE: set(range(40, 60))}
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["wrong"] for line in lines if "wrong" in line} == {LOST, TORN, STALE}
    summary = journal.summary()
    assert (summary[LOST], summary[TORN], summary[STALE]) == (20, 20, 20)


@pytest.mark.parametrize(
    ("how", "wrong"), [("dropped", LOST), ("halved", TORN), ("dropped later", STALE), ("read from a cache", STALE)]
)
async def test_damage_is_found_while_it_writes(how: str, wrong: str) -> None:
    target = DiskTarget(Disk(), 1)
    async with client_of(target) as client:
        journal = Journal(client, io.StringIO(), blocks=20)
        if how in ("dropped later", "read from a cache"):
            await write(journal, 20)
            assert journal.found == NOTHING
        target.drop_writes = how.startswith("dropped")
        target.halve_writes = how == "halved"
        target.cached = bytes(target.disk.data) if how == "read from a cache" else None
        await write(journal, 20)
        assert {kind for kind, blocks in journal.found.items() if blocks} == {wrong}


def damaged(data: bytearray, older: bytes) -> bytes:
    """Blocks 0 to 19 are gone, 20 to 39 half as they were, 40 to 59 as they were."""
    torn = b"".join(
        older[at : at + BLOCK_BYTES // 2] + data[at + BLOCK_BYTES // 2 : at + BLOCK_BYTES]
        for at in range(20 * BLOCK_BYTES, 40 * BLOCK_BYTES, BLOCK_BYTES)
    )
    end = 60 * BLOCK_BYTES
    return bytes(20 * BLOCK_BYTES) + torn + older[40 * BLOCK_BYTES : end] + bytes(data[end:])


async def test_a_region_that_does_not_lie_on_the_disk() -> None:
    async with client_of(DiskTarget(Disk(), 1)) as client:
        Journal(client, io.StringIO(), first=200, blocks=56)
        for first, blocks in ((200, 57), (-1, 10), (0, 0)):
            with pytest.raises(InvalidInput):
                Journal(client, io.StringIO(), first=first, blocks=blocks)


def test_secrets_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chap"
    file.write_text("client\nsecret-of-client\n")
    assert read_chap(str(file)) == (Chap("client", "secret-of-client"), None)
    file.write_text("client\nsecret-of-client\ntarget\nsecret-of-target\n")
    assert read_chap(str(file))[1] == Chap("target", "secret-of-target")
    assert read_chap("") == (None, None)
    for text in ("", "client\n", "client\n\n", "a\nb\nc\n"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            read_chap(str(file))
    with pytest.raises(ConfigError):
        read_chap(str(tmp_path / "none"))


@pytest.mark.skipif(bool(tgt_daemon.available()), reason=tgt_daemon.available())
def test_the_program_goes_on_over_real_daemons_that_die_in_turn(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    out = tmp_path / "journal"
    made = (TgtNode(f"127.0.0.{n}", tmp_path / f"n{n}", {1: (disk, WWID)}) for n in (2, 3))
    with tgt_daemon.nodes(*made) as nodes:
        argv = ["--target", tgt_daemon.TARGET, "--lun", "1", "--out", str(out), "--interval", "0.001", "--blocks", "64"]
        for node in nodes:
            argv += ["--portal", node.portal]
        with subprocess.Popen(
            [sys.executable, "-m", "holdfast.services.iscsi.journal", *argv], stdout=subprocess.PIPE, text=True
        ) as process:
            for node in (*nodes, *nodes):
                more(out, 30)
                node.kill()
                more(out, 30)
                node.start()
                more(out, 100)
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=HANG_S)
    summary = json.loads(said)
    assert process.returncode == 0 and (summary[LOST], summary[TORN], summary[STALE]) == (0, 0, 0), summary
    assert summary["wwid"] == f"3{WWID}" and summary["acked"] == len(out.read_text().splitlines()) > 500
    assert summary["max_stall_s"] > 0 and summary["switches"] > 0


def more(journal: Path, lines: int) -> None:
    """Wait until so many more were acknowledged."""

    def count() -> int:
        return journal.read_text().count("\n") if journal.exists() else 0

    ends = count() + lines
    asyncio.run(until(lambda: count() >= ends))


# --- access states ------------------------------------------------------------------------------------------------------


async def test_the_active_path_is_used_wherever_it_stands_in_the_list() -> None:
    disk = Disk()
    standby, active = DiskTarget(disk, 1, Access.STANDBY), DiskTarget(disk, 2)
    async with client_of(standby, active) as client:
        await client.write(0, BLOCK)
        assert client.last and (client.last.portal, client.last.attempts) == (active.portal, 1)
    assert not {"8a", "8a+fua"} & set(standby.seen)


async def test_it_follows_the_active_path_and_prefers_the_optimized_one() -> None:
    disk = Disk()
    one, two = DiskTarget(disk, 1), DiskTarget(disk, 2, Access.STANDBY)
    async with client_of(one, two) as client:
        for _ in range(3):
            await client.write(0, BLOCK)
            assert client.last and client.last.portal == one.portal
            one.access, two.access = Access.STANDBY, Access.OPTIMIZED
            await client.write(0, BLOCK)
            assert client.last.portal == two.portal and client.last.attempts > 1, "standby was the first answer"
            one.access, two.access = Access.OPTIMIZED, Access.NON_OPTIMIZED
            await until(lambda: client.paths[1].access is Access.NON_OPTIMIZED and client.paths[0].serves)
        assert client.switches == 5


@pytest.mark.parametrize("between", [Access.STANDBY, Access.UNAVAILABLE, Access.TRANSITIONING])
async def test_while_no_path_is_active_it_waits(between: Access) -> None:
    disk = Disk()
    one, two = DiskTarget(disk, 1), DiskTarget(disk, 2, Access.STANDBY)
    async with client_of(one, two) as client:
        one.access = between
        write = asyncio.create_task(client.write(0, BLOCK))
        await until(lambda: len(one.seen) > 20)
        assert not write.done()
        two.access = Access.OPTIMIZED
        await write
        assert client.last and client.last.portal == two.portal


async def test_a_path_that_says_nothing_is_left() -> None:
    disk = Disk()
    one, two = DiskTarget(disk, 1), DiskTarget(disk, 2)
    async with client_of(one, two, timing=Timing(patience=HANG_S, check=0.05, answer=0.3, retry=0.01)) as client:
        await client.write(0, BLOCK)
        one.silent = True
        await client.write(8, BLOCK)
        assert client.last and client.last.portal == two.portal
        one.silent = False


async def test_unit_attentions_are_news_and_no_errors() -> None:
    target = DiskTarget(Disk(), 1, attentions=[(0x29, 0), (0x2A, 0x06)])
    async with serving(target), open_path(target.portal, LOGIN, 1) as path:
        await path.test_unit_ready()
        assert path.attentions == [(0x29, 0), (0x2A, 0x06)]


@pytest.mark.parametrize(
    ("caching", "fua", "commands"),
    [(0, True, ["8a+fua"]), (0, False, ["8a"]), (4, True, ["8a+fua"]), (4, False, ["8a", "91"])],
)
async def test_a_write_is_on_the_medium_whatever_the_target_knows(caching: int, fua: bool, commands: list[str]) -> None:
    """LIO without a write cache refuses FUA; some have a cache and no FUA."""
    target = DiskTarget(Disk(), 1, caching=caching, fua=fua)
    async with client_of(target) as client:
        await client.write(0, BLOCK)
        assert [command for command in target.seen if command[:2] in ("8a", "91")] == commands
