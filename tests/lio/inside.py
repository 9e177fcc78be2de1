"""Runs in the guest (see __main__.py): the LIO engine and an initiator, each promise of the port `Engine` tried out."""

import asyncio
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from slow_file import SlowFile

from holdfast.clock import SystemClock
from holdfast.errors import DriverError
from holdfast.ports import Unit
from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.engine import Account, PathState, Portal, Target, Volume
from holdfast.services.iscsi.initiator import open_path
from holdfast.services.iscsi.lio import LioEngine
from holdfast.services.iscsi.scsi import Access, ScsiError
from holdfast.services.iscsi.session import Chap, Login, LoginRefused, PathLost

TARGET = "iqn.2026-01.org.holdfast.test:group1"
CLIENT = "iqn.2026-01.org.holdfast.test:client"
PORTAL = "127.0.0.1:3260"
LOGIN = Login(TARGET, CLIENT)
TAG, BLOCK, SIZE = 3, 512, 4 << 20
STANDBY = (2, 0x04, 0x0B)
BACKING = Path("/dev/shm/backing")


class ShellRunner:
    """Runs units that end by themselves (the part of port Runner that the engine uses)."""

    async def start(self, unit: Unit) -> None:
        if unit.allowed is not None and not unit.allowed():
            raise DriverError(f"unit {unit.name} was not started: this node may not run it")
        subprocess.run(unit.argv, check=True, timeout=60)  # noqa: ASYNC221 - it ends at once

    async def stop(self, name: str, *, grace_s: float) -> None:
        return

    async def running(self) -> list[str]:
        return []

    async def wait_exit(self, name: str) -> None:
        return

    def log_path(self, name: str) -> str:
        return name


def yes() -> bool:
    return True


def target(**more: Any) -> Target:
    return Target(**{"name": TARGET, "portals": (Portal("127.0.0.1"),), "tag": TAG, "initiators": (CLIENT,), **more})


async def sense(attempt: Awaitable[Any]) -> tuple[int, int, int] | None:
    """None: it was done."""
    try:
        await attempt
    except ScsiError as error:
        return (error.key, error.asc, error.ascq)
    return None


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another thread changes it; each promise has its bound
        await asyncio.sleep(0.02)


