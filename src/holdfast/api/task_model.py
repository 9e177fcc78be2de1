"""Tasks: what an operation has set going and what is followed until it has come true. Pure data.

A task (key `tasks/<id>`) is written in the transaction of the change that it follows, and once more when it has ended. How
far it is in between is no record: it is computed from the task and the cluster's picture (api/progress.py), so any panel
process can tell, and none must live for it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Aim(StrEnum):
    """What is to come true of an instance or a node."""

    RUNS = "runs"
    """The instance runs and answers a check."""
    STOPPED = "stopped"
    GONE = "gone"
    """The instance is stopped and forgotten."""
    MOVED = "moved"
    """The instance has left `origin`, for `node` if one is named."""
    RETURNED = "returned"
    """The instance is back on `node`."""
    FREED = "freed"
    """Everything that is to leave the node in maintenance has left."""
    JOINED = "joined"
    """The node is up for the first time."""
    CLAIMED = "claimed"
    """The manager acts on an operator's word that the node is dead."""
    MANAGED = "managed"
    """Store members and panel are where they are wanted."""
    PAUSED = "paused"
    """Every node acknowledges the pause of high availability."""
    RESUMED = "resumed"
    """Every node goes on."""
    COPIED = "copied"
    """A panel process does it, and tells how far it is (`Task.percent`)."""
    CHECKED = "checked"
    """A drill has looked at it. Only in views: what is stored are `Task.parts`."""


@dataclass(frozen=True, slots=True)
class Goal:
    aim: Aim
    subject: str = ""
    """Id of an instance or a node."""
    node: str = ""
    origin: str = ""


class TaskState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It cannot come true any more, e.g. because somebody deleted what was being created."""
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The process that did it has ended."""

    @property
    def over(self) -> bool:
        return self is not TaskState.RUNNING


@dataclass(frozen=True, slots=True)
class Task:
    """What is stored."""

    kind: str
    """`create`, `delete`, `start`, `stop`, `move`, `maintenance`, `return`, `join`, `ha`, `pause`, `resume`, `confirm`,
    `drill`."""
    text: str
    """The sentence that the operation answered."""
    by: str
    wall: str
    """When it began, ISO 8601 UTC, for people only."""
    goals: tuple[Goal, ...] = ()
    state: TaskState = TaskState.RUNNING
    """RUNNING until its end was noted."""
    detail: str = ""
    """Why it ended so; until then, what a process is doing."""
    ended: str = ""
    percent: float = 0.0
    """Of what a process does itself."""
    parts: tuple[str, ...] = ()
    """What a process does one after the other, as `percent` grows; empty: it is one thing, the goals'."""
    process: str = ""
    """Session of the process that does it; empty: nobody needs to live for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One goal of a task, as it is now."""

    aim: Aim
    subject: str
    state: TaskState
    detail: str = ""
    """What is being waited for, or why it will not come true."""
    failing: bool = False
    """It was tried and failed; it is tried again by itself."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task and how far it is."""

    id: str
    kind: str
    text: str
    by: str
    wall: str
    state: TaskState
    progress: float
    """0 to 1."""
    detail: str = ""
    """What is being waited for, or why it ended so."""
    failing: bool = False
    cancellable: bool = False
    ended: str = ""
    steps: tuple[Step, ...] = ()
    revision: int = 0
    """Store revision that the view was made from."""
