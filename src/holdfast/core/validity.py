"""The agent's side of the safety protocol: the deadline, and the life of one agent session as a table.

Strict instances run only while `now < D`. D comes only from committed beats, counted from just before they were sent.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.core.timing import Timing


@dataclass(slots=True)
class Validity:
    """The deadline D of this node, in CLOCK_BOOTTIME seconds."""

    timing: Timing
    deadline: float = field(default=float("-inf"))

    def committed(self, sent_at: float) -> None:
        """A beat that was sent at `sent_at` (noted BEFORE sending) is certainly committed: D = max(D, s + F)."""
        self.deadline = max(self.deadline, sent_at + self.timing.F)

    @property
    def paused(self) -> bool:
        """There is no deadline."""
        return self.deadline == float("inf")

    def pause(self) -> None:
        """A paused beat is certainly the last one in the store: silence proves nothing about this node (P4 is ruled out),
        so it goes on until `resume` or `revoke`."""
        self.deadline = float("inf")

    def resume(self, now: float) -> None:
        """An unpaused beat is about to be sent. From then on the node may be claimed on time, so it has a deadline again
        BEFORE that, and not a later one than that beat will give it."""
        self.deadline = min(self.deadline, now + self.timing.F)

    def revoke(self, now: float) -> None:
        """The node is claimed: D becomes now, if it lies ahead."""
        self.deadline = min(self.deadline, now)

    def may_run(self, now: float) -> bool:
        """May strict instances run, or start, at this moment?"""
        return now < self.deadline


class SessionState(StrEnum):
    """Where one run of the agent stands."""

    JOINING = "joining"
    ACTIVE = "active"
    STOPPING = "stopping"
    IDLE = "idle"
    RELEASING = "releasing"
    RELEASED = "released"


class SessionEvent(StrEnum):
    ADMITTED = "admitted"
    EXPIRED = "expired"
    CLAIMED = "claimed"
    STOPS_CONFIRMED = "stops-confirmed"
    RENEWED = "renewed"
    RELEASE_ASKED = "release-asked"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the session's table."""

    state: SessionState
    event: SessionEvent
    next: SessionState
    sentence: str


_S, _E = SessionState, SessionEvent

SESSION_TABLE: tuple[Transition, ...] = (
    Transition(_S.JOINING, _E.ADMITTED, _S.ACTIVE, "An active beat is committed: the node holds a deadline."),
    Transition(
        _S.JOINING, _E.CLAIMED, _S.JOINING, "Claimed while joining: nothing runs, join again with the new fence epoch."
    ),
    Transition(_S.JOINING, _E.RELEASE_ASKED, _S.RELEASING, "Stop what an earlier agent may have left, then release."),
    Transition(_S.ACTIVE, _E.RENEWED, _S.ACTIVE, "A further beat is committed: the deadline moves on."),
    Transition(
        _S.ACTIVE, _E.EXPIRED, _S.STOPPING, "The deadline passed without a committed beat: stop everything strict."
    ),
    Transition(_S.ACTIVE, _E.CLAIMED, _S.STOPPING, "The manager claimed this node: stop everything strict now."),
    Transition(_S.ACTIVE, _E.RELEASE_ASKED, _S.RELEASING, "The node is to shut down: stop everything, then release."),
    Transition(_S.STOPPING, _E.RENEWED, _S.STOPPING, "A beat is committed while stopping: finish the stops first."),
    Transition(_S.STOPPING, _E.CLAIMED, _S.STOPPING, "Claimed while stopping: go on stopping."),
    Transition(_S.STOPPING, _E.EXPIRED, _S.STOPPING, "Still stopping."),
    Transition(
        _S.STOPPING,
        _E.STOPS_CONFIRMED,
        _S.IDLE,
        "Every stop is confirmed: the node stays up, idle, and needs no reboot.",
    ),
    Transition(_S.STOPPING, _E.RELEASE_ASKED, _S.RELEASING, "The node is to shut down: go on stopping, then release."),
    Transition(_S.IDLE, _E.RENEWED, _S.ACTIVE, "The store is back and the node was not claimed: run again."),
    Transition(_S.IDLE, _E.CLAIMED, _S.JOINING, "Claimed while idle: join again with the new fence epoch."),
    Transition(_S.IDLE, _E.EXPIRED, _S.IDLE, "Nothing runs, nothing to stop."),
    Transition(_S.IDLE, _E.RELEASE_ASKED, _S.RELEASED, "Nothing runs: released at once."),
    Transition(_S.RELEASING, _E.ADMITTED, _S.RELEASING, "Admitted while leaving: the stops go on."),
    Transition(_S.RELEASING, _E.RENEWED, _S.RELEASING, "Keep the deadline while the stops go on."),
    Transition(_S.RELEASING, _E.EXPIRED, _S.RELEASING, "The stops are already under way."),
    Transition(_S.RELEASING, _E.CLAIMED, _S.RELEASING, "Claimed while releasing: the stops are already under way."),
    Transition(_S.RELEASING, _E.RELEASE_ASKED, _S.RELEASING, "Already releasing."),
    Transition(
        _S.RELEASING, _E.STOPS_CONFIRMED, _S.RELEASED, "Every stop is confirmed: write the release and say farewell."
    ),
    Transition(_S.RELEASED, _E.RENEWED, _S.RELEASED, "A beat that was under way is committed; the release follows it."),
    Transition(_S.RELEASED, _E.ADMITTED, _S.RELEASED, "Admitted while leaving: the release follows."),
    Transition(_S.RELEASED, _E.EXPIRED, _S.RELEASED, "Nothing runs, nothing to stop."),
    Transition(_S.RELEASED, _E.CLAIMED, _S.RELEASED, "Claimed while leaving: nothing runs."),
    Transition(_S.RELEASED, _E.RELEASE_ASKED, _S.RELEASED, "Already released."),
)

_NEXT = {(row.state, row.event): row for row in SESSION_TABLE}


def session_next(state: SessionState, event: SessionEvent) -> Transition:
    """The row for (state, event). Raises AssertionError for a pair that cannot happen: a programming error."""
    row = _NEXT.get((state, event))
    assert row is not None, f"no transition from {state} on {event}"
    return row
