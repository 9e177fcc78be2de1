"""The demonstration's time line and verdict, and what counts as a client's stall."""

from dataclasses import replace
from typing import Any

import pytest

from holdfast.lab.demo import story
from holdfast.lab.demo.clients import Stall, longest_stall
from holdfast.lab.demo.talk import unsettled

WALL = 1_800_000_000.0
OFFSET = WALL - 1000.0
"""Boot time 1000 is this moment of the wall clock: 2027-01-15T08:00:00Z."""
FAULT = 999.5


def step(name: str, at: float, instance: str = "", text: str = "") -> dict[str, Any]:
    return {"name": name, "at": at, "instance": instance, "text": text or f"{name} {instance}".strip()}


INCIDENT: dict[str, Any] = {
    "id": "n1-x",
    "node": "n1",
    "wall": "2027-01-15T08:00:00.000Z",
    "state": "closed",
    "proof": "P1",
    "affected": ["nfs/demo", "panel/admin"],
    "recovered": ["panel/admin", "nfs/demo"],
    "steps": [
        step("missed", 0.0),
        step("suspect", 0.6),
        step("placed", 0.7, "panel/admin"),
        step("proven-dead", 0.8, text="n1 is proven dead: found off"),
        step("claimed", 0.81),
        step("started", 0.9, "nfs/demo"),
        step("started", 1.0, "nfs/demo", "healthy now"),
        step("closed", 1.2),
    ],
}


def test_an_incident_is_opened_by_the_suspicion() -> None:
    at = {s.name: s.at for s in story.steps_of(INCIDENT, OFFSET)}
    assert at["suspect"] == pytest.approx(1000.0)
    assert at["missed"] == pytest.approx(999.4)


def test_a_step_counts_when_it_is_mentioned_first() -> None:
    [started] = [s for s in story.steps_of(INCIDENT, OFFSET) if s.name == "started"]
    assert (started.at, started.text) == (pytest.approx(1000.3), "started nfs/demo")


def test_the_time_line_counts_from_the_fault_and_leaves_nothing_before_it() -> None:
    clients = {"the panel answers again": 1000.4, "the volume writes again": 0.0}
    line = story.moments("n1", FAULT, story.steps_of(INCIDENT, OFFSET), (1000.1, "n2"), clients)
    assert [round(m.ms) for m in line] == sorted(round(m.ms) for m in line)
    assert [m.text for m in line][:2] == ["n1 loses its power", "first missed beat"]
    assert line[1].ms == 0.0, "the last beat was heard before the fault"
    told = {m.text: round(m.ms) for m in line}
    assert told["the manager on n2 leads"] == 600
    assert told["the panel answers again"] == 900
    assert told["n1: found off"] == 700
    assert "the volume writes again" not in told


def test_the_fault_s_own_incident_is_found_among_older_ones_and_other_nodes() -> None:
    older = INCIDENT | {"id": "old", "wall": "2027-01-15T07:59:00.000Z"}
    other = INCIDENT | {"id": "other", "node": "n2"}
    status = {"open_incidents": [other], "recent_incidents": [older, INCIDENT]}
    found = story.incident_of(status, "n1", FAULT, OFFSET)
    assert found is not None
    assert found["id"] == "n1-x"
    assert story.incident_of({"open_incidents": [older]}, "n1", FAULT, OFFSET) is None


def test_the_first_election_after_the_fault_counts() -> None:
    def event(wall: str, node: str) -> dict[str, str]:
        return {"kind": "manager-elected", "wall": f"2027-01-15T{wall}Z", "node": node}

    newest_first = [event("08:00:03.000", "n3"), event("08:00:00.250", "n2"), event("07:00:00.000", "n1")]
    assert story.elected_at({"recent_events": newest_first}, FAULT, OFFSET) == (pytest.approx(1000.25), "n2")
    assert story.elected_at({"recent_events": newest_first[2:]}, FAULT, OFFSET) is None


# --- verdict ----------------------------------------------------------------------------------------------------------

