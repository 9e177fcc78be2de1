"""A compute cluster for the world: virtual machines on four nodes, and the guarantee as the manager would say it."""

from collections.abc import Mapping
from dataclasses import dataclass

from panel_visitor import Visitor
from panel_world import NODES, World

from holdfast.core.history import GuaranteeWord
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    FenceDeviceSpec,
    InstanceSpec,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    ServiceSpec,
    WatchdogAttestation,
)
from holdfast.core.policy import ComputeSpec
from holdfast.store import keys

GIB = 1024
MACHINES: Mapping[str, tuple[str, int]] = {
    "web-1": ("n1", 8),
    "web-2": ("n2", 12),
    "db-1": ("n2", 16),
    "db-2": ("n3", 6),
    "a-rather-long-name-for-a-virtual-machine": ("n3", 10),
    "mail": ("n4", 4),
}
"""Name → (node, memory in GiB). Each node has 32 GiB."""


@dataclass
class Lived:
    """A window onto a cluster with machines, which has seen a failure and is well again."""

    visitor: Visitor
    world: World


async def add_machines(world: World) -> None:
    """Any one node may fail; if n2 and n3 fail together it becomes tight."""
    for number, node in enumerate(NODES, 1):
        roles = (Role.MANAGEMENT, Role.STORAGE, Role.COMPUTE) if number <= 3 else (Role.STORAGE, Role.COMPUTE)
        addresses = {"management": f"10.77.0.{10 + number}", "public": f"10.78.0.{10 + number}"}
        devices = (FenceDeviceSpec("bmc", "redfish", {"url": "https://10.79.0.1/", "password": "secret-of-bmc"}),)
        slots = {"vm": 10} if number == 1 else {}
        rack = "rack a" if number <= 2 else "rack b"
        spec = NodeSpec(node, roles, addresses, rack, {}, devices if number != 4 else (), slots)
        await world.put(keys.node_spec(node), spec)
    for name, (node, gib) in MACHINES.items():
        machine = f"vm/{name}"
        await world.put(keys.service("vm", name), ServiceSpec("vm", name))
        spec_of = InstanceSpec(machine, "vm", name, Exclusivity.STRICT, Role.COMPUTE, cpu=1.0, memory_mib=gib * GIB)
        await world.put(keys.instance(machine), spec_of)
        await world.place(machine, node, "most memory stays free with it there")
        await world.running(machine, node)
    await world.put(keys.COMPUTE, ComputeSpec(NODES, tolerate=1))
    world.guarantee = GuaranteeWord(1, True, text="there is room for everything after the failure of one node")
    await world.view()


async def node_returns(world: World) -> None:
    """n2, which had failed, is up again and carries its machines."""
    dog = WatchdogAttestation("/dev/watchdog", "iTCO_wdt", 6)
    await world.put(keys.beat("n2"), Beat("s-n2", "boot-again", "m-n2", 12, 2, BeatPhase.ACTIVE, dog, 8.0, 32768))
    for name, (node, _) in MACHINES.items():
        if node == "n2":
            epoch = world.epochs[f"vm/{name}"] = world.epochs[f"vm/{name}"] + 1
            await world.put(keys.placement(f"vm/{name}"), Placement(node, epoch, 2, reason="most memory stays free"))
            await world.running(f"vm/{name}", node)
    world.states["n2"] = NodeState.UP
    world.notes.pop("n2", None)
    await world.view()
