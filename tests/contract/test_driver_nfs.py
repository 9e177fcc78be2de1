"""The contract of the Driver port for NFS volumes, with the real NFS-Ganesha, in a network namespace of its own. Needs root.

The same sentences as tests/contract/test_driver.py, which runs drivers over a fake Runner, and what only a server can show.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import DriverError, InvalidInput
from holdfast.services.nfs import tcp
from holdfast.services.nfs.client import Nfs41Client
from holdfast.services.nfs.config import AccessRule, instance_spec, new_volume
from holdfast.services.nfs.driver import GANESHA, NfsDriver
from holdfast.services.nfs.ops import NfsStatusError, Status
from holdfast.services.nfs.probe import NfsProbe
from holdfast.services.storage import MARKER

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or not Path(GANESHA).exists(), reason="needs root and nfs-ganesha"),
]

HANG_S = 90.0
ADDRESS = "10.99.0.1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def yes() -> bool:
    return True


class Steps:
    def __init__(self) -> None:
        self.names: list[str] = []

    def step(self, name: str) -> None:
        self.names.append(name)


@pytest.fixture
def network() -> Iterator[None]:
    """This thread and what it starts are in a new network namespace: nothing of the machine's own is touched."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    try:
        for command in ("link set lo up", f"addr add {ADDRESS}/32 dev lo", "addr add fd99::1/128 dev lo"):
            subprocess.run(["ip", *command.split()], check=True, timeout=20)
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not in /tmp, which may be a file system that cannot be exported."""
    path = Path(tempfile.mkdtemp(prefix="hft-nfs-driver-", dir="/var/tmp"))
    (path / "shared").mkdir()
    (path / "shared" / MARKER).touch()
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def runner(network: None, directory: Path) -> AsyncIterator[CgroupRunner]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = Cgroup(root / f"hft-nfs-driver-{os.getpid()}")
    config = NodeConfig("n1", "t", {"management": ADDRESS}, (), cgroup=str(group.path), log_dir=str(directory / "log"))
    made = CgroupRunner(config)
    yield made
    group.kill()
    await asyncio.wait_for(group.wait_empty(), HANG_S)
    await asyncio.sleep(0.01)  # let it reap what was killed
    made.close()
    group.remove()


@pytest.fixture
def driver(runner: CgroupRunner, directory: Path) -> NfsDriver:
    return NfsDriver(runner, SystemClock(), str(directory / "shared"), str(directory / "run"))


@pytest.fixture
def instance(directory: Path) -> InstanceSpec:
    volume = new_volume("vol1", str(directory / "shared"), access=(AccessRule("*", "rw", "none"),))
    return instance_spec(volume, ServiceAddress(ADDRESS, "public"))


def client() -> Nfs41Client:
    return Nfs41Client(ADDRESS, patience_s=HANG_S)


async def healthy(instance: InstanceSpec) -> str:
    return await NfsProbe().check(instance, timeout=HANG_S)


def server_pid(directory: Path) -> int:
    return int((directory / "run" / "nfs" / "vol1.pid").read_text())


async def test_start_stop_and_start_again_elsewhere(
    driver: NfsDriver, runner: CgroupRunner, directory: Path, instance: InstanceSpec
) -> None:
    assert await driver.prepare([instance]) == {}
    assert await driver.prepare([instance]) == {}
    assert await runner.running() == []
    steps = Steps()
    await driver.start(instance, yes, steps)
    assert steps.names == ["server"]
    assert await driver.running() == ["nfs/vol1"]
    assert tcp.listening(ADDRESS, 2049)
    assert await healthy(instance) == ""
    await driver.address_up(instance)
    await driver.tick(instance)
    async with client() as user:
        file = await user.open_rw("/vol1/file")
        await user.lock(file, 0, 100)
        await user.write(file, 0, b"kept")
        await driver.stop(instance, 5.0)
        assert await driver.running() == []
        assert not tcp.listening(ADDRESS, 2049)
        assert await healthy(instance) != ""
        elsewhere = NfsDriver(runner, SystemClock(), str(directory / "shared"), str(directory / "run-elsewhere"))
        await elsewhere.start(instance, yes, Steps())
        assert await user.read(file, 0, 10) == b"kept"
        assert user.recoveries == 2
        assert file.lost == "", "the recovery directory was found"
        async with client() as other:
            same = await other.open_rw("/vol1/file", create=False)
            with pytest.raises(NfsStatusError) as denied:
                await other.lock(same, 50, 10)
            assert denied.value.status == Status.DENIED
        await elsewhere.stop(instance, 5.0)


async def test_start_adopts_what_runs_also_for_a_new_agent(
    driver: NfsDriver, runner: CgroupRunner, directory: Path, instance: InstanceSpec
) -> None:
    await driver.start(instance, yes, Steps())
    pid = server_pid(directory)
    await driver.start(instance, yes, Steps())
    later = NfsDriver(runner, SystemClock(), str(directory / "shared"), str(directory / "run"))
    await later.start(instance, yes, Steps())
    await later.tick(instance)
    assert server_pid(directory) == pid
    assert Path(f"/proc/{pid}").exists()
    orphan = InstanceSpec(instance.id, "nfs", "vol1", Exclusivity.STRICT, Role.MANAGEMENT)
    await later.stop(orphan, 5.0)
    assert await later.running() == []


@pytest.mark.parametrize("answers", [[False], [True, False], [True, True, False]])
async def test_a_start_that_is_not_allowed_is_abandoned(
    driver: NfsDriver, runner: CgroupRunner, instance: InstanceSpec, answers: list[bool]
) -> None:
    left = list(answers)
    with pytest.raises(DriverError):
        await driver.start(instance, lambda: left.pop(0), Steps())
    assert left == []

    async def gone() -> bool:
        return await runner.running() == []

    await until(gone)


async def test_a_start_without_shared_storage_fails_and_says_so(
    driver: NfsDriver, runner: CgroupRunner, directory: Path, instance: InstanceSpec
) -> None:
    (directory / "shared" / MARKER).unlink()
    with pytest.raises(DriverError, match="not mounted"):
        await driver.start(instance, yes, Steps())
    assert await runner.running() == []
    assert list((directory / "shared").iterdir()) == []


async def test_a_server_that_cannot_start_is_reported_with_its_log(
    runner: CgroupRunner, directory: Path, instance: InstanceSpec
) -> None:
    broken = NfsDriver(runner, SystemClock(), str(directory / "shared"), str(directory / "run"), ganesha="/bin/false")
    with pytest.raises(DriverError, match="log"):
        await broken.start(instance, yes, Steps())


async def test_stop_and_wait_exit_of_what_does_not_run(driver: NfsDriver, instance: InstanceSpec) -> None:
    await driver.stop(instance, 1.0)
    await asyncio.wait_for(driver.wait_exit(instance), HANG_S)


async def test_wait_exit_and_start_after_a_crash(driver: NfsDriver, directory: Path, instance: InstanceSpec) -> None:
    await driver.start(instance, yes, Steps())
    waiting = asyncio.create_task(driver.wait_exit(instance))
    os.kill(server_pid(directory), signal.SIGKILL)
    await asyncio.wait_for(waiting, HANG_S)
    await driver.start(instance, yes, Steps())
    assert await healthy(instance) == ""


async def test_a_hung_server_is_restarted_only_while_that_is_allowed(
    driver: NfsDriver, directory: Path, instance: InstanceSpec
) -> None:
    allowed = True
    await driver.start(instance, lambda: allowed, Steps())
    os.kill(server_pid(directory), signal.SIGSTOP)
    assert await NfsProbe().check(instance, timeout=0.3) != ""
    await driver.restart_hung(instance)
    assert await healthy(instance) == ""
    allowed = False
    with pytest.raises(DriverError):
        await driver.restart_hung(instance)
    assert await driver.running() == []


async def test_access_rules_are_reloaded_in_place(driver: NfsDriver, directory: Path, instance: InstanceSpec) -> None:
    await driver.start(instance, yes, Steps())
    pid = server_pid(directory)
    volume = new_volume("vol1", str(directory / "shared"), access=(AccessRule("192.0.2.0/24"),))
    assert instance.address is not None
    changed = replace(instance, config=instance_spec(volume, instance.address).config)
    async with client() as user:
        file = await user.open_rw("/vol1/file")
        await user.write(file, 0, b"x")
        await driver.reconfigure(changed)

        async def refused() -> bool:
            try:
                await user.write(file, 0, b"y")
            except NfsStatusError:
                return True
            return False

        await until(refused)  # its own node may still look, for the health probe, but not write
        assert await healthy(changed) == ""
        await driver.reconfigure(instance)

        async def accepted() -> bool:
            return not await refused()

        await until(accepted)
    assert server_pid(directory) == pid


async def test_a_cancelled_call_of_the_client_does_not_confuse_the_next(
    driver: NfsDriver, directory: Path, instance: InstanceSpec
) -> None:
    """Its reply, which comes late, must not be taken for the answer to another request on the same slot."""
    await driver.start(instance, yes, Steps())
    async with client() as user:
        file = await user.open_rw("/vol1/file")
        os.kill(server_pid(directory), signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await user.write(file, 0, b"late")
        os.kill(server_pid(directory), signal.SIGCONT)
        for i in range(8):
            await user.write(file, 100 + i, b"%d" % i)
        assert await user.read(file, 100, 20) == b"01234567"
        assert (await user.stat("/vol1/file")).size == 108
        assert user.recoveries == 1, "the client's state was not lost, only its session replaced"


def has_project_quotas(directory: Path) -> bool:
    command = ["findmnt", "-nT", str(directory), "-o", "OPTIONS"]
    return "prj" in subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


async def test_a_size_that_cannot_be_enforced_is_refused_for_a_new_volume(
    driver: NfsDriver, runner: CgroupRunner, directory: Path
) -> None:
    if has_project_quotas(directory):
        pytest.skip("this file system has project quotas")
    volume = new_volume("vol1", str(directory / "shared"), size=10 << 20)
    with pytest.raises(InvalidInput, match="cannot limit the size"):
        await driver.start(instance_spec(volume, ServiceAddress(ADDRESS, "public")), yes, Steps())
    assert await runner.running() == []
    assert not Path(volume.path).exists()


async def test_a_node_without_any_ipv6_address_says_so(driver: NfsDriver, instance: InstanceSpec) -> None:
    subprocess.run(["ip", "addr", "del", "fd99::1/128", "dev", "lo"], check=True, timeout=20)  # noqa: ASYNC221
    with pytest.raises(DriverError, match="IPv6"):
        await driver.start(instance, yes, Steps())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(HANG_S):
        while not await condition():  # noqa: ASYNC110 - a server's state, seen only by asking
            await asyncio.sleep(0.02)
