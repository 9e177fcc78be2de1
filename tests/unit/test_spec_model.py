"""The exhaustive model of the safety protocol (docs/model.md), as much of it as takes seconds. All of it: spec/check."""

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the model is no part of the package

from spec.checker import search  # noqa: E402
from spec.models import MODELS, MUTANTS, Model, Mutant, check  # noqa: E402
from spec.state import Config  # noqa: E402

from holdfast.core.timing import PROFILES  # noqa: E402

QUICK = [model for model in MODELS if model.quick]


@pytest.mark.parametrize("model", QUICK, ids=lambda model: model.name)
def test_the_protocol_holds_and_one_tick_less_does_not(model: Model) -> None:
    result = check(model.config)
    assert result.complete
    assert not result.violation, "\n".join(step.what for step in result.trace)
    if model.tight:
        assert check(model.one_tick_off()).violation


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mistake_is_refuted(mutant: Mutant) -> None:
    assert check(mutant.config).violation


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_shipped_profiles_keep_the_bound_that_was_checked(profile) -> None:
    rho = Fraction(str(profile.rho))
    model = Config(F=int(profile.F), G=int(profile.G), W=int(profile.W), j=int(profile.j))
    assert (model.F, model.G, model.W, model.j) == (profile.F, profile.G, profile.W, profile.j), "whole seconds"
    assert profile.T_wait >= (1 + rho) / (1 - rho) * model.B


def test_the_ratio_of_the_clocks_is_exact() -> None:
    for lo, hi in {(model.config.lo, model.config.hi) for model in MODELS}:
        rho = Fraction(hi - lo, hi + lo)
        assert Fraction(hi, lo) == (1 + rho) / (1 - rho)
    for config in (model.config for model in MODELS if model.tight and model.config.lo != model.config.hi):
        assert all(time % config.lo == 0 for time in (config.F, config.G, config.W, config.j)), "a slow clock meets it"


def test_the_search_is_complete_and_finds_a_shortest_way() -> None:
    def jumps(at: int) -> Iterator[tuple[str, int]]:
        yield "one", (at + 1) % 50
        yield "seven", (at + 7) % 50

    good = search(0, jumps, lambda at: "")
    assert (good.states, good.complete, good.violation) == (50, True, "")
    bad = search(0, jumps, lambda at: "fifteen" if at == 15 else "")
    assert bad.trace[0].state == 0
    assert sorted(step.what for step in bad.trace[1:]) == ["one", "seven", "seven"]
    assert not search(0, jumps, lambda at: "", limit=10).complete


def test_the_command_prints_the_way_to_a_violation() -> None:
    ran = subprocess.run(
        [ROOT / "spec" / "check", "--mutate", "clone-joins"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "manager claims the node (P2)" in ran.stdout
    assert "INV-2" in ran.stdout.splitlines()[-1]
