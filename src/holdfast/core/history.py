"""What people read: events, incidents, and what the manager sees (stored like the records of `core.model`)."""

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.core.model import NodeState, Proof


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the cluster's history (key events/<sequence>)."""

    kind: str
    """E.g. node-suspect, node-proven-dead, node-claimed, power-fenced, instance-started, hold (design, section 8)."""
    wall: str
    """ISO 8601 UTC, for people only."""
    text: str
    severity: Severity = Severity.INFO
    node: str = ""
    instance: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True)
class IncidentStep:
    """One step of an incident."""

    name: str
    """missed, suspect, fencing, proven-dead, claimed, placed, started, recovered, waiting, closed."""
    at: float
    """Seconds since the incident's first step (the first missed beat)."""
    text: str
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything from the first missed beat to the last recovered instance (key incidents/<id>)."""

    id: str
    node: str
    wall: str
    """When it began, ISO 8601 UTC, for people only."""
    state: str
    """`open` or `closed`."""
    proof: Proof | None = None
    affected: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()
    waiting: dict[str, str] = field(default_factory=dict)
    """Instance → why it cannot be recovered yet and what an operator can do."""
    steps: tuple[IncidentStep, ...] = ()


@dataclass(frozen=True, slots=True)
class GuaranteeWord:
    """Whether the tolerated failures leave room for everything, as the manager computed it last."""

    tolerate: int
    holds: bool
    worst: tuple[str, ...] = ()
    """The set of failures that leaves most without room."""
    unplaced: tuple[str, ...] = ()
    """Instances that would find no room then (the first of them)."""
    waiting: tuple[str, ...] = ()
    """Instances that have no room already now (the first of them)."""
    text: str = ""
    """A sentence or two for people."""


@dataclass(frozen=True, slots=True)
class ManagerView:
    """What the manager sees and why it waits (key manager/view); written on change, for people and the panel only."""

    node: str
    """Where the leading manager runs."""
    term: int
    nodes: dict[str, NodeState] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Node → one sentence (who misses it, which network is lost, what is being waited for)."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Instance → why it is not placed or not running, and what to do."""
    hold: str = ""
    """Why the manager holds (more than half of the nodes suspect), else empty."""
    failed: dict[str, str] = field(default_factory=dict)
    """Instance → how its starts failed, once its restarts in place are used up."""
    lost_networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Node → the networks other than management that a majority of its observers misses it on."""
    guarantee: GuaranteeWord | None = None
    """None: there is no compute cluster, or no answer yet."""
