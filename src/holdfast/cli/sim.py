"""`holdfast sim`: scenarios under a virtual clock, and random ones by the thousand."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import output
from holdfast.cli.sim_progress import Progress, figures
from holdfast.clock import SystemClock
from holdfast.errors import InvalidInput
from holdfast.sim import report
from holdfast.sim.campaign import Tally, run_seeds
from holdfast.sim.findings import Finding, investigate, most_telling
from holdfast.sim.fuzz import Shape
from holdfast.sim.run import run as simulate
from holdfast.sim.scenario import Scenario, load
from holdfast.sim.shrink import MAX_RUNS
from holdfast.sim.verbs import VERBS

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

VIOLATED = 1
BAD_INPUT = 2


@app.command()
def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Scenario files.")],
    seed: Annotated[int, typer.Option(help="Chooses delays, phases and everything else that is left to chance.")] = 0,
    skip: Annotated[bool, typer.Option("--skip", help="Pass over stretches in which nothing happens.")] = False,
    as_json: output.Json = False,
) -> None:
    """Simulate scenarios. Status 0: no violation, and everything is as the file expects; 1: not so; 2: bad input.

    With --json one object per file, each on a line of its own: events, final, violations."""
    scenarios = [(file, _load(file)) for file in files]
    good = True
    for file, scenario in scenarios:
        result = simulate(scenario, seed=seed, skip_quiet=skip)
        unmet = scenario.unmet(result)
        good = good and not unmet
        if as_json:
            sys.stdout.buffer.write(result.to_json())
            sys.stdout.flush()
            for sentence in unmet:
                output.warn(f"{file}: {sentence}")
            continue
        if len(scenarios) > 1:
            output.say(f"=== {file}: {scenario.name}")
        output.say(report.text(result, unmet))
    raise typer.Exit(0 if good else VIOLATED)


@app.command()
def fuzz(
    seeds: Annotated[int, typer.Option(help="How many scenarios.", min=1)] = 100,
    hours: Annotated[float, typer.Option(help="Simulated hours of each.")] = 1.0,
    first_seed: Annotated[int, typer.Option(help="Seeds from here on.", min=0)] = 1,
    nodes: Annotated[int, typer.Option(help="Nodes of each cluster; 0: three to seven.")] = 0,
    detection: Annotated[str, typer.Option(help="model (fast), datagrams (real beacons); default: mostly model.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes; 0: one per processor.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Where violations are written.", metavar="DIR")] = Path("violations"),
    skip: Annotated[bool, typer.Option(help="Pass over stretches in which nothing happens.")] = True,
    shrink: Annotated[int, typer.Option(help="Shrink the violations of at most so many seeds.", min=0)] = 3,
    as_json: output.Json = False,
) -> None:
    """Random faults against random clusters. Status 0: no violation; 1: violations, shrunk and written to DIR; 2: bad input.

    Ctrl-C ends it with what was done so far."""
    try:
        shape = Shape(hours, nodes, detection)
    except InvalidInput as error:
        raise _refused(error) from None
    clock, tally = SystemClock(), Tally()
    began = clock.now()
    interrupted = False
    progress = Progress(seeds, clock)
    reports = run_seeds(range(first_seed, first_seed + seeds), shape, skip, jobs or os.cpu_count() or 1)
    with progress:
        try:
            for one in reports:
                tally.add(one)
                progress.show(tally, one)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            reports.close()
    wall_s = clock.now() - began
    findings = _findings(tally, shape, skip, out, 0 if interrupted else shrink)
    _tell(tally, wall_s, findings, interrupted, as_json)
    raise typer.Exit(VIOLATED if tally.failed else 130 if interrupted else 0)


@app.command()
def verbs() -> None:
    """What may stand in a scenario's timeline."""
    rows = [(verb.name, ", ".join(field.name for field in verb.fields), verb.sentence) for verb in VERBS.values()]
    output.table(["verb", "fields", "what happens"], rows, empty="There are no verbs.")


# --- helpers ---------------------------------------------------------------------------------------------------------


def _load(file: Path) -> Scenario:
    try:
        return load(file)
    except InvalidInput as error:
        raise _refused(error) from None


def _refused(error: InvalidInput) -> typer.Exit:
    print(f"Error: {error.message}.", file=sys.stderr)
    if error.advice:
        print(error.advice, file=sys.stderr)
    return typer.Exit(BAD_INPUT)


def _findings(tally: Tally, shape: Shape, skip: bool, out: Path, shrink: int) -> list[Finding]:
    """Every violating seed as a file, the most telling ones shrunk."""
    shrunk = most_telling(tally.failed, shrink)
    findings = []
    for one in tally.failed:
        tell = Steps(f"seed {one.seed}")
        findings.append(investigate(one, shape, skip, out, tell, max_runs=MAX_RUNS if one in shrunk else 0))
    return findings


class Steps:
    """The shrinker's progress, on standard error."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, text: str) -> None:
        print(f"shrinking {self._what}: {text}", file=sys.stderr, flush=True)


def _tell(tally: Tally, wall_s: float, findings: list[Finding], interrupted: bool, as_json: bool) -> None:
    if as_json:
        found = [{"seed": f.seed, "violation": f.violation, "file": str(f.file), "replay": f.command} for f in findings]
        failed = {str(one.seed): list(one.violations) for one in tally.failed}
        output.emit_json(figures(tally, wall_s) | {"interrupted": interrupted, "failed": failed, "findings": found})
        return
    values = figures(tally, wall_s)
    proofs = ", ".join(f"{proof} {count}" for proof, count in values["claims"].items())
    output.facts(
        [
            ("seeds", f"{values['seeds']:,}" + (" (interrupted)" if interrupted else "")),
            ("simulated", f"{values['simulated_h']:,} h, of which {values['skipped_h']:,} h were calm and skipped"),
            ("took", f"{values['wall_s']:,} s"),
            ("real time", f"× {values['ratio']:,}; × {values['ratio_unskipped']:,} without what was skipped"),
            ("events", f"{values['events']:,}"),
            ("claims", proofs or "none"),
            ("recovered", f"{values['recovered']:,} instances"),
            ("violations", f"in {len(tally.failed)} seeds" if tally.failed else "none"),
        ]
    )
    for one in sorted(tally.failed, key=lambda report: report.seed):
        output.say(f"\nseed {one.seed}: {one.violations[0]}")
        for finding in findings:
            if finding.seed == one.seed:
                output.say(f"  {finding.file}\n  replay: {finding.command}")
