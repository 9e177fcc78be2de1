"""The iSCSI driver in moments that cannot be met on purpose with a real engine: over one in memory."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_engine import MemoryEngine
from test_driver import FakeClock, FakeRunner, Steps, yes

from holdfast.core.model import InstanceSpec
from holdfast.services.iscsi.config import TargetGroup, VolumeRecord, instance_spec
from holdfast.services.iscsi.driver import IscsiDriver
from holdfast.services.iscsi.engine import Volume
from holdfast.services.iscsi.reporter import Reporter

TARGET = "iqn.2026-01.test.holdfast:g"
PORTALS: dict[str, tuple[str, ...]] = {"n1": ("10.78.0.11:3260",), "n2": ("10.78.0.12:3260",)}
GROUP = TargetGroup("g", TARGET, "tgt", PORTALS, {"n1": 1, "n2": 2}, f"{TARGET}.probe")


class SlowEngine(MemoryEngine):
    """What it removes is gone; that it says so can take a while."""

    def __init__(self, runner: FakeRunner, serves: Callable[[], bool]) -> None:
        super().__init__(runner, serves)
        self.removing, self.answer = asyncio.Event(), asyncio.Event()

    async def remove(self, volume: Volume) -> None:
        await super().remove(volume)
        self.removing.set()
        await self.answer.wait()


@pytest.fixture
def volume(tmp_path: Path) -> InstanceSpec:
    record = VolumeRecord("v1", str(uuid.uuid4()), str(tmp_path / "v1.img"), 1 << 20, group="g", lun=1)
    return instance_spec(record, GROUP)


def driver_over(engine: MemoryEngine, directory: Path) -> IscsiDriver:
    """A run of the agent on n1."""
    reporter = Reporter("n1", str(directory), FakeClock())
    return IscsiDriver("n1", {"tgt": engine}, lambda: {"g": GROUP}, str(directory), reporter, FakeClock())


async def test_what_is_wanted_again_while_it_is_put_away_is_not_forgotten(tmp_path: Path, volume: InstanceSpec) -> None:
    """A path that is active and that nobody knows would not be demoted when its volume moves away."""
    engine = SlowEngine(FakeRunner(), lambda: True)
    driver = driver_over(engine, tmp_path)
    await driver.prepare([volume])
    putting_away = asyncio.create_task(driver.prepare([]))
    await engine.removing.wait()
    starting = asyncio.create_task(driver.start(volume, yes, Steps()))
    for _ in range(20):
        await asyncio.sleep(0)
    engine.answer.set()
    await asyncio.gather(putting_away, starting)
    assert await driver.running() == [volume.id]
    await driver.stop(volume, 5.0)
    assert await driver.running() == []


async def test_a_path_that_is_remembered_nowhere_ends_when_its_volume_is_stopped(
    tmp_path: Path, volume: InstanceSpec
) -> None:
    engine = MemoryEngine(FakeRunner(), lambda: True)
    await driver_over(engine, tmp_path / "lost").start(volume, yes, Steps())
    driver = driver_over(engine, tmp_path)
    assert len(await driver.running()) == 1, "something runs, of whatever name"
    await driver.stop(volume, 5.0)
    assert await driver.running() == []
