"""The table of mutants still fits the code: every anchor is there once, every mutated file compiles, every killer exists."""

from pathlib import Path

import pytest

from mutants.kill import SCENARIOS
from mutants.mutant import ROOT, BadAnchor, Edit, Mutant, mutated
from mutants.table import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_every_mistake_can_be_made(mutant: Mutant) -> None:
    for path, text in mutated(mutant.edits, ROOT / "src").items():
        assert text != path.read_text()
        compile(text, str(path), "exec")


def test_there_are_enough_and_each_has_a_killer_that_exists() -> None:
    assert len(MUTANTS) >= 34
    for mutant in MUTANTS:
        assert mutant.killers, mutant.id
        for killer in mutant.killers:
            assert exists(killer), f"{mutant.id}: {killer}"


def exists(killer: str) -> bool:
    if killer.startswith("test "):
        file, name = killer.removeprefix("test ").split("::")
        return f"def {name}(" in (ROOT / "tests" / file).read_text()
    return killer == "model" or (SCENARIOS / f"{killer}.yaml").exists()


def test_an_anchor_that_is_gone_or_ambiguous_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "holdfast"
    place.mkdir()
    (place / "a.py").write_text("x = 1\nx = 1\ny = 2\n")
    assert mutated((Edit("a.py", "y = 2", "y = 3"),), tmp_path) == {place / "a.py": "x = 1\nx = 1\ny = 3\n"}
    for edit in (Edit("a.py", "x = 1", "x = 2"), Edit("a.py", "z", "x"), Edit("b.py", "z", "x")):
        with pytest.raises(BadAnchor):
            mutated((edit,), tmp_path)
