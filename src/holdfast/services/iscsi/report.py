"""What each node says about its iSCSI paths, for people: a small file per node on the shared storage.

A hint, never a reason to start or stop anything: it may be old, and that of a dead node says what was.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from holdfast.services.storage import write_atomically


@dataclass(frozen=True, slots=True)
class Guest:
    """An initiator that is logged in."""

    group: str
    initiator: str
    address: str = ""
    """Where it comes from; empty where the engine does not say."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    node: str
    engines: dict[str, str] = field(default_factory=dict)
    """Engine → "" if the node can run it, else why not."""
    problems: dict[str, str] = field(default_factory=dict)
    """Group or instance → why this node could not serve it."""
    paths: dict[str, dict[int, str]] = field(default_factory=dict)
    """Group → LUN → state of this node's path (`PathState`)."""
    connections: tuple[Guest, ...] = ()
    """Health checks are left out."""
    at: str = ""
    """When it was written, for people: ISO 8601, UTC."""

    def same(self, other: "NodeReport | None") -> bool:
        """Whether the two say the same, whenever."""
        return other is not None and replace(self, at="") == replace(other, at="")


def directory(shared_root: str) -> Path:
    return Path(shared_root) / "iscsi" / "nodes"


def write(shared_root: str, report: NodeReport) -> None:
    """Raises OSError."""
    path = directory(shared_root) / f"{report.node}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.encode(report))


def read_all(shared_root: str, skipped: Callable[[str], None] = lambda _name: None) -> dict[str, NodeReport]:
    """Node → its report. What cannot be read is left out, and its file's name told to `skipped`."""
    found: dict[str, NodeReport] = {}
    for path in sorted(directory(shared_root).glob("*.json")):
        try:
            report = msgspec.json.decode(path.read_bytes(), type=NodeReport)
        except (OSError, msgspec.DecodeError):
            skipped(path.name)
            continue
        found[report.node] = report
    return found
