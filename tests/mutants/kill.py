"""Run the killers of a mutant against a copy of the sources that contains it, and judge what they say.

A mutant is killed by a violated invariant, a broken expectation of a scenario, or a failed assertion of the product itself
or of a test. A crash of another kind, a module that does not import, or a killer that complains about the unchanged sources
is no kill.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from mutants.mutant import ROOT, BadAnchor, Edit, Mutant, plant

SCENARIOS = ROOT / "tests" / "scenarios"
LIMIT_S = 300.0
"""For one killer. Most need two seconds on an idle machine; this is for one that does much else."""
FUZZ = ("fuzz 1 6", "fuzz 1000 10")
"""Tried for what no named killer kills."""
HOLDFAST = "from holdfast.cli import main; main()"
HONEST_CRASHES = re.compile(r"CRASH: (AssertionError|Violation)")


@dataclass(frozen=True)
class Verdict:
    """What one killer said."""

    killed: bool
    said: str
    """The violation; or why this is no verdict at all."""
    seconds: float
    broken: bool = False
    """The killer itself failed: neither a kill nor a survival."""


@dataclass
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    killer: str = ""
    said: str = ""
    seconds: float = 0.0
    error: str = ""
    tried: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        return "ERROR" if self.error else "killed" if self.killer else "SURVIVED"


def try_to_kill(mutant: Mutant, *, fuzz: bool = True) -> Outcome:
    """Apply it to a copy of the sources and let one killer after the other at it."""
    outcome = Outcome(mutant)
    with tempfile.TemporaryDirectory(prefix=f"mutant-{mutant.id}-") as scratch:
        copy = Path(scratch) / "src"
        try:
            modules = plant(mutant.edits, copy)
        except (BadAnchor, OSError, SyntaxError) as error:
            outcome.error = str(error)
            return outcome
        outcome.error = _does_not_import(modules, copy)
        if outcome.error:
            return outcome
        for killer in (*mutant.killers, *(FUZZ if fuzz else ())):
            verdict = run(killer, copy, Path(scratch))
            outcome.tried.append(f"{killer}: {verdict.said or 'nothing'}")
            outcome.seconds += verdict.seconds
            if verdict.killed:
                outcome.killer, outcome.said, outcome.error = killer, verdict.said, ""
                break
            if verdict.broken:
                outcome.error = f"{killer}: {verdict.said}"
    return outcome


def baseline(killers: list[str]) -> dict[str, str]:
    """Killer → what it says of the sources as they are; those that say nothing are left out."""
    complaints = {}
    with tempfile.TemporaryDirectory(prefix="mutant-none-") as scratch:
        copy = Path(scratch) / "src"
        plant((), copy)
        for killer in killers:
            verdict = run(killer, copy, Path(scratch))
            if verdict.killed or verdict.broken:
                complaints[killer] = verdict.said
    return complaints


def command(killer: str, scratch: Path) -> list[str]:
    """How a killer is run; the words of the table that people copy stand in `replay`."""
    python = sys.executable
    if killer == "model":
        return [python, str(ROOT / "tests" / "mutants" / "model_numbers.py")]
    if killer.startswith("test "):
        test = str(ROOT / "tests" / killer.removeprefix("test "))
        return [python, "-m", "pytest", "-q", "-x", "--no-header", "--tb=short", "-p", "no:cacheprovider", test]
    if killer.startswith("fuzz "):
        _, first, count = killer.split()
        out = ["--first-seed", first, "--seeds", count, "--jobs", "1", "--shrink", "0", "--out", str(scratch / "found")]
        return [python, "-c", HOLDFAST, "sim", "fuzz", "--json", *out]
    return [python, "-c", HOLDFAST, "sim", "run", "--json", str(SCENARIOS / f"{killer}.yaml")]


def replay(killer: str) -> str:
    """For people."""
    if killer == "model":
        return "tests/mutants/model_numbers.py"
    if killer.startswith("test "):
        return f"pytest tests/{killer.removeprefix('test ')}"
    if killer.startswith("fuzz "):
        _, first, count = killer.split()
        return f"holdfast sim fuzz --first-seed {first} --seeds {count}"
    return f"holdfast sim run tests/scenarios/{killer}.yaml"


def run(killer: str, copy: Path, scratch: Path) -> Verdict:
    """One killer against the sources in `copy`."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command(killer, scratch),
            cwd=scratch,
            env={**os.environ, "PYTHONPATH": f"{copy}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", "HOLDFAST_DEBUG": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict(False, f"no answer within {LIMIT_S:.0f} s", time.monotonic() - began, broken=True)
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return Verdict(False, "", seconds)
    if done.returncode != 1:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Verdict(False, f"exit status {done.returncode}: {last}", seconds, broken=True)
    try:
        complaints = _complaints(killer, done.stdout, done.stderr)
    except (ValueError, LookupError):
        return Verdict(
            False, f"cannot be understood: {(done.stdout + done.stderr).strip()[-200:]}", seconds, broken=True
        )
    crashes = [text for text in complaints if text.startswith("CRASH") and not HONEST_CRASHES.match(text)]
    if crashes:
        return Verdict(False, crashes[0], seconds, broken=True)
    said = complaints[0] if complaints else ""
    return Verdict(bool(said), said, seconds, broken=not said)


def _complaints(killer: str, out: str, err: str) -> list[str]:
    """Violations first, broken expectations after them."""
    if killer == "model":
        return out.splitlines()[:1]
    if killer.startswith("test "):
        errors = [line.removeprefix("E").strip() for line in out.splitlines() if line.startswith("E ")]
        return [text for text in errors if text.startswith(("AssertionError", "assert "))][:1]
    document = json.loads(out.splitlines()[0]) if not killer.startswith("fuzz ") else json.loads(out)
    if killer.startswith("fuzz "):
        return [text for texts in document["failed"].values() for text in texts]
    expectations = [line.split(".yaml: ", 1)[-1] for line in err.splitlines() if ".yaml: " in line]
    unmet = [f"expected: {text}" for text in expectations if not text.startswith("violation: ")]
    return [*document["violations"], *unmet]


def _does_not_import(modules: list[str], copy: Path) -> str:
    """Why the mutated modules cannot be used at all; "" if they can, and are the mutated ones."""
    program = "import importlib, sys\nfor name in sys.argv[1:]:\n    print(importlib.import_module(name).__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program, *modules],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        return f"does not import: {done.stderr.strip().splitlines()[-1]}"
    strangers = [path for path in done.stdout.splitlines() if not path.startswith(str(copy))]
    return f"imported from elsewhere: {strangers[0]}" if strangers else ""


def all_edits(mutants: tuple[Mutant, ...]) -> list[tuple[str, Edit]]:
    return [(mutant.id, edit) for mutant in mutants for edit in mutant.edits]
