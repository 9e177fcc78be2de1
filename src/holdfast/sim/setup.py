"""A scenario as data: what a cluster is at the beginning, what happens to it, and what is expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.model import Desired, Exclusivity, InstanceSpec, Role, ShutdownPolicy
from holdfast.core.policy import RuleSpec
from holdfast.core.timing import Timing, profile
from holdfast.sim.expect import Expectation, Outcome, check

AFTER_LAST_STEP_S = 300.0
"""A file without `until` goes on for so long after its last step."""
KINDS = {
    "vm": (Exclusivity.STRICT, Role.COMPUTE),
    "nfs": (Exclusivity.STRICT, Role.STORAGE),
    "iscsi": (Exclusivity.STRICT, Role.STORAGE),
    "s3": (Exclusivity.STRICT, Role.S3),
    "panel": (Exclusivity.ADVISORY, Role.MANAGEMENT),
    "backup": (Exclusivity.EVERYWHERE, Role.BACKUP),
}
"""Kind → exclusivity of its instances (of S3's gateways it is another one), and the role a node needs."""
GATEWAY = "gw-"
"""Begins the name of a part that is the copy of the node that follows."""


@dataclass(frozen=True, slots=True)
class ClusterSetup:
    tolerate: int = 1
    shutdown_policy: ShutdownPolicy = ShutdownPolicy.FAILOVER
    dead_node_power_on: bool = True
    management: int = 3
    """How many nodes carry store and manager, as far as there are so many."""
    rebalance: str = "off"


@dataclass(frozen=True, slots=True)
class NodeSetup:
    name: str
    cpu: float = 4.0
    memory_mib: int = 8 * 1024
    roles: tuple[Role, ...] = tuple(Role)
    power_fencing: bool = True
    watchdog: bool = True
    labels: dict[str, str] = field(default_factory=dict)
    on: bool = True
    """Its power at the beginning."""
    slots: dict[str, int] = field(default_factory=dict)
    """Kind → how many instances of it the node carries at most."""
    joined: bool = True
    """It is a node of the cluster from the beginning."""


@dataclass(frozen=True, slots=True)
class InstanceSetup:
    spec: InstanceSpec
    node: str = ""
    """Where it runs at the beginning; empty: the manager chooses."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline."""

    at: float
    """Simulated seconds."""
    verb: str
    """One of `sim.verbs.VERBS`."""
    args: dict[str, Any] = field(default_factory=dict)
    """Every field of the verb, defaults included."""

    @property
    def instance(self) -> InstanceSetup:
        """What an `add` creates."""
        return instance_setup(self.args["instance"], self.args)


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    nodes: dict[str, NodeSetup]
    instances: dict[str, InstanceSetup] = field(default_factory=dict)
    """Those that are there from the beginning."""
    rules: tuple[RuleSpec, ...] = ()
    timeline: tuple[Step, ...] = ()
    """In the order of time."""
    until: float = AFTER_LAST_STEP_S
    profile: str = "default"
    cluster: ClusterSetup = ClusterSetup()
    why: str = ""
    """One line: the reason for this scenario."""
    group: str = ""
    simulation: dict[str, Any] = field(default_factory=dict)
    """Settings of the simulator itself; `detection`: datagrams or model."""
    expect: Expectation = field(default_factory=Expectation)

    @property
    def timing(self) -> Timing:
        return profile(self.profile)

    @property
    def management(self) -> tuple[str, ...]:
        """Nodes that carry store and manager: an odd number of those with the role."""
        able = [name for name, node in self.nodes.items() if Role.MANAGEMENT in node.roles]
        count = min(len(able), self.cluster.management)
        return tuple(able[: count if count % 2 else count - 1])

    @property
    def homes(self) -> dict[str, str]:
        """Instance → node at the beginning, where the file says so."""
        return {name: instance.node for name, instance in self.instances.items() if instance.node}

    def unmet(self, outcome: Outcome) -> list[str]:
        """How a run differs from what the file expects, one sentence each."""
        return check(self.expect, self.homes, outcome)


def instance_setup(name: str, values: Mapping[str, Any]) -> InstanceSetup:
    """From the fields of an instance that were read."""
    kind, service = name.split("/")[:2]
    exclusivity = Exclusivity(values["exclusivity"] or usual_exclusivity(name))
    role = KINDS[kind][1]
    spec = InstanceSpec(
        id=name,
        kind=kind,
        service=f"{kind}/{service}",
        exclusivity=exclusivity,
        role=role,
        nodes=values["nodes"],
        desired=Desired(values["state"]),
        priority=values["priority"],
        cpu=values["cpu"],
        memory_mib=values["memory"],
        max_restarts=values["max_restarts"],
        max_relocations=values["max_relocations"],
        failback=values["failback"],
        ha=values["ha"],
        preemptible=values["preemptible"],
        home=values["home"] or usual_home(name, exclusivity, values["node"]),
        spread=part_of(name).partition("-")[0].rstrip("0123456789") if kind == "s3" else "",
    )
    return InstanceSetup(spec, values["node"])


def part_of(name: str) -> str:
    """The last of the words of an instance's id."""
    return name.rpartition("/")[2]


def usual_exclusivity(name: str) -> Exclusivity:
    """Of an instance of that id whose file does not say it."""
    gateway = name.startswith("s3/") and part_of(name).startswith(GATEWAY)
    return Exclusivity.EVERYWHERE if gateway else KINDS[name.partition("/")[0]][0]


def usual_home(name: str, exclusivity: Exclusivity, node: str) -> str:
    """Likewise; `node`: where it begins."""
    if exclusivity is not Exclusivity.EVERYWHERE:
        return ""
    part = part_of(name)
    return part.removeprefix(GATEWAY) if part.startswith(GATEWAY) else node


def default_roles(index: int, count: int, cluster: ClusterSetup) -> tuple[Role, ...]:
    return tuple(role for role in Role if role is not Role.MANAGEMENT or index < min(count, cluster.management))
