#!/usr/bin/env python3
"""How fast the planner is, how its cost grows, and Pacemaker's scheduler beside it on the same clusters.

    .venv/bin/python bench/planner.py --out build/planner.json

Each size is measured in a process of its own, for the sake of its peak memory. *One node*: everything from the view of the
cluster to the plan for its fullest node. *All nodes*: the same for every node, one after the other. Seconds of the processor
stand beside those of the wall: on a busy machine only they say something. Pacemaker is asked where `crm_simulate` is
installed (Debian: pacemaker-cli-utils), or is named by --crm-simulate; both sides of that table are processor time.
"""

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import planner_pacemaker
import planner_worlds

from holdfast.core.plan import Planner
from holdfast.planning.cpsat import CpSatSolver
from holdfast.sim.still import NOW

SIZES = ((3, 100), (10, 200), (32, 640), (100, 2000), (320, 6400), (1000, 20000))
BESIDE = ((3, 100), (8, 150), (16, 300), (32, 500), (64, 1000))
"""Sizes at which Pacemaker is asked, too."""
LOAD = 0.65
TIGHT = 0.9
TARGETS_S = (0.3, 3.0)
"""One node, all nodes, at the largest size (issue 4)."""


@dataclass(frozen=True)
class Size:
    nodes: int
    instances: int
    one_s: float
    one_cpu_s: float
    all_s: float
    all_cpu_s: float
    moved: int
    """Instances that lost their node in all of the what-ifs together."""
    short: int
    """Of those, how many would find no room."""
    peak_mib: float
    planner_mib: float
    """How much of the peak came with planning."""


