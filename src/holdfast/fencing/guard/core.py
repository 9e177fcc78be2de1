"""The guard's decisions, without any I/O: (gate, event, now) → (gate, actions).

Times are CLOCK_BOOTTIME seconds. D is the node's deadline, G the stop grace. The one rule everything serves:
the watchdog is petted only while the agent has declared that the node is idle, or while now < D + G. The rule is a
function of the time alone (`may_pet`), asked right before each write: whether ticks came late does not matter. A pause
between that question and the write can let one pet through late; the 2W in the bound B (core/timing) pays for it.

What happens when is the table TRANSITIONS; the diagram in the documentation is made from it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

DEADLINE_LIMIT_S = 600.0
"""A deadline further ahead than this is a bug of the agent (a wall-clock time, say) and is refused."""


class State(StrEnum):
    WAITING = "waiting"
    """Nothing was told yet, the agent took leave, or high availability is paused: the device is not open, nothing is
    petted."""
    IDLE = "idle"
    """The agent declared that nothing strict runs and nothing will be started before a deadline was acknowledged. (Or the
    device is petted only because it cannot be disarmed.)"""
    ARMED = "armed"
    """An agent is connected and a deadline was told."""
    UNATTENDED = "unattended"
    """The agent is gone, the deadline lies ahead: what runs keeps running for an agent that adopts it."""
    ORPHANED = "orphaned"
    """The agent is gone and the deadline has passed: strict units are killed, petting goes on until D + G."""
    EXPIRED = "expired"
    """D + G has passed: strict units are killed, nothing is petted, the watchdog will fire."""


class Event(StrEnum):
    HELLO = "hello"
    DEADLINE = "deadline"
    """A deadline that lies ahead."""
    DEADLINE_PAST = "deadline-past"
    """A deadline that has passed when it arrives."""
    IDLE = "idle"
    """Declared, and the strict group is empty."""
    IDLE_REFUSED = "idle-refused"
    """Declared, though the strict group holds processes."""
    REVOKE = "revoke"
    """The node was claimed: the deadline is now."""
    PAUSE = "pause"
    """High availability is paused, and the store has this node's word for it: nobody may claim it on time."""
    FAREWELL_RESTART = "farewell-restart"
    FAREWELL_IDLE = "farewell-idle"
    GONE = "gone"
    """The connection closed without a farewell."""
    DEADLINE_REACHED = "deadline-reached"
    """now ≥ D."""
    GRACE_OVER = "grace-over"
    """now ≥ D + G."""
    DISARM_REFUSED = "disarm-refused"
    """The device cannot be disarmed (nowayout)."""
    TERMINATE = "terminate"
    """SIGTERM."""


class Action(StrEnum):
    OPEN = "open"
    """Open the watchdog device unless it is open. Opening arms and pets it, so `may_pet` must hold right before."""
    KILL = "kill"
    """Kill everything in the strict group."""
    DISARM = "disarm"
    """Magic close."""
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Gate:
    """All the guard knows. `deadline` is D (minus infinity: never told), `grace` is G."""

    state: State = State.WAITING
    deadline: float = float("-inf")
    grace: float = 0.0

    @property
    def end(self) -> float:
        """D + G."""
        return self.deadline + self.grace


@dataclass(frozen=True, slots=True)
class Transition:
    state: State
    event: Event
    next: State
    sentence: str
    actions: tuple[Action, ...] = ()
    refused: bool = False
    """The agent is told no; it must not act as if it had been heard."""


