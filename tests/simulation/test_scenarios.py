"""Every file below tests/scenarios runs as it says it does. A scenario needs no code: add a file."""

from pathlib import Path

import pytest

from holdfast.sim.run import run
from holdfast.sim.scenario import dump, load, loads

ROOT = Path(__file__).resolve().parents[1] / "scenarios"
FILES = sorted(ROOT.rglob("*.yaml"))
SEED = 1


def name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_scenario(path: Path) -> None:
    scenario = load(path)
    differing = scenario.unmet(run(scenario, seed=SEED))
    assert not differing, "\n".join([scenario.why, *differing, f"holdfast sim run {path} --seed {SEED}"])


@pytest.mark.parametrize("path", FILES, ids=name)
def test_scenario_file(path: Path) -> None:
    """One reason each, a directory for each group, and nothing lost when it is written back. (A file without `expect`
    expects that no invariant is broken.)"""
    scenario = load(path)
    assert scenario.why, "say in one line why this scenario is there"
    assert path.parent.parent == ROOT
    assert scenario.group in ("", path.parent.name)
    assert loads(dump(scenario), str(path)) == scenario


def test_there_are_many_and_no_two_say_the_same() -> None:
    scenarios = [load(path) for path in FILES]
    assert len(scenarios) >= 66
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    assert len({scenario.why for scenario in scenarios}) == len(scenarios)
