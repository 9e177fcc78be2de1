#!/usr/bin/env python3
"""Does a failover take longer while many people look at the panel and many programs ask?

    sudo .venv/bin/python bench/api.py --runs 3 --out build/api.json

Brings up a lab of its own with power fencing. An NFS volume (or the panel itself) runs on the node whose manager leads; that
node loses its power, and a client outside measures how long it gets no answer. Alternately in quiet, and with 200 open pages
(live updates of a cluster in which a setting changes each second) and 200 requests a second at the panel's address. The load
comes from the lab's client, on the same processors. Prints both medians, their ratio, and what the readers saw.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from failover import Bench, say, wait

from holdfast.config import PANEL_PORT
from holdfast.errors import HoldfastError
from holdfast.lab.bringup import holdfast, wait_nodes_up
from holdfast.lab.client import LabClient
from holdfast.lab.layout import CLIENT, PANEL_ADDRESS

SOURCE = Path(__file__).with_name("api_load.py").read_text()
TOKEN = "/root/bench.token"
READY = 0.98
"""The load is there once this part of its streams is open."""


class Load:
    """Pages and programs, from the lab's client."""

    def __init__(self, lab: LabClient, options: argparse.Namespace) -> None:
        words = [PANEL_ADDRESS, str(PANEL_PORT), TOKEN, "--streams", str(options.streams), "--rate", str(options.rate)]
        argv = [sys.executable, "-c", SOURCE, *words, "--changes", str(options.changes)]
        self.said: list[dict[str, Any]] = []
        self._process = lab.popen(CLIENT, argv, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait(lambda: bool(self.said) and self.said[-1]["open"] >= READY * options.streams, "the pages to open")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    def stop(self) -> list[dict[str, Any]]:
        self._process.terminate()
        self._process.wait()
        self._reader.join(10)
        return self.said


def measured(said: list[dict[str, Any]]) -> dict[str, Any]:
    """What readers and programs saw, in a line."""
    late = sorted(line["p50_ms"] for line in said if line["p50_ms"] is not None)
    slow = sorted(line["p99_ms"] for line in said if line["p99_ms"] is not None)
    return {
        "seconds": len(said),
        "open": statistics.median(line["open"] for line in said),
        "pictures_per_s": round(sum(line["pictures"] for line in said) / len(said)),
        "answers_per_s": round(sum(line["answers"] for line in said) / len(said)),
        "refused": sum(line["refused"] for line in said),
        "failed": sum(line["failed"] for line in said),
        "reconnects": sum(line["reconnects"] for line in said),
        "p50_ms": late[len(late) // 2] if late else None,
        "p99_ms": slow[len(slow) // 2] if slow else None,
    }


def run(bench: Bench, options: argparse.Namespace, loaded: bool) -> dict[str, Any]:
    wait_nodes_up(bench.lab, bench.lab.nodes)  # one that failed in every run is returned from its quarantine
    load = Load(bench.lab, options) if loaded else None
    try:
        found = bench.measure(options.service)
    finally:
        said = load.stop() if load else []
    line = {
        "loaded": loaded,
        "outage_s": found.outage_s["writes" if options.service == "nfs" else "client"],
        "proof": found.proof,
        "manager_led": found.manager_led,
        "store_led": found.store_led,
        "load": found.load,
        "steps_ms": found.steps_ms,
        **({"readers": measured(said)} if said else {}),
    }
    say(
        f"{'loaded' if loaded else 'quiet'}: {line['outage_s']:.2f} s without an answer (machine's load {found.load:.1f})"
    )
    if said:
        say(json.dumps(line["readers"]))
    return line


def summary(lines: list[dict[str, Any]]) -> str:
    quiet, loaded = ([line["outage_s"] for line in lines if line["loaded"] is kind] for kind in (False, True))
    if not quiet or not loaded:
        return "not enough runs"
    one, other = statistics.median(quiet), statistics.median(loaded)
    shown = ", ".join(f"{value:.2f}" for value in quiet), ", ".join(f"{value:.2f}" for value in loaded)
    return f"quiet {one:.2f} s ({shown[0]}), loaded {other:.2f} s ({shown[1]}): {other / one:.2f} times"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each sort")
    parser.add_argument(
        "--service", choices=("nfs", "panel"), default="nfs", help="what fails over; panel: all readers too"
    )
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--changes", type=float, default=1.0)
    parser.add_argument("--profile", default="default", help="timing profile of the cluster")
    parser.add_argument("--lab", default="benchapi", help="name of the lab")
    parser.add_argument("--out", type=Path, help="write every run as JSON")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab = LabClient(options.lab)
    bench = Bench(lab, "leader", "any", None)
    lines: list[dict[str, Any]] = []
    failed = ""
    try:
        bench.prepare(options.profile)
        made = json.loads(
            holdfast(lab, "n1", "token", "create", "bench", "--owner", "admin", "--scope", "read,administer", "--json")
        )
        lab.exec(CLIENT, ["sh", "-c", f"umask 077; cat > {TOKEN}"], stdin=made["data"]["token"], check=True)
        for _ in range(options.runs):
            lines += [run(bench, options, loaded=False)]
            lines += [run(bench, options, loaded=True)]
    except (HoldfastError, KeyboardInterrupt) as error:
        failed = str(error) or "stopped"
    finally:
        lab.down(save_logs=options.logs)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"when": when, "cores": os.cpu_count(), "fenced_alive": bench.fenced_alive, "runs": lines}
            options.out.write_text(json.dumps(about, indent=1) + "\n")
    print(summary(lines))
    if failed:
        sys.exit(f"Error: {failed}")


if __name__ == "__main__":
    main()
