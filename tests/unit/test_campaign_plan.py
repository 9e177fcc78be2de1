"""A campaign's faults: the same seed gives the same sequence, none is missed, and the cluster's tolerance is kept."""

import itertools
import os
import subprocess
import sys
from collections import Counter

import pytest

from holdfast.errors import InvalidInput
from holdfast.lab.campaign import disks
from holdfast.lab.campaign.alphabet import ALPHABET, OPERATIONS, Role, Until
from holdfast.lab.campaign.cast import Cast
from holdfast.lab.campaign.clients import Readback, missing
from holdfast.lab.campaign.plan import Planned, Step, draw
from holdfast.lab.campaign.record import TOGETHER, Outcome, Turn
from holdfast.lab.demo.clients import Stall
from holdfast.lab.fault import HOWS, Fault
from holdfast.services.iscsi.journal import BLOCK_BYTES, stamp
from holdfast.services.nfs.journal import RECORD_BYTES, record

VOLUMES = 3
DECK = sum(kind.weight for kind in ALPHABET)
EVERYBODY = ["n1", "n2", "n3", "n4"]


def steps(count: int, seed: int = 1, only: tuple[str, ...] = ()) -> list[Step]:
    return list(itertools.islice(draw(seed, VOLUMES, only), count))


def kinds(step: Step) -> list[str]:
    return [planned.kind.name for planned in (step.first, step.second) if planned]


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    assert steps(200) == steps(200)
    assert steps(200)[:50] == steps(50)
    assert steps(50) != steps(50, seed=2)


def test_the_same_seed_gives_the_same_faults_in_another_process() -> None:
    code = (
        "import itertools; from holdfast.lab.campaign.plan import draw; print(list(itertools.islice(draw(7, 3), 60)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_deck_holds_every_kind_as_often_as_its_weight_says() -> None:
    drawn = Counter(name for step in steps(DECK) for name in kinds(step) if len(kinds(step)) == 1)
    together = [step for step in steps(DECK) if step.second]
    assert 0.1 * DECK < len(together) < 0.3 * DECK
    assert set(drawn) | {name for step in together for name in kinds(step)} == {kind.name for kind in ALPHABET}
    assert all(drawn[kind.name] <= kind.weight for kind in ALPHABET)


def test_of_two_at_once_one_at_least_takes_neither_a_node_nor_a_member_of_the_store() -> None:
    for step in steps(500):
        assert step.second is None or step.first.kind.light or step.second.kind.light
        assert step.second is None or not (step.first.kind.outage or step.second.kind.outage)


def test_a_lying_bmc_comes_only_with_a_real_power_loss() -> None:
    """A management controller that lies consistently cannot be found out: docs/safety.md, limits."""
    liars = [kind for kind in ALPHABET if any(variant.get("mode") == "lie" for variant in kind.variants)]
    assert [kind.name for kind in liars] == ["power-off-bmc"]


def test_every_strike_is_one_that_the_lab_can_do() -> None:
    for step in steps(3 * DECK):
        for planned in (step.first, step.second):
            if planned is None:
                continue
            for blow in Cast(planned, ("n2", "n3"), "nfs/vol1", other="n4").strikes(EVERYBODY):
                assert blow.how in HOWS or blow.how in OPERATIONS
                assert blow.how in OPERATIONS or Fault(blow.node, blow.how, **blow.details).describe()
                assert blow.details.get("to") != blow.node


def test_a_mute_node_is_cut_from_every_other_one_in_one_direction() -> None:
    def cuts(name: str) -> set[tuple[str, object]]:
        step = next(step.first for step in steps(1, only=(name,)))
        return {(blow.node, blow.details["to"]) for blow in Cast(step, ("n2",)).strikes(EVERYBODY)}

    assert cuts("mute") == {("n2", "n1"), ("n2", "n3"), ("n2", "n4")}
    assert cuts("deaf") == {("n1", "n2"), ("n3", "n2"), ("n4", "n2")}


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="meteor") as refused:
        draw(1, VOLUMES, ["meteor"])
    assert "power-off" in refused.value.advice


def test_what_lasts_for_a_drawn_time_has_bounds_and_nothing_else_has() -> None:
    for kind in ALPHABET:
        assert (kind.until is Until.DRAWN) == (kind.seconds[1] > 0), kind.name
        assert all(kind.seconds[0] <= p.first.seconds <= kind.seconds[1] for p in steps(5, only=(kind.name,)))


# --- what is counted ------------------------------------------------------------------------------------------------


def turn(number: int, began: float, *stalls: Stall, outage: bool = False, kind: str = "power-off") -> Turn:
    made = Turn(number, kind, kind, "n1", began, began, outage)
    made.undone, made.whole, made.acked = began + 5, began + 9, 10
    made.stalls = {"vol1": list(stalls)} if stalls else {}
    return made


def test_recovery_counts_from_the_fault_or_from_the_end_of_what_is_not_tolerated() -> None:
    assert turn(1, 100.0, Stall(100.2, 101.5), Stall(103.0, 103.5)).recovery_s == pytest.approx(3.5)
    assert turn(1, 100.0, Stall(100.2, 107.5), outage=True).recovery_s == pytest.approx(2.5)
    assert turn(1, 100.0).recovery_s == 0.0


