"""How far a fuzz campaign is: a bar on a terminal, else a line now and then; always on standard error."""

import sys
from types import TracebackType
from typing import Any

from holdfast.ports import Clock
from holdfast.sim.campaign import SeedReport, Tally

LINE_EVERY_S = 15.0


def figures(tally: Tally, wall_s: float) -> dict[str, Any]:
    """The campaign in numbers. `ratio` is simulated time to real time of all processes together; `ratio_unskipped` counts
    only what was really simulated."""
    wall_s = max(wall_s, 1e-9)
    return {
        "seeds": tally.seeds,
        "simulated_h": round(tally.simulated_s / 3600, 2),
        "skipped_h": round(tally.skipped_s / 3600, 2),
        "wall_s": round(wall_s, 1),
        "ratio": round(tally.simulated_s / wall_s),
        "ratio_unskipped": round((tally.simulated_s - tally.skipped_s) / wall_s),
        "events": tally.events,
        "recovered": tally.recovered,
        "claims": dict(sorted(tally.proofs.items())),
        "violating_seeds": len(tally.failed),
    }


class Progress:
    def __init__(self, seeds: int, clock: Clock) -> None:
        self._seeds = seeds
        self._clock = clock
        self._began = clock.now()
        self._said = self._began - LINE_EVERY_S
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415 - only a terminal needs it
            from rich.console import Console  # noqa: PLC0415

            self._bar = progress.Progress(
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("seeds · {task.description} ·"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._bar.add_task("…", total=self._seeds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, tally: Tally, done: SeedReport) -> None:
        """One more seed is done."""
        for violation in done.violations[:1]:
            self._say(f"seed {done.seed}: {violation}")
        now = self._clock.now()
        values = figures(tally, now - self._began)
        text = f"{values['simulated_h']:,} h simulated · × {values['ratio']:,} · {len(tally.failed)} violations"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=tally.seeds, description=text)
        elif now - self._said >= LINE_EVERY_S:
            self._said = now
            self._say(f"{tally.seeds} of {self._seeds} seeds · {text}")

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)
