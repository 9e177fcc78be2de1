"""Waiting for an API that is not there yet, and for one that is not there any more."""

from typing import Any

import pytest

from holdfast.cli.wait import GONE_S, ApiEnded, wait_for
from holdfast.client import ApiUnreachable
from holdfast.clock import SystemClock

CLOCK = SystemClock()


class LateApi:
    """Its socket appears after a while."""

    gone = True

    def __init__(self, seconds: float) -> None:
        self.appears = CLOCK.now() + seconds

    def get(self, _path: str) -> dict[str, Any]:
        if CLOCK.now() < self.appears:
            raise ApiUnreachable("it is not there", "")
        return {"nodes": []}


def test_a_slow_machine_may_take_its_time_to_begin() -> None:
    found = wait_for(LateApi(GONE_S + 1), "/status", lambda _: "", timeout=60, begins=True)  # type: ignore[arg-type]
    assert found == {"nodes": []}


def test_an_api_that_has_ended_is_not_waited_for() -> None:
    with pytest.raises(ApiEnded):
        wait_for(LateApi(60), "/status", lambda _: "", timeout=60)  # type: ignore[arg-type]
