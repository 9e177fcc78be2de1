"""`holdfast lab campaign`: a short one passes on real processes, and whatever way it ends, nothing is left behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_talk import until

from holdfast.lab import LabClient

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
HOLDFAST = str(Path(sys.executable).parent / "holdfast")
SEED, FAULTS = "31", "4"
"""Killed agent, clean shutdown, killed daemon of the iSCSI volume, hung guard."""


def campaign(lab: LabClient, *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    argv = [HOLDFAST, "lab", "--lab", lab.name, "campaign", *words]
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(process: "subprocess.Popen[str]", timeout: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.terminate()  # it takes its lab down
            process.communicate(timeout=60)


def test_a_short_campaign_loses_nothing_and_runs_nothing_twice(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("k")
    process = campaign(lab, "--faults", FAULTS, "--seed", SEED, "--json")
    out, told = ended(process, timeout=390)
    assert process.returncode == 0, f"{out[-5000:]}\n{told}"
    outcome = json.loads(out)
    assert outcome["ok"] and outcome["problems"] == []
    assert [fault["number"] for fault in outcome["faults"]] == list(range(1, int(FAULTS) + 1))
    assert all(fault["whole_s"] > 0 for fault in outcome["faults"])
    assert {journal["volume"] for journal in outcome["journals"]} == {"vol1", "vol2", "vol3", "disk1"}
    assert all(journal["acked"] > 100 and journal["lost"] == 0 for journal in outcome["journals"])
    assert outcome["watcher"]["looks"] > 100
    assert f"{FAULTS}/{FAULTS}" in told, "a line for every fault"
    assert not lab.leftovers()


def test_a_campaign_that_is_ended_takes_its_lab_down(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("l")
    process = campaign(lab, "--faults", "5")
    until(lab.running, "the lab runs")
    process.send_signal(signal.SIGTERM)
    ended(process, timeout=60)
    assert process.returncode == 130
    assert not lab.running()
    assert not lab.leftovers()


@pytest.mark.long
def test_a_campaign_that_is_ended_in_its_midst_tells_what_was_seen(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("n")
    process = campaign(lab, "--faults", "500", "--only", "agent-kill", "--json")
    assert process.stderr is not None
    told_so_far = process.stderr
    try:
        until(lambda: "1/500  agent-kill" in told_so_far.readline(), "the first fault is over", timeout_s=120)
        process.send_signal(signal.SIGINT)
    finally:
        out, told = ended(process, timeout=90)
    assert process.returncode == 130, told
    outcome = json.loads(out)
    assert outcome["kinds"][0]["count"] == len(outcome["faults"]) >= 1
    assert all(journal["acked"] > 0 and journal["lost"] == 0 for journal in outcome["journals"])
    assert [text for text in outcome["problems"] if "not done because somebody ended the campaign" not in text] == []
    assert not lab.leftovers()


def test_an_unknown_fault_is_refused_before_anything_is_made(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("m")
    _, told = ended(campaign(lab, "--only", "meteor"), timeout=30)
    assert "meteor" in told and "power-off" in told
    assert not lab.leftovers()
