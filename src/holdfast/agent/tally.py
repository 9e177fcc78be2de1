"""Counts what a node's drivers and probes are asked to do, for people: by kind, action and result."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdfast.core.model import InstanceSpec
from holdfast.ports import Clock, Driver, HealthProbe, StepRecorder


@dataclass(slots=True)
class Tally:
    """(Kind, action, result) → how often, and how many seconds that took. Results: ok, failed, interrupted."""

    clock: Clock
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    seconds: dict[tuple[str, str, str], float] = field(default_factory=dict)

    @contextmanager
    def counting(self, kind: str, action: str) -> Iterator[None]:
        began, result = self.clock.now(), "interrupted"
        try:
            yield
            result = "ok"
        except Exception:
            result = "failed"
            raise
        finally:
            self.note(kind, action, result, self.clock.now() - began)

    def note(self, kind: str, action: str, result: str, seconds: float) -> None:
        what = (kind, action, result)
        self.counts[what] = self.counts.get(what, 0) + 1
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def drivers(self, drivers: Mapping[str, Driver]) -> dict[str, Driver]:
        return {kind: CountedDriver(driver, self) for kind, driver in drivers.items()}

    def probes(self, probes: Mapping[str, HealthProbe]) -> dict[str, HealthProbe]:
        return {kind: CountedProbe(probe, self) for kind, probe in probes.items()}


class CountedProbe:
    """Port HealthProbe, through another one."""

    def __init__(self, probe: HealthProbe, tally: Tally) -> None:
        self.kind = probe.kind
        self._probe = probe
        self._tally = tally

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        began = self._tally.clock.now()
        problem = await self._probe.check(instance, timeout=timeout)
        result = "failed" if problem else "ok"
        self._tally.note(self.kind, "check", result, self._tally.clock.now() - began)
        return problem


class CountedDriver:
    """Port Driver, through another one."""

    def __init__(self, driver: Driver, tally: Tally) -> None:
        self.kind = driver.kind
        self._driver = driver
        self._tally = tally

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        with self._tally.counting(self.kind, "start"):
            await self._driver.start(instance, allowed, steps)

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        with self._tally.counting(self.kind, "stop"):
            await self._driver.stop(instance, grace_s)

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        with self._tally.counting(self.kind, "migrate"):
            await self._driver.migrate(instance, to)

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        with self._tally.counting(self.kind, "receive"):
            await self._driver.receive(instance, allowed)

    async def reconfigure(self, instance: InstanceSpec) -> None:
        with self._tally.counting(self.kind, "reconfigure"):
            await self._driver.reconfigure(instance)

    async def restart_hung(self, instance: InstanceSpec) -> None:
        with self._tally.counting(self.kind, "restart-hung"):
            await self._driver.restart_hung(instance)

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        return await self._driver.prepare(instances)

    async def put_away(self) -> None:
        await self._driver.put_away()

    async def address_up(self, instance: InstanceSpec) -> None:
        await self._driver.address_up(instance)

    async def tick(self, instance: InstanceSpec) -> None:
        await self._driver.tick(instance)

    async def running(self) -> list[str]:
        return await self._driver.running()

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        return await self._driver.wait_exit(instance)