def _table() -> tuple[Transition, ...]:
    s, e, a, t = State, Event, Action, Transition
    past = "the deadline told has already passed"
    populated = "the strict group still holds processes: the node is not idle"
    not_idle = "only an idle node takes leave for good: declare idle first"
    ignored = "terminate ignored: the node is not idle; stop the agent first"
    rows = [
        # An agent that has just come changes nothing by coming, except that an unattended deadline is attended again.
        t(s.WAITING, e.HELLO, s.WAITING, "an agent came; it has told nothing yet"),
        t(s.IDLE, e.HELLO, s.IDLE, "an agent came to an idle node"),
        t(s.ARMED, e.HELLO, s.ARMED, "the agent connected again; its deadline stays in force"),
        t(s.UNATTENDED, e.HELLO, s.ARMED, "an agent came within the deadline and adopts what runs"),
        t(s.ORPHANED, e.HELLO, s.ORPHANED, "an agent came after the deadline; strict units were killed"),
        t(s.EXPIRED, e.HELLO, s.EXPIRED, "an agent came after the grace; the watchdog is not petted"),
        # A deadline ahead is the word of a committed beat: it is good in every state.
        t(s.WAITING, e.DEADLINE, s.ARMED, "first deadline told", (a.OPEN,)),
        t(s.IDLE, e.DEADLINE, s.ARMED, "no longer idle: a deadline is in force", (a.OPEN,)),
        t(s.ARMED, e.DEADLINE, s.ARMED, "deadline extended", (a.OPEN,)),
        t(s.UNATTENDED, e.DEADLINE, s.ARMED, "deadline extended by an agent", (a.OPEN,)),
        t(s.ORPHANED, e.DEADLINE, s.ARMED, "a new deadline after the former one had passed", (a.OPEN,)),
        t(s.EXPIRED, e.DEADLINE, s.ARMED, "a new deadline in time before the watchdog fired", (a.OPEN,)),
        # A late one extends nothing. An idle node stays idle: the refusal keeps the agent from starting anything.
        t(s.WAITING, e.DEADLINE_PAST, s.ARMED, "the deadline told has passed; its grace may still run", (a.OPEN,)),
        t(s.IDLE, e.DEADLINE_PAST, s.IDLE, past, refused=True),
        t(s.ARMED, e.DEADLINE_PAST, s.ARMED, past, refused=True),
        t(s.UNATTENDED, e.DEADLINE_PAST, s.UNATTENDED, past, refused=True),
        t(s.ORPHANED, e.DEADLINE_PAST, s.ORPHANED, past, refused=True),
        t(s.EXPIRED, e.DEADLINE_PAST, s.EXPIRED, past, refused=True),
        # Time. Without an agent nobody stops anything cleanly, so waiting for the grace would only be a risk.
        t(s.UNATTENDED, e.DEADLINE_REACHED, s.ORPHANED, "deadline passed without an agent: killing", (a.KILL,)),
        t(s.ORPHANED, e.DEADLINE_REACHED, s.ORPHANED, "deadline passed without an agent: still killing", (a.KILL,)),
        t(s.ARMED, e.GRACE_OVER, s.EXPIRED, "grace over: killing, no more petting", (a.KILL,)),
        t(s.UNATTENDED, e.GRACE_OVER, s.EXPIRED, "grace over without an agent: killing, no more petting", (a.KILL,)),
        t(s.ORPHANED, e.GRACE_OVER, s.EXPIRED, "grace over without an agent: no more petting", (a.KILL,)),
        t(s.EXPIRED, e.GRACE_OVER, s.EXPIRED, "grace over: still killing", (a.KILL,)),
        # Farewells.
        t(s.IDLE, e.FAREWELL_IDLE, s.WAITING, "the agent took leave of an idle node: disarming", (a.DISARM,)),
        t(s.WAITING, e.DISARM_REFUSED, s.IDLE, "the device cannot be disarmed: it is petted on"),
        t(s.WAITING, e.FAREWELL_IDLE, s.WAITING, "the agent took leave having told nothing"),
        t(s.WAITING, e.FAREWELL_RESTART, s.WAITING, "the agent restarts having told nothing"),
        t(s.IDLE, e.FAREWELL_RESTART, s.IDLE, "the agent of an idle node restarts"),
        t(s.ARMED, e.FAREWELL_RESTART, s.UNATTENDED, "the agent restarts; the deadline stays in force"),
        t(s.ORPHANED, e.FAREWELL_RESTART, s.ORPHANED, "the agent restarts after the deadline"),
        t(s.EXPIRED, e.FAREWELL_RESTART, s.EXPIRED, "the agent restarts after the grace"),
        t(s.ARMED, e.FAREWELL_IDLE, s.ARMED, not_idle, refused=True),
        t(s.ORPHANED, e.FAREWELL_IDLE, s.ORPHANED, not_idle, refused=True),
        t(s.EXPIRED, e.FAREWELL_IDLE, s.EXPIRED, not_idle, refused=True),
        # The connection closed without a word. The deadline is the gate, not this event.
        t(s.WAITING, e.GONE, s.WAITING, "the agent vanished having told nothing"),
        t(s.IDLE, e.GONE, s.IDLE, "the agent of an idle node vanished; nothing strict runs"),
        t(s.ARMED, e.GONE, s.UNATTENDED, "the agent vanished; killing at the deadline unless one comes back"),
        t(s.ORPHANED, e.GONE, s.ORPHANED, "the agent vanished again after the deadline"),
        t(s.EXPIRED, e.GONE, s.EXPIRED, "the agent vanished after the grace"),
        # SIGTERM.
        t(s.WAITING, e.TERMINATE, s.WAITING, "terminated", (a.EXIT,)),
        t(s.IDLE, e.TERMINATE, s.WAITING, "terminated on an idle node: disarming", (a.DISARM, a.EXIT)),
        *(t(x, e.TERMINATE, x, ignored, refused=True) for x in (s.ARMED, s.UNATTENDED, s.ORPHANED, s.EXPIRED)),
        # A pause ends every deadline until the next one is told. What runs goes on, with the agent or without.
        *(t(x, e.PAUSE, s.WAITING, "high availability is paused: disarming", (a.DISARM,)) for x in State),
        # Idle can be declared and the deadline be revoked at any time.
        *(t(x, e.IDLE, s.IDLE, "idle declared", (a.OPEN,)) for x in State),
        *(t(x, e.IDLE_REFUSED, x, populated, refused=True) for x in State),
        *(t(x, e.REVOKE, x, "deadline revoked") for x in State),
    ]
    return tuple(rows)


