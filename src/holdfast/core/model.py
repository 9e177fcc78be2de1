"""The words of the design as frozen data. Everything that is stored or passed between parts is defined here.

These classes are also the stored format (JSON through `holdfast.store.codec`): adding a field needs a default,
removing or renaming one needs a migration.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a node may be used for; a node has several roles at once."""

    MANAGEMENT = "management"
    COMPUTE = "compute"
    STORAGE = "storage"
    S3 = "s3"
    BACKUP = "backup"


KINDS = ("panel", "vm", "iscsi", "s3", "backup", "nfs")
"""Of services, and of their instances."""


class Exclusivity(StrEnum):
    """What two live copies of an instance would mean."""

    STRICT = "strict"
    """Two copies corrupt data: runs only while the node's deadline lies ahead, moves only after a claim."""
    ADVISORY = "advisory"
    """Two copies are a nuisance: moves on a quorum of observers."""
    EVERYWHERE = "everywhere"
    """A copy for each node, at home there; moves like an ADVISORY one while its home may not carry it."""


class Proof(StrEnum):
    """Why the manager may believe that nothing strict runs on a node any more (design, section 3)."""

    POWER_OFF = "P1"
    """Power fencing, verified off by reading the power state back."""
    REBOOTED = "P2"
    """The same machine registered with a new boot_id and runs nothing yet."""
    RELEASED = "P3"
    """The agent's own release, written after all stops were confirmed."""
    WATCHDOG = "P4"
    """An attested watchdog, and T_wait without a new beat."""
    OPERATOR = "P5"
    """An operator confirmed it."""
    STORAGE = "P6"
    """Eviction at the storage, verified."""


# --- desired state -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FenceDeviceSpec:
    """One way to switch a node off. A node lists several; they are tried in order."""

    name: str
    type: str
    """`redfish`, `fence-agent` or `manual`."""
    options: dict[str, str] = field(default_factory=dict)
    """redfish: url, username, password, system, ca (path) or insecure=true;
    fence-agent: agent (e.g. fence_ipmilan) and its own options by their long names (ip, username, password, lanplus…)."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A member node as the operator described it (key spec/nodes/<id>)."""

    id: str
    roles: tuple[Role, ...]
    addresses: dict[str, str]
    """Network name → the node's own address on it. `management` is always there."""
    failure_domain: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    fence_devices: tuple[FenceDeviceSpec, ...] = ()
    slots: dict[str, int] = field(default_factory=dict)
    """Kind → how many instances of it the node carries at most, whatever else is free. A kind that is left out: no limit."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A cluster network. `management` carries store, beats and the panel; `public` carries clients."""

    name: str
    cidrs: tuple[str, ...]
    """IPv4 and/or IPv6 prefixes, e.g. ("10.77.0.0/24", "fd77::/64")."""
    bridge: str = ""
    """Name of the Linux bridge that joins guests to it, the same on every node; empty: guests cannot use it."""


class ShutdownPolicy(StrEnum):
    """What becomes of a node's instances when it is shut down or rebooted on purpose."""

    MIGRATE = "migrate"
    """They are moved off before the node goes down."""
    FAILOVER = "failover"
    """They are stopped and started elsewhere."""
    FREEZE = "freeze"
    """They are stopped and wait for the node's return."""
    CONDITIONAL = "conditional"
    """A reboot freezes, a shutdown fails over."""


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Cluster-wide settings (key spec/cluster)."""

    name: str
    cluster_id: str
    profile: str = "default"
    networks: tuple[NetworkSpec, ...] = ()
    shared_root: str = "/shared"
    """Directory of the shared storage, the same path on every node."""
    dead_node_power_on: bool = True
    """Switch a node on again after it was switched off by fencing and claimed (never one that was found off)."""
    shutdown_policy: ShutdownPolicy = ShutdownPolicy.FAILOVER


@dataclass(frozen=True, slots=True)
class ManagementMember:
    """One management node's place in the store cluster."""

    node: str
    peer_url: str
    client_url: str
    state: str
    """`joining` (to be added), `learner`, `voter`, `leaving`."""
    member_id: str = ""
    """The store's own id of the member (hexadecimal); a node whose data carries another one begins anew. Empty: unknown."""


