"""What the manager has observed, as frozen data: the only input of `decide` besides the time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Exclusivity,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Proof,
    Role,
    ShutdownPolicy,
)
from holdfast.core.observers import Suspicion
from holdfast.core.policy import (
    BringBack,
    ComputeSpec,
    HaPause,
    InstanceLock,
    Maintenance,
    NodeHealth,
    RuleSpec,
    SwitchedOff,
)
from holdfast.core.timing import Timing

ROOM_FOR = "planner: room for "
"""Begins the operator's name in the planner's own requests for moves; the name of an instance follows."""
HEALTHY_S = 5.0
"""A node that returned is trusted with instances again after so long without suspicion, unless it is the only choice."""


def is_member(beat: Beat | None, fence: Fence | None) -> bool:
    """The node's last beat is active and acknowledges the present fence epoch: strict instances may run there."""
    if beat is None or fence is None:
        return False
    return beat.phase is BeatPhase.ACTIVE and beat.fence_epoch == fence.epoch


@dataclass(frozen=True, slots=True)
class PowerEvidence:
    """The outcome of one power-fencing attempt against one beat of a node."""

    beat_revision: int
    """mod_revision of the node's last beat when the attempt began."""
    verified_off: bool
    """The power state was read back as off."""
    text: str
    ended_at: float
    """Manager's CLOCK_BOOTTIME."""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as this manager sees it in this term. Times are the manager's CLOCK_BOOTTIME."""

    spec: NodeSpec
    fence: Fence
    fence_revision: int
    beat: Beat | None = None
    beat_revision: int = 0
    beat_seen_at: float = 0.0
    """When this manager IN THIS TERM first saw the beat's present revision (never earlier than it was sent)."""
    beat_arrived_at: float = float("-inf")
    """When this process saw that revision arrive as news; minus infinity if it was there when it began to look. A hint: only
    tells whether the node was still heard of after it became suspect."""
    suspicion: Suspicion | None = None
    missed: bool = False
    """At least one of its observers misses it: less than a suspicion."""
    lost_networks: tuple[str, ...] = ()
    """Networks other than management on which a majority of observers misses the node."""
    power: PowerEvidence | None = None
    power_running: bool = False
    confirmation: DeathConfirmation | None = None
    was_down: bool = False
    """It was suspect or overdue and has not been up since."""
    up_since: float = float("-inf")
    """Since when this manager has seen it up without a break; minus infinity: always."""
    maintenance: Maintenance | None = None
    maintenance_revision: int = 0
    bring_back: BringBack | None = None
    bring_back_revision: int = 0
    health: NodeHealth | None = None
    health_revision: int = 0
    switched_off: SwitchedOff | None = None
    reserve_cpu: float = 0.0
    """Cores that instances may not use (ComputeSpec)."""
    reserve_memory_mib: int = 0

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def cpu(self) -> float:
        """Cores that instances may use: what its machine has, without the reserve."""
        return max(0.0, self.beat.cpu - self.reserve_cpu) if self.beat else 0.0

    @property
    def memory_mib(self) -> int:
        """Memory that instances may use, likewise."""
        return max(0, self.beat.memory_mib - self.reserve_memory_mib) if self.beat else 0

    @property
    def member(self) -> bool:
        """Its last beat is active and acknowledges the present fence epoch: strict instances may run there."""
        return is_member(self.beat, self.fence)

    @property
    def to_switch_on(self) -> bool:
        """It was found or made off, and claimed for that, after a manager had told it to switch off: perhaps against an
        earlier beat, for some devices obey late."""
        claimed = self.beat is not None and self.beat.fence_epoch < self.fence.epoch
        return claimed and self.fence.proof is Proof.POWER_OFF and self.switched_off is not None

    def overdue(self, timing: Timing, now: float) -> bool:
        """No new beat in the store for longer than a beat is valid."""
        return self.member and now - self.beat_seen_at > timing.F

    def down(self, timing: Timing, now: float) -> bool:
        """A member that is suspect or overdue. A hint, no proof."""
        return self.member and (self.suspicion is not None or self.overdue(timing, now))

    @property
    def unheard(self) -> bool:
        """Its last beat comes from a backup of the store, without a session: it may run anything (core/restored.py)."""
        return self.member and self.beat is not None and not self.beat.session

    def up(self, timing: Timing, now: float) -> bool:
        return self.member and not self.unheard and not self.down(timing, now)

    def well(self, timing: Timing, now: float) -> bool:
        """Up, and for so long that it may be believed."""
        return self.up(timing, now) and now - self.up_since >= HEALTHY_S

    @property
    def frozen(self) -> bool:
        """It released itself to come back: its instances wait for that, and only an operator's word lets it be claimed."""
        beat = self.beat
        return (
            beat is not None
            and beat.phase is BeatPhase.RELEASED
            and beat.fence_epoch == self.fence.epoch
            and beat.leaving == ShutdownPolicy.FREEZE
        )

    @property
    def drain_reason(self) -> str:
        """Why what runs here is to be moved off gracefully; "" if it may stay. Reads after the node's name."""
        if self.maintenance is not None:
            return "is in maintenance"
        if self.member and self.beat is not None and self.beat.leaving == ShutdownPolicy.MIGRATE:
            return "is about to shut down"
        return ""

    @property
    def closed_reason(self) -> str:
        """Why nothing new is placed here, and what to do; "" if it may be. What runs here may stay (see `drain_reason`)."""
        if self.maintenance is not None:
            return f"is in maintenance (to end it: holdfast node maintenance exit {self.id})"
        if self.health is not None and self.health.quarantined:
            return f"is quarantined: {self.health.quarantined}"
        if self.beat is not None and self.beat.leaving:
            return "is about to shut down"
        return ""

    def state(self, timing: Timing, now: float) -> NodeState:
        """One word for people."""
        if self.beat is None:
            return NodeState.NEVER_SEEN
        if self.beat.fence_epoch < self.fence.epoch:
            released = self.fence.proof is not None and self.fence.proof.value == "P3"
            return NodeState.RELEASED if released else NodeState.CLAIMED
        if self.beat.phase is BeatPhase.RELEASED:
            return NodeState.RELEASED
        if self.beat.phase is BeatPhase.JOINING:
            return NodeState.JOINING
        if self.unheard or self.down(timing, now):
            return NodeState.SUSPECT
        if self.maintenance is not None:
            return NodeState.MAINTENANCE
        return NodeState.QUARANTINED if self.health is not None and self.health.quarantined else NodeState.UP


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance: what is wanted, where it is placed, what its agent said."""

    spec: InstanceSpec
    spec_revision: int
    deleting: bool = False
    """Its service is being deleted: remove every trace once it is confirmed stopped."""
    placement: Placement | None = None
    placement_revision: int = 0
    status: InstanceStatus | None = None
    unhealthy_since: float | None = None
    """Since when (manager's clock) its agent reports that it runs but does not answer."""
    move: MoveRequest | None = None
    move_revision: int = 0
    status_revision: int = 0
    placed_at: float = float("-inf")
    """When this manager in this term first saw the present placement; minus infinity: it was always there."""
    lock: InstanceLock | None = None
    """No planned move."""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def word(self) -> InstanceStatus | None:
        """What the agent said of exactly this placement. Silence means nothing, and neither does a word about an older epoch
        (INV-3)."""
        placement, status = self.placement, self.status
        if placement is None or status is None or (status.node, status.epoch) != (placement.node, placement.epoch):
            return None
        return status

    @property
    def bound_for(self) -> str:
        """The node it is on its way to; "" if it stays where it is placed."""
        placement = self.placement
        if placement is None:
            return ""
        goes = placement.migrate_to or (placement.next_node if placement.goal is Goal.STOP else "")
        return goes if goes != placement.node else ""

    @property
    def moves_for(self) -> str:
        """The instance that the planner asks it to make room for by a move; "" if it does not."""
        asked = self.move.operator if self.move is not None else ""
        return asked.removeprefix(ROOM_FOR) if asked.startswith(ROOM_FOR) else ""

    def gone_from_its_node(self) -> bool:
        """The node it is placed on has confirmed, for exactly this placement, that nothing of it runs there any more, nor
        will be started there: it was to stop, or it handed the instance over to the target of a live migration."""
        placement, word = self.placement, self.word
        if placement is None or word is None:
            return False
        if word.state is InstanceState.MIGRATED:
            return bool(placement.migrate_to)
        return word.state is InstanceState.STOPPED and placement.goal is Goal.STOP

    def confirmed_stopped(self) -> bool:
        """Nothing of it runs anywhere, by the word of the only node that might run it."""
        placement = self.placement
        return placement is not None and not placement.migrate_to and self.gone_from_its_node()

    def powered_off(self) -> bool:
        """It ended by its own will and is off, by its agent's word for this placement."""
        word = self.word
        return word is not None and word.powered_off and word.state in (InstanceState.STOPPED, InstanceState.MIGRATED)

    def running(self) -> bool:
        return self.word is not None and self.word.state is InstanceState.RUNNING

    def executors(self, nodes: Mapping[str, NodeView]) -> frozenset[str]:
        """Every node that may execute it: it is placed there, or migrates there, and the node was not claimed since and has
        not confirmed that nothing of it is there. Empty: it may be placed anywhere."""
        placement = self.placement
        if placement is None:
            return frozenset()
        parts = {placement.migrate_to: placement.migrate_fence_epoch, placement.node: placement.fence_epoch}
        alive = {name for name, epoch in parts.items() if name in nodes and nodes[name].fence.epoch == epoch}
        return frozenset(alive - {placement.node} if self.gone_from_its_node() else alive)


@dataclass(frozen=True, slots=True)
class View:
    """Everything `decide` may use."""

    timing: Timing
    revision: int
    """Store revision up to which this view is complete; lower bound of every new epoch."""
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    instances: Mapping[str, InstanceView] = field(default_factory=dict)
    settled: bool = True
    """False while the manager has not observed long enough to judge (fresh term, watch just re-established)."""
    pause: HaPause | None = None
    term: int = 0
    """The manager's own."""
    term_since: float = 0.0
    """When it began (manager's CLOCK_BOOTTIME): what happened in an earlier term is at least as old."""
    rules: tuple[RuleSpec, ...] = ()
    """Placement rules, in the order of their ids."""
    compute: ComputeSpec | None = None
    """The compute cluster; None: there is none."""
    epoch_floor: int = 0
    """Every new epoch is larger than this and the revision together: a restored store counts its revisions anew."""

    @property
    def unheard(self) -> list[str]:
        """Nodes that may run anything, because the store was restored and they have not joined since."""
        return [node.id for node in self.nodes.values() if node.unheard]

    def fresh(self, now: float) -> bool:
        """The store was restored, and a node that it knows nothing of may still run what the lost store let it run: nothing
        strict was ever placed by this life of the store, and this manager has not led for T_wait yet."""
        if not self.epoch_floor or now - self.term_since >= self.timing.T_wait:
            return False
        strict = (one for one in self.instances.values() if one.spec.exclusivity is Exclusivity.STRICT)
        return not any(one.placement is not None and one.placement.fence_epoch for one in strict)

    def recovers(self, spec: InstanceSpec) -> bool:
        """After its node's death it is started on another one; else it waits for that node's return."""
        off = spec.role is Role.COMPUTE and self.compute is not None and not self.compute.ha
        return spec.ha and not off

    def candidates(self, instance: InstanceView, lost: Collection[str] = ()) -> Mapping[str, NodeView]:
        """The nodes that come into question for an instance that runs nowhere: all, or only the one it was lost with (and
        its home). An operator's request to move it, a node that was taken from its nodes, and a move that its node had
        stopped it for, still lead elsewhere. `lost`: nodes that are taken for claimed, besides those that are."""
        placement, home = instance.placement, self.nodes.get(instance.spec.home)
        former = self.nodes.get(placement.node) if placement else None
        if home is not None and instance.move is None and not self.recovers(instance.spec):
            return {node.id: node for node in (former, home) if node is not None}
        if placement is None or former is None:
            return self.nodes
        if former.fence.epoch == placement.fence_epoch and former.id not in lost:
            return self.nodes
        released = bool(instance.spec.nodes) and former.id not in instance.spec.nodes
        on_its_way = released or instance.move is not None or (instance.bound_for and instance.confirmed_stopped())
        return self.nodes if on_its_way or self.recovers(instance.spec) else {former.id: former}
