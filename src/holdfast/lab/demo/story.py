"""What happened, on one time line: the incident's steps and what the clients saw, in milliseconds after the fault. Pure.

An incident stores when it was opened as wall-clock time, and its steps relative to the first missed beat. In the lab all
clocks are one machine's, so the wall clock leads back to CLOCK_BOOTTIME.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PROOFS = {
    "P1": "power fencing, verified off",
    "P2": "the machine rebooted",
    "P3": "released by its agent",
    "P4": "watchdog and waiting time",
    "P5": "confirmed by an operator",
    "P6": "evicted at the storage",
}
WORDS = {
    "missed": "first missed beat",
    "suspect": "suspect: a majority of its observers misses it",
    "fencing": "power fencing begins",
    "proven-dead": "proven dead",
    "claimed": "claimed: its placements are void",
    "closed": "incident closed",
}
BEFORE_S = 2.0
"""An incident can begin so long before the fault was done: with the last beat heard."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened `ms` milliseconds after the fault."""

    ms: float
    what: str
    """lab, detection, proof, claim, restart, client."""
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the incident on the machine's CLOCK_BOOTTIME."""

    name: str
    instance: str
    at: float
    text: str


def wall_offset(wall: float, boottime: float) -> float:
    """Seconds to subtract from wall-clock time to get CLOCK_BOOTTIME."""
    return wall - boottime


def boottime_of(wall: str, offset: float) -> float:
    """CLOCK_BOOTTIME of a wall-clock time as the API writes it."""
    return datetime.fromisoformat(wall).timestamp() - offset


def incident_of(status: dict[str, Any], node: str, fault: float, offset: float) -> dict[str, Any] | None:
    """The incident of this node that the fault at `fault` (boottime) brought about, open or closed."""
    for incident in [*status.get("open_incidents", ()), *status.get("recent_incidents", ())]:
        if incident["node"] == node and boottime_of(incident["wall"], offset) >= fault - BEFORE_S:
            return dict(incident)
    return None


def steps_of(incident: dict[str, Any], offset: float) -> list[Step]:
    """The incident's steps in the order of their times, each at its first mention. The incident is opened by the step
    `suspect`: that is its wall-clock time."""
    opened = next((step["at"] for step in incident["steps"] if step["name"] == "suspect"), 0.0)
    began = boottime_of(incident["wall"], offset) - opened
    steps: dict[tuple[str, str], Step] = {}
    for step in incident["steps"]:
        name, instance = step["name"], step["instance"]
        steps.setdefault((name, instance), Step(name, instance, began + step["at"], step["text"]))
    return list(steps.values())


def elected_at(status: dict[str, Any], fault: float, offset: float) -> tuple[float, str] | None:
    """When the first manager after the fault began to lead (boottime), and where; None if the former one went on."""
    for event in reversed(status.get("recent_events", ())):
        at = boottime_of(event["wall"], offset)
        if event["kind"] == "manager-elected" and at > fault:
            return at, event["node"]
    return None


def moments(
    node: str,
    fault: float,
    steps: Iterable[Step],
    elected: tuple[float, str] | None,
    clients: dict[str, float],
) -> list[Moment]:
    """The time line. `clients`: sentence → boottime, 0 if it has not happened yet."""

    def ms(at: float) -> float:
        return max(0.0, (at - fault) * 1000)

    line = [Moment(0.0, "lab", f"{node} loses its power")]
    if elected is not None:
        line.append(Moment(ms(elected[0]), "manager", f"the manager on {elected[1]} leads"))
    for step in steps:
        what = _WHAT.get(step.name)
        if what is not None:
            line.append(Moment(ms(step.at), what, _sentence(step)))
    line += [Moment(ms(at), "client", text) for text, at in clients.items() if at]
    return sorted(line, key=lambda moment: moment.ms)


_WHAT = {
    "missed": "detection",
    "suspect": "detection",
    "fencing": "proof",
    "proven-dead": "proof",
    "claimed": "claim",
    "placed": "restart",
    "started": "restart",
    "recovered": "restart",
    "closed": "incident",
}


def _sentence(step: Step) -> str:
    if step.name == "proven-dead":
        return step.text.replace(" is proven dead:", ":")
    if step.name in WORDS:
        return WORDS[step.name]
    return step.text


# --- verdict ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    ok: bool
    text: str
    """What was seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the demonstration saw, for the checks. Times in seconds; a stall of minus one never ended."""

    node: str
    status: dict[str, Any]
    incident: dict[str, Any] | None
    panel_stall_s: float
    write_stall_s: float
    open_stall_s: float
    journal: dict[str, Any]
    """The volume client's summary."""
    samples: int
    longest_gap_s: float
    violations: int
    returned: bool
    """The node that died is up again."""


def checks(seen: Seen) -> list[Check]:
    """Everything that must hold, in the order of the story."""
    incident, journal = seen.incident or {}, seen.journal
    proof = incident.get("proof") or ""
    outstanding = sorted(set(incident.get("affected", ())) - set(incident.get("recovered", ())))
    away = [i for i in seen.status.get("instances", ()) if i["state"] != "running" or not i["healthy"]]
    back = bool(incident) and incident.get("state") == "closed" and not outstanding and not away
    missing = ", ".join(outstanding or [i["id"] for i in away]) or "no incident was recorded" * (not incident)
    acked = int(journal.get("acked", 0))
    return [
        Check("the death was proven", bool(proof), f"{proof}: {PROOFS.get(proof, 'no proof')}".lstrip(": ")),
        Check(
            "every service came back",
            back,
            "running and answering" if back else f"not back: {missing or 'incident open'}",
        ),
        _answered("the panel answers its client", seen.panel_stall_s),
        _answered("the volume takes writes", seen.write_stall_s),
        _answered("the volume opens new files", seen.open_stall_s),
        Check(
            "no acknowledged write is lost",
            acked > 0 and journal.get("lost") == 0 and journal.get("torn") == 0,
            str(journal.get("error", ""))
            or f"{acked} acknowledged, {journal.get('lost', '?')} lost, {journal.get('torn', '?')} torn",
        ),
        Check(
            "the client kept its lock", journal.get("lock_kept") is True, str(journal.get("problem", "byte-range lock"))
        ),
        Check(
            "nothing ran twice (INV-1)",
            seen.samples > 0 and seen.violations == 0,
            f"{seen.samples} looks at all processes, at most {seen.longest_gap_s * 1000:.0f} ms apart: "
            f"{seen.violations or 'no'} violation{'s' * (seen.violations > 1)}",
        ),
        Check(f"{seen.node} joins again", seen.returned, "up" if seen.returned else "not up"),
    ]


def _answered(name: str, stall_s: float) -> Check:
    return Check(name, stall_s >= 0, f"stall {stall_s * 1000:.0f} ms" if stall_s >= 0 else "never again")
