"""Runs of bench/iscsi_conformance.py as data and as Markdown."""

import collections
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from iscsi_failures import explained
from iscsi_suite import Outcome

RESULTS = ("passed", "failed", "hung", "skipped")


@dataclass
class Record:
    """One run of the suite."""

    engine: str
    """tgt or lio; empty for a target of somebody else."""
    target: str
    suite: str
    kernel: str
    outcomes: list[Outcome]
    reservations: dict[str, str] = field(default_factory=dict)
    """Command → what it was answered with."""
    whole: bool = True

    @property
    def unexplained(self) -> list[str]:
        return [o.test for o in self.outcomes if not o.passed and not explained(self.engine, o.test)]

    def as_json(self) -> dict[str, Any]:
        about = {name: value for name, value in asdict(self).items() if name != "outcomes"}
        kept = [{name: value for name, value in asdict(o).items() if name != "log"} for o in self.outcomes]
        for each in kept:
            if each["result"] in ("failed", "hung"):
                each["because"] = explained(self.engine, each["test"])
        return {**about, "outcomes": kept}

    @classmethod
    def parse(cls, kept: dict[str, Any]) -> "Record":
        outcomes = [Outcome(each["test"], each["result"], each["said"]) for each in kept["outcomes"]]
        return cls(**{**kept, "outcomes": outcomes})


def markdown(records: Sequence[Record]) -> str:
    """Counts per family, then what did not pass and was not skipped, by reason; then reservations."""
    lines = _counts(records)
    for record in records:
        lines += ["", f"### {record.target}", "", *_failures(record), "", *_skipped(record)]
    if any(record.reservations for record in records):
        lines += ["", "### Reservations", "", *_reservations(records)]
    return "\n".join(lines)


def _counts(records: Sequence[Record]) -> list[str]:
    families = sorted({outcome.family for record in records for outcome in record.outcomes})
    lines = ["| family | " + " | ".join(record.target for record in records) + " |", "|---|" + "---|" * len(records)]
    for family in families:
        cells = (_cell([o for o in record.outcomes if o.family == family]) for record in records)
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return [*lines, "| **all** | " + " | ".join(f"**{_cell(record.outcomes)}**" for record in records) + " |"]


def _cell(outcomes: Sequence[Outcome]) -> str:
    count = collections.Counter(outcome.result for outcome in outcomes)
    return ", ".join(f"{count[result]} {result}" for result in RESULTS if count[result])


def _failures(record: Record) -> list[str]:
    reasons: dict[str, list[Outcome]] = {}
    for outcome in record.outcomes:
        if not outcome.passed:
            reasons.setdefault(explained(record.engine, outcome.test) or "not explained yet", []).append(outcome)
    lines = ["| did not pass | the suite says | because |", "|---|---|---|"]
    for reason, found in reasons.items():
        names = ", ".join(f"{outcome.test} ({outcome.result})" for outcome in found)
        lines.append(f"| {names} | {found[0].said} | {reason} |")
    return lines


def _skipped(record: Record) -> list[str]:
    """By the suite's reason."""
    reasons = collections.Counter(
        outcome.said.rstrip(".") for outcome in record.outcomes if outcome.result == "skipped"
    )
    return ["Skipped: " + "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common()) + "."] * bool(
        reasons
    )


def _reservations(records: Sequence[Record]) -> list[str]:
    lines = ["| command | " + " | ".join(record.target for record in records) + " |", "|---|" + "---|" * len(records)]
    commands = dict.fromkeys(command for record in records for command in record.reservations)
    for command in commands:
        lines.append(f"| {command} | " + " | ".join(r.reservations.get(command, "") for r in records) + " |")
    return lines
