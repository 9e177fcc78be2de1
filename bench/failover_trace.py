"""The logs of all nodes around a fault, merged, in milliseconds after it: where the time goes."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from failover_report import Run

from holdfast.lab import kernel
from holdfast.lab.client import LabClient

BEFORE_S, AFTER_S = 0.5, 6.0
_STAMP = re.compile(r"timestamp=(\S+) (.*)")


def write_trace(lab: LabClient, fault: float, path: Path, run: Run) -> None:
    """Everything that every daemon logged between BEFORE_S before and AFTER_S after the fault (boottime)."""
    offset = time.time() - kernel.boottime()
    lines = []
    for disk in sorted((lab.state_dir / "nodes").glob("n*")):
        for log in (disk / "upper/var/log/holdfast").glob("*.log"):
            for wall, text in _entries(log):
                after = wall - offset - fault
                if -BEFORE_S < after < AFTER_S:
                    lines.append((after * 1000, disk.name, log.stem, text))
    lines += [(at, "", "incident", name) for name, at in run.steps_ms.items()]
    lines.sort(key=lambda line: line[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    told = "".join(f"{at:8.1f} {node:3} {unit:16} {text}\n" for at, node, unit, text in lines)
    path.write_text(f"{run.sentence()}\n{told}")


def _entries(log: Path) -> Iterator[tuple[float, str]]:
    """(wall-clock seconds, text) of each line that says when."""
    for line in log.read_text(errors="replace").splitlines()[-4000:]:
        if match := _STAMP.match(line):
            yield datetime.fromisoformat(match[1]).timestamp(), match[2]
        elif line.startswith("{"):
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                text = " ".join(
                    f"{key}={value}" for key, value in entry.items() if key not in ("ts", "caller", "level")
                )
                yield datetime.fromisoformat(entry["ts"]).timestamp(), text