class Bench:
    def __init__(self) -> None:
        self.engine = LioEngine(ShellRunner(), SystemClock())
        with BACKING.open("wb") as file:
            file.truncate(SIZE)
        self.slow = SlowFile(Path("/dev/shm/volume"), BACKING)
        self.file = Volume(TARGET, 1, str(uuid.uuid4()), "/dev/shm/volume", SIZE)
        size = int(Path("/sys/block/ram0/size").read_text()) * 512
        self.device = Volume(TARGET, 2, str(uuid.uuid4()), "/dev/ram0", size)

    async def state(self, volume: Volume) -> PathState:
        return (await self.engine.status()).path(volume)

    async def _demote(self, volume: Volume) -> None:
        began = time.monotonic()
        await self.engine.demote(volume)
        print(f"inside: demoted in {time.monotonic() - began:.2f} s", flush=True)

    # --- each is one promise --------------------------------------------------------------------------------------------

    async def can_run(self) -> None:
        assert self.engine.available() == ""
        for _ in range(2):
            await self.engine.configure(target())
        assert (await self.engine.status()).targets == {TARGET}

    async def standby_refuses_active_serves_file(self) -> None:
        await self._serves(self.file)

    async def standby_refuses_active_serves_device(self) -> None:
        await self._serves(self.device)

    async def _serves(self, volume: Volume) -> None:
        for _ in range(2):
            await self.engine.prepare(volume)
        async with open_path(PORTAL, LOGIN, volume.lun) as path:
            assert await self.state(volume) is PathState.STANDBY
            about = await path.identify()
            assert about.wwid.endswith(volume.wwid) and about.serial.strip("\0 ") == volume.serial
            assert about.tpgs == 1 and await path.port_groups() == {TAG: Access.STANDBY}
            for attempt in (path.read(0, 1, BLOCK), path.write(0, b"x" * BLOCK, BLOCK), path.test_unit_ready()):
                assert await sense(attempt) == STANDBY
            for _ in range(2):
                await self.engine.promote(volume, yes)
            assert await path.port_groups() == {TAG: Access.OPTIMIZED} and await self.state(volume) is PathState.ACTIVE
            await path.write(5, b"5" * BLOCK, BLOCK)
            assert await path.read(5, 1, BLOCK) == b"5" * BLOCK
            assert not (await path.caching()).write_back
            assert await sense(path.reservation_keys()) == (5, 0x20, 0), "persistent reservations are refused"
            await path.inquiry()  # acknowledges that refusal, which the kernel takes for a command under way till then
            await self.engine.configure(target())
            await self.engine.prepare(volume, standby=False)
            assert await self.state(volume) is PathState.ACTIVE
            await self._demote(volume)
            for attempt in (path.read(5, 1, BLOCK), path.write(5, b"x" * BLOCK, BLOCK)):
                assert await sense(attempt) == STANDBY
            assert await path.port_groups() == {TAG: Access.STANDBY} and await self.state(volume) is PathState.STANDBY

    async def nothing_is_promoted_without_permission(self) -> None:
        try:
            await self.engine.promote(self.file, lambda: False)
        except DriverError:
            assert await self.state(self.file) is PathState.STANDBY
        else:
            raise AssertionError("it was")

    async def a_demotion_under_load_loses_nothing(self) -> None:
        acked: dict[int, int] = {}

        async def client(block: int) -> None:
            async with open_path(PORTAL, LOGIN, self.file.lun, timeout_s=20) as path:
                count = 0
                while True:
                    count += 1
                    await path.write(block, count.to_bytes(8) * 64, BLOCK)
                    acked[block] = count

        await self.engine.promote(self.file, yes)
        clients = [asyncio.create_task(client(block)) for block in range(6)]
        await until(lambda: len(acked) == 6 and min(acked.values()) >= 3)
        await self._demote(self.file)
        content = BACKING.read_bytes()
        outcomes = await asyncio.gather(*clients, return_exceptions=True)
        assert all(isinstance(outcome, ScsiError) for outcome in outcomes), outcomes
        assert content == BACKING.read_bytes(), "a write came after the demotion"
        assert all(int.from_bytes(content[block * BLOCK :][:8]) >= count for block, count in acked.items())

    async def a_demotion_waits_for_a_slow_write(self) -> None:
        await self.engine.promote(self.file, yes)
        async with open_path(PORTAL, LOGIN, self.file.lun, timeout_s=60) as path:
            await path.write(1, b"1" * BLOCK, BLOCK)
            self.slow.flowing.clear()
            write = asyncio.create_task(path.write(0, b"L" * BLOCK, BLOCK))
            await until(lambda: self.slow.waiting > 0)
            demotion = asyncio.create_task(self.engine.demote(self.file))
            async with open_path(PORTAL, LOGIN, self.file.lun, timeout_s=20) as other:
                while await sense(other.read(0, 1, BLOCK)) is None:
                    pass  # the demotion has not begun
            assert not demotion.done(), "demoted while a write was at work"
            self.slow.flowing.set()
            await demotion
            assert BACKING.read_bytes().startswith(b"L" * BLOCK)
            await write

    async def a_closed_connection_hides_no_write(self) -> None:
        await self.engine.promote(self.file, yes)
        async with open_path(PORTAL, LOGIN, self.file.lun, timeout_s=60) as path:
            await path.write(1, b"1" * BLOCK, BLOCK)
            self.slow.flowing.clear()
            try:
                await path.run(scsi.write(0, b"M" * BLOCK, BLOCK), timeout_s=1)
            except PathLost:
                assert self.slow.waiting
        try:
            await self.engine.demote(self.file)
        except DriverError:
            self.slow.flowing.set()
        else:
            raise AssertionError("demoted while a write was at work")
        await self.engine.demote(self.file)
        assert BACKING.read_bytes().startswith(b"M" * BLOCK)
        await self.engine.prepare(self.file)
        assert await self.state(self.file) is PathState.STANDBY

    async def who_may_log_in(self) -> None:
        ours, theirs = Account("joe", "a-secret-long-enough"), Account("target", "another-secret-long")
        chap, mutual = Chap(ours.user, ours.secret), Chap(theirs.user, theirs.secret)
        await self.engine.configure(target(chap=ours, mutual=theirs))
        for good in (Login(TARGET, CLIENT, chap), Login(TARGET, CLIENT, chap, mutual)):
            async with open_path(PORTAL, good, 1) as path:
                await path.inquiry()
        wrong = Chap("joe", "wrong-wrong-wrong")
        for bad in (
            LOGIN,
            Login(TARGET, CLIENT, wrong),
            Login(TARGET, f"{CLIENT}2", chap),
            Login(TARGET, CLIENT, chap, wrong),
        ):
            try:
                async with open_path(PORTAL, bad, 1):
                    raise AssertionError(f"{bad} was let in")
            except LoginRefused:
                continue
        await self.engine.configure(target())
        async with open_path(PORTAL, LOGIN, 1) as path:
            await path.inquiry()
            assert [found.initiator for found in (await self.engine.status()).connections] == [CLIENT]
            await self.engine.configure(target(initiators=(f"{CLIENT}2",)))
            try:
                await path.inquiry()
            except PathLost:
                pass
            else:
                raise AssertionError("its session goes on")
        await self.engine.configure(target())

    async def halting_ends_everything(self) -> None:
        await self.engine.promote(self.device, yes)
        async with open_path(PORTAL, LOGIN, self.device.lun) as path:
            await path.inquiry()
            await self.engine.halt()
            try:
                await path.read(0, 1, BLOCK)
            except PathLost:
                pass
            else:
                raise AssertionError("it serves on")
        assert set((await self.engine.status()).paths.values()) == {PathState.STANDBY}
        await self.engine.configure(target())
        async with open_path(PORTAL, LOGIN, self.device.lun) as path:
            assert await sense(path.read(0, 1, BLOCK)) == STANDBY

    async def nothing_is_left(self) -> None:
        for _ in range(2):
            for volume in (self.file, self.device):
                await self.engine.remove(volume)
            await self.engine.withdraw(TARGET)
        status = await self.engine.status()
        assert not status.targets and not status.paths
        for kind in ("fileio", "iblock"):
            assert not [p for p in Path(f"/sys/kernel/config/target/core/{kind}_1000").iterdir() if p.is_dir()]


async def main() -> int:
    bench, failed = Bench(), 0
    promises: list[Callable[[], Awaitable[None]]] = [
        getattr(bench, name) for name in vars(Bench) if not name.startswith("_") and name != "state"
    ]
    for promise in promises:
        began = time.monotonic()
        try:
            async with asyncio.timeout(120):
                await promise()
            word = "kept"
        except Exception:
            failed += 1
            traceback.print_exc()
            word = "BROKEN"
        print(f"inside: {word} {promise.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    if not failed:
        print("inside: all kept", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
