"""A drill: find out before it is needed whether what a failover rests on works (stored records, and what a check means)."""

from dataclasses import dataclass, field
from enum import StrEnum


class Grade(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    """A failover would work, but something is missing, slow, or could not be looked at."""
    FAILED = "failed"
    """A failover would not work, or not in time."""


GRADES = (Grade.FAILED, Grade.WARNING, Grade.OK)
"""The worst first."""

SECTIONS = (
    "nodes",
    "fencing",
    "watchdogs",
    "addresses",
    "storage",
    "dns",
    "room",
    "store",
    "certificates",
    "clocks",
    "failover",
)
"""In the order in which they are looked at."""


class DrillState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The process that made it has ended before it was done."""

    @property
    def over(self) -> bool:
        return self is not DrillState.RUNNING


@dataclass(frozen=True, slots=True)
class DrillCheck:
    """One thing that was looked at."""

    section: str
    """One of SECTIONS."""
    about: str
    """A node, an instance, a zone; empty: the cluster."""
    grade: Grade
    text: str
    """One sentence: what was seen."""
    advice: str = ""
    """What to do; empty for what is well."""
    seconds: float | None = None
    """How long the thing itself took, where that says something."""


@dataclass(frozen=True, slots=True)
class DrillStep:
    """One step of a real fail-over."""

    name: str
    at: float
    """Seconds since it began."""
    text: str


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill has found (key drills/<id>). How far it is says the task of the same id, which also ends it."""

    id: str
    wall: str
    """When it began, ISO 8601 UTC, for people only."""
    operator: str
    by: str
    """The node whose panel process makes it."""
    state: DrillState = DrillState.RUNNING
    nodes: tuple[str, ...] = ()
    """Only these are looked at; empty: all."""
    instance: str = ""
    """The test instance that fails over for real; empty: nothing is touched."""
    kill: bool = False
    """Its process is ended, instead of a move away and back."""
    home: str = ""
    """Where that instance was when its fail-over began, and is to be afterwards."""
    why: str = ""
    """Why it ended before its time; empty: it did not."""
    checks: tuple[DrillCheck, ...] = ()
    steps: tuple[DrillStep, ...] = ()
    elapsed_s: float = 0.0

    @property
    def grade(self) -> Grade:
        """Of its worst check."""
        found = {check.grade for check in self.checks}
        return next((grade for grade in GRADES if grade in found), Grade.OK)


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What a drill asks of a node's agent (key requests/drill/<node>)."""

    drill: str
    kill: str = ""
    """End the process of this instance; empty: write to the shared storage and read it back."""
    epoch: int = 0
    """Of the placement under which it is to be killed: it counts for no other."""


@dataclass(frozen=True, slots=True)
class DrillAnswer:
    """What that agent found (key nodes/<id>/drill)."""

    drill: str
    kill: str = ""
    problem: str = ""
    """Empty: it worked."""
    advice: str = ""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds that `write`, `read` and `remove` took."""