@dataclass(frozen=True, slots=True)
class ManagementSpec:
    """Management plane (key spec/management): which nodes carry it and at which address the panel answers."""

    nodes: tuple[str, ...]
    """Wanted management nodes; one before HA is enabled, then three or five."""
    virtual_ip: str = ""
    """The panel's dedicated address; empty before HA is enabled."""
    members: tuple[ManagementMember, ...] = ()
    """Store members as they are now; moved towards `nodes` by the manager, one step at a time."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """An address that follows an instance."""

    ip: str
    network: str
    """Name of the cluster network it lives on."""


class Desired(StrEnum):
    """What an operator wants of an instance."""

    STARTED = "started"
    STOPPED = "stopped"
    """Not running, but kept ready: re-homed when its node is lost."""
    DISABLED = "disabled"
    """Not running and left where it is: nothing is done for it."""
    IGNORED = "ignored"
    """As it is: neither started, stopped, checked nor moved by Holdfast. What runs strictly still ends at the deadline."""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """The smallest thing that is placed on a node (key spec/instances/<id>)."""

    id: str
    """`<kind>/<service>` or `<kind>/<service>/<part>`, e.g. nfs/vol1."""
    kind: str
    """One of KINDS."""
    service: str
    exclusivity: Exclusivity
    role: Role
    """Role a node must have to carry it."""
    nodes: tuple[str, ...] = ()
    """If not empty, only these nodes are eligible, in no order."""
    address: ServiceAddress | None = None
    desired: Desired = Desired.STARTED
    priority: int = 500
    cpu: float = 0.0
    """Cores."""
    memory_mib: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    """What the kind's driver needs; its shape is the driver's own."""
    max_restarts: int = 1
    """Failed starts are repeated on the same node so often before the instance is tried elsewhere."""
    max_relocations: int = 1
    """It is tried on so many other nodes before it waits where it is (and is tried again now and then)."""
    failback: bool = True
    """Return to a node that its affinity rules prefer as soon as that node is there again."""
    ha: bool = True
    """False: after its node's death it waits for that node's return instead of being recovered elsewhere."""
    preemptible: bool = False
    """Its owner allows that it is stopped, and waits, where something of higher priority needs the room."""
    networks: tuple[str, ...] = ()
    """Without an address of its own: where clients reach it at the nodes' addresses. Each of these will do."""
    home: str = ""
    """Of an EVERYWHERE copy: its own node. It runs there whenever that node may carry it, elsewhere only meanwhile."""
    names: tuple[str, ...] = ()
    """Fully qualified DNS names under which clients find its address."""
    spread: str = ""
    """Those of its service with the same word are spread evenly over the nodes, by number before weight, e.g. `os`."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What an operator created (key spec/services/<kind>/<name>)."""

    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)


# --- the protocol's records ---------------------------------------------------------------------------------------


class BeatPhase(StrEnum):
    """Where a node's session stands. The phase is part of the compare-and-swapped beat, so it is linearized with claims."""

    JOINING = "joining"
    """A new session (new boot, or after a claim): runs nothing strict and has no deadline yet. P2 may use it."""
    ACTIVE = "active"
    """Holds a deadline; strict instances may run."""
    RELEASED = "released"
    """All stops are confirmed, nothing strict will be started by this session again. P3 may use it."""


@dataclass(frozen=True, slots=True)
class WatchdogAttestation:
    """The guard's word that it owns a watchdog device and feeds it only while the deadline lies ahead."""

    device: str
    identity: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A node's renewal in the store (key nodes/<id>/beat), written only by its agent (whose `version` it tells), by CAS."""

    session: str
    """Identifies one run of the agent on one boot."""
    boot_id: str
    machine_id: str
    """Hash of machine identity AND hardware (MACs, product UUID), so that a clone differs."""
    sequence: int
    fence_epoch: int
    """The fence epoch this session acknowledges; equal to the fence record's while the node is a member."""
    phase: BeatPhase
    watchdog: WatchdogAttestation | None = None
    cpu: float = 0.0
    memory_mib: int = 0
    leaving: str = ""
    """Going down on purpose: `migrate` (its instances move off first), `failover`, `freeze` (they wait). Empty: it stays."""
    paused: bool = False
    """It acknowledged that high availability is paused: no watchdog enforces its deadline (design, section 8: ha-pause)."""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Fence:
    """A node's fence record (key nodes/<id>/fence): written once at join (no proof), then by claims; epoch only grows."""

    epoch: int
    proof: Proof | None = None
    claimed_session: str = ""
    """Session of the beat that the claim was compared with."""
    term: int = 0