def test_rows_count_turns_looks_and_losses() -> None:
    outcome = Outcome(1, wanted=2, turns=[turn(1, 100.0), turn(2, 120.0, kind=TOGETHER)])
    outcome.looks, outcome.samples = [(90.0, 0), (110.0, 200), (130.0, 400)], 500
    power, both = outcome.rows()
    assert (power.kind, power.looks, power.acked) == ("power-off", 90, 10)
    assert (both.kind, both.looks) == (TOGETHER, 90)
    assert outcome.ok
    outcome.turns[0].violations.append("INV-1")
    assert not outcome.ok
    assert outcome.rows()[0].violations == 1


def test_a_campaign_that_ended_early_has_not_passed() -> None:
    assert Outcome(1, wanted=3, turns=[turn(1, 0.0)]).problems == ["2 faults were not done"]


def test_a_campaign_that_somebody_ended_tells_what_was_seen_and_counts_only_faults_that_were_over() -> None:
    begun = turn(2, 120.0)
    begun.whole = 0.0
    outcome = Outcome(1, wanted=5, turns=[turn(1, 100.0), begun])
    outcome.interrupt()
    assert [row.kind for row in outcome.rows()] == ["power-off"]
    assert len(outcome.rows()[0].recoveries_s) == 1
    assert outcome.found == []
    assert outcome.problems == ["4 faults were not done because somebody ended the campaign"]
    begun.violations.append("LIVE-1")
    outcome = Outcome(1, wanted=5, turns=[turn(1, 100.0), begun])
    outcome.interrupt()
    assert outcome.found == ["fault 2 (power-off): LIVE-1"]


def test_records_that_are_gone_torn_or_swapped_are_missing() -> None:
    sent = [100.25, 100.30, 100.35, 100.40]
    whole = [record(number, at) for number, at in enumerate(sent)]
    assert missing(b"".join(whole), sent) == []
    assert missing(b"".join(whole[:3]), sent) == [3], "the last one is gone"
    assert missing(b"".join([whole[0], bytes(RECORD_BYTES), *whole[2:]]), sent) == [1], "a hole"
    assert missing(b"".join([whole[0], whole[1][:30] + bytes(34), *whole[2:]]), sent) == [1], "torn"
    assert missing(b"".join([whole[1], whole[0], *whole[2:]]), sent) == [0, 1]


def test_blocks_that_are_gone_torn_or_stale_are_missing() -> None:
    run, acked = b"ourselve", {0: 5, 1: 6, 2: 7}
    whole = [stamp(run, block, number) for block, number in acked.items()]
    assert disks.missing(b"".join(whole), run, acked) == []
    assert disks.missing(b"".join(whole[:2]), run, acked) == [7], "the file is too short"
    assert disks.missing(whole[0] + stamp(run, 1, 3) + whole[2], run, acked) == [6], "stale"
    torn = whole[0][: BLOCK_BYTES // 2] + stamp(run, 0, 2)[BLOCK_BYTES // 2 :]
    assert disks.missing(torn + whole[1] + whole[2], run, acked) == [5]
    assert disks.missing(b"".join(stamp(b"another.", b, n) for b, n in acked.items()), run, acked) == [5, 6, 7]
    assert disks.missing(b"".join(whole), b"", acked) == [5, 6, 7], "its client has not said who it is"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"acked": 10, "lost": 0, "torn": 0, "stale": 0}, []),
        (
            {"acked": 10, "lost": 0, "torn": 0, "stale": 2},
            ["vol1: its client read 0 records lost and 0 torn and 2 stale"],
        ),
        ({"acked": 10, "lost": 0, "torn": 0, "lock_kept": True}, []),
        ({"acked": 10, "lost": 1, "torn": 0, "lock_kept": True}, ["vol1: its client read 1 records lost and 0 torn"]),
        ({"acked": 10, "lost": 0, "torn": 0, "lock_kept": False}, ["vol1: its client lost its lock: somebody else"]),
        ({"error": "no server for 900 s"}, ["vol1: its client did not read its journal back: no server"]),
    ],
)
def test_what_a_client_found_wrong_fails_the_campaign(said: dict[str, object], told: list[str]) -> None:
    problems = Readback("vol1", 10, (), said).problems
    assert len(problems) == len(told)
    assert all(problem.startswith(text) for problem, text in zip(problems, told, strict=True))


def test_a_record_that_the_storage_has_not_fails_the_campaign_though_the_client_found_none() -> None:
    found = Readback("vol1", 10, (103.0,), {"acked": 10, "lost": 0, "torn": 0, "lock_kept": True})
    outcome = Outcome(1, wanted=1, turns=[turn(1, 100.0)], readbacks=[found])
    assert outcome.problems == ["vol1: 1 of 10 acknowledged records are not there"]
    assert [row.lost for row in outcome.rows()] == [1]


def test_the_server_of_an_iscsi_volume_is_its_nodes_daemon() -> None:
    for instance, unit in (("nfs/vol1", "nfs/vol1"), ("iscsi/disk1", "iscsi-tgtd")):
        (killed,) = Cast(steps(1, only=("server-kill",))[0].first, ("n2",), instance).strikes(EVERYBODY)
        assert (killed.how, killed.details["unit"]) == ("kill", unit)


def test_a_role_that_names_a_volume_says_which() -> None:
    planned = Planned(ALPHABET[0], Role.VOLUME, 0, 2, {}, 0.0)
    assert Cast(planned, ("n3",), "nfs/vol2").victim == "n3 (holder of nfs/vol2)"
