"""What the cluster looks like now, for people: one frozen picture built from the store's entries.

`holdfast.api.records` decodes entries (incrementally, change by change), `build_status` makes the picture from them; both
are pure. The cache that keeps a picture current is in `holdfast.api.cache`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from holdfast.api import backup_view, s3_view
from holdfast.api.records import ManagerInfo, Records
from holdfast.core.alarm_life import open_alarms
from holdfast.core.alarm_model import Alarm
from holdfast.core.history import Event, GuaranteeWord, Incident, ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    DeathConfirmation,
    Exclusivity,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementSpec,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Proof,
    Role,
    ServiceAddress,
    ServiceSpec,
    WatchdogAttestation,
)
from holdfast.core.policy import BringBack, ComputeSpec, HaPause, InstanceLock, Maintenance, NodeHealth
from holdfast.ports import Entry
from holdfast.services.gateway_ha import ha_off
from holdfast.services.iscsi.config import TargetGroup, VolumeRecord
from holdfast.store import keys

RECENT_INCIDENTS = 20
RECENT_EVENTS = 50

UNPLACED = "unplaced"
"""Wanted, but on no node; `waiting` says why."""
UNKNOWN = "unknown"
"""Placed, but its node has not said anything that still counts (other epoch, or the node is not up)."""


@dataclass(frozen=True, slots=True)
class FenceDeviceView:
    """A fence device without its options, which hold passwords."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    id: str
    roles: tuple[Role, ...]
    addresses: dict[str, str]
    state: NodeState
    note: str = ""
    """One sentence of the manager: who misses it, what is being waited for."""
    fence_epoch: int = 0
    watchdog: WatchdogAttestation | None = None
    """What the guard attested with the last beat; None: never claimed on time alone."""
    fence_devices: tuple[FenceDeviceView, ...] = ()
    instances: tuple[str, ...] = ()
    """Ids of the instances placed here."""
    failure_domain: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    """Kind → how many instances of it the node carries at most; a kind that is left out: no limit."""
    cpu: float = 0.0
    memory_mib: int = 0
    session: str = ""
    beat_sequence: int = 0
    confirmed_dead: bool = False
    """An operator confirmed the death of exactly the last beat (P5)."""
    paused: bool = False
    """Its last beat acknowledges that high availability is paused."""
    leaving: str = ""
    """It goes down on purpose: `migrate`, `failover` or `freeze`."""
    maintenance: Maintenance | None = None
    returning: tuple[str, ...] = ()
    """Instances that are to be brought back after a maintenance."""
    health: NodeHealth = field(default_factory=NodeHealth)
    lost_networks: tuple[str, ...] = ()
    """Networks other than management that its observers miss it on."""
    version: str = ""
    """Of its agent, by its last beat; empty: not seen yet, or from before agents told it."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    instances: tuple[str, ...] = ()
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class InstanceView:
    id: str
    kind: str
    service: str
    exclusivity: Exclusivity
    desired: str
    """`started` or `stopped`."""
    address: str = ""
    network: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """What the kind's driver gets, e.g. path, size in bytes and access rules of an NFS volume."""
    node: str = ""
    """Where it is placed; empty: nowhere."""
    goal: Goal | None = None
    epoch: int = 0
    reason: str = ""
    """Why it is placed there."""
    state: str = UNKNOWN
    """A word of InstanceState, or `unplaced` or `unknown`."""
    healthy: bool = False
    """A check through the service address succeeded, and the word of its node still counts."""
    detail: str = ""
    waiting: str = ""
    """Why it is not placed or not running, and what to do."""
    moving_to: str = ""
    """Target of an operator's move that is under way; `*`: anywhere else."""
    cpu: float = 0.0
    """Cores it needs."""
    memory_mib: int = 0
    priority: int = 500
    ha: bool = True
    """Its own setting; that of the whole compute cluster stands in `ClusterStatus.compute`."""
    preemptible: bool = False
    locked: str = ""
    """Why no planned move touches it; `*`: without a reason."""


