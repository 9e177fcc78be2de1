"""What the manager makes of its observers' reports."""

from collections.abc import Mapping

from holdfast.clock import ManualClock
from holdfast.core.observers import HEARD, MANAGEMENT
from holdfast.core.timing import Detection
from holdfast.manager.reports import Reports

DETECTION = Detection()
MEMBERS = {"n1": "", "n2": "", "n3": ""}
ALL_WELL: Mapping[str, Mapping[str, int]] = {name: {MANAGEMENT: HEARD} for name in MEMBERS}


def missing(node: str) -> Mapping[str, Mapping[str, int]]:
    return {**ALL_WELL, node: {MANAGEMENT: 3000}}


async def listening() -> tuple[Reports, ManualClock]:
    """It has heard everybody for long enough."""
    clock = ManualClock()
    reports = Reports(clock, DETECTION)
    for _ in range(4):
        await clock.advance(DETECTION.report_period)
        for observer in MEMBERS:
            reports.take(observer, False, ALL_WELL)
    return reports, clock


async def test_a_majority_makes_a_suspicion() -> None:
    reports, _ = await listening()
    reports.take("n1", False, missing("n2"))
    assert reports.suspicion("n2", MANAGEMENT, MEMBERS) is None
    reports.take("n3", False, missing("n2"))
    found = reports.suspicion("n2", MANAGEMENT, MEMBERS)
    assert found is not None and found.missed_by == ("n1", "n3")


async def test_a_manager_that_was_deaf_believes_nobody_before_it_has_listened_again() -> None:
    """It stood still, and reads first what its own node says, which has not read anything either."""
    reports, clock = await listening()
    await clock.advance(DETECTION.report_valid + 1)
    reports.take("n3", False, missing("n2"))
    assert not reports.settled
    assert reports.suspicion("n2", MANAGEMENT, MEMBERS) is None
    for _ in range(4):
        await clock.advance(DETECTION.report_period)
        reports.take("n1", False, missing("n2"))
        reports.take("n3", False, missing("n2"))
    assert reports.settled
    assert reports.suspicion("n2", MANAGEMENT, MEMBERS) is not None


async def test_observers_that_fall_silent_do_not_make_it_deaf() -> None:
    reports, clock = await listening()
    for _ in range(8):
        await clock.advance(DETECTION.report_period)
        reports.take("n1", False, missing("n2"))
    assert reports.settled
    assert reports.suspicion("n2", MANAGEMENT, MEMBERS) is not None