class Goal(StrEnum):
    """What the placement asks of the node."""

    RUN = "run"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Placement:
    """Instance → node with an epoch that only grows (key placements/<instance>), written only by the manager."""

    node: str
    epoch: int
    fence_epoch: int
    """The node's when this was written. The agent acts only on the one it acknowledged, so a claim voids all at once."""
    goal: Goal = Goal.RUN
    reason: str = ""
    """One sentence for people: why here, why now."""
    relocations: int = 0
    """On how many nodes it failed to start since it last ran for a stable time."""
    tried: tuple[str, ...] = ()
    """Those nodes."""
    migrate_to: str = ""
    """A live migration to this node is asked for: until it is over, both nodes may execute the instance."""
    migrate_fence_epoch: int = 0
    """Fence epoch of `migrate_to` when that was written; a claim of that node voids its part."""
    migrate_failed: int = 0
    """Live migrations off this node that failed since it was placed there: the next planned move stops and starts it."""
    next_node: str = ""
    """goal STOP: where it is to run next, if that node takes it then. Its own node: it was only stopped and stays there."""
    yields_to: str = ""
    """The instance that it was stopped, or moved, to make room for."""
    left: str = ""
    """It was moved to make room: the node where that is."""


class InstanceState(StrEnum):
    """What the agent last said of an instance. Absence of a status means unknown, never stopped."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Confirmed: nothing of it runs on the node, its address is gone."""
    FAILED = "failed"
    """The last start or stop failed; `detail` says why. It may still run in part."""
    MIGRATED = "migrated"
    """Said by the source of a live migration: nothing of it runs here any more, nor is it started here again under this
    placement; the target executes it, or may start it."""
    IGNORED = "ignored"
    """Left alone: what of it runs on the node is not known. Takes back every earlier word, a confirmed stop above all."""


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """Written by the agent (key status/<instance>), always with the placement epoch it acts on."""

    node: str
    session: str
    epoch: int
    state: InstanceState
    detail: str = ""
    healthy: bool = False
    """The last health check through the service address succeeded."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds from the agent's receipt of the placement to each step of the start (server, address, healthy…)."""
    failures: int = 0
    """Failed starts in a row under this placement."""
    stable: bool = False
    """It ran for a stable time under this placement: earlier failures count no more."""
    powered_off: bool = False
    """STOPPED (or MIGRATED) after its own end, as a guest shut down from inside: no failure, no start under this epoch."""
    migrate_error: str = ""
    """Why the live migration that this placement asks for failed: it still runs here, and certainly not on the target."""


@dataclass(frozen=True, slots=True)
class DeathConfirmation:
    """An operator's word that a node is dead (key nodes/<id>/confirmed-dead); proof P5 for exactly one beat."""

    operator: str
    beat_revision: int
    """mod_revision of the beat that was the last one when the operator confirmed."""
    reason: str = ""


# --- how the manager sees nodes, and requests --------------------------------------------------------------------


class NodeState(StrEnum):
    """How the manager sees a node; one word for tables and the panel."""

    UP = "up"
    """Beats, and may carry instances."""
    JOINING = "joining"
    """A session that holds no deadline yet."""
    SUSPECT = "suspect"
    """A majority of its observers misses it, or its beat in the store is overdue: a hint."""
    CLAIMED = "claimed"
    """Proven dead and claimed; nothing of it counts until it joins with the new fence epoch."""
    RELEASED = "released"
    """Shut down cleanly."""
    MAINTENANCE = "maintenance"
    """Up, but its instances are moved off and none is placed there."""
    QUARANTINED = "quarantined"
    """Up, but it failed too often: nothing is placed there until an operator returns it."""
    NEVER_SEEN = "never-seen"
    """Added, but its agent never wrote a beat."""

    @property
    def up(self) -> bool:
        """It beats and nobody misses it, whether or not anything new is placed there."""
        return self in (NodeState.UP, NodeState.MAINTENANCE, NodeState.QUARANTINED)


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """An operator's wish to move an instance (key requests/moves/<instance>); removed by the manager when done."""

    node: str
    """Target; empty: wherever the planner likes, but not where it is."""
    operator: str = ""
    live: bool = False
    """Migrate it live where its kind can; else it is stopped and started."""
