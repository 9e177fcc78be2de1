"""What tgtd says about itself (`show`), as data. Its text is made for people; a line that is not known is passed over."""

import re
from dataclasses import dataclass, field

_TARGET = re.compile(r"Target (\d+): (\S+)")
_NEXUS = re.compile(r"I_T nexus: (\d+)")
_LUN = re.compile(r"LUN: (\d+)")
_CONNECTION = re.compile(r"Session: (\d+)\s+Connection: (\d+)\s+Initiator: (\S+)(?: alias: \S*)?\s+IP Address: (\S+)")
_PORTAL = re.compile(r"Portal: (\S+),\d+")
_OUTGOING = " (outgoing)"


@dataclass(slots=True)
class UnitReport:
    """A logical unit. What is not said is taken for the worse."""

    lun: int
    serial: str = ""
    path: str = ""
    online: bool = False
    removable: bool = True
    readonly: bool = True


@dataclass(slots=True)
class TargetReport:
    tid: int
    name: str
    nexuses: int = 0
    """Sessions, those included that were closed and wait for their last command."""
    units: dict[int, UnitReport] = field(default_factory=dict)
    """Without number 0, tgt's own."""
    users: set[str] = field(default_factory=set)
    outgoing: set[str] = field(default_factory=set)
    acl: set[str] = field(default_factory=set)
    """Initiators' names and addresses (`ALL`)."""


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    sid: int
    cid: int
    initiator: str
    address: str


def targets(text: str) -> dict[str, TargetReport]:
    """Name → target, from `show target`."""
    found: dict[str, TargetReport] = {}
    target: TargetReport | None = None
    section = ""
    for line in text.splitlines():
        words = line.strip()
        if head := _TARGET.match(line):
            target = found[head[2]] = TargetReport(int(head[1]), head[2])
        elif target is None:
            continue
        elif words.endswith("information:"):
            section = words
        elif section.startswith("ACL"):
            target.acl.add(words)
        elif section.startswith("Account"):
            (target.outgoing if words.endswith(_OUTGOING) else target.users).add(words.removesuffix(_OUTGOING))
        elif section.startswith("I_T"):
            target.nexuses += bool(_NEXUS.match(words))
        elif section.startswith("LUN"):
            _unit(target, words)
    for target in found.values():
        target.units.pop(0, None)
    return found


def _unit(target: TargetReport, words: str) -> None:
    if head := _LUN.match(words):
        target.units[int(head[1])] = UnitReport(int(head[1]))
        return
    if not target.units:
        return
    unit = target.units[next(reversed(target.units))]
    key, _, value = words.partition(": ")
    match key:
        case "SCSI SN":
            unit.serial = value
        case "Backing store path":
            unit.path = "" if value == "None" else value
        case "Online":
            unit.online = value == "Yes"
        case "Removable media":
            unit.removable = value != "No"
        case "Readonly":
            unit.readonly = value != "No"


def connections(text: str) -> list[ConnectionReport]:
    """From `show connection` of one target."""
    return [ConnectionReport(int(m[1]), int(m[2]), m[3], m[4]) for m in _CONNECTION.finditer(text)]


def portals(text: str) -> set[str]:
    """`ADDRESS:PORT` of each, from `show portal`."""
    return set(_PORTAL.findall(text))