@dataclass(frozen=True, slots=True)
class TargetGroupView:
    """An iSCSI target group without its secrets: those of CHAP, and the name under which health checks log in."""

    name: str
    iqn: str
    engine: str
    portals: dict[str, tuple[str, ...]]
    """Node → where it listens."""
    tags: dict[str, int]
    initiators: tuple[str, ...]
    chap_user: str
    """Empty: whoever may log in need not prove who it is."""
    mutual_user: str
    started: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The whole picture at one store revision."""

    cluster: ClusterSpec = field(default_factory=lambda: ClusterSpec(name="", cluster_id=""))
    manager: ManagerInfo = field(default_factory=ManagerInfo)
    management: ManagementSpec = field(default_factory=lambda: ManagementSpec(nodes=()))
    hold: str = ""
    """Why the manager holds (more than half of the nodes suspect, or high availability is paused), else empty."""
    pause: HaPause | None = None
    compute: ComputeSpec | None = None
    """The compute cluster; None: there is none."""
    guarantee: GuaranteeWord | None = None
    """Whether the tolerated failures leave room for everything; None: no compute cluster, or not known yet."""
    nodes: tuple[NodeStatus, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    kinds: tuple[ServiceSpec, ...] = ()
    """Settings of whole kinds that were prepared, e.g. the NFS address pool (name is empty)."""
    instances: tuple[InstanceView, ...] = ()
    target_groups: tuple[TargetGroupView, ...] = ()
    iscsi_volumes: tuple[VolumeRecord, ...] = ()
    """Attached or not; the active path of an attached one is the instance `iscsi/<name>`."""
    s3_clusters: tuple[s3_view.S3ClusterView, ...] = ()
    ha_off: dict[str, str] = field(default_factory=dict)
    """S3 or backup cluster (`<kind>/<name>`) → why its high availability is off."""
    backup_clusters: tuple[backup_view.BackupClusterView, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    """Those that are open, the most severe first."""
    open_incidents: tuple[Incident, ...] = ()
    """Oldest first."""
    recent_incidents: tuple[Incident, ...] = ()
    """Closed ones, newest first."""
    recent_events: tuple[Event, ...] = ()
    """Newest first."""
    revision: int = 0
    store_problem: str = ""
    """Why the picture may be old (the store does not answer), else empty."""
    problems: tuple[str, ...] = ()
    """Entries of the store that could not be read."""

    def node(self, node_id: str) -> NodeStatus | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    def instance(self, instance_id: str) -> InstanceView | None:
        return next((instance for instance in self.instances if instance.id == instance_id), None)

    def service(self, kind: str, name: str) -> ServiceStatus | None:
        return next((s for s in self.services if s.kind == kind and s.name == name), None)


def build_status(entries: Iterable[Entry] | Records, revision: int = 0) -> ClusterStatus:
    """The picture. Whatever is missing (no manager yet, no status, no cluster) has a sensible value."""
    records = entries if isinstance(entries, Records) else Records(entries)
    get = records.values.get
    leader: ManagerInfo = get(keys.MANAGER_TERM) or ManagerInfo()
    view: ManagerView | None = get(keys.MANAGER_VIEW)
    if view is not None and leader.term and view.term != leader.term:
        view = None  # the word of a former manager
    if view is not None and not leader.term:
        leader = ManagerInfo(view.node, view.term)
    placements = {key[len(keys.PLACEMENTS) :]: value for key, value in records.under(keys.PLACEMENTS)}
    placed: dict[str, list[str]] = {}
    for instance_id, placement in placements.items():
        placed.setdefault(placement.node, []).append(instance_id)
    nodes = tuple(_node(records, spec, view, placed) for _, spec in records.under(keys.NODE_SPECS))
    states = {node.id: node.state for node in nodes}
    specs: list[InstanceSpec] = [spec for _, spec in records.under(keys.INSTANCES)]
    by_service: dict[str, list[str]] = {}
    for spec in specs:
        by_service.setdefault(spec.service, []).append(spec.id)
    incidents: list[Incident] = [value for _, value in records.under(keys.INCIDENTS)]
    incidents.sort(key=lambda incident: (incident.wall, incident.id))
    events = [value for _, value in records.under(keys.EVENTS)[-RECENT_EVENTS:]]
    return ClusterStatus(
        cluster=get(keys.CLUSTER) or ClusterSpec(name="", cluster_id=""),
        manager=leader,
        management=get(keys.MANAGEMENT) or ManagementSpec(nodes=()),
        hold=view.hold if view else "",
        pause=get(keys.PAUSE),
        guarantee=view.guarantee if view else None,
        compute=get(keys.COMPUTE),
        nodes=nodes,
        services=tuple(_service(spec, by_service) for _, spec in records.under(keys.SERVICES)),
        kinds=tuple(spec for _, spec in records.under(keys.KINDS)),
        instances=tuple(_instance(records, spec, placements.get(spec.id), states, view) for spec in specs),
        target_groups=tuple(_target_group(group) for _, group in records.under(keys.ISCSI_GROUPS)),
        iscsi_volumes=tuple(record for _, record in records.under(keys.ISCSI_VOLUMES)),
        s3_clusters=s3_view.clusters(records),
        ha_off=_ha_off(records),
        backup_clusters=backup_view.clusters(records),
        alarms=open_alarms(value for _, value in records.under(keys.ALARMS)),
        open_incidents=tuple(i for i in incidents if i.state != "closed"),
        recent_incidents=tuple([i for i in reversed(incidents) if i.state == "closed"][:RECENT_INCIDENTS]),
        recent_events=tuple(reversed(events)),
        revision=revision or max(records.revisions.values(), default=0),
        problems=tuple(text for _, text in sorted(records.problems.items())),
    )


def _node(records: Records, spec: NodeSpec, view: ManagerView | None, placed: dict[str, list[str]]) -> NodeStatus:
    beat: Beat | None = records.values.get(keys.beat(spec.id))
    fence: Fence | None = records.values.get(keys.fence(spec.id))
    confirmation: DeathConfirmation | None = records.values.get(keys.death_confirmation(spec.id))
    state = view.nodes.get(spec.id) if view else None
    returning: BringBack | None = records.values.get(keys.bring_back(spec.id))
    return NodeStatus(
        id=spec.id,
        roles=spec.roles,
        addresses=spec.addresses,
        state=state or node_state(beat, fence),
        note=view.notes.get(spec.id, "") if view else "",
        fence_epoch=fence.epoch if fence else 0,
        watchdog=beat.watchdog if beat else None,
        fence_devices=tuple(FenceDeviceView(device.name, device.type) for device in spec.fence_devices),
        instances=tuple(placed.get(spec.id, ())),
        failure_domain=spec.failure_domain,
        labels=spec.labels,
        slots=spec.slots,
        cpu=beat.cpu if beat else 0.0,
        memory_mib=beat.memory_mib if beat else 0,
        session=beat.session if beat else "",
        beat_sequence=beat.sequence if beat else 0,
        confirmed_dead=confirmation is not None
        and confirmation.beat_revision == records.revisions.get(keys.beat(spec.id), 0),
        paused=beat is not None and beat.paused,
        leaving=beat.leaving if beat else "",
        maintenance=records.values.get(keys.maintenance(spec.id)),
        returning=returning.instances if returning else (),
        health=records.values.get(keys.health(spec.id)) or NodeHealth(),
        version=beat.version if beat else "",
        lost_networks=view.lost_networks.get(spec.id, ()) if view else (),
    )


def node_state(beat: Beat | None, fence: Fence | None) -> NodeState:
    """What the records alone say; they cannot say `suspect`, that is the manager's word."""
    if beat is None:
        return NodeState.NEVER_SEEN
    if fence is not None and beat.fence_epoch < fence.epoch:
        return NodeState.RELEASED if fence.proof is Proof.RELEASED else NodeState.CLAIMED
    return {
        BeatPhase.JOINING: NodeState.JOINING,
        BeatPhase.ACTIVE: NodeState.UP,
        BeatPhase.RELEASED: NodeState.RELEASED,
    }[beat.phase]


