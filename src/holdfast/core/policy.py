"""What operators lay down about placement and about nodes, as frozen data (stored like the records of `core.model`)."""

from dataclasses import dataclass, field
from enum import StrEnum


class RuleKind(StrEnum):
    NODE_AFFINITY = "node-affinity"
    """The instances run on the named nodes; a higher number is preferred."""
    AFFINITY = "affinity"
    """The instances run on the same node."""
    ANTI_AFFINITY = "anti-affinity"
    """The instances run on different nodes, or in different failure domains."""
    START_ORDER = "start-order"
    """The instances are started only when those named in `after` are ready."""


class Scope(StrEnum):
    """What those that are kept apart do not share."""

    NODE = "node"
    DOMAIN = "domain"
    """A failure domain (NodeSpec); a node without one is a domain of its own."""


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One placement rule (key spec/rules/<id>)."""

    id: str
    kind: RuleKind
    instances: tuple[str, ...]
    nodes: dict[str, int] = field(default_factory=dict)
    """node-affinity: node → priority; the highest that is there wins."""
    strict: bool = True
    """True: never broken, the instance rather waits. False: a preference."""
    after: tuple[str, ...] = ()
    """start-order: the instances of the tier before."""
    by: Scope = Scope.NODE
    """anti-affinity."""


@dataclass(frozen=True, slots=True)
class ComputeSpec:
    """The compute cluster (key spec/compute); its absence means there is none."""

    nodes: tuple[str, ...]
    ha: bool = True
    """Virtual machines are recovered on other nodes."""
    tolerate: int = 1
    """So many node failures must leave room for everything that is to run; operations that would break it are refused."""
    reserve_cpu: float = 0.0
    """Cores of each node that instances may not use."""
    reserve_memory_mib: int = 512
    """Memory of each node that instances may not use."""
    rebalance: str = "off"
    """`off`, or `auto`: even out the load by live migration when that is worth its cost."""


class PauseMode(StrEnum):
    FREEZE = "freeze"
    """Nothing is fenced, claimed, placed or moved; what runs goes on, and is restarted in place if it ends."""
    IGNORE = "ignore"
    """The same, and agents leave instances alone altogether."""


@dataclass(frozen=True, slots=True)
class HaPause:
    """High availability is paused (key spec/pause); its absence means it is on."""

    mode: PauseMode
    operator: str = ""
    reason: str = ""
    since: str = ""
    """ISO 8601 UTC, for people: an alarm reminds them of it."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """An operator asked to free a node (key requests/maintenance/<node>); deleted when the maintenance ends."""

    operator: str = ""
    bring_back: bool = True
    """Move what was moved off back when it ends."""
    moved: tuple[str, ...] = ()
    """Instances the manager moved off for it, so that they can be brought back."""


@dataclass(frozen=True, slots=True)
class BringBack:
    """A maintenance has ended (key requests/bring-back/<node>): these instances are to return. Deleted when done."""

    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """One claim of a node that failed, by the clock of the manager of one term."""

    term: int
    at: float
    """Manager's CLOCK_BOOTTIME, seconds. In a later term its age counts from that term's begin: never too old."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """A node's recent failures and whether they put it into quarantine (key nodes/<id>/health), written by the manager."""

    failures: tuple[NodeFailure, ...] = ()
    quarantined: str = ""
    """Why nothing is placed there; empty: it is not quarantined. An operator deletes the record to return the node."""


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """A manager is about to switch this node off (key nodes/<id>/switched-off), so it is also ours to switch on again,
    whichever manager leads by then. Written right before the first command, deleted when the node was switched on: until
    then a device may still obey, so a node that is found off later counts as ours too."""

    beat_revision: int
    """mod_revision of the beat against which it was, for people who look."""


@dataclass(frozen=True, slots=True)
class InstanceLock:
    """An operator (or a backup) holds the instance where it is (key spec/locks/<instance>): no planned move. Recovery after
    its node's death goes on."""

    reason: str = ""
