"""What a campaign has seen, as plain data, and its sums per kind of fault. Pure."""

import bisect
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.lab.campaign.alphabet import ALPHABET
from holdfast.lab.campaign.clients import Readback
from holdfast.lab.demo.clients import Stall

TOGETHER = "two at once"


@dataclass(slots=True)
class Turn:
    """One fault (or two at once) from its begin until the cluster was whole again. Times are CLOCK_BOOTTIME seconds."""

    number: int
    kind: str
    """Name of the kind, or TOGETHER."""
    text: str
    """`power-off`, or `cut management + move`."""
    victim: str
    since: float
    """When the turn before was over: writes and looks since then count to this one."""
    began: float
    outage: bool = False
    undone: float = 0.0
    whole: float = 0.0
    """0: it never became whole."""
    stalls: dict[str, list[Stall]] = field(default_factory=dict)
    """Client → when it had no service."""
    acked: int = 0
    missed: str = ""
    """Why a part of it struck nobody."""
    proofs: list[str] = field(default_factory=list)
    """Proofs of the claims, in their order."""
    bystanders: list[str] = field(default_factory=list)
    """Nodes that went off though nothing was done to them."""
    violations: list[str] = field(default_factory=list)

    @property
    def recovery_s(self) -> float:
        """Until every service answered again: after the fault, or, if that was more than is tolerated, after its end."""
        last = max((stall.ended for found in self.stalls.values() for stall in found), default=0.0)
        return max(0.0, last - (self.undone if self.outage else self.began))

    @property
    def whole_s(self) -> float:
        """From its begin until everything was as before: nodes up, incidents closed, store complete, new files opened."""
        return self.whole - self.began if self.whole else 0.0

    def holds(self, moment: float) -> bool:
        return self.since <= moment and (not self.whole or moment < self.whole)

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "kind": self.kind,
            "fault": self.text,
            "victim": self.victim,
            "began": round(self.began, 3),
            "undone_s": round(self.undone - self.began, 3),
            "recovery_s": round(self.recovery_s, 3),
            "whole_s": round(self.whole_s, 3),
            "out_s": {name: [round(s.seconds, 3) for s in found] for name, found in self.stalls.items()},
            "acked": self.acked,
            "missed": self.missed,
            "proofs": self.proofs,
            "bystanders": self.bystanders,
            "violations": self.violations,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """All faults of one kind."""

    kind: str
    recoveries_s: tuple[float, ...]
    wholes_s: tuple[float, ...]
    acked: int
    lost: int
    looks: int
    """The watcher's looks at all processes meanwhile."""
    violations: int

    def to_json(self) -> dict[str, Any]:
        least, middle, most = spread(self.recoveries_s)
        return {
            "kind": self.kind,
            "count": len(self.recoveries_s),
            "recovery_s": {"min": least, "median": middle, "max": most},
            "whole_s": dict(zip(("min", "median", "max"), spread(self.wholes_s), strict=True)),
            "acked": self.acked,
            "lost": self.lost,
            "looks": self.looks,
            "violations": self.violations,
        }


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median, most; zeros if there are none."""
    if not values:
        return 0.0, 0.0, 0.0
    return round(min(values), 3), round(statistics.median(values), 3), round(max(values), 3)


@dataclass(slots=True)
class Outcome:
    """A whole campaign."""

    seed: int
    wanted: int
    turns: list[Turn] = field(default_factory=list)
    readbacks: list[Readback] = field(default_factory=list)
    looks: list[tuple[float, int]] = field(default_factory=list)
    """(boottime, the watcher's looks so far)."""
    samples: int = 0
    longest_gap_s: float = 0.0
    seconds: float = 0.0
    returned: int = 0
    """Nodes returned from quarantine."""
    clock_offsets: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    """Those that belong to no fault."""
    interrupted: bool = False
    """Somebody ended it before its time."""
    evidence: str = ""
    """Where the state at each violation is kept."""

    def interrupt(self) -> None:
        """Somebody ends it now. The fault that was in force is no fault of the record, unless something was violated."""
        self.interrupted = True
        if self.turns and not self.turns[-1].whole and not self.turns[-1].violations:
            self.turns.pop()

    @property
    def found(self) -> list[str]:
        """Everything that was lost or violated."""
        found = [f"fault {turn.number} ({turn.text}): {text}" for turn in self.turns for text in turn.violations]
        found += self.violations
        found += [text for readback in self.readbacks for text in readback.problems]
        return found

    @property
    def problems(self) -> list[str]:
        """Why this is no proof."""
        missing = self.wanted - len(self.turns)
        why = " because somebody ended the campaign" if self.interrupted else ""
        return [*self.found, *([f"{missing} faults were not done{why}"] if missing else [])]

    @property
    def ok(self) -> bool:
        return not self.problems

    def rows(self) -> list[Row]:
        """A row per kind of fault that came, in the order of the alphabet."""
        names = [*(kind.name for kind in ALPHABET), TOGETHER]
        return [self._row(name, turns) for name in names if (turns := [t for t in self.turns if t.kind == name])]

    def total(self) -> Row:
        """The whole campaign, from its first moment to its last."""
        return replace(
            self._row("all", self.turns),
            acked=sum(readback.acked for readback in self.readbacks),
            lost=sum(len(readback.lost) for readback in self.readbacks),
            looks=self.samples,
            violations=sum(len(turn.violations) for turn in self.turns) + len(self.violations),
        )

    def _row(self, name: str, turns: list[Turn]) -> Row:
        lost = [moment for readback in self.readbacks for moment in readback.lost]
        return Row(
            kind=name,
            recoveries_s=tuple(turn.recovery_s for turn in turns),
            wholes_s=tuple(turn.whole_s for turn in turns if turn.whole),
            acked=sum(turn.acked for turn in turns),
            lost=sum(turn.holds(moment) for turn in turns for moment in lost),
            looks=sum(self._looks(turn) for turn in turns),
            violations=sum(len(turn.violations) for turn in turns),
        )

    def _looks(self, turn: Turn) -> int:
        return round(self._looks_until(turn.whole or math.inf) - self._looks_until(turn.since))

    def _looks_until(self, moment: float) -> float:
        """Between two of the watcher's counts, in proportion."""
        after = bisect.bisect_right(self.looks, moment, key=lambda look: look[0])
        if after in (0, len(self.looks)):
            return float(self.samples if after else 0)
        (t0, n0), (t1, n1) = self.looks[after - 1 : after + 1]
        return n0 + (n1 - n0) * (moment - t0) / (t1 - t0)

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "ok": self.ok,
            "problems": self.problems,
            "faults": [turn.to_json() for turn in self.turns],
            "kinds": [row.to_json() for row in self.rows()],
            "all": self.total().to_json(),
            "journals": [
                {"volume": r.volume, "acked": r.acked, "lost": len(r.lost), "client": r.client} for r in self.readbacks
            ],
            "watcher": {"looks": self.samples, "longest_gap_s": round(self.longest_gap_s, 3)},
            "seconds": round(self.seconds, 1),
            "returned_from_quarantine": self.returned,
            "clock_offsets": self.clock_offsets,
            "evidence": self.evidence,
        }
