"""Random faults against the real daemons: no violation, and the same log on any machine; and the command line around it."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from holdfast.sim.campaign import run_seed, run_seeds
from holdfast.sim.fuzz import Shape, generate
from holdfast.sim.run import run
from holdfast.sim.scenario import loads
from holdfast.sim.writing import dump

HOLDFAST = Path(sys.executable).parent / "holdfast"
SEEDS = range(1, 25)
SHAPE = Shape(hours=0.2)

GOOD = """\
name: a quiet minute
nodes: {node1: {}, node2: {}, node3: {}}
instances: {vm/1: {node: node1}}
timeline: []
until: 60
expect: {instances: {vm/1: {state: started, node: node1}}}
"""


def holdfast(*arguments: object, hash_seed: int = 0) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [HOLDFAST, "sim", *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        timeout=100,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_an_invariant(seed: int) -> None:
    report = run_seed(seed, SHAPE, skip_quiet=True)
    assert not report.violations, f"holdfast sim fuzz --seeds 1 --first-seed {seed} --hours {SHAPE.hours}"
    assert report.simulated_s == pytest.approx(SHAPE.hours * 3600)


@pytest.mark.parametrize("skip", [(), ("--skip",)], ids=["whole", "skipping"])
def test_the_same_seed_gives_the_same_log_byte_for_byte(tmp_path: Path, skip: tuple[str, ...]) -> None:
    """In processes of their own, with different hash seeds."""
    file = tmp_path / "scenario.yaml"
    file.write_text(dump(generate(11, SHAPE)))
    runs = [holdfast("run", file, "--seed", 5, "--json", *skip, hash_seed=hash_seed) for hash_seed in (1, 4242)]
    digests = {hashlib.sha256(one.stdout).hexdigest() for one in runs}
    assert len(digests) == 1
    assert json.loads(runs[0].stdout).keys() == {"events", "final", "violations"}
    other = run(generate(11, SHAPE), seed=6, skip_quiet=bool(skip)).to_json()
    assert hashlib.sha256(other).hexdigest() not in digests


def test_what_a_seed_gives_does_not_depend_on_the_number_of_processes() -> None:
    one = list(run_seeds(range(3), Shape(0.1), True, jobs=1))
    two = sorted(run_seeds(range(3), Shape(0.1), True, jobs=2), key=lambda report: report.seed)
    assert one == two


def test_the_documentation_shows_a_scenario_that_is_true() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", page, re.M)]
    scenario = loads(next(block for block in blocks if block.startswith("name:")))
    assert not scenario.unmet(run(scenario))


# --- the command line ------------------------------------------------------------------------------------------------


def test_status_0_where_all_is_as_expected(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    result = holdfast("run", tmp_path / "good.yaml", tmp_path / "good.yaml", "--json")
    assert result.returncode == 0, result.stderr
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 2
    assert b"instance-started" in holdfast("run", tmp_path / "good.yaml").stdout


def test_status_1_where_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(GOOD.replace("node: node1}}}", "node: node2}}}"))
    result = holdfast("run", tmp_path / "file.yaml")
    assert result.returncode == 1
    assert b"node at the end is node1, not node2" in result.stdout


@pytest.mark.parametrize("text", ["nodes: {}", "nodes: {a: {}}\ntimeline: [{at: 1, do: explode}]", ": ["])
def test_status_2_for_bad_input(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.yaml").write_text(text)
    result = holdfast("run", tmp_path / "file.yaml", "--json")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"Error: ") and b"file.yaml" in result.stderr


def test_status_2_for_a_campaign_that_cannot_be() -> None:
    assert holdfast("fuzz", "--hours", "0").returncode == 2
    assert holdfast("run", "/nowhere/at-all.yaml").returncode == 2


def test_a_campaign_tells_its_figures(tmp_path: Path) -> None:
    result = holdfast("fuzz", "--seeds", 2, "--hours", 0.1, "--jobs", 1, "--out", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert (figures["seeds"], figures["simulated_h"], figures["failed"]) == (2, 0.2, {})
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_a_campaign_with_what_was_done(tmp_path: Path) -> None:
    arguments = ["fuzz", "--seeds", "100000", "--hours", "0.05", "--jobs", "2", "--out", str(tmp_path), "--json"]
    with subprocess.Popen(
        [HOLDFAST, "sim", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stderr is not None
            assert b"of 100000 seeds" in process.stderr.readline(), "a first seed is done"
            os.killpg(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    figures = json.loads(out)
    assert figures["interrupted"] and figures["seeds"] >= 1
