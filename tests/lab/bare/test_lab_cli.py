"""`holdfast lab …` as a person types it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from lab_talk import PYTHON

from holdfast.errors import InvalidInput
from holdfast.lab import LabClient
from holdfast.lab.layout import make_layout
from holdfast.lab.options import LabOptions, parse_clock_offset

HOLDFAST = str(Path(PYTHON).with_name("holdfast"))


def run(lab: str, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"HOLDFAST_LAB": lab}
    return subprocess.run(
        [HOLDFAST, "lab", *words], env=environment, input=stdin, capture_output=True, text=True, timeout=60
    )


@pytest.mark.lab
def test_status_fail_and_heal(bare_lab: LabClient) -> None:
    assert run(bare_lab.name, "fail", "n2", "--how", "freeze").returncode == 0
    shown = json.loads(run(bare_lab.name, "status", "--json").stdout)
    assert {h["name"]: h["faults"] for h in shown["hosts"]} == {"n1": [], "n2": ["freeze"], "n3": [], "client": []}
    table = run(bare_lab.name, "status").stdout
    assert "10.77.0.12" in table
    assert "freeze" in table
    assert run(bare_lab.name, "heal", "n2").returncode == 0
    healed = json.loads(run(bare_lab.name, "heal", "n2", "--json").stdout)
    assert healed["node"] == "n2"
    assert "freeze" not in run(bare_lab.name, "status").stdout
    assert "healed" in run(bare_lab.name, "events").stdout


@pytest.mark.lab
def test_commands_in_hosts_keep_their_streams_and_status(bare_lab: LabClient) -> None:
    done = run(bare_lab.name, "exec", "n1", "--", "sh", "-c", "cat; hostname; exit 4", stdin="said ")
    assert (done.returncode, done.stdout) == (4, "said n1\n")
    assert run(bare_lab.name, "client", "--", "hostname").stdout == "client\n"
    bare_lab.exec("n1", ["sh", "-c", "mkdir -p /var/log/holdfast; echo hello > /var/log/holdfast/some.log"], check=True)
    assert run(bare_lab.name, "log", "n1", "some").stdout == "hello\n"
    assert "some" in run(bare_lab.name, "log", "n1").stdout


@pytest.mark.lab
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fail", "n9", "--how", "power"], "no host `n9`"),
        (["fail", "n1", "--how", "flood"], "`flood` is not a fault"),
        (["exec", "n9", "--", "true"], "no host `n9`"),
        (["log", "n1", "nothing"], "no log of `nothing`"),
        (["up", "--no-cluster"], "is up already"),
        (["up", "--clock-offset", "n1"], "`n1` is not a clock offset"),
    ],
)
def test_errors_are_a_sentence_and_an_advice(bare_lab: LabClient, words: list[str], says: str) -> None:
    done = run(bare_lab.name, *words)
    assert done.returncode == 1
    first, advice = done.stderr.strip().splitlines()
    assert first.startswith("Error: ")
    assert says in first
    assert advice


@pytest.mark.lab
def test_without_a_lab_every_command_says_how_to_start_one() -> None:
    for words in (["status"], ["heal", "n1"], ["exec", "n1", "--", "true"], ["events", "--json"]):
        done = run("nosuchlab", *words)
        assert done.returncode == (0 if words[0] == "events" else 1), words
        assert "holdfast lab up" in done.stderr or words[0] == "events"
    assert run("nosuchlab", "down").returncode == 0


def test_addresses_follow_from_the_number_of_the_node() -> None:
    layout = make_layout("lab", Path("/x"), 64)
    assert layout.hosts["n1"].address("management") == "10.77.0.11"
    assert layout.hosts["n3"].ports[0].addresses == ("10.77.0.13/24", "fd77::13/64")
    assert layout.hosts["client"].address("public") == "10.78.0.200"
    assert layout.hosts["n2"].bmc_address == "10.79.0.102"
    every = [a for h in layout.hosts.values() for p in h.ports for a in p.addresses]
    every += [h.bmc_address for h in layout.hosts.values()]
    macs = [p.mac for h in layout.hosts.values() for p in h.ports]
    assert len(set(every)) == len(every)
    assert len(set(macs)) == len(macs)
    assert max(len(p.name) for h in layout.hosts.values() for p in h.ports) <= 15
    assert len({h.machine_id for h in layout.hosts.values()}) == 65


def test_options_are_checked() -> None:
    assert parse_clock_offset("n2=+3600") == ("n2", 3600.0)
    assert parse_clock_offset("n2=-5") == ("n2", -5.0)
    for wrong in ("n2", "n2=x", "=5", "n2=1.5"):
        with pytest.raises(InvalidInput):
            parse_clock_offset(wrong)
    with pytest.raises(InvalidInput):
        LabOptions(watchdog_reset="explode")
    for name in ("", "a-b", "UP", "x" * 13):
        with pytest.raises(InvalidInput):
            make_layout(name, Path("/x"), 3)
