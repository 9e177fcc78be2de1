"""Simulated services: what a driver does on a simulated machine, and the client's check of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError
from holdfast.ports import StepRecorder

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

START_S = 0.2
STOP_S = 0.05
MIGRATE_S = 2.0
READY_S = 5.0
"""So long the source waits for the target to be ready to receive."""
HANG_S = 1e9
LATE_START = 0.1
"""Share of the starts in which something comes between the last question and the first effect (a pause, a slow fork)."""
LATE_START_S = 0.5


class SimDriver:
    """Port Driver for one kind on one machine. What runs is the machine's, so that it outlives the agent."""

    def __init__(self, machine: "Machine", kind: str) -> None:
        self.kind = kind
        self.live = kind == "vm"
        self._machine = machine
        self._world = machine.world

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        return {}

    async def put_away(self) -> None: ...

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        trouble, clock = self._world.trouble, self._machine.clock
        if instance.id in self._machine.live:
            return
        if trouble.hangs("start", instance.id):
            with trouble.hang(instance.id):
                await clock.sleep(HANG_S)
        await self._slowly(START_S)
        if trouble.fails("start", instance.id, self._machine.name):
            raise DriverError(f"{instance.id} does not start on {self._machine.name}", "A fault of the scenario.")
        asked_at = clock.now()
        if not allowed():
            raise DriverError(f"{instance.id} may not run on {self._machine.name} any more")
        if late_s := trouble.late_start_s(instance.id):
            await clock.sleep(late_s)
        if self._world.random.random() < LATE_START:
            await clock.sleep(self._world.random.uniform(0.0, LATE_START_S))
        self._machine.receiving.pop(instance.id, None)
        if not trouble.lies("start", instance.id):
            self._machine.execute(instance, asked_at)
        steps.step("server")

    async def _slowly(self, seconds: float) -> None:
        """As in a process of its own: an order to stop is not heard, only the answer of `allowed` counts afterwards."""
        working = asyncio.ensure_future(self._machine.clock.sleep(seconds))
        while not working.done():
            try:
                await asyncio.shield(working)
            except asyncio.CancelledError:
                continue

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        trouble, clock = self._world.trouble, self._machine.clock
        self._machine.powered_off.discard(instance.id)
        if trouble.hangs("stop", instance.id):
            with trouble.hang(instance.id):
                await clock.sleep(HANG_S)
        await clock.sleep(STOP_S)
        if trouble.fails("stop", instance.id, self._machine.name):
            raise DriverError(f"{instance.id} does not stop on {self._machine.name}", "A fault of the scenario.")
        self._machine.receiving.pop(instance.id, None)
        if not trouble.lies("stop", instance.id):
            self._machine.end(instance.id, "stopped")

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        """Copy the memory, then hand over in one instant, as hypervisors do."""
        source, target = self._machine, self._world.machines[to]
        give_up = source.clock.now() + READY_S
        while instance.id not in target.receiving and source.clock.now() < give_up:
            await source.clock.sleep(0.1)
        await source.clock.sleep(MIGRATE_S)
        if self._world.trouble.fails("migrate", instance.id, source.name):
            raise DriverError(f"{instance.id} does not migrate to {to}", "A fault of the scenario.")
        reachable = instance.id in target.receiving and self._world.network.both(source.name, to)
        if not reachable or instance.id not in source.live:
            raise DriverError(f"{to} does not receive {instance.id}", "It goes on where it is.")
        target.take_over(instance, source)

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        await self._machine.clock.sleep(STOP_S)
        if not allowed():
            raise DriverError(f"{instance.id} may not come to {self._machine.name} now")
        if instance.id not in self._machine.live:
            self._machine.receiving[instance.id] = self.kind

    async def address_up(self, instance: InstanceSpec) -> None: ...

    async def tick(self, instance: InstanceSpec) -> None:
        self._machine.write(instance.id)

    async def reconfigure(self, instance: InstanceSpec) -> None: ...

    async def restart_hung(self, instance: InstanceSpec) -> None: ...

    async def running(self) -> list[str]:
        live = {name for name, run in self._machine.live.items() if run.kind == self.kind}
        return sorted(live | {name for name, kind in self._machine.receiving.items() if kind == self.kind})

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        run = self._machine.live.get(instance.id)
        return await asyncio.shield(run.ended) if run else instance.id in self._machine.powered_off


class SimProbe:
    """Port HealthProbe, asked from one machine: does the instance run somewhere this machine can reach?"""

    def __init__(self, world: "World", kind: str, asker: str) -> None:
        self.kind = kind
        self._world = world
        self._asker = asker

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        for machine in self._world.everything():
            here = instance.id in machine.live and machine.powered and not machine.frozen
            if here and self._world.network.both(self._asker, machine.name, "public"):
                return ""
        return f"{instance.id} does not answer"