def _ha_off(records: Records) -> dict[str, str]:
    management = records.values.get(keys.MANAGEMENT) or ManagementSpec(nodes=())
    clusters = [
        (prefix.split("/")[1], value)
        for prefix in (keys.S3_CLUSTERS, keys.BACKUP_CLUSTERS)
        for _, value in records.under(prefix)
    ]
    why = {f"{kind}/{cluster.name}": ha_off(kind, len(cluster.nodes), management) for kind, cluster in clusters}
    return {service: text for service, text in why.items() if text}


def _service(spec: ServiceSpec, by_service: dict[str, list[str]]) -> ServiceStatus:
    # InstanceSpec.service holds the service's name; instances of another kind with the same name are told apart by id.
    prefix = f"{spec.kind}/{spec.name}"
    ids = by_service.get(spec.name, []) + by_service.get(prefix, [])
    mine = tuple(i for i in ids if i == prefix or i.startswith(prefix + "/"))
    return ServiceStatus(spec.kind, spec.name, spec.config, mine, bool(spec.config.get("deleting")))


def _target_group(group: TargetGroup) -> TargetGroupView:
    return TargetGroupView(
        group.name,
        group.iqn,
        group.engine,
        group.portals,
        group.tags,
        group.initiators,
        group.chap.user if group.chap else "",
        group.mutual.user if group.mutual else "",
        group.started,
    )


