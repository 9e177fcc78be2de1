"""A realistic cluster in a MemoryStore, and a node failure as the manager and the agents would write it."""

from collections.abc import Iterable, Mapping

from argon2 import PasswordHasher

from holdfast.bootstrap.users import User, hash_password
from holdfast.core.history import Event, GuaranteeWord, Incident, IncidentStep, ManagerView, Severity
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementMember,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    NodeState,
    Placement,
    Proof,
    Role,
    ServiceAddress,
    ServiceSpec,
    WatchdogAttestation,
)
from holdfast.ports import Clock, Delete, Put
from holdfast.services.nfs import config as nfs
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryCluster, MemoryStore

PASSWORD = "correct horse battery"
QUICK = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
"""Tests of the panel sign in all the time: strong hashes would be a good part of what they do."""
NODES = ("n1", "n2", "n3", "n4")
VOLUMES: Mapping[str, str] = {"home": "n2", "projects": "n2", "media": "n3", "scratch": "n4"}
PUBLIC = {"home": 101, "projects": 102, "media": 103, "scratch": 104}

MANAGER_SHAPE = {"node": "n3", "term": 7}


class World:
    """What is in the store; each method writes one thing, as its real author would."""

    def __init__(self, clock: Clock) -> None:
        self.cluster = MemoryCluster(clock)
        self.store = MemoryStore(self.cluster, clock)
        self.clock = clock
        self.states = dict.fromkeys(NODES, NodeState.UP)
        self.notes: dict[str, str] = {}
        self.waiting: dict[str, str] = {}
        self.hold = ""
        self.guarantee: GuaranteeWord | None = None
        self.epochs: dict[str, int] = {}
        self.incident: Incident | None = None
        self._events = 0

    async def put(self, key: str, value: object) -> None:
        await self.store.txn([], [Put(key, codec.encode(value))])

    async def fill(self) -> None:
        networks = (
            NetworkSpec("management", ("10.77.0.0/24", "fd77::/64")),
            NetworkSpec("public", ("10.78.0.0/24", "fd78::/64")),
        )
        await self.put(keys.CLUSTER, ClusterSpec("harbour", "c1", networks=networks))
        members = tuple(ManagementMember(n, f"https://{n}:2380", f"https://{n}:2379", "voter") for n in NODES[:3])
        await self.put(keys.MANAGEMENT, ManagementSpec(NODES[:3], "10.77.0.100", members))
        await self.put(keys.MANAGER_TERM, MANAGER_SHAPE)
        await self.put(keys.user("admin"), User("admin", hash_password("admin", PASSWORD, QUICK)))
        for number, node in enumerate(NODES, 1):
            await self.node(node, number)
        panel = ServiceAddress("10.77.0.100", "management")
        await self.put(keys.service("panel", "admin"), ServiceSpec("panel", "admin"))
        await self.put(
            keys.instance("panel/admin"),
            InstanceSpec("panel/admin", "panel", "admin", Exclusivity.ADVISORY, Role.MANAGEMENT, NODES[:3], panel),
        )
        await self.place("panel/admin", "n1", "It was here when management became highly available.")
        await self.running("panel/admin", "n1")
        pool = {"addresses": ["10.78.0.101-10.78.0.120"], "network": "public"}
        await self.put(keys.kind("nfs"), ServiceSpec("nfs", "", pool))
        for volume, node in VOLUMES.items():
            await self.volume(volume, node)
        await self.view()
        await self.event("node-joined", "n4 joined the cluster", node="n4")
        await self.event("instance-started", "nfs/scratch started on n4 in 1.21 s", instance="nfs/scratch")
        await self.event(
            "fence-test-failed",
            "n4: the fence device bmc did not answer for 2 s, then did",
            Severity.WARNING,
            node="n4",
        )

    async def node(self, node: str, number: int) -> None:
        roles = (Role.MANAGEMENT, Role.STORAGE) if number <= 3 else (Role.STORAGE,)
        addresses = {"management": f"10.77.0.{10 + number}", "public": f"10.78.0.{10 + number}"}
        devices = (FenceDeviceSpec("bmc", "redfish", {"url": "https://10.79.0.1/", "password": "secret-of-bmc"}),)
        rack = "rack a" if number <= 2 else "rack b"
        await self.put(keys.node_spec(node), NodeSpec(node, roles, addresses, rack, {}, devices if number != 4 else ()))
        await self.put(keys.fence(node), Fence(epoch=1))
        dog = WatchdogAttestation("/dev/watchdog", "iTCO_wdt", 6)
        beat = Beat(f"s-{node}", f"boot-{node}", f"m-{node}", 4211, 1, BeatPhase.ACTIVE, dog, 8.0, 32768)
        await self.put(keys.beat(node), beat)

    async def volume(self, name: str, node: str) -> None:
        volume = nfs.new_volume(name, "/shared", access=list(nfs.DEFAULT_ACCESS), size=None)
        address = ServiceAddress(f"10.78.0.{PUBLIC[name]}", "public")
        await self.put(keys.service("nfs", name), ServiceSpec("nfs", name, {"path": volume.path}))
        await self.put(keys.instance(f"nfs/{name}"), nfs.instance_spec(volume, address))
        await self.place(f"nfs/{name}", node, "Created here: the most room among the storage nodes.")
        await self.running(f"nfs/{name}", node)

    async def many_machines(self, node: str, numbers: Iterable[int]) -> None:
        """Machines that nobody has placed yet, in one transaction."""
        names = [f"many-{number}" for number in numbers]
        specs = [InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE, (node,)) for name in names]
        await self.store.txn([], [Put(keys.instance(spec.id), codec.encode(spec)) for spec in specs])

    async def place(self, instance: str, node: str, reason: str) -> None:
        epoch = self.epochs[instance] = self.epochs.get(instance, 0) + 1
        await self.put(keys.placement(instance), Placement(node, epoch, 1, reason=reason))

    async def end_sessions(self) -> None:
        for entry in (await self.store.list(keys.SESSIONS)).entries:
            await self.store.txn([], [Delete(entry.key)])

    async def unplace(self, instance: str, why: str) -> None:
        await self.store.txn([], [Delete(keys.placement(instance))])
        self.waiting[instance] = why
        await self.view()

    async def status(
        self, instance: str, node: str, state: InstanceState, healthy: bool = False, detail: str = ""
    ) -> None:
        epoch = self.epochs[instance]
        await self.put(keys.status(instance), InstanceStatus(node, f"s-{node}", epoch, state, detail, healthy))

    async def running(self, instance: str, node: str) -> None:
        await self.status(instance, node, InstanceState.RUNNING, healthy=True)

    async def view(self) -> None:
        words = dict(self.states), dict(self.notes), dict(self.waiting), self.hold
        await self.put(keys.MANAGER_VIEW, ManagerView("n3", 7, *words, guarantee=self.guarantee))

    async def event(
        self, kind: str, text: str, severity: Severity = Severity.INFO, node: str = "", instance: str = ""
    ) -> None:
        self._events += 1
        await self.put(keys.event(self._events), Event(kind, self.clock.wall(), text, severity, node, instance))

    async def step(self, name: str, at: float, text: str, instance: str = "", **changes: object) -> None:
        """Add a step to the running incident, together with other changes of it."""
        assert self.incident is not None
        steps = (*self.incident.steps, IncidentStep(name, at, text, instance))
        self.incident = _replace(self.incident, steps=steps, **changes)
        await self.put(keys.incident(self.incident.id), self.incident)


