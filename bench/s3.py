#!/usr/bin/env python3
"""What S3 through a gateway costs, and how long clients wait when a node fails. As root:

    .venv/bin/python bench/s3.py throughput --rounds 5
    .venv/bin/python bench/s3.py stalls --runs 5 --fault all --out build/s3-stalls.json

`throughput`: PUT and GET of 4 KiB and 1 MiB through a gateway of Holdfast and through Swift alone, in one run with
interleaved rounds. `stalls`: a real cluster in a lab of its own; nodes fail one after another, and one client counts.
"""

import argparse
import json
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from failover import say
from failover_report import markdown, summarise
from s3_stalls import FAULTS, StallBench
from s3_throughput import measure

from holdfast.errors import HoldfastError
from holdfast.lab.client import LabClient


def about() -> dict[str, str]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}",
        "command": " ".join(["bench/s3.py", *sys.argv[1:]]),
    }


def throughput(options: argparse.Namespace) -> None:
    began, lab = about(), LabClient(options.lab)
    try:
        table = measure(lab, options.rounds, say)
    finally:
        lab.down(save_logs=options.logs)
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
                    say(f"{fault} {number + 1}/{options.runs}: {bench.measure(fault, number)}")
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
    for failure in bench.failures:
        print(f"\nNot measured: {failure}")
    print(f"\nThe client, through all of it: {json.dumps(journal)}")
    if failed or bench.failures:
        sys.exit(f"Error: {failed or bench.failures[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("throughput")
    one.add_argument("--rounds", type=int, default=5)
    one.set_defaults(run=throughput)
    other = kinds.add_parser("stalls")
    other.add_argument("--runs", type=int, default=10)
    other.add_argument("--fault", choices=(*FAULTS, "all"), default="all")
    other.add_argument("--profile", default="default", help="timing profile of the cluster")
    other.add_argument("--out", type=Path, help="write every run as JSON")
    other.set_defaults(run=stalls)
    for each in (one, other):
        each.add_argument("--lab", default="bench", help="name of the lab")
        each.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
