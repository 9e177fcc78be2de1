"""The three rules of freshness, and the bound they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.net.replay import DRIFT, FORGET_S, MAX_AGE_S, WINDOW, ReplayGuard, Verdict

FRESH, REPLAYED, STALE, OLD = Verdict.FRESH, Verdict.REPLAYED, Verdict.STALE, Verdict.OLD_SESSION


def steady(
    guard: ReplayGuard, count: int, *, first: int = 1, start: float = 0.0, offset: float = 50.0, rate: float = 1.0
) -> None:
    """`count` datagrams at the usual speed, each 200 ms; the sender's clock runs `rate` times as fast."""
    for n in range(count):
        now = start + n * 0.2
        assert guard.check("n1", 7, first + n, now * rate - offset, now) is FRESH, f"datagram {n}"


def test_order_does_not_matter_within_the_window_and_nothing_counts_twice() -> None:
    guard = ReplayGuard()
    for counter in (10, 8, 9, 12, 11):
        assert guard.check("n1", 7, counter, 0, 0) is FRESH
        assert guard.check("n1", 7, counter, 0, 0) is REPLAYED
    assert guard.check("n1", 7, 12 + 10 * WINDOW, 0, 0) is FRESH
    assert guard.check("n1", 7, 12, 0, 0) is REPLAYED
    assert guard.check("n2", 7, 12, 0, 0) is FRESH


def test_what_is_late_is_stale_but_the_sender_is_not_locked_out() -> None:
    guard = ReplayGuard()
    steady(guard, 50)
    assert guard.check("n1", 7, 99, 10 - 50, 10 + MAX_AGE_S + 0.5) is STALE
    assert guard.check("n1", 7, 100, 12.6 - 50, 12.6) is FRESH


@pytest.mark.parametrize("rate", [0.99, 1.0, 1.01])
def test_clocks_of_different_rates_stay_in_step(rate: float) -> None:
    steady(ReplayGuard(), 20_000, rate=rate)


def test_a_sender_whose_clock_stood_still_is_believed_again_soon() -> None:
    guard = ReplayGuard()
    steady(guard, 50)
    verdicts = [guard.check("n1", 7, 100 + n, 10 + n * 0.2 - 50 - 600, 10 + n * 0.2) for n in range(40)]
    assert verdicts[:15] == [STALE] * 15
    assert verdicts[16:] == [FRESH] * 24


def test_a_receiver_that_was_frozen_refuses_what_piled_up_and_believes_what_follows() -> None:
    guard = ReplayGuard()
    steady(guard, 50)
    piled = [guard.check("n1", 7, 51 + n, 10 + n * 0.2 - 50, 40.0) for n in range(100)]
    assert set(piled) == {STALE}
    assert guard.check("n1", 7, 200, 40.2 - 50, 40.2) is FRESH


def test_a_new_session_counts_at_once_and_the_old_one_no_more() -> None:
    guard = ReplayGuard()
    steady(guard, 10)
    assert guard.check("n1", 8, 1, 0, 2) is FRESH
    assert guard.check("n1", 7, 11, 2.2 - 50, 2.2) is OLD
    assert guard.check("n1", 8, 2, 0.4, 2.4) is FRESH


def test_a_lost_session_counter_locks_out_for_a_bounded_time() -> None:
    guard = ReplayGuard()
    assert guard.check("n1", 900, 1, 0, 0) is FRESH
    assert guard.check("n1", 3, 1, FORGET_S, FORGET_S) is OLD
    assert guard.check("n1", 3, 2, FORGET_S + 1, FORGET_S + 1) is FRESH


@given(
    withheld=st.lists(st.booleans(), min_size=60, max_size=60),
    delays=st.lists(st.floats(0, 30), min_size=60, max_size=60),
)
def test_withholding_cannot_keep_a_dead_sender_alive(withheld: list[bool], delays: list[float]) -> None:
    """An attacker on the path withholds any datagrams and delivers them, after the sender's death, whenever he likes. The
    sender was heard within the last second before it died. The last datagram accepted is at most MAX_AGE_S (and the drift
    of the clocks) after the death."""
    guard = ReplayGuard()
    steady(guard, 20)
    death = 4.0 + 60 * 0.2
    kept = []
    for n, hide in enumerate(withheld):
        sent = 4.0 + n * 0.2
        if hide and n % 4:
            kept.append((21 + n, sent))
        else:
            assert guard.check("n1", 7, 21 + n, sent - 50, sent) is FRESH
    deliveries = sorted((death + delay, counter, sent) for (counter, sent), delay in zip(kept, delays, strict=False))
    for now, counter, sent in deliveries:
        if guard.check("n1", 7, counter, sent - 50, now) is FRESH:
            assert now - death <= MAX_AGE_S * (1 + 2 * DRIFT) + 0.1
