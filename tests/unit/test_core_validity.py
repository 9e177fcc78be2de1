from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.timing import profile
from holdfast.core.validity import SESSION_TABLE, SessionEvent, SessionState, Validity, session_next

FAST = profile("fast")


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_deadline_is_the_latest_send_plus_validity_and_never_goes_back(sent: list[float]) -> None:
    validity = Validity(FAST)
    deadlines = []
    for at in sent:
        validity.committed(at)
        deadlines.append(validity.deadline)
    assert deadlines == sorted(deadlines)
    assert validity.deadline == max(sent) + FAST.F


def test_nothing_may_run_before_the_first_commit_nor_at_the_deadline_itself() -> None:
    validity = Validity(FAST)
    assert not validity.may_run(0.0)
    validity.committed(100.0)
    assert validity.may_run(100.0 + FAST.F - 1e-6)
    assert not validity.may_run(100.0 + FAST.F)


def test_a_claim_ends_validity_at_once() -> None:
    validity = Validity(FAST)
    validity.committed(100.0)
    validity.revoke(101.0)
    assert not validity.may_run(101.0)


def test_the_table_has_one_row_per_pair_and_reaches_every_state() -> None:
    pairs = [(row.state, row.event) for row in SESSION_TABLE]
    assert len(pairs) == len(set(pairs))
    reached = {SessionState.JOINING}
    for _ in SessionState:
        reached |= {row.next for row in SESSION_TABLE if row.state in reached}
    assert reached == set(SessionState)


def test_a_claimed_or_expired_session_runs_again_only_after_confirmed_stops() -> None:
    for event in (SessionEvent.CLAIMED, SessionEvent.EXPIRED):
        state = session_next(SessionState.ACTIVE, event).next
        assert state is SessionState.STOPPING
        others = [row.event for row in SESSION_TABLE if row.state is state]
        for other in others:
            if other is not SessionEvent.STOPS_CONFIRMED:
                assert session_next(state, other).next is not SessionState.ACTIVE


def test_each_row_explains_itself() -> None:
    assert all(row.sentence.endswith(".") for row in SESSION_TABLE)
