"""The contract of the Driver port (holdfast.ports.Driver), for every kind that can be run without its real daemon.

Each case brings a world: a driver over a fake Runner, and an instance. Kinds with a real daemon have tests of their own.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from memory_engine import MemoryEngine, unit_of

from holdfast.config import NodeConfig
from holdfast.core.model import Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import DriverError
from holdfast.ports import Driver, Unit
from holdfast.services.admin_panel import PanelDriver
from holdfast.services.backup_gateway.cluster import BackupCluster, gateways
from holdfast.services.backup_gateway.driver import BackupDriver
from holdfast.services.backup_gateway.records import Records
from holdfast.services.iscsi.config import TargetGroup, VolumeRecord, from_instance, instance_spec
from holdfast.services.iscsi.driver import IscsiDriver
from holdfast.services.iscsi.reporter import Reporter
from holdfast.services.s3.config import instance_specs, new_cluster
from holdfast.services.s3.driver import S3Driver
from holdfast.services.s3.records import Records as S3Records
from holdfast.services.s3.users import new_key
from holdfast.services.storage import MARKER


class FakeClock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> str:
        return "2026-01-01T00:00:00Z"

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)


@dataclass
class FakeRunner:
    """Runner port in memory; `serves` says whether a started unit also opens its port."""

    serves: bool = True
    starts: list[str] = field(default_factory=list)
    units: dict[str, asyncio.Event] = field(default_factory=dict)

    async def start(self, unit: Unit) -> None:
        if unit.name not in self.units:
            self.starts.append(unit.name)
            self.units[unit.name] = asyncio.Event()

    async def stop(self, name: str, *, grace_s: float) -> None:
        self.end(name)

    def end(self, name: str) -> None:
        ended = self.units.pop(name, None)
        if ended is not None:
            ended.set()

    async def running(self) -> list[str]:
        return list(self.units)

    async def wait_exit(self, name: str) -> None:
        if name in self.units:
            await self.units[name].wait()

    def log_path(self, name: str) -> str:
        return f"/var/log/holdfast/{name}.log"

    def listening(self, port: int) -> bool:
        return self.serves and bool(self.units)


class Steps:
    def __init__(self) -> None:
        self.names: list[str] = []

    def step(self, name: str) -> None:
        self.names.append(name)


@dataclass
class World:
    driver: Driver
    instance: InstanceSpec
    runner: FakeRunner
    unit: str
    """Name of the instance's main unit."""
    leaves_unit: bool = False
    """The unit is shared and stays after `stop`."""


def panel_world(_: Path) -> World:
    runner = FakeRunner()
    config = NodeConfig(id="n1", cluster="lab", addresses={"management": "10.77.0.11"}, endpoints=())
    driver = PanelDriver(runner, FakeClock(), config, is_listening=runner.listening)
    instance = InstanceSpec(
        id="panel/admin",
        kind="panel",
        service="admin",
        exclusivity=Exclusivity.ADVISORY,
        role=Role.MANAGEMENT,
        address=ServiceAddress("10.77.0.100", "management"),
    )
    return World(driver, instance, runner, "panel", leaves_unit=True)


def iscsi_world(directory: Path) -> World:
    """Over an engine in memory; with real ones: test_driver_iscsi.py, tests/lio."""
    runner, clock = FakeRunner(), FakeClock()
    target = "iqn.2026-01.test.holdfast:g"
    portals: dict[str, tuple[str, ...]] = {"n1": ("10.78.0.11:3260",), "n2": ("10.78.0.12:3260",)}
    group = TargetGroup("g", target, "tgt", portals, {"n1": 1, "n2": 2}, f"{target}.probe")
    engine = MemoryEngine(runner, lambda: runner.serves)
    reporter = Reporter("n1", str(directory), clock)
    driver = IscsiDriver("n1", {"tgt": engine}, lambda: {"g": group}, str(directory), reporter, clock)
    record = VolumeRecord("v1", str(uuid.uuid4()), str(directory / "v1.img"), 1 << 20, group="g", lun=1)
    instance = instance_spec(record, group)
    return World(driver, instance, runner, unit_of(from_instance(instance).volume))


def backup_world(directory: Path) -> World:
    runner, clock = FakeRunner(), FakeClock()
    cluster = BackupCluster("main", "b.test", {"n1": "10.78.0.171"}, "public", (), f"local:{directory}/backup")
    records = Records(lambda: {"main": cluster}, lambda _: {}, lambda _: b"{}", lambda *_: (b"certificate", b"key"))

    async def hangs(_ip: str, _port: int) -> bool:
        return False

    driver = BackupDriver(
        runner,
        clock,
        records,
        str(directory),
        str(directory / "run"),
        answers=hangs,
        is_listening=lambda _ip, _port: runner.listening(0),
    )
    instance = gateways(cluster, ha=True)[0]
    return World(driver, instance, runner, instance.id)


