#!/usr/bin/env python3
"""What iSCSI costs, and how long clients wait when a node fails. As root:

    .venv/bin/python bench/iscsi.py throughput --rounds 5
    .venv/bin/python bench/iscsi.py stalls --runs 10 --fault all --out build/iscsi-stalls.json
    .venv/bin/python bench/iscsi.py report build/iscsi-stalls*.json

`throughput`: 4 KiB random and 1 MiB sequential, through the tgt engine against the volume's own file, in one run with
interleaved rounds. `stalls`: a real cluster in a lab of its own; the node with the active path fails, and one client counts.
`report`: several runs of `stalls` as one table.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from failover import say
from failover_report import Run, markdown, summarise
from iscsi_stalls import FAULTS, StallBench
from iscsi_throughput import measure

from holdfast.errors import HoldfastError
from holdfast.lab.client import LabClient


def about() -> dict[str, str]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}",
        "command": " ".join(["bench/iscsi.py", *sys.argv[1:]]),
    }


def throughput(options: argparse.Namespace) -> None:
    began = about()
    table = asyncio.run(measure(options.rounds, options.seconds, options.dir, say))
    print(f"{began['when']}, {began['machine']}, {os.getloadavg()[0]:.1f} at the end, `{began['command']}`")
    print(f"\nminimum / **median** / maximum of {options.rounds} rounds\n\n{table}")


def stalls(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was measured until then is told
    began, failed = about(), ""
    journal: dict[str, Any] = {}
    bench = StallBench(LabClient(options.lab))
    faults = list(FAULTS) if options.fault == "all" else [options.fault]
    try:
        try:
            bench.prepare(options.profile)
            for number in range(options.runs):
                for fault in faults:  # one after another, so that all kinds meet the same load
                    say(f"{fault} {number + 1}/{options.runs}: {bench.measure(fault)}")
        except HoldfastError as error:
            failed = str(error)
        except KeyboardInterrupt:
            failed = "interrupted"
        journal = bench.end()
    finally:
        bench.lab.down(save_logs=options.logs)
    kept = {**began, "journal": journal, "failures": bench.failures, "runs": [run.as_json() for run in bench.runs]}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
    print(markdown(began, summarise(bench.runs)))
    _tell(kept)
    if failed or bench.failures:
        sys.exit(f"Error: {failed or bench.failures[-1]}")


def _tell(kept: dict[str, Any]) -> None:
    for failure in kept["failures"]:
        print(f"\nNot measured: {failure}")
    if kept["journal"]:
        print(f"\nThe client, through all of it: {json.dumps(kept['journal'])}")


def report(options: argparse.Namespace) -> None:
    kept = [json.loads(path.read_text()) for path in options.files]
    runs = [Run(**run) for each in kept for run in each["runs"]]
    loads = [run.load for run in runs]
    times = f"{kept[0]['when']} to {kept[-1]['when']}"
    machine = f"{kept[0]['machine'].rpartition(',')[0]}, load {min(loads):.0f} to {max(loads):.0f}"
    print(markdown({"when": times, "machine": machine, "command": kept[0]["command"]}, summarise(runs)))
    for each in kept:
        _tell(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("throughput")
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--seconds", type=float, default=1.0, help="about so long per round, load and way")
    one.add_argument("--dir", type=Path, help="a directory on the storage that is meant")
    one.set_defaults(run=throughput)
    other = kinds.add_parser("stalls")
    other.add_argument("--runs", type=int, default=10)
    other.add_argument("--fault", choices=(*FAULTS, "all"), default="all")
    other.add_argument("--profile", default="default", help="timing profile of the cluster")
    other.add_argument("--lab", default="bench", help="name of the lab")
    other.add_argument("--out", type=Path, help="write every run as JSON")
    other.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    other.set_defaults(run=stalls)
    last = kinds.add_parser("report")
    last.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what --out wrote")
    last.set_defaults(run=report)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