JOURNAL = {"acked": 500, "lost": 0, "torn": 0, "lock_kept": True}
SEEN = story.Seen(
    node="n1",
    status={"instances": [{"id": "panel/admin", "state": "running", "healthy": True}]},
    incident=INCIDENT,
    panel_stall_s=0.9,
    write_stall_s=1.5,
    open_stall_s=4.0,
    journal=JOURNAL,
    samples=100,
    longest_gap_s=0.07,
    violations=0,
    returned=True,
)


def failed(seen: story.Seen) -> list[str]:
    return [check.name for check in story.checks(seen) if not check.ok]


def test_all_is_well() -> None:
    assert failed(SEEN) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"incident": INCIDENT | {"proof": None}}, "the death was proven"),
        ({"incident": INCIDENT | {"state": "open"}}, "every service came back"),
        ({"incident": INCIDENT | {"recovered": ["panel/admin"]}}, "every service came back"),
        ({"status": {"instances": [{"id": "x", "state": "unknown", "healthy": False}]}}, "every service came back"),
        ({"panel_stall_s": -1.0}, "the panel answers its client"),
        ({"write_stall_s": -1.0}, "the volume takes writes"),
        ({"open_stall_s": -1.0}, "the volume opens new files"),
        ({"journal": JOURNAL | {"lost": 1}}, "no acknowledged write is lost"),
        ({"journal": JOURNAL | {"torn": 1}}, "no acknowledged write is lost"),
        ({"journal": JOURNAL | {"acked": 0}}, "no acknowledged write is lost"),
        ({"journal": JOURNAL | {"lock_kept": False}}, "the client kept its lock"),
        ({"violations": 1}, "nothing ran twice (INV-1)"),
        ({"samples": 0}, "nothing ran twice (INV-1)"),
        ({"returned": False}, "n1 joins again"),
    ],
)
def test_each_check_can_fail(change: dict[str, Any], check: str) -> None:
    assert failed(replace(SEEN, **change)) == [check]


def test_without_an_incident_and_a_journal_nothing_is_claimed() -> None:
    nothing = replace(SEEN, incident=None, journal={"error": "the server is gone"})
    assert failed(nothing) == [
        "the death was proven",
        "every service came back",
        "no acknowledged write is lost",
        "the client kept its lock",
    ]
    assert "the server is gone" in [check.text for check in story.checks(nothing)]


# --- clients ----------------------------------------------------------------------------------------------------------


def test_the_longest_stall_ends_after_the_fault() -> None:
    answers = [1.0, 4.0, 4.02, 5.0, 5.02]
    assert longest_stall(answers, since=4.01, now=5.03) == Stall(4.02, 5.0)
    assert longest_stall(answers, since=2.0, now=5.03) == Stall(1.0, 4.0), "it had begun before"


def test_a_stall_that_goes_on_has_no_end() -> None:
    assert longest_stall([1.0, 1.02], since=1.01, now=9.0) == Stall(1.02, 0.0)
    assert longest_stall([], since=1.0, now=2.0) == Stall(1.0, 0.0)


# --- the whole cluster ------------------------------------------------------------------------------------------------

WHOLE: dict[str, Any] = {
    "nodes": [{"id": "n1", "state": "up"}],
    "instances": [{"id": "panel/admin", "state": "running", "healthy": True, "moving_to": "", "node": "n1"}],
    "open_incidents": [],
}


def test_what_keeps_a_cluster_from_being_whole() -> None:
    instance = WHOLE["instances"][0]
    assert unsettled(WHOLE) == ""
    assert unsettled(WHOLE | {"nodes": [{"id": "n1", "state": "claimed"}]}) == "n1 (claimed)"
    assert "panel/admin" in unsettled(WHOLE | {"instances": [instance | {"healthy": False}]})
    assert "panel/admin" in unsettled(WHOLE | {"instances": [instance | {"moving_to": "n2"}]})
    assert "n1-x" in unsettled(WHOLE | {"open_incidents": [INCIDENT]})
