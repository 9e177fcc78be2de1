"""A small simulated cluster: the real session, executor, beacon and manager over simulated hardware, network and store."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

from sim_node import SimNode
from sim_virtual import OWNER, NodeClock, VirtualLoop

from holdfast.config import BEAT_PORT
from holdfast.core.model import (
    ClusterSpec,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    ManagementSpec,
    NodeSpec,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.core.timing import profile
from holdfast.core.validity import SessionState
from holdfast.errors import FenceError
from holdfast.manager.election import Term
from holdfast.net.memory import MemoryNetwork
from holdfast.ports import PowerReading, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import MemoryCluster


class SimPower:
    """Power fence device of a node."""

    def __init__(self, node: "SimNode") -> None:
        self._node = node

    async def read(self, *, timeout: float) -> PowerReading:
        await asyncio.sleep(0.05)
        if self._node.bmc_dead:
            raise FenceError(f"the BMC of {self._node.name} does not answer")
        return PowerReading("on" if self._node.alive else "off")

    async def off(self, *, timeout: float) -> None:
        await asyncio.sleep(0.05)
        if self._node.bmc_dead:
            raise FenceError(f"the BMC of {self._node.name} does not answer")
        if OWNER.get() is self._node.tasks:
            self._node.world.failures.append(AssertionError(f"the manager on {self._node.name} switched itself off"))
        if self._node.alive:
            self._node.world.say(f"{self._node.name} is switched off by its BMC")
            self._node.power_off()

    async def on(self, *, timeout: float) -> None:
        if not self._node.bmc_dead and not self._node.alive:
            self._node.boot()

    async def close(self) -> None: ...


class World:
    """The cluster, and PowerFences for its managers."""

    def __init__(
        self, loop: VirtualLoop, *, nodes: int, volumes: int, watchdogs: bool, bmcs: bool, managers: int = 3
    ) -> None:
        self.loop = loop
        self.timing = profile("fast")
        base = NodeClock(loop)
        self.clock = base
        self.cluster = MemoryCluster(base)
        self.network = MemoryNetwork(base, {"management": ("10.0.0.0/24",)})
        self.log: list[str] = []
        self.failures: list[BaseException] = []
        self.one_way: set[tuple[str, str]] = set()
        names = [f"n{i + 1}" for i in range(nodes)]
        self.managers = names[:managers]
        self.nodes = {
            name: SimNode(self, name, f"10.0.0.{i + 11}", watchdogs, NodeClock(loop)) for i, name in enumerate(names)
        }
        self.volumes = [f"nfs/v{i + 1}" for i in range(volumes)]
        self.starts: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}
        self._plant(bmcs)

    def _plant(self, bmcs: bool) -> None:
        values: dict[str, object] = {
            keys.CLUSTER: ClusterSpec("sim", "sim", "fast"),
            keys.MANAGEMENT: ManagementSpec(tuple(self.managers)),
        }
        for node in self.nodes.values():
            devices = (FenceDeviceSpec("bmc", "sim", {"node": node.name}),) if bmcs else ()
            roles = (Role.MANAGEMENT, Role.STORAGE) if node.name in self.managers else (Role.STORAGE,)
            values[keys.node_spec(node.name)] = NodeSpec(
                node.name, roles, {"management": node.address}, fence_devices=devices
            )
            values[keys.fence(node.name)] = Fence(1)
        for i, volume in enumerate(self.volumes):
            address = ServiceAddress(f"10.0.0.{100 + i}", "management")
            values[keys.instance(volume)] = InstanceSpec(
                volume, "nfs", volume[4:], Exclusivity.STRICT, Role.STORAGE, address=address
            )
            values[keys.service("nfs", volume[4:])] = ServiceSpec("nfs", volume[4:])
        panel = InstanceSpec(
            "panel/admin", "panel", "admin", Exclusivity.ADVISORY, Role.MANAGEMENT,
            address=ServiceAddress("10.0.0.99", "management"),
        )  # fmt: skip
        values[keys.instance(panel.id)] = panel
        self.cluster.txn([], [Put(key, encode(value)) for key, value in values.items()], ())

    # --- ports for the managers

    def open(self, device: FenceDeviceSpec) -> SimPower:
        return SimPower(self.nodes[device.options["node"]])

    # --- network

    def connected(self, sender: SimNode, receiver: SimNode) -> bool:
        pair = (sender.name, receiver.name)
        ok = sender.alive and receiver.alive and sender.clock.thawed.is_set() and receiver.clock.thawed.is_set()
        return ok and (sender is receiver or not (sender.cut or receiver.cut or pair in self.one_way))

    def deliver(self, sender: SimNode, payload: bytes, host: str, port: int) -> None:
        if sender.mute_beats and port == BEAT_PORT:
            return
        for node in self.nodes.values():
            if node.address == host and port in node.buses and self.connected(sender, node):
                node.buses[port].receive(payload, sender.name)

    def set_cut(self, name: str, cut: bool) -> None:
        node = self.nodes[name]
        node.cut = node.faults.partitioned = cut
        (self.network.cut.add if cut else self.network.cut.discard)((name, "management"))

    # --- checks

    def check_inv_1(self) -> None:
        for volume in self.volumes:
            live = [node.name for node in self.nodes.values() if volume in node.live]
            assert len(live) <= 1, f"INV-1: {volume} lives on {live} at {self.clock.now():.2f}"

    def check_epochs(self) -> None:
        from holdfast.core.model import Placement

        for entry in self.cluster.list(keys.PLACEMENTS).entries:
            epoch = decode(entry.value, Placement, entry.key).epoch
            assert epoch >= self._epochs.get(entry.key, 0), f"INV-3: epoch of {entry.key} went back"
            self._epochs[entry.key] = epoch

    def task_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception())  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        self.log.append(f"{self.clock.now() - 1000:8.2f} {text}")

    async def run_for(self, seconds: float, step: float = 0.05) -> None:
        for _ in itertools.repeat(None, int(seconds / step)):
            await asyncio.sleep(step)
            self.check_inv_1()
            self.check_epochs()
            if self.failures:
                raise self.failures[0]

    async def end(self) -> None:
        """Switch everything off and let the cancelled tasks end."""
        for node in self.nodes.values():
            if node.alive:
                node.power_off()
        for _ in range(50):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool], bound: float, what: str) -> float:
        began = self.clock.now()
        while not condition():
            assert self.clock.now() - began < bound, f"{what}: not within {bound} s of simulated time\n" + "\n".join(
                self.log
            )
            await self.run_for(0.05)
        return self.clock.now() - began

    def leader(self) -> str:
        """The node whose manager leads, as the store has it."""
        entry = self.cluster.get(keys.MANAGER_TERM)
        return decode(entry.value, Term, entry.key).node if entry else ""

    def where(self, volume: str) -> str:
        return next((node.name for node in self.nodes.values() if volume in node.live), "")

    def all_run(self) -> bool:
        running = all(self.where(volume) for volume in self.volumes)
        return running and bool(self.network.owners("10.0.0.99"))

    def all_active(self) -> bool:
        return all(n.alive and n.session and n.session.state is SessionState.ACTIVE for n in self.nodes.values())
