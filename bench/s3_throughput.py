"""PUT and GET through a gateway of Holdfast and through Swift alone: `bench/s3.py throughput`. Needs root.

A lab with one node. An S3 cluster with one name server and one object server, and Swift as it comes, on the same node, its
addresses and its shared storage; one client in the client host, one request after another, rounds interleaved.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from s3_cluster import DOMAIN, KEYS_FILE, S3Lab
from s3_swift import ACCESS, SECRET

from holdfast.lab.client import LabClient
from holdfast.lab.options import LabOptions

LOADS = {"4 KiB": (4 << 10, 100), "1 MiB": (1 << 20, 30)}
"""Bytes and requests of a round."""
HOLDFAST, ALONE = "through a gateway", "Swift alone"
SWIFT_KEYS = "/root/swift-keys"
_HERE = Path(__file__).parent
_START_S = 60.0
_ROUND_S = 120.0


def measure(lab: LabClient, rounds: int, say: Callable[[str], None]) -> str:
    """Markdown. The lab is taken down by whoever made it."""
    lab.up(LabOptions(nodes=1, ha=False), say)
    world = S3Lab(lab)
    world.create(["n1"], servers=1)
    world.write(SWIFT_KEYS, f"{ACCESS}\n{SECRET}\n")
    with _swift_alone(lab) as endpoint:
        plan = {
            "targets": {
                HOLDFAST: {"endpoint": f"http://{DOMAIN}", "keys": KEYS_FILE, "path_style": False},
                ALONE: {"endpoint": endpoint, "keys": SWIFT_KEYS, "path_style": True},
            },
            "loads": LOADS,
            "rounds": rounds,
        }
        argv = [sys.executable, str(_HERE / "s3_measure.py")]
        done = lab.exec("client", argv, rounds * _ROUND_S, check=True, stdin=json.dumps(plan))
    return _table([json.loads(line) for line in done.stdout.splitlines()])


@contextmanager
def _swift_alone(lab: LabClient) -> Iterator[str]:
    argv = [sys.executable, str(_HERE / "s3_swift.py"), lab.host("n1").address("public"), "/shared"]
    process = lab.popen("n1", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert endpoint, "Swift did not start"
        yield endpoint
    finally:
        process.communicate(timeout=_START_S)


def _table(lines: list[dict[str, object]]) -> str:
    """Medians of each round; ratios are of one round."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for verb in ("put", "get"):
            seconds = line[verb]
            assert isinstance(seconds, list)
            found[str(line["load"]), verb, str(line["target"])].append(median(seconds) * 1000)
    rows = ["| | Swift alone, ms | through a gateway, ms | ratio |", "|---|--:|--:|--:|"]
    for load in LOADS:
        for verb in ("put", "get"):
            alone, ours = found[load, verb, ALONE], found[load, verb, HOLDFAST]
            ratios = [mine / other for mine, other in zip(ours, alone, strict=True)]
            rows.append(f"| {verb.upper()} {load} | {_three(alone, 1)} | {_three(ours, 1)} | {_three(ratios, 2)} |")
    return "\n".join(rows)


def _three(values: list[float], digits: int) -> str:
    return f"{min(values):.{digits}f} / **{median(values):.{digits}f}** / {max(values):.{digits}f}"
