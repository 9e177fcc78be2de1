from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.observers import HEARD, NEVER, Report, Tracker, observers_of, suspicion, targets_of
from holdfast.core.timing import Detection

DETECTION = Detection()
NODES = [f"n{i}" for i in range(1, 9)]


@given(st.sets(st.sampled_from(NODES), min_size=2), st.integers(1, 5))
def test_observers_are_others_distinct_and_as_many_as_there_can_be(nodes: set[str], count: int) -> None:
    domains = dict.fromkeys(nodes, "")
    for target in nodes:
        chosen = observers_of(target, domains, count)
        assert target not in chosen
        assert len(set(chosen)) == len(chosen) == min(count, len(nodes) - 1)
        assert all(target in targets_of(observer, domains, count) for observer in chosen)


@given(st.sets(st.sampled_from(NODES), min_size=3))
def test_one_node_less_replaces_only_that_observer(nodes: set[str]) -> None:
    domains = dict.fromkeys(nodes, "")
    for target, gone in [(t, g) for t in nodes for g in nodes if t != g]:
        before = observers_of(target, domains, 3)
        after = observers_of(target, {n: "" for n in nodes if n != gone}, 3)
        assert [n for n in before if n != gone] == [n for n in after if n in before]


def test_observers_come_from_other_failure_domains_first() -> None:
    domains = {"n1": "a", "n2": "a", "n3": "a", "n4": "b", "n5": "c"}
    assert set(observers_of("n1", domains, 2)) == {"n4", "n5"}
    assert len(observers_of("n1", domains, 4)) == 4


def test_load_per_node_does_not_depend_on_the_size_of_the_cluster() -> None:
    domains = {f"n{i}": "" for i in range(300)}
    load = Counter(observer for target in domains for observer in observers_of(target, domains, 3))
    assert sum(load.values()) == 900
    assert max(load.values()) <= 15


def test_a_target_never_heard_says_nothing() -> None:
    tracker = Tracker(DETECTION)
    tracker.expect({"n2": ["management"]})
    assert tracker.observations(100.0) == {"n2": {"management": NEVER}}
    tracker.heard("n2", "management", 100.0)
    assert tracker.observations(100.5) == {"n2": {"management": HEARD}}
    assert tracker.observations(100.7) == {"n2": {"management": 700}}


def test_an_observer_that_misses_most_of_its_targets_knows_it() -> None:
    tracker = Tracker(DETECTION)
    tracker.expect({name: ["management"] for name in ("n2", "n3", "n4")})
    for name in ("n2", "n3", "n4"):
        tracker.heard(name, "management", 0.0)
    tracker.heard("n2", "management", 5.0)
    assert tracker.misses_most(5.0)
    tracker.heard("n3", "management", 5.0)
    assert not tracker.misses_most(5.0)


def report(at: float, silence: int, self_suspect: bool = False) -> Report:
    return Report(at, self_suspect, {"n1": {"management": silence}})


def judge(reports: dict[str, Report], now: float = 10.0) -> bool:
    return suspicion("n1", "management", ["n2", "n3", "n4"], reports, now, DETECTION) is not None


def test_a_majority_of_live_observers_decides() -> None:
    assert judge({"n2": report(10, 700), "n3": report(10, 700), "n4": report(10, HEARD)})
    assert not judge({"n2": report(10, 700), "n3": report(10, HEARD), "n4": report(10, HEARD)})
    assert not judge({"n2": report(10, 700), "n3": report(10, HEARD)})


def test_observers_without_a_majority_never_suffice() -> None:
    """Mutant guard: one voice out of two live observers is no majority, and silence of observers is no voice."""
    assert not judge({"n2": report(10, 700), "n3": report(10, NEVER), "n4": report(10, HEARD)})
    assert not judge({})


def test_a_single_live_observer_suffices_only_where_there_is_no_other() -> None:
    assert judge({"n2": report(10, 700)})


def test_reports_that_are_old_or_from_a_self_suspect_observer_do_not_count() -> None:
    assert not judge({"n2": report(1, 700), "n3": report(1, 700), "n4": report(10, HEARD)})
    assert not judge({"n2": report(10, 700, True), "n3": report(10, 700, True), "n4": report(10, HEARD)})


def test_suspicion_knows_since_when() -> None:
    found = suspicion(
        "n1", "management", ["n2", "n3"], {"n2": report(9.9, 650), "n3": report(10, 600)}, 10.0, DETECTION
    )
    assert found is not None
    assert abs(found.since - 9.25) < 1e-9


def test_a_target_whose_kernel_refuses_gets_the_time_of_an_agents_restart() -> None:
    tracker = Tracker(DETECTION)
    tracker.expect({"n2": ["management"]})
    tracker.heard("n2", "management", 0.0)
    assert tracker.silent(0.2) == []
    assert tracker.silent(0.5) == ["n2"]
    tracker.refused("n2", 0.5)
    assert tracker.observations(0.9) == {"n2": {"management": HEARD}}
    assert tracker.observations(2.1) == {"n2": {"management": 2100}}, "one old refusal does not last"
    tracker.refused("n2", 4.1)
    assert tracker.observations(4.1) == {"n2": {"management": 4100}}, "nor does the grace"
