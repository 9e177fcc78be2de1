"""Agents of a few nodes without their sessions: the real executors over a store and a network in memory, with drivers that
share one imaginary hypervisor. Whether a node may run anything is what the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from holdfast.agent.context import NodeContext
from holdfast.agent.executor import Executor, concerns_agents
from holdfast.clock import ManualClock
from holdfast.core.model import (
    Exclusivity,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    Placement,
    Role,
    ServiceAddress,
)
from holdfast.errors import DriverError
from holdfast.net.announce import Announcer
from holdfast.net.memory import MemoryAddresses, MemoryNetwork
from holdfast.ports import Delete, Put, StepRecorder
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

VM = InstanceSpec("vm/a", "vm", "a", Exclusivity.STRICT, Role.COMPUTE)


@dataclass
class Hypervisors:
    """What really runs, on all nodes. At most one node may execute an instance, at any time."""

    live: dict[str, str] = field(default_factory=dict)
    """Instance → node."""
    doors: set[tuple[str, str]] = field(default_factory=set)
    """(instance, node) that would receive it."""
    exits: dict[str, asyncio.Event] = field(default_factory=dict)
    powered_off: set[str] = field(default_factory=set)
    """Instances whose last end was their own will."""
    starts: Counter[str] = field(default_factory=Counter)
    """Node → fresh starts there."""
    failing: Counter[str] = field(default_factory=Counter)
    """`start`, `stop`, `migrate`, `put-away`: so many of the next ones fail."""
    warm: set[tuple[str, str]] = field(default_factory=set)
    """(instance, node) that is kept warm, by a process in the node's strict group."""
    hand_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: a live migration goes on copying."""

    def execute(self, instance: str, node: str) -> None:
        assert self.live.get(instance, node) == node, f"INV-1: {instance} on {self.live[instance]} and {node}"
        self.live[instance] = node
        self.powered_off.discard(instance)
        self.exits[instance] = asyncio.Event()

    def end(self, instance: str, *, powered_off: bool = False) -> None:
        """Its process ends by itself."""
        self.live.pop(instance)
        if powered_off:
            self.powered_off.add(instance)
        self.exits.pop(instance).set()

    def fails(self, what: str) -> bool:
        self.failing[what] -= 1
        return self.failing[what] >= 0


class WorldDriver:
    """Port Driver."""

    kind = "vm"

    def __init__(self, node: str, world: Hypervisors, clock: ManualClock) -> None:
        self._node, self._world, self._clock = node, world, clock

    def _here(self, name: str) -> bool:
        return self._world.live.get(name) == self._node

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        await self._clock.sleep(0.1)
        self._world.warm.update((instance.id, self._node) for instance in instances)
        return {}

    async def put_away(self) -> None:
        if self._world.fails("put-away"):
            raise DriverError("its daemon does not end")
        self._world.warm -= {found for found in self._world.warm if found[1] == self._node}

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        if self._here(instance.id):
            return
        await self._clock.sleep(0.1)
        if self._world.fails("start"):
            raise DriverError("no disk")
        if not allowed():
            raise DriverError("not allowed")
        self._world.doors.discard((instance.id, self._node))
        self._world.execute(instance.id, self._node)
        self._world.starts[self._node] += 1

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        await self._clock.sleep(0.1)
        if self._world.fails("stop"):
            raise DriverError("in state D")
        if self._world.fails("stop-unsaid"):
            return
        self._world.doors.discard((instance.id, self._node))
        self._world.powered_off.discard(instance.id)
        if self._here(instance.id):
            self._world.end(instance.id)

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        await self._clock.sleep(0.5)
        await self._world.hand_over.wait()
        if self._world.fails("migrate"):
            raise DriverError("no route")
        if not self._here(instance.id) or (instance.id, to) not in self._world.doors:
            raise DriverError(f"{to} does not receive it")
        self._world.doors.discard((instance.id, to))
        self._world.live[instance.id] = to  # one instant

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        if not allowed():
            raise DriverError("not allowed")
        if not self._here(instance.id):
            self._world.doors.add((instance.id, self._node))

    async def running(self) -> list[str]:
        open_doors = {name for name, node in self._world.doors if node == self._node}
        return sorted(open_doors | {name for name in self._world.live if self._here(name)})

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        if self._here(instance.id):
            await self._world.exits[instance.id].wait()
        return instance.id in self._world.powered_off

    async def address_up(self, instance: InstanceSpec) -> None: ...
    async def tick(self, instance: InstanceSpec) -> None: ...
    async def reconfigure(self, instance: InstanceSpec) -> None: ...
    async def restart_hung(self, instance: InstanceSpec) -> None: ...


class WorldProbe:
    kind = "vm"

    def __init__(self, world: Hypervisors) -> None:
        self._world = world

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        return "" if instance.id in self._world.live else "nobody answers"


class AgentNode:
    """One node's executor. `may_run` stands for its session: an active one before its deadline."""

    def __init__(self, world: "AgentWorld", name: str, fence_epoch: int = 1) -> None:
        self.name, self.fence_epoch, self.may_run = name, fence_epoch, True
        self.guard_away = False
        """The guard restarts: what runs may stay, and nothing may be started."""
        self.faults = Faults()
        self._store = MemoryStore(world.cluster, world.clock, faults=self.faults)
        self.mirror = Mirror(self._store, notable=concerns_agents)
        self.addresses = MemoryAddresses(world.network, name, {"management": "10.0.0.1"})
        world.runs += 1
        context = NodeContext(
            node=name,
            session=f"s-{world.runs}",
            store=self._store,
            clock=world.clock,
            addresses=self.addresses,
            announcer=Announcer(self.addresses, world.clock),
            allowed=lambda: self.may_run and not self.guard_away,
            may_stay=lambda: self.may_run,
            deadline=lambda: world.clock.now() + 8,
            advisory_address_s=4.0,
        )
        driver = WorldDriver(name, world.real, world.clock)
        self.executor = Executor(
            context, {"vm": driver}, {"vm": WorldProbe(world.real)}, self.mirror, lambda: self.fence_epoch
        )
        self._tasks = [asyncio.create_task(self.mirror.run()), asyncio.create_task(self._live())]

    async def _live(self) -> None:
        await self.mirror.ready.wait()
        await self.executor.adopt()
        self.executor.resume()
        while True:
            await self.mirror.changed.wait()
            self.mirror.changed.clear()
            self.executor.refresh()

    async def stop_strict(self) -> bool:
        """What its session does at the deadline."""
        self.may_run = False
        return await self.executor.stop_strict(1.0)

    def resume(self) -> None:
        self.may_run = True
        self.executor.resume()

    async def end(self) -> None:
        """The agent ends; what runs goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.executor.close()


class AgentWorld:
    """The store's records of one instance, written by the test as the manager or an operator would."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = MemoryCluster(self.clock)
        self.network = MemoryNetwork(self.clock, {"management": ("10.0.0.0/24",)})
        self.real = Hypervisors()
        self.real.hand_over.set()
        self.nodes: dict[str, AgentNode] = {}
        self.spec = VM
        self.runs = 0

    def node(self, name: str, fence_epoch: int = 1) -> AgentNode:
        self.nodes[name] = AgentNode(self, name, fence_epoch)
        return self.nodes[name]

    def want(self, **changes: object) -> None:
        self.spec = replace(self.spec, **changes)  # type: ignore[arg-type]
        self.put(keys.instance(self.spec.id), self.spec)

    def place(self, node: str, epoch: int, goal: Goal = Goal.RUN, *, to: str = "") -> None:
        """`to`: it is to migrate live to this node. Of both nodes the first fence epoch is meant."""
        placement = Placement(node, epoch, 1, goal, migrate_to=to, migrate_fence_epoch=1 if to else 0)
        self.put(keys.placement(self.spec.id), placement)

    def put(self, key: str, value: object) -> None:
        self.cluster.txn([], [Put(key, encode(value))], ())

    def delete(self, key: str) -> None:
        self.cluster.txn([], [Delete(key)], ())

    @property
    def word(self) -> InstanceStatus:
        """What the store has heard of the instance."""
        entry = self.cluster.get(keys.status(self.spec.id))
        assert entry is not None, "nothing was said"
        return decode(entry.value, InstanceStatus, entry.key)

    def says(self) -> tuple[InstanceState, int]:
        return self.word.state, self.word.epoch

    @property
    def where(self) -> str:
        """The node that executes it; "" if none does."""
        return self.real.live.get(self.spec.id, "")

    async def run_for(self, seconds: float) -> None:
        await self.clock.advance(seconds)


@asynccontextmanager
async def agents(*names: str, address: str = "") -> AsyncIterator[AgentWorld]:
    """A world with these nodes, and the instance wanted but not placed."""
    world = AgentWorld()
    world.want(address=ServiceAddress(address, "management") if address else None)
    for name in names:
        world.node(name)
    await world.run_for(0.1)
    try:
        yield world
    finally:
        for node in world.nodes.values():
            await node.end()