def _instance(
    records: Records,
    spec: InstanceSpec,
    placement: Placement | None,
    states: dict[str, NodeState],
    view: ManagerView | None,
) -> InstanceView:
    status: InstanceStatus | None = records.values.get(keys.status(spec.id))
    fence: Fence | None = records.values.get(keys.fence(placement.node)) if placement else None
    claimed = placement is not None and fence is not None and fence.epoch != placement.fence_epoch
    beat: Beat | None = records.values.get(keys.beat(placement.node)) if placement else None
    if status is not None and (beat is None or status.session != beat.session):
        status = None  # the word of an earlier run of the agent says nothing about now
    state, healthy = (UNKNOWN, False) if claimed else _state(spec, placement, status, states)
    address = spec.address or ServiceAddress("", "")
    move: MoveRequest | None = records.values.get(keys.move(spec.id))
    lock: InstanceLock | None = records.values.get(keys.lock(spec.id))
    return InstanceView(
        id=spec.id,
        kind=spec.kind,
        service=spec.service,
        exclusivity=spec.exclusivity,
        desired=spec.desired,
        address=address.ip,
        network=address.network,
        config=spec.config,
        node=placement.node if placement else "",
        goal=placement.goal if placement else None,
        epoch=placement.epoch if placement else 0,
        reason=placement.reason if placement else "",
        state=state,
        healthy=healthy,
        detail=status.detail if status and placement and status.epoch == placement.epoch else "",
        waiting=view.waiting.get(spec.id, "") if view else "",
        moving_to=(move.node or "*") if move else "",
        cpu=spec.cpu,
        memory_mib=spec.memory_mib,
        priority=spec.priority,
        ha=spec.ha,
        preemptible=spec.preemptible,
        locked=(lock.reason or "*") if lock else "",
    )


def _state(
    spec: InstanceSpec, placement: Placement | None, status: InstanceStatus | None, states: dict[str, NodeState]
) -> tuple[str, bool]:
    """(state, healthy): the agent's word counts only for the placement's epoch and from a node that is there."""
    if placement is None or not placement.node:
        return (InstanceState.STOPPED.value if spec.desired == "stopped" else UNPLACED), False
    if status is None or status.epoch != placement.epoch or status.node != placement.node:
        return UNKNOWN, False
    if status.state is InstanceState.STOPPED:
        return status.state.value, False
    there = states.get(placement.node, NodeState.NEVER_SEEN)
    if not there.up and there is not NodeState.JOINING:
        return UNKNOWN, False
    return status.state.value, status.healthy and status.state is InstanceState.RUNNING
