#!/usr/bin/env python3
"""How fast the simulator is: simulated seconds per real second, by cluster size and kind of detection.

    .venv/bin/python bench/simulator.py --seeds 20 --jobs 2 --out build/simulator.json

Each row is a fuzz campaign (the same seeds as `holdfast sim fuzz` takes) of its own. Prints the Markdown table that
docs/simulator.md keeps. Violations are counted here, and neither shrunk nor written: that is `holdfast sim fuzz`'s work.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.sim.campaign import Tally, run_seeds
from holdfast.sim.fuzz import Shape

SIZES = (3, 5, 7, 16)
HEAD = "| nodes | detection | calm skipped | × real time | of what was simulated | events per hour | violating seeds |"


@dataclass(frozen=True)
class Row:
    nodes: int
    detection: str
    skip: bool
    seeds: int
    hours: float
    wall_s: float
    ratio: float
    """Simulated time to real time."""
    ratio_unskipped: float
    """The same of what was not skipped."""
    events_per_hour: float
    violating: int


def measure(shape: Shape, seeds: int, skip: bool, jobs: int) -> Row:
    tally = Tally()
    began = time.monotonic()
    for report in run_seeds(range(1, seeds + 1), shape, skip, jobs):
        tally.add(report)
    wall = time.monotonic() - began
    return Row(
        shape.nodes,
        shape.detection,
        skip,
        seeds,
        shape.hours,
        wall,
        tally.simulated_s / wall,
        (tally.simulated_s - tally.skipped_s) / wall,
        tally.events / (tally.simulated_s / 3600),
        len(tally.failed),
    )


def markdown(row: Row) -> str:
    values = (
        row.nodes,
        row.detection,
        "yes" if row.skip else "no",
        f"{row.ratio:,.0f}",
        f"{row.ratio_unskipped:,.0f}",
        f"{row.events_per_hour:.0f}",
        row.violating,
    )
    return "| " + " | ".join(map(str, values)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="scenarios per row, of one simulated hour each")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--nodes", type=int, nargs="*", default=SIZES, help="cluster sizes")
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    given = parser.parse_args()
    print(
        f"{platform.python_version()}, {given.jobs} processes of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    print(HEAD, "|" + " --- |" * (HEAD.count("|") - 1), sep="\n")
    rows = []
    for nodes in given.nodes:
        for detection, skip, share in (("model", True, 1.0), ("model", False, 0.5), ("datagrams", True, 0.1)):
            seeds = max(given.jobs, round(given.seeds * share))
            rows.append(measure(Shape(1.0, nodes, detection), seeds, skip, given.jobs))
            print(markdown(rows[-1]), flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
