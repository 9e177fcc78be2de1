"""Units in memory, for tests of whoever runs units (port Runner; same contract tests as the real one)."""

import asyncio
from dataclasses import dataclass, field

from holdfast.errors import DriverError, InvalidInput
from holdfast.ports import Unit


@dataclass
class MemoryHost:
    """A machine that carries units; it outlives the runners (agents) on it."""

    units: dict[str, Unit] = field(default_factory=dict)
    """What runs now."""
    history: list[tuple[str, str]] = field(default_factory=list)
    """Everything that happened: (start | stop | crash | kill, unit)."""
    refuse: set[str] = field(default_factory=set)
    """Units whose start fails."""
    stuck: set[str] = field(default_factory=set)
    """Units that do not die."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def crash(self, name: str) -> None:
        """The unit ends by itself."""
        self.end(name, "crash")

    def end(self, name: str, how: str) -> None:
        """Remember that it ended, if it ran."""
        if self.units.pop(name, None) is not None:
            self.history.append((how, name))
            self._changed.set()
            self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


class MemoryRunner:
    """Runs units on a MemoryHost (port Runner)."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    async def start(self, unit: Unit) -> None:
        if not unit.name:
            raise InvalidInput("a unit needs a name", "Give it one.")
        if unit.name in self._host.units:
            return
        if not unit.argv:
            raise InvalidInput(f"unit {unit.name} has no program to run", "Give its command line.")
        await asyncio.sleep(0)
        if unit.name in self._host.refuse:
            raise DriverError(f"unit {unit.name} could not be started", "See its log.")
        if unit.allowed is not None and not unit.allowed():
            raise DriverError(f"unit {unit.name} was not started: this node may not run it any more")
        self._host.units[unit.name] = unit
        self._host.history.append(("start", unit.name))

    async def stop(self, name: str, *, grace_s: float) -> None:
        await asyncio.sleep(0)
        if name in self._host.stuck and name in self._host.units:
            raise DriverError(f"unit {name} does not die", "Reboot the node.")
        self._host.end(name, "stop")

    async def running(self) -> list[str]:
        return sorted(self._host.units)

    async def wait_exit(self, name: str) -> None:
        while name in self._host.units:
            await self._host.changed()

    def log_path(self, name: str) -> str:
        return f"/dev/null/{name}.log"