TRANSITIONS = _table()
_BY_CAUSE = {(row.state, row.event): row for row in TRANSITIONS}
assert len(_BY_CAUSE) == len(TRANSITIONS), "two transitions for one cause"


def apply(gate: Gate, event: Event, now: float) -> tuple[Gate, Transition | None]:
    """The gate after `event`, and the transition that was taken (None: the event means nothing in this state)."""
    row = _BY_CAUSE.get((gate.state, event))
    if row is None:
        return gate, None
    after = replace(gate, state=row.next)
    if event is Event.REVOKE:
        after = replace(after, deadline=min(gate.deadline, now))
    return after, row


def tell_deadline(gate: Gate, deadline: float, grace: float, now: float) -> tuple[Gate, Transition]:
    """A deadline message has arrived. D only grows; a refused message changes nothing."""
    event = Event.DEADLINE if deadline > now else Event.DEADLINE_PAST
    after, row = apply(gate, event, now)
    assert row is not None
    if not row.refused:
        after = replace(after, deadline=max(gate.deadline, deadline), grace=grace)
    return after, row


def tick(gate: Gate, now: float) -> tuple[Gate, Transition | None]:
    """What the time alone brings about. To be called at `next_wake`, and again each pet period while killing."""
    if gate.state in (State.WAITING, State.IDLE) or now < gate.deadline:
        return gate, None
    return apply(gate, Event.GRACE_OVER if now >= gate.end else Event.DEADLINE_REACHED, now)


def may_pet(gate: Gate, now: float) -> bool:
    """THE rule. `now` must have been read right before the write that depends on the answer."""
    if gate.state is State.IDLE:
        return True
    return gate.state in (State.ARMED, State.UNATTENDED, State.ORPHANED) and now < gate.end


def next_wake(gate: Gate) -> float | None:
    """The next moment at which the time alone changes something; None: never."""
    if gate.state is State.UNATTENDED:
        return gate.deadline
    if gate.state in (State.ARMED, State.ORPHANED):
        return gate.end
    return None
