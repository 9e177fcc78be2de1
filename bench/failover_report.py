"""Runs of bench/failover.py, iscsi.py and s3.py, summed up: minimum, median, maximum, as Markdown of docs/benchmarks.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

TARGETS = {
    ("panel", "client"): 1.2,
    ("nfs", "writes"): 2.5,
    ("nfs", "opens"): 5.0,
    ("panel-crash", "without its start"): 0.5,
    **{(f"s3-{fault}", "requests"): 4.6 for fault in ("power", "link")},
    **{(f"iscsi-{fault}", "blocks"): 5.0 for fault in ("power", "link", "freeze")},
}
"""Seconds that the median may take (S3: 4 s after the detection; issues 2, 5 and 6)."""
TITLES = {
    "panel": "Power loss of the panel's node",
    "nfs": "Power loss of the volume's node",
    "panel-crash": "The panel's process killed",
    "iscsi-move": "An iSCSI volume's active path moved by an operator",
    "iscsi-power": "Power loss of the node with the active path",
    "iscsi-link": "That node cut off from every network",
    "iscsi-client-link": "That node cut off from the clients' network",
    "iscsi-freeze": "That node frozen",
    "s3-maintenance": "S3: a node's servers moved off by an operator",
    "s3-power": "S3: power loss of a node",
    "s3-link": "S3: a node cut off from every network",
    "s3-freeze": "S3: a node frozen",
}
WORDS = {
    "client": "panel unreachable",
    "blocks": "iSCSI writes stall",
    "requests": "longest wait of any request",
    "writes": "NFS writes stall",
    "opens": "NFS new opens stall",
    "without its start": "until its process is started again",
}


@dataclass
class Run:
    """One fault and what came of it."""

    service: str
    node: str
    manager_led: bool = False
    """The manager on that node led."""
    store_led: bool = False
    """The etcd member on that node led."""
    load: float = 0.0
    """The machine's load average just before."""
    proof: str = ""
    outage_s: dict[str, float] = field(default_factory=dict)
    """What a client saw, seconds between the last answer before and the first after."""
    steps_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds after the fault."""

    def sentence(self) -> str:
        seen = ", ".join(f"{WORDS[name]} {seconds * 1000:.0f} ms" for name, seconds in self.outage_s.items())
        led = " and ".join(["manager"] * self.manager_led + ["etcd"] * self.store_led) or "nothing"
        return f"{seen} ({self.node}, {led} led there, load {self.load:.1f})"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """Minimum, median and maximum of one thing that was measured, milliseconds."""

    service: str
    name: str
    values: tuple[float, ...]
    target_ms: float = 0.0

    def cells(self) -> str:
        low, middle, high = min(self.values), median(self.values), max(self.values)
        met = f"{self.target_ms:.0f}{'' if middle <= self.target_ms else ' (missed)'}" if self.target_ms else ""
        return f"{low:.0f} | {middle:.0f} | {high:.0f} | {len(self.values)} | {met}"


def summarise(runs: Sequence[Run]) -> list[Row]:
    """Outages first, then the steps in the order of their medians."""
    rows: list[Row] = []
    for service in dict.fromkeys(run.service for run in runs):
        mine = [run for run in runs if run.service == service]
        for name in dict.fromkeys(name for run in mine for name in run.outage_s):
            values = tuple(run.outage_s[name] * 1000 for run in mine if name in run.outage_s)
            rows.append(Row(service, f"**{WORDS[name]}**", values, TARGETS.get((service, name), 0.0) * 1000))
        steps = {
            name: tuple(run.steps_ms[name] for run in mine if name in run.steps_ms)
            for name in dict.fromkeys(name for run in mine for name in run.steps_ms)
        }
        rows += [Row(service, name, steps[name]) for name in sorted(steps, key=lambda name: median(steps[name]))]
    return rows


def markdown(about: dict[str, str], rows: Sequence[Row]) -> str:
    """One table per service; milliseconds."""
    lines = [f"{about['when']}, {about['machine']}, `{about['command']}`"]
    for service in dict.fromkeys(row.service for row in rows):
        lines += ["", f"### {TITLES[service]} (ms)", "", "| | min | median | max | runs | target |"]
        lines.append("|---|--:|--:|--:|--:|--:|")
        lines += [f"| {row.name} | {row.cells()} |" for row in rows if row.service == service]
    return "\n".join(lines)
