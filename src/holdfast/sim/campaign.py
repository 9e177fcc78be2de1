"""Many seeds: each generated, run and counted, in several processes. What a seed gives never depends on the others."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdfast.sim.fuzz import Shape, generate
from holdfast.sim.run import Result, run
from holdfast.sim.setup import Scenario

AHEAD = 4
"""So many seeds per process wait for their turn: few, so that an interruption has little to wait for."""


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What is kept of one seed's run."""

    seed: int
    simulated_s: float
    skipped_s: float
    events: int
    proofs: Counter[str] = field(default_factory=Counter)
    """Proof → claims with it."""
    recovered: int = 0
    violations: tuple[str, ...] = ()


@dataclass
class Tally:
    """The sum of all seeds so far."""

    seeds: int = 0
    simulated_s: float = 0.0
    skipped_s: float = 0.0
    events: int = 0
    recovered: int = 0
    proofs: Counter[str] = field(default_factory=Counter)
    failed: list[SeedReport] = field(default_factory=list)
    """Seeds with violations."""

    def add(self, report: SeedReport) -> None:
        self.seeds += 1
        self.simulated_s += report.simulated_s
        self.skipped_s += report.skipped_s
        self.events += report.events
        self.recovered += report.recovered
        self.proofs.update(report.proofs)
        if report.violations:
            self.failed.append(report)


def run_safely(scenario: Scenario, seed: int, skip_quiet: bool) -> Result:
    """A mistake of the simulator itself is a finding, too, and may not end a campaign."""
    try:
        return run(scenario, seed=seed, skip_quiet=skip_quiet)
    except Exception as error:
        return Result([], {"instances": {}, "nodes": {}}, [f"CRASH: {type(error).__name__}: {error}"], 0.0)


def run_seed(seed: int, shape: Shape, skip_quiet: bool) -> SeedReport:
    result = run_safely(generate(seed, shape), seed, skip_quiet)
    kinds = Counter(event["kind"] for event in result.events)
    proofs = Counter(event["detail"] for event in result.events if event["kind"] == "node-claimed")
    return SeedReport(
        seed,
        result.simulated_s,
        result.skipped_s,
        len(result.events),
        proofs,
        kinds["instance-recovered"],
        tuple(result.violations),
    )


def run_seeds(seeds: Sequence[int], shape: Shape, skip_quiet: bool, jobs: int) -> Generator[SeedReport, None, None]:
    """Reports in the order in which they are done. Closing the iterator ends the processes after the seeds they are at."""
    if jobs <= 1:
        for seed in seeds:
            yield run_seed(seed, shape, skip_quiet)
        return
    left = iter(seeds)
    with _pool(jobs) as pool:
        pending: set[Future[SeedReport]] = set()
        while True:
            for seed in left:
                pending.add(pool.submit(run_seed, seed, shape, skip_quiet))
                if len(pending) >= AHEAD * jobs:
                    break
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin from nothing (spawn), so that they inherit no state, and that leave Ctrl-C to their parent."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _ignore_interrupts)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
