"""The lab's own record of what it did and saw, as JSON lines: {"boottime", "wall", "kind", "node"?, "detail"?, …}.

`boottime` is the machine's CLOCK_BOOTTIME in seconds, the time base that all tools of the lab share.
"""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.lab import kernel


class EventLog:
    """Appends events to a file; safe for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, kind: str, node: str = "", detail: str = "", *, at: float | None = None, **more: Any) -> float:
        """Record one event and return its boottime (`at` if it happened earlier)."""
        when = kernel.boottime() if at is None else at
        event: dict[str, Any] = {"boottime": round(when, 6), "wall": datetime.now(UTC).isoformat(), "kind": kind}
        if node:
            event["node"] = node
        if detail:
            event["detail"] = detail
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(event | more) + "\n")
        return when


def read_events(path: Path) -> list[dict[str, Any]]:
    """All events so far by their boottime; a line still being written is left out."""
    if not path.exists():
        return []
    events = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return sorted(events, key=lambda event: float(event["boottime"]))
