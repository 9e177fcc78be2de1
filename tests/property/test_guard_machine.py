"""The guard's gate and the session's deadline under random events and times."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.core.timing import profile
from holdfast.core.validity import SESSION_TABLE, SessionEvent, SessionState, Validity, session_next
from holdfast.fencing.guard.core import Action, Event, Gate, State, apply, may_pet, next_wake, tell_deadline, tick

TIMING = profile("default")
SECONDS = st.one_of(st.sampled_from([0.0, 1.0, 3.0, 6.0, 12.0]), st.floats(0, 20))
MESSAGES = [Event.HELLO, Event.IDLE_REFUSED, Event.FAREWELL_RESTART, Event.GONE, Event.DISARM_REFUSED, Event.TERMINATE]


class GuardMachine(RuleBasedStateMachine):
    """The world around the gate: what was told, what runs, when the device was petted last."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.gate = Gate()
        self.told = float("-inf")
        """The latest deadline that was told and not revoked."""
        self.idle = False
        """The last accepted word was idle."""
        self.open = False
        self.last_pet = float("-inf")

    def do(self, actions: tuple[Action, ...]) -> None:
        if Action.OPEN in actions and not self.open and may_pet(self.gate, self.now):
            self.open, self.last_pet = True, self.now
        if Action.DISARM in actions:
            self.open = False

    @rule(ahead=st.floats(-10, 30), grace=st.sampled_from([0.0, 3.0]))
    def is_told_a_deadline(self, ahead: float, grace: float) -> None:
        before = self.gate
        deadline = self.now + ahead
        self.gate, row = tell_deadline(self.gate, deadline, grace, self.now)
        if row.refused:
            assert self.gate == before
            return
        assert self.gate.deadline >= before.deadline, "D went back though nothing was revoked"
        assert self.gate.deadline <= max(before.deadline, deadline), "D grew beyond what was told"
        self.idle = False
        self.told = max(self.told, deadline)
        self.do(row.actions)

    @rule()
    def idle_is_declared(self) -> None:
        self.gate, row = apply(self.gate, Event.IDLE, self.now)
        assert row is not None and self.gate.state is State.IDLE
        self.idle = True
        self.do(row.actions)

    @rule()
    def is_revoked(self) -> None:
        before = self.gate
        self.gate, _ = apply(self.gate, Event.REVOKE, self.now)
        assert self.gate.deadline == min(before.deadline, self.now)
        assert self.gate.state is before.state
        self.told = min(self.told, self.now)

    @rule()
    def agent_takes_leave(self) -> None:
        was_idle = self.gate.state is State.IDLE
        self.gate, row = apply(self.gate, Event.FAREWELL_IDLE, self.now)
        if row is not None:
            assert (Action.DISARM in row.actions) == was_idle, "the device is disarmed by an idle farewell only"
            self.do(row.actions)

    @rule(event=st.sampled_from(MESSAGES))
    def hears(self, event: Event) -> None:
        if event is Event.DISARM_REFUSED and self.gate.state is not State.WAITING:
            return
        before = self.gate
        self.gate, row = apply(self.gate, event, self.now)
        assert (self.gate.deadline, self.gate.grace) == (before.deadline, before.grace), (
            "no message but a deadline moves D"
        )
        if row is not None:
            assert Action.DISARM not in row.actions or before.state is State.IDLE
            self.do(row.actions)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        """Ticks may come late, at any moment."""
        self.now += seconds

    @rule()
    def ticks(self) -> None:
        before = self.gate
        self.gate, row = tick(self.gate, self.now)
        if before.state in (State.ORPHANED, State.UNATTENDED) and self.now >= before.deadline:
            assert row is not None and Action.KILL in row.actions
        if before.state is State.ARMED and self.now >= before.end:
            assert row is not None and Action.KILL in row.actions
        wake = next_wake(before)
        if row is not None and before.state is not State.EXPIRED and before.state is not State.ORPHANED:
            assert wake is not None and wake <= self.now, (
                "the time changed something before the guard would have looked"
            )

    @precondition(lambda self: self.open)
    @rule()
    def pets(self) -> None:
        if may_pet(self.gate, self.now):
            self.last_pet = self.now

    @invariant()
    def pets_only_while_idle_or_before_the_end(self) -> None:
        if may_pet(self.gate, self.now):
            assert self.gate.state is State.IDLE or self.now < self.gate.end
            assert self.gate.deadline <= self.told or self.gate.state is State.IDLE
        if self.gate.state is State.EXPIRED:
            assert not may_pet(self.gate, self.now)

    @invariant()
    def an_idle_node_is_always_petted(self) -> None:
        """INV-5: no node that stopped cleanly is rebooted."""
        if self.gate.state is State.IDLE:
            assert may_pet(self.gate, self.now)


class SessionMachine(RuleBasedStateMachine):
    """Random legal events: the state follows the table, and D follows what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.state = SessionState.JOINING
        self.validity = Validity(TIMING)
        self.sent = float("-inf")
        self.was_released = False

    def happens(self, event: SessionEvent) -> None:
        self.state = session_next(self.state, event).next

    def possible(self, event: SessionEvent) -> bool:
        return any(row.state is self.state and row.event is event for row in SESSION_TABLE)

    @rule(took=st.floats(0, 2))
    def beat_is_committed(self, took: float) -> None:
        event = SessionEvent.ADMITTED if self.state is SessionState.JOINING else SessionEvent.RENEWED
        sent_at = self.now
        self.now += took
        before = self.validity.deadline
        self.validity.committed(sent_at)
        assert self.validity.deadline == max(before, sent_at + TIMING.F), "counted from the send, and D only grows"
        self.sent = max(self.sent, sent_at)
        self.happens(event)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def looks_at_the_deadline(self) -> None:
        if not self.validity.may_run(self.now) and self.possible(SessionEvent.EXPIRED):
            self.happens(SessionEvent.EXPIRED)
            assert self.state is not SessionState.ACTIVE

    @rule()
    def is_claimed(self) -> None:
        self.validity.revoke(self.now)
        assert not self.validity.may_run(self.now)
        self.happens(SessionEvent.CLAIMED)
        assert self.state is not SessionState.ACTIVE

    @rule()
    def stops_are_confirmed(self) -> None:
        if self.possible(SessionEvent.STOPS_CONFIRMED):
            self.happens(SessionEvent.STOPS_CONFIRMED)
            assert self.state in (SessionState.IDLE, SessionState.RELEASED)

    @rule()
    def is_asked_to_leave(self) -> None:
        self.happens(SessionEvent.RELEASE_ASKED)
        assert self.state in (SessionState.RELEASING, SessionState.RELEASED)

    @invariant()
    def never_beyond_the_last_committed_beat(self) -> None:
        assert self.validity.deadline <= self.sent + TIMING.F

    @invariant()
    def a_released_session_stays_released(self) -> None:
        assert not self.was_released or self.state is SessionState.RELEASED
        self.was_released = self.state is SessionState.RELEASED


PROFILE = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True)
GuardMachine.TestCase.settings = SessionMachine.TestCase.settings = PROFILE
TestGuardMachine = GuardMachine.TestCase
TestSessionMachine = SessionMachine.TestCase


def test_every_session_state_leads_to_the_end() -> None:
    """No state is a trap: an asked-for release is reached from each."""
    for state in SessionState:
        after = session_next(state, SessionEvent.RELEASE_ASKED).next
        if after is SessionState.RELEASING:
            after = session_next(after, SessionEvent.STOPS_CONFIRMED).next
        assert after is SessionState.RELEASED