def s3_world(directory: Path) -> World:
    """An object server; with real ones: test_driver_s3.py."""
    runner, clock, secret = FakeRunner(), FakeClock(), bytes(32)
    (directory / MARKER).touch()
    (directory / "s3/main").mkdir(parents=True)
    storage = [ServiceAddress(f"10.78.0.{number}", "storage") for number in (1, 2)]
    cluster = new_cluster(
        "main",
        "s3.test",
        {"n1": ServiceAddress("10.78.0.181", "public")},
        storage[:1],
        storage[1:],
        hash_prefix="prefix",
        hash_suffix="suffix",
        probe=new_key(secret)[0],
    )
    records = S3Records(lambda: {"main": cluster}, lambda _: {}, lambda: secret)
    driver = S3Driver(
        runner,
        clock,
        records,
        str(directory),
        str(directory / "run"),
        is_listening=lambda _ip, _port: runner.listening(0),
    )
    instance = next(spec for spec in instance_specs(cluster, ha=True) if spec.id == "s3/main/os-1")
    return World(driver, instance, runner, instance.id)


@pytest.fixture(params=[panel_world, iscsi_world, backup_world, s3_world], ids=["panel", "iscsi", "backup", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    make: Callable[[Path], World] = request.param
    return make(tmp_path)


def yes() -> bool:
    return True


async def test_kind_is_the_instances_kind(world: World) -> None:
    assert world.driver.kind == world.instance.kind


async def test_prepare_is_idempotent(world: World) -> None:
    assert await world.driver.prepare([world.instance]) == {}
    started = list(world.runner.starts)
    assert await world.driver.prepare([world.instance]) == {}
    assert world.runner.starts == started


async def test_start_runs_the_unit_and_records_a_step(world: World) -> None:
    steps = Steps()
    await world.driver.start(world.instance, yes, steps)
    assert world.unit in world.runner.units
    assert "server" in steps.names


async def test_start_adopts_what_runs(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    await world.driver.start(world.instance, yes, Steps())
    assert world.runner.starts.count(world.unit) == 1


async def test_start_that_is_not_allowed_is_abandoned_without_side_effect(world: World) -> None:
    with pytest.raises(DriverError):
        await world.driver.start(world.instance, lambda: False, Steps())
    assert world.runner.starts == []


async def test_start_fails_when_the_server_never_listens(world: World) -> None:
    world.runner.serves = False
    with pytest.raises(DriverError, match=r"/var/log/holdfast/"):
        await world.driver.start(world.instance, yes, Steps())


async def test_address_up_and_tick_while_it_runs(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    await world.driver.address_up(world.instance)
    await world.driver.tick(world.instance)


async def test_reconfigure_keeps_what_runs_unless_it_must_not(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    await world.driver.reconfigure(world.instance)
    assert world.unit in world.runner.units


async def test_restart_hung_replaces_the_process(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    old = world.runner.units[world.unit]
    await world.driver.restart_hung(world.instance)
    assert old.is_set()
    assert world.runner.units[world.unit] is not old


async def test_after_stop_nothing_of_the_instance_runs(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    await world.driver.stop(world.instance, 1.0)
    assert world.instance.id not in await world.driver.running()
    assert (world.unit in world.runner.units) == world.leaves_unit


async def test_stop_of_what_does_not_run_succeeds(world: World) -> None:
    await world.driver.stop(world.instance, 1.0)


async def test_wait_exit_returns_at_once_when_it_does_not_run(world: World) -> None:
    assert not await asyncio.wait_for(world.driver.wait_exit(world.instance), 5)


async def test_wait_exit_returns_when_the_process_ends_and_start_brings_it_back(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    waiting = asyncio.create_task(world.driver.wait_exit(world.instance))
    await asyncio.sleep(0)
    assert not waiting.done()
    world.runner.end(world.unit)
    assert not await asyncio.wait_for(waiting, 5), "it is to be started again"
    await world.driver.start(world.instance, yes, Steps())
    assert world.unit in world.runner.units


async def test_what_cannot_be_handed_over_says_so_and_goes_on(world: World) -> None:
    await world.driver.start(world.instance, yes, Steps())
    with pytest.raises(DriverError, match="cannot be migrated live"):
        await world.driver.migrate(world.instance, "n2")
    with pytest.raises(DriverError, match="cannot be migrated live"):
        await world.driver.receive(world.instance, yes)
    assert world.unit in world.runner.units
