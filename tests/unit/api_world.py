"""A small cluster in a memory store, for tests of operations, API and command line."""

from collections.abc import Mapping

from holdfast.api.operations.draft import Actor
from holdfast.clock import SystemClock
from holdfast.core.history import ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    ManagementMember,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.errors import FenceError, InvalidInput
from holdfast.ports import PowerReading, Put, Store
from holdfast.store import codec, keys
from holdfast.store.memory import Faults, MemoryCluster, MemoryStore

ROOT = Actor("root", "socket")
NETWORKS = (
    NetworkSpec("management", ("10.77.0.0/24", "fd77::/64")),
    NetworkSpec("public", ("10.78.0.0/24",)),
)


def memory_store(faults: Faults | None = None) -> MemoryStore:
    return MemoryStore(MemoryCluster(), SystemClock(), faults=faults)


async def put(store: Store, values: Mapping[str, object]) -> None:
    await store.txn([], [Put(key, codec.encode(value)) for key, value in values.items()])


async def contents(store: Store) -> dict[str, bytes]:
    """Everything the store holds, to show that a refused operation changed nothing."""
    return {entry.key: entry.value for entry in (await store.list("")).entries}


async def build(store: Store, *, nodes: int = 5, management: int = 1) -> None:
    """n1 … nN up, the first ones with the role management; the panel on n1; no service yet."""
    values: dict[str, object] = {
        keys.CLUSTER: ClusterSpec("demo", "c1", networks=NETWORKS),
        keys.MANAGEMENT: ManagementSpec(
            tuple(f"n{k}" for k in range(1, management + 1)),
            members=tuple(
                ManagementMember(f"n{k}", f"https://10.77.0.1{k}:2380", f"https://10.77.0.1{k}:2379", "voter")
                for k in range(1, management + 1)
            ),
        ),
        keys.instance("panel/admin"): InstanceSpec(
            "panel/admin", "panel", "admin", Exclusivity.ADVISORY, Role.MANAGEMENT
        ),
        keys.service("panel", "admin"): ServiceSpec("panel", "admin"),
    }
    for k in range(1, nodes + 1):
        roles = (Role.MANAGEMENT, Role.COMPUTE) if k <= management else (Role.COMPUTE,)
        addresses = {"management": f"10.77.0.1{k}", "public": f"10.78.0.1{k}"}
        values[keys.node_spec(f"n{k}")] = NodeSpec(f"n{k}", roles, addresses)
        values[keys.fence(f"n{k}")] = Fence(1)
        values[keys.beat(f"n{k}")] = Beat(f"s{k}", f"b{k}", f"m{k}", 1, 1, BeatPhase.ACTIVE)
    await put(store, values)


async def say(store: Store, states: Mapping[str, NodeState], waiting: Mapping[str, str] | None = None) -> None:
    """The leading manager's word."""
    view = ManagerView("n1", 3, dict(states), {}, dict(waiting or {}))
    await put(store, {keys.MANAGER_TERM: {"node": "n1", "term": 3}, keys.MANAGER_VIEW: view})


async def place(store: Store, instance: str, node: str, epoch: int = 7) -> None:
    await put(store, {keys.placement(instance): Placement(node, epoch, 1)})


class FakeProbe:
    """Answers for the addresses it was told of."""

    def __init__(self, used: Mapping[str, str] | None = None) -> None:
        self.used = dict(used or {})
        self.asked: list[str] = []

    async def __call__(self, address: ServiceAddress) -> str:
        self.asked.append(address.ip)
        return self.used.get(address.ip, "")


class FakeFence:
    def __init__(self, state: str) -> None:
        self._state = state

    async def read(self, *, timeout: float) -> PowerReading:
        if self._state == "silent":
            raise FenceError("https://10.79.0.101 does not answer", "Check cable, address and power of the BMC.")
        return PowerReading(self._state)

    async def off(self, *, timeout: float) -> None:
        raise AssertionError("a test must not switch anything")

    async def on(self, *, timeout: float) -> None:
        raise AssertionError("a test must not switch anything")

    async def close(self) -> None:
        pass


class FakeFences:
    """Options `state`: on, off, unknown or silent."""

    def open(self, device: FenceDeviceSpec) -> FakeFence:
        if "state" not in device.options:
            raise InvalidInput(f"fence device {device.name} has no option `state`", "Give one.")
        return FakeFence(device.options["state"])
