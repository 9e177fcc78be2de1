"""What a campaign found: each violation shrunk, written to a file, with the command that replays it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.sim.campaign import SeedReport, run_safely
from holdfast.sim.fuzz import Shape, generate
from holdfast.sim.setup import Scenario
from holdfast.sim.shrink import MAX_RUNS, Shrinker, parse_violation
from holdfast.sim.writing import dump

Run = Callable[[Scenario, int, bool], Sequence[str]]
"""(scenario, seed, skip_quiet) → violations."""


@dataclass(frozen=True, slots=True)
class Finding:
    seed: int
    violation: str
    file: Path
    command: str
    """Replays it."""


def violations_of(scenario: Scenario, seed: int, skip_quiet: bool) -> Sequence[str]:
    return run_safely(scenario, seed, skip_quiet).violations


def most_telling(failed: Sequence[SeedReport], most: int) -> list[SeedReport]:
    """One seed of each invariant first, in the order of the seeds; at most so many."""
    by_seed = sorted(failed, key=lambda report: report.seed)
    first = {parse_violation(report.violations[0]).invariant: report for report in reversed(by_seed)}
    chosen = sorted(first.values(), key=lambda report: report.seed)
    return [*chosen, *(report for report in by_seed if report not in chosen)][:most]


def investigate(
    report: SeedReport,
    shape: Shape,
    skip_quiet: bool,
    out: Path,
    tell: Callable[[str], None],
    *,
    max_runs: int = MAX_RUNS,
    run: Run = violations_of,
) -> Finding:
    """Shrink the seed's scenario (not at all with `max_runs` 0) and write it to `out`/violation-seed<N>.yaml.

    A violation that shows without skipping is replayed without; one that needs the skipping is replayed with it.
    """
    scenario = generate(report.seed, shape)
    violation = parse_violation(report.violations[0])
    skip = skip_quiet and not _shows(scenario, report.seed, violation.invariant, run, max_runs)
    shrinker = Shrinker(
        scenario,
        violation.invariant,
        lambda candidate: run(candidate, report.seed, skip),
        tell,
        max_runs,
        violation=violation,
    )
    small = shrinker.run()
    found = shrinker.violation or violation
    file = out / f"violation-seed{report.seed}.yaml"
    command = f"holdfast sim run {file} --seed {report.seed}" + (" --skip" if skip else "")
    named = replace(small, name=f"violation of {violation.invariant}, fuzz seed {report.seed}")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(dump(replace(named, why=" ".join(f"{found.text}; replay: {command}".split()))))
    return Finding(report.seed, found.text, file, command)


def _shows(scenario: Scenario, seed: int, invariant: str, run: Run, max_runs: int) -> bool:
    """Does it happen also when nothing is skipped?"""
    if max_runs == 0:
        return False
    return any(parse_violation(text).invariant == invariant for text in run(scenario, seed, False))