def _replace(incident: Incident, **changes: object) -> Incident:
    values = {name: getattr(incident, name) for name in Incident.__dataclass_fields__}
    return Incident(**{**values, **changes})


class Failure:
    """n2 loses its power: each method is one stage of its failover."""

    AFFECTED = ("nfs/home", "nfs/projects")
    TARGETS: Mapping[str, str] = {"nfs/home": "n3", "nfs/projects": "n1"}

    def __init__(self, world: World) -> None:
        self.world = world

    async def suspect(self) -> None:
        world = self.world
        world.states["n2"] = NodeState.SUSPECT
        world.notes["n2"] = "n1, n3 and n4 miss its beats on the management network"
        world.incident = Incident("i-0001", "n2", world.clock.wall(), "open", affected=self.AFFECTED)
        await world.step("missed", 0.0, "n3 misses the first beat of n2")
        await world.step("suspect", 0.612, "3 of 3 observers miss n2 on the management network")
        await world.view()
        await world.event("node-suspect", "n2 is suspect: 3 of 3 observers miss it", Severity.WARNING, node="n2")

    async def fencing(self) -> None:
        await self.world.step("fencing", 0.618, "asking the fence device bmc (redfish) to switch n2 off")

    async def claimed(self) -> None:
        world = self.world
        await world.step("proven-dead", 0.894, "bmc reads the power state as off", proof=Proof.POWER_OFF)
        await world.step("claimed", 0.911, "n2 claimed with fence epoch 2")
        await world.put(keys.fence("n2"), Fence(2, Proof.POWER_OFF, "s-n2", 7))
        world.states["n2"] = NodeState.CLAIMED
        world.notes["n2"] = "Switched off by bmc and claimed; it is switched on again once everything is recovered"
        await world.view()
        await world.event("power-fenced", "n2 was switched off by bmc (redfish), verified", Severity.ERROR, node="n2")

    async def placed(self) -> None:
        world = self.world
        for number, (instance, node) in enumerate(self.TARGETS.items()):
            reason = f"n2 failed and was claimed; {node} has the most room."
            await world.place(instance, node, reason)
            await world.status(instance, node, InstanceState.STARTING, detail="waiting for the server to listen")
            await world.step("placed", 0.925 + number / 500, f"on {node} with epoch {world.epochs[instance]}", instance)

    async def recovered(self, instance: str, at: float) -> None:
        world = self.world
        assert world.incident is not None
        node = self.TARGETS[instance]
        await world.running(instance, node)
        done = (*world.incident.recovered, instance)
        await world.step("recovered", at, f"answers a client through its address on {node}", instance, recovered=done)
        await world.event("instance-recovered", f"{instance} answers again on {node}", instance=instance)

    async def closed(self, at: float) -> None:
        await self.world.step("closed", at, "everything affected is recovered", state="closed")

    async def whole(self) -> None:
        await self.suspect()
        await self.fencing()
        await self.claimed()
        await self.placed()
        await self.recovered("nfs/home", 1.842)
        await self.recovered("nfs/projects", 1.977)
        await self.closed(1.981)
