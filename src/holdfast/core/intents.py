"""What a decision may ask for: the manager commits each intent as one transaction that compares its term and every revision
the intent rests on. An intent that lost its race is simply decided anew from the next view.
"""

from dataclasses import dataclass, field

from holdfast.core.model import MoveRequest, Placement, Proof
from holdfast.core.policy import Maintenance, NodeHealth


@dataclass(frozen=True, slots=True)
class FencePower:
    """Switch this node off and verify it, in the background."""

    node: str
    beat_revision: int


@dataclass(frozen=True, slots=True)
class CancelPower:
    """Its reason is gone: stop a power-fencing attempt that is still under way."""

    node: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Commit that the node is dead: raises its fence epoch, which voids every placement on it."""

    node: str
    proof: Proof
    text: str
    beat_revision: int
    fence_revision: int
    health: NodeHealth | None = None
    """The node's failures with this one, written with the claim; None: this claim is no failure."""
    health_revision: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Write the placement of an instance."""

    instance: str
    placement: Placement
    previous_revision: int
    spec_revision: int
    node_fence_revision: int
    """Fence record of the node that gains a part; 0 for a stop where it is, which must not depend on it."""
    finishes_move: bool = False
    """The operator's request for a move is over with this."""
    status_revision: int = 0
    """The agent's word that this rests on; 0: on none."""
    event: str = ""
    """Kind of the event that tells people; empty: by the goal."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete every trace of an instance (and its service) that is confirmed stopped."""

    instance: str
    placement_revision: int
    spec_revision: int


@dataclass(frozen=True, slots=True)
class EndMove:
    """Nothing is left to do for an operator's request to move an instance."""

    instance: str
    move_revision: int
    why: str


@dataclass(frozen=True, slots=True)
class AskMove:
    """Ask for the move of an instance in the planner's name, as an operator would."""

    instance: str
    request: MoveRequest
    placement_revision: int
    spec_revision: int


@dataclass(frozen=True, slots=True)
class KeepOff:
    """It powered itself off: from now on its operator wants it stopped."""

    instance: str
    spec_revision: int
    status_revision: int
    """The agent's word that says so."""


@dataclass(frozen=True, slots=True)
class NoteMoved:
    """Remember in the node's maintenance request what leaves the node for it, so that it can be brought back."""

    node: str
    maintenance: Maintenance
    revision: int


@dataclass(frozen=True, slots=True)
class BringHome:
    """A maintenance is over: ask for the move of these instances to the node, and take them off the record."""

    node: str
    instances: tuple[str, ...]
    """Without those that are there, are gone, or have another move to do."""
    rest: tuple[str, ...]
    """What stays on the record for the next time: transactions are bounded."""
    revision: int


Intent = FencePower | CancelPower | Claim | Place | Remove | EndMove | AskMove | KeepOff | NoteMoved | BringHome


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and what to tell people about what is not done."""

    intents: tuple[Intent, ...] = ()
    waiting: dict[str, str] = field(default_factory=dict)
    """Instance → why it is not placed or does not run."""
    notes: dict[str, str] = field(default_factory=dict)
    """Node → one sentence."""
    hold: str = ""
    failed: dict[str, str] = field(default_factory=dict)
    """Instance → how its starts failed, once its restarts in place are used up."""
    cramped: tuple[str, ...] = ()
    """Instances that no node has the resources for, though some node could carry them: the second step looks for room. The
    most important first."""
