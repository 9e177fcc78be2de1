"""What the manager has observed, as frozen data: the only input of `decide` besides the time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
)
from holdfast.core.observers import Suspicion
from holdfast.core.policy import RuleSpec
from holdfast.core.timing import Timing


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
    lost_networks: tuple[str, ...] = ()
    """Networks other than management on which a majority of observers misses the node."""
    power: PowerEvidence | None = None
    power_running: bool = False
    confirmation: DeathConfirmation | None = None
    was_down: bool = False
    """It was suspect or overdue and has not been up since."""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def member(self) -> bool:
        """Its last beat is active and acknowledges the present fence epoch: strict instances may run there."""
        return is_member(self.beat, self.fence)

    def overdue(self, timing: Timing, now: float) -> bool:
        """No new beat in the store for longer than a beat is valid."""
        return self.member and now - self.beat_seen_at > timing.F

    def down(self, timing: Timing, now: float) -> bool:
        """A member that is suspect or overdue. A hint, no proof."""
        return self.member and (self.suspicion is not None or self.overdue(timing, now))

    def up(self, timing: Timing, now: float) -> bool:
        return self.member and not self.down(timing, now)

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
        return NodeState.SUSPECT if self.down(timing, now) else NodeState.UP


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

    @property
    def id(self) -> str:
        return self.spec.id

    def confirmed_stopped(self) -> bool:
        """The node it is placed on has confirmed, for exactly this placement, that nothing of it runs. Silence is not
        a confirmation, and neither is a word about an older epoch (INV-3)."""
        placement, status = self.placement, self.status
        return (
            placement is not None
            and placement.goal is Goal.STOP
            and status is not None
            and status.node == placement.node
            and status.epoch == placement.epoch
            and status.state is InstanceState.STOPPED
        )

    def running(self) -> bool:
        placement, status = self.placement, self.status
        return (
            placement is not None
            and status is not None
            and status.node == placement.node
            and status.epoch == placement.epoch
            and status.state is InstanceState.RUNNING
        )


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
    rules: tuple[RuleSpec, ...] = ()
    """Placement rules, in the order of their ids."""
