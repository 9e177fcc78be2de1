"""The guard's state machine. Times are seconds of CLOCK_BOOTTIME; D is told as an absolute time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.timing import PROFILES
from holdfast.fencing.guard import core
from holdfast.fencing.guard.core import Action, Event, Gate, State


def drive(gate: Gate, *events: Event, now: float = 100.0) -> Gate:
    for event in events:
        gate, _ = core.apply(gate, event, now)
    return gate


def armed(deadline: float = 110.0, grace: float = 3.0, now: float = 100.0) -> Gate:
    gate = drive(Gate(), Event.HELLO, now=now)
    gate, row = core.tell_deadline(gate, deadline, grace, now)
    assert not row.refused
    return gate


def test_nothing_is_petted_before_the_agent_has_told_anything():
    gate = drive(Gate(), Event.HELLO)
    assert gate.state is State.WAITING
    assert not core.may_pet(gate, 0.0)
    assert core.next_wake(gate) is None


def test_petting_ends_exactly_at_deadline_plus_grace():
    gate = armed()
    assert core.may_pet(gate, 112.999)
    assert not core.may_pet(gate, 113.0)
    assert core.next_wake(gate) == 113.0


def test_the_rule_holds_without_any_tick():
    """A guard that was paused past D + G and has not ticked since pets nothing."""
    assert not core.may_pet(armed(), 500.0)


def test_grace_over_kills_and_an_idle_word_in_time_saves_the_node():
    gate, row = core.tick(armed(), 113.0)
    assert row is not None and row.actions == (Action.KILL,)
    assert gate.state is State.EXPIRED and not core.may_pet(gate, 113.0)
    gate = drive(gate, Event.IDLE, now=114.0)
    assert core.may_pet(gate, 114.0)


def test_an_agent_that_is_connected_is_given_the_grace_to_stop_cleanly():
    gate, row = core.tick(armed(), 111.0)
    assert row is None and gate.state is State.ARMED and core.may_pet(gate, 111.0)


def test_a_vanished_agent_changes_nothing_before_the_deadline():
    gate = drive(armed(), Event.GONE)
    assert gate.state is State.UNATTENDED
    assert core.next_wake(gate) == 110.0
    assert core.tick(gate, 109.999) == (gate, None)


def test_agent_dead_guard_alive():
    """Killed at D at once (nobody stops anything cleanly), petted until D + G, then never again."""
    gate, row = core.tick(drive(armed(), Event.GONE), 110.0)
    assert gate.state is State.ORPHANED
    assert row is not None and row.actions == (Action.KILL,)
    assert core.may_pet(gate, 112.9)
    gate, row = core.tick(gate, 112.9)
    assert row is not None and row.actions == (Action.KILL,), "what is still alive is killed again"
    gate, _ = core.tick(gate, 113.0)
    assert gate.state is State.EXPIRED and not core.may_pet(gate, 113.0)


def test_an_agent_that_comes_back_within_the_deadline_adopts_and_continues():
    gate = drive(armed(), Event.GONE, Event.HELLO)
    assert gate.state is State.ARMED
    gate, row = core.tell_deadline(gate, 120.0, 3.0, 105.0)
    assert not row.refused and gate.deadline == 120.0


def test_a_planned_agent_restart_keeps_the_deadline():
    gate = drive(armed(), Event.FAREWELL_RESTART)
    assert gate.state is State.UNATTENDED and gate.deadline == 110.0


def test_the_deadline_only_grows():
    gate, row = core.tell_deadline(armed(deadline=110.0), 105.0, 3.0, 100.0)
    assert not row.refused and gate.deadline == 110.0


def test_late_deadline_message_with_d_in_the_past_extends_nothing():
    gate, row = core.tell_deadline(armed(deadline=110.0), 111.0, 3.0, 111.5)
    assert row.refused and gate.deadline == 110.0


def test_a_late_deadline_leaves_an_idle_node_idle():
    """The agent is told no, so it starts nothing; arming would only reboot a node on which nothing runs (INV-5)."""
    idle = drive(Gate(), Event.HELLO, Event.IDLE)
    gate, row = core.tell_deadline(idle, 99.0, 3.0, 100.0)
    assert row.refused and gate.state is State.IDLE and core.may_pet(gate, 1000.0)


def test_idle_then_deadline_takes_force_at_once():
    """Before the acknowledgement reaches the agent the gate is the deadline already."""
    idle = drive(Gate(), Event.HELLO, Event.IDLE)
    gate, row = core.tell_deadline(idle, 110.0, 3.0, 100.0)
    assert not row.refused and Action.OPEN in row.actions
    assert not core.may_pet(gate, 113.0)


def test_idle_is_not_believed_while_strict_units_run():
    gate, row = core.apply(armed(), Event.IDLE_REFUSED, 100.0)
    assert row is not None and row.refused and gate.state is State.ARMED


def test_a_restarted_guard_takes_a_passed_deadline_whose_grace_still_runs():
    gate, row = core.tell_deadline(drive(Gate(), Event.HELLO), 99.0, 3.0, 100.0)
    assert not row.refused and core.may_pet(gate, 101.9) and not core.may_pet(gate, 102.0)


def test_revoke_makes_the_deadline_now():
    gate = drive(armed(), Event.REVOKE, now=104.0)
    assert gate.deadline == 104.0 and not core.may_pet(gate, 107.0)
    assert drive(gate, Event.REVOKE, now=106.0).deadline == 104.0


def test_terminate_is_obeyed_only_on_an_idle_or_untold_guard():
    for state in State:
        _, row = core.apply(Gate(state, 110.0, 3.0), Event.TERMINATE, 100.0)
        assert row is not None
        ends = Action.EXIT in row.actions
        assert ends == (state in (State.IDLE, State.WAITING))
        assert (Action.DISARM in row.actions) == (state is State.IDLE)


def test_only_an_idle_or_a_paused_node_is_disarmed():
    disarming = {(row.state, row.event) for row in core.TRANSITIONS if Action.DISARM in row.actions}
    paused = {(state, Event.PAUSE) for state in State}
    assert disarming == {(State.IDLE, Event.FAREWELL_IDLE), (State.IDLE, Event.TERMINATE)} | paused


def test_a_pause_enforces_nothing_until_a_deadline_is_told():
    gate = drive(armed(), Event.PAUSE, now=105.0)
    for later in (110.0, 113.0, 1e6):
        assert core.tick(gate, later) == (gate, None), "nothing is killed"
    assert core.next_wake(gate) is None
    assert not core.may_pet(gate, 106.0), "nor petted: the device is closed"
    for event in (Event.GONE, Event.HELLO, Event.FAREWELL_RESTART):
        gate = drive(gate, event, now=1e6)
        assert core.tick(gate, 1e6 + 1) == (gate, None), "with the agent or without"
    gate, row = core.tell_deadline(gate, 2e6 + 8, 3.0, 2e6)
    assert (gate.state, row.actions) == (State.ARMED, (Action.OPEN,))
    assert not core.may_pet(gate, 2e6 + 11)


def test_a_device_that_cannot_be_disarmed_is_petted_through_a_pause():
    gate = drive(armed(), Event.PAUSE, Event.DISARM_REFUSED, Event.GONE)
    assert core.may_pet(gate, 1e6)
    gate, _ = core.tell_deadline(gate, 2e6 + 8, 3.0, 2e6)
    assert not core.may_pet(gate, 2e6 + 11)


def test_a_device_that_cannot_be_disarmed_is_petted_on():
    gate = drive(Gate(), Event.HELLO, Event.IDLE, Event.FAREWELL_IDLE, Event.DISARM_REFUSED)
    assert core.may_pet(gate, 1e6)


def test_every_transition_says_why_and_every_state_is_reached():
    assert all(row.sentence for row in core.TRANSITIONS)
    assert {row.next for row in core.TRANSITIONS} == set(State)


def test_pause_between_check_and_write_is_within_the_bound():
    """The trap that costs the second W: checked just before D + G, written one time-out later, fires one time-out after."""
    for timing in PROFILES.values():
        sent = 100.0
        gate = armed(sent + timing.F, timing.G, now=sent)
        last_good_check = gate.end - 1e-6
        assert core.may_pet(gate, last_good_check)
        # The device would have fired during a longer pause: the last pet before it was at most at the check.
        latest_write = last_good_check + timing.W
        assert latest_write + timing.W + timing.j <= sent + timing.B


EVENTS = st.one_of(
    st.sampled_from([e for e in Event if e not in (Event.DEADLINE_REACHED, Event.GRACE_OVER)]),
    st.tuples(st.floats(-20, 20), st.sampled_from([0.0, 1.0, 3.0])),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 8), st.booleans()), max_size=60))
def test_never_pets_after_the_grace_unless_idle(history):
    """Against a model that knows only the words that were accepted: the largest deadline, and idle or not."""
    gate, now, idle, largest_end = Gate(), 1000.0, False, float("-inf")
    for event, pause, ticked in history:
        now += pause
        if ticked:
            before = gate
            gate, row = core.tick(gate, now)
            passed = now >= gate.end
            assert not (row is None and passed and before.state not in (State.WAITING, State.IDLE)), (
                "killing was forgotten"
            )
        if isinstance(event, tuple):
            gate, row = core.tell_deadline(gate, now + event[0], event[1], now)
            if not row.refused:
                idle, largest_end = False, max(largest_end, now + event[0] + 3.0)
        else:
            gate, row = core.apply(gate, event, now)
            if row is not None and not row.refused:
                idle = (idle or event in (Event.IDLE, Event.DISARM_REFUSED)) and row.next is State.IDLE
        for later in itertools.accumulate([now, 0.0, 0.5, 2.5, 30.0]):
            if core.may_pet(gate, later):
                assert idle or later < largest_end
                assert idle or later < gate.deadline + gate.grace


@given(st.floats(0, 100), st.floats(0, 5), st.lists(st.floats(0, 10), max_size=30))
def test_strict_units_are_killed_at_the_latest_at_the_first_tick_after_the_grace(ahead, grace, pauses):
    gate, now = armed(100.0 + ahead + 1e-3, grace), 100.0
    for pause in pauses:
        now += pause
        gate, row = core.tick(gate, now)
        killed = row is not None and Action.KILL in row.actions
        assert killed == (now >= gate.end)


@pytest.mark.parametrize("state", list(State))
def test_a_hello_never_extends_anything(state):
    gate = Gate(state, 110.0, 3.0)
    after, row = core.apply(gate, Event.HELLO, 105.0)
    assert row is not None and not row.actions
    assert (after.deadline, after.grace) == (110.0, 3.0)
    assert core.may_pet(after, 113.0) == (state is State.IDLE)