@dataclass(frozen=True)
class Comparison:
    nodes: int
    instances: int
    load: float
    lost: int
    ours_cpu_s: float
    ours: int
    """Instances recovered."""
    ours_work: float
    """The part of the lost work, weighted by priority, that runs again, less what was stopped for it."""
    with_room_cpu_s: float
    with_room: int
    """The same with the second step, which makes room."""
    with_room_work: float
    room_moves: int
    theirs_cpu_s: float | None = None
    """None: not asked, or no answer within an hour."""
    theirs: int = 0
    theirs_work: float = 0.0
    theirs_stopped: int = 0
    """Instances elsewhere that Pacemaker would end."""
    theirs_moved: int = 0


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds, the least of three."""
    taken = []
    for _ in range(3):
        wall, cpu = time.monotonic(), time.process_time()
        work()
        taken.append((time.monotonic() - wall, time.process_time() - cpu))
    return min(taken)


def measure(nodes: int, instances: int) -> Size:
    world = planner_worlds.make(nodes, instances, LOAD, ruled=True)
    view = world.view
    before = _peak_mib()
    one = timed(lambda: Planner(view, NOW).evacuate([world.fullest]))
    found: list[int] = []

    def everybody() -> None:
        planner = Planner(view, NOW)
        found[:] = [len(planner.shortfall([name])) for name in view.nodes]

    everything = timed(everybody)
    return Size(nodes, instances, *one, *everything, instances, sum(found), _peak_mib(), _peak_mib() - before)


def compare(nodes: int, instances: int, load: float, crm_simulate: str) -> Comparison:
    world = planner_worlds.make(nodes, instances, load, ruled=False)
    view, failed = world.view, world.fullest
    solver = CpSatSolver()
    ours = Planner(view, NOW).evacuate([failed])
    _, ours_cpu_s = timed(lambda: Planner(view, NOW).evacuate([failed]))
    Planner(view, NOW).evacuate([failed], solver)  # loads its library
    began = time.process_time()
    best = Planner(view, NOW).evacuate([failed], solver)
    best_cpu_s = time.process_time() - began
    weight = {name: setup.spec.priority + 1 for name, setup in world.instances.items()}
    lost = [name for name, setup in world.instances.items() if setup.node == failed]

    def work(recovered: Iterable[str], stopped: Iterable[str] = ()) -> float:
        gained = sum(weight[name] for name in recovered) - sum(weight[name] for name in stopped)
        return gained / sum(weight[name] for name in lost)

    found = Comparison(
        nodes,
        instances,
        load,
        len(lost),
        ours_cpu_s,
        len(ours.placements),
        work(ours.placements),
        best_cpu_s,
        len(best.placements),
        work(best.placements, best.stopped),
        len(best.moved),
    )
    theirs = planner_pacemaker.ask(crm_simulate, world, failed) if crm_simulate else None
    if theirs is None:
        return found
    return replace(
        found,
        theirs_cpu_s=theirs.cpu_s,
        theirs=len(theirs.recovered),
        theirs_work=work(theirs.recovered, theirs.stopped),
        theirs_stopped=len(theirs.stopped),
        theirs_moved=len(theirs.moved),
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slope(sizes: Sequence[Size], seconds: Callable[[Size], float]) -> float:
    """The exponent with which the cost grows with the number of instances, from the sizes with a hundred nodes or more."""
    large = [size for size in sizes if size.nodes >= 100]
    x = np.log([size.instances for size in large])
    return float(np.polyfit(x, np.log([seconds(size) for size in large]), 1)[0])


# --- telling ------------------------------------------------------------------------------------------------------------


def tell(sizes: Sequence[Size], comparisons: Sequence[Comparison]) -> None:
    print(
        "| nodes | instances | one node, ms (processor) | all nodes, s (processor) | without room | peak, MiB (planning) |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for size in sizes:
        print(
            f"| {size.nodes:,} | {size.instances:,} | {size.one_s * 1000:.1f} ({size.one_cpu_s * 1000:.1f}) "
            f"| {size.all_s:.3f} ({size.all_cpu_s:.3f}) | {size.short:,} | {size.peak_mib:.0f} ({size.planner_mib:.0f}) |"
        )
    if sum(size.nodes >= 100 for size in sizes) > 1:
        one, everything = slope(sizes, lambda size: size.one_cpu_s), slope(sizes, lambda size: size.all_cpu_s)
        print(
            f"\nProcessor time grows with the number of instances to the power of {one:.2f} (one), {everything:.2f} (all)."
        )
        last = sizes[-1]
        met = last.one_cpu_s < TARGETS_S[0] and last.all_cpu_s < TARGETS_S[1]
        print(
            f"Targets at {last.nodes:,} × {last.instances:,} (0.3 s, 3 s of processor time): {'met' if met else 'NOT met'}."
        )
    if not comparisons:
        return
    print("\n| nodes × instances | load | lost | ours, ms: recovered, of the work ", end="")
    print("| with room made, ms: recovered, of the work, moves ", end="")
    print("| Pacemaker, ms: recovered, of the work, others ended, moved |\n|---|--:|--:|--:|--:|--:|")
    for one in comparisons:
        theirs = "-"
        if one.theirs_cpu_s is not None:
            what = f"{one.theirs}, {one.theirs_work:.1%}, {one.theirs_stopped}, {one.theirs_moved}"
            theirs = f"{one.theirs_cpu_s * 1000:,.0f}: {what}"
        print(
            f"| {one.nodes} × {one.instances:,} | {one.load:.0%} | {one.lost} "
            f"| {one.ours_cpu_s * 1000:.1f}: {one.ours}, {one.ours_work:.1%} "
            f"| {one.with_room_cpu_s * 1000:,.0f}: {one.with_room}, {one.with_room_work:.1%}, {one.room_moves} | {theirs} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=1000, help="leave out sizes with more nodes")
    parser.add_argument("--crm-simulate", default=shutil.which("crm_simulate") or "", metavar="PROGRAM")
    parser.add_argument("--no-comparison", action="store_true", help="sizes only")
    parser.add_argument("--out", type=Path, help="all figures as JSON")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(*options.one))))
        return
    sizes = []
    for nodes, instances in SIZES:
        if nodes <= options.largest:
            command = [sys.executable, __file__, "--one", str(nodes), str(instances)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
            sizes.append(Size(**json.loads(done.stdout)))
    comparisons = []
    if not options.no_comparison:
        comparisons = [compare(*size, load, options.crm_simulate) for load in (LOAD, TIGHT) for size in BESIDE]
    tell(sizes, comparisons)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": platform.platform(), "sizes": list(map(asdict, sizes))}
        options.out.write_text(json.dumps(found | {"comparisons": list(map(asdict, comparisons))}, indent=2))


if __name__ == "__main__":
    main()
