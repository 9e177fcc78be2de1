"""A kind whose driver cannot be imported must not keep the agent from serving the others."""

import pytest

from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.errors import DriverError
from holdfast.ports import Driver, HealthProbe, Unit
from holdfast.services.registry import load_drivers, load_probes

VM = InstanceSpec("vm/web-1", "vm", "web-1", Exclusivity.STRICT, Role.COMPUTE)


class Units:
    """Runner port with a fixed list of units."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    async def start(self, unit: Unit) -> None:
        raise AssertionError("nothing is to be started")

    async def stop(self, name: str, *, grace_s: float) -> None:
        raise AssertionError("nothing is to be stopped")

    async def running(self) -> list[str]:
        return self.names

    async def wait_exit(self, name: str) -> None:
        return

    def log_path(self, name: str) -> str:
        return ""


class Steps:
    def step(self, name: str) -> None:
        pass


def no_driver() -> Driver:
    raise ImportError("No module named 'libvirt'")


def no_probe() -> HealthProbe:
    raise ImportError("No module named 'libvirt'")


async def test_a_missing_module_becomes_a_driver_that_says_what_is_missing() -> None:
    driver = load_drivers({"vm": no_driver}, Units("panel"))["vm"]
    for attempt in (driver.start(VM, lambda: True, Steps()), driver.tick(VM)):
        with pytest.raises(DriverError, match=r"libvirt.*Install what is missing"):
            await attempt
    assert "Install what is missing" in (await driver.prepare([VM]))[VM.id]
    assert await driver.running() == []
    await driver.put_away()
    await driver.stop(VM, 1.0)
    assert await driver.wait_exit(VM) is False


async def test_it_never_calls_something_stopped_that_it_cannot_see() -> None:
    driver = load_drivers({"vm": no_driver}, Units("vm-web-1"))["vm"]
    with pytest.raises(DriverError, match="vm-web-1"):
        await driver.running()
    with pytest.raises(DriverError, match="vm-web-1"):
        await driver.stop(VM, 1.0)


async def test_a_missing_probe_reports_the_reason() -> None:
    probe = load_probes({"vm": no_probe})["vm"]
    assert "libvirt" in await probe.check(VM, timeout=1)
