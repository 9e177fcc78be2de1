"""Port `Engine` in memory: an active path is a unit of a runner, so that a test sees what was started, and can end it."""

from collections.abc import Callable

from holdfast.errors import DriverError
from holdfast.ports import Runner, Unit
from holdfast.services.iscsi.engine import EngineStatus, PathState, Target, Volume


def unit_of(volume: Volume) -> str:
    return f"{volume.target}/{volume.lun}"


class MemoryEngine:
    """`serves`: whether a promoted path becomes active."""

    name = "tgt"

    def __init__(self, runner: Runner, serves: Callable[[], bool]) -> None:
        self._runner = runner
        self._serves = serves
        self._targets: set[str] = set()
        self._prepared: dict[str, Volume] = {}

    def available(self) -> str:
        return ""

    async def configure(self, target: Target) -> None:
        self._targets.add(target.name)

    async def withdraw(self, target: str) -> None:
        self._targets.discard(target)

    async def prepare(self, volume: Volume, *, standby: bool = True) -> None:
        self._prepared[unit_of(volume)] = volume
        if standby:
            await self.demote(volume)

    async def promote(self, volume: Volume, allowed: Callable[[], bool]) -> None:
        assert unit_of(volume) in self._prepared and volume.target in self._targets
        if not allowed():
            raise DriverError("not promoted: this node may not do it any more")
        await self._runner.start(Unit(unit_of(volume), ("promote", str(volume))))
        if not self._serves():
            await self.demote(volume)
            raise DriverError(f"{volume} does not serve", f"Look at {self._runner.log_path(unit_of(volume))}.")

    async def demote(self, volume: Volume) -> None:
        await self._runner.stop(unit_of(volume), grace_s=0.0)

    async def remove(self, volume: Volume) -> None:
        await self.demote(volume)
        self._prepared.pop(unit_of(volume), None)

    async def status(self) -> EngineStatus:
        active = await self._runner.running()
        paths = {
            (volume.target, volume.lun): PathState.ACTIVE if unit in active else PathState.STANDBY
            for unit, volume in self._prepared.items()
        }
        return EngineStatus(frozenset(self._targets), paths)

    async def halt(self) -> None:
        for unit in self._prepared:
            await self._runner.stop(unit, grace_s=0.0)
        self._prepared.clear()
        self._targets.clear()
