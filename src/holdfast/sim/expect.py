"""What a scenario file expects of its run, and the comparison with what happened. Every difference is one sentence."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.core.model import Proof
from holdfast.sim.document import MAX_SECONDS, Cursor, Switch
from holdfast.sim.fields import Field, Kind, Names, Value, read_fields, write_fields

EVENT_KINDS = (
    "node-up",
    "node-joining",
    "node-suspect",
    "node-proven-dead",
    "node-claimed",
    "node-released",
    "node-maintenance",
    "node-quarantined",
    "node-returned",
    "watchdog-fired",
    "power-fenced",
    "power-on",
    "power-off",
    "fence-failed",
    "agent-stopped",
    "agent-started",
    "guard-stopped",
    "guard-started",
    "clock-rate",
    "instance-placed",
    "instance-started",
    "instance-stopping",
    "instance-stopped",
    "instance-recovered",
    "instance-failed",
    "instance-relocated",
    "instance-waiting",
    "instance-powered-off",
    "instance-preempted",
    "instance-removed",
    "move-asked",
    "move-ended",
    "migrated",
    "migrate-failed",
    "failback",
    "hold",
    "hold-ended",
    "manager-elected",
    "rule-refused",
    "store-lost",
    "store-restored",
    "paused",
    "resumed",
    "frozen",
    "thawed",
)
"""Kinds of events. A pattern with another kind is refused: in `never` a misspelt one would always pass."""
ANY_TIME = (0.0, MAX_SECONDS)

Event = Mapping[str, Any]
"""t (simulated seconds), kind, node (optional), instance (optional), detail."""


class Outcome(Protocol):
    """What a run leaves behind (design, section 8)."""

    @property
    def events(self) -> Sequence[Event]: ...

    @property
    def final(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]: ...

    @property
    def violations(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """Events of a kind; what is empty matches anything."""

    kind: str
    node: str = ""
    instance: str = ""
    detail: str = ""
    """Must occur in the event's detail."""
    after: float = ANY_TIME[0]
    before: float = ANY_TIME[1]
    """Simulated seconds; both ends included."""
    times: int = -1
    """Only in `count`: exactly so often."""

    def matches(self, event: Event) -> bool:
        return self.same(event) and self.after <= event["t"] <= self.before

    def same(self, event: Event) -> bool:
        """Apart from its time."""
        return (
            event["kind"] == self.kind
            and self.node in ("", event.get("node"))
            and self.instance in ("", event.get("instance"))
            and self.detail in str(event.get("detail", ""))
        )

    def __str__(self) -> str:
        who = f" of {self.instance}" if self.instance else ""
        where = f" on {self.node}" if self.node else ""
        what = f" saying {self.detail!r}" if self.detail else ""
        start = f" from {self.after:g} s" if self.after > ANY_TIME[0] else ""
        end = f" until {self.before:g} s" if self.before < ANY_TIME[1] else ""
        return f"{self.kind}{who}{where}{what}{start}{end}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """All of it is optional; without `violations` there must be none."""

    instances: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Id → state and node at the end, each one of several."""
    nodes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Name → state and power at the end, each one of several, and claims: exactly these proofs, in this order."""
    events: tuple[Pattern, ...] = ()
    """Occur in this order, others between them."""
    never: tuple[Pattern, ...] = ()
    count: tuple[Pattern, ...] = ()
    moved: tuple[str, ...] = ()
    """Run at the end on another node than at the beginning."""
    not_moved: tuple[str, ...] = ()
    """Never ran on another node than at the beginning."""
    together: tuple[tuple[str, ...], ...] = ()
    """Groups that run at the end on one node."""
    apart: tuple[tuple[str, ...], ...] = ()
    """Groups of which at the end no two run on the same node."""
    spread: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    """Groups, each with nodes: at the end each of these runs as many of the group as the others, give or take one."""
    violations: tuple[str, ...] = ()
    """Invariants that are broken here, for scenarios that show a limit."""


_PATTERN_FIELDS = (
    Field("kind", Kind.CHOICE, required=True, choices=EVENT_KINDS),
    Field("node", Kind.NODE),
    Field("instance", Kind.INSTANCE),
    Field("after", Kind.SECONDS, default=ANY_TIME[0]),
    Field("before", Kind.SECONDS, default=ANY_TIME[1]),
)
_KEYS = (
    "instances",
    "nodes",
    "events",
    "never",
    "count",
    "moved",
    "not_moved",
    "together",
    "apart",
    "spread",
    "violations",
)


def read_expectation(cursor: Cursor, names: Names) -> Expectation:
    """Raises InvalidInput."""
    parts = cursor.mapping(_KEYS)
    nothing = Cursor(cursor.file, cursor.path, None)

    def patterns(key: str) -> tuple[Pattern, ...]:
        return tuple(_read_pattern(item, names, key == "count") for item in parts.get(key, nothing).items())

    def known(listed: Cursor, what: str, among: Collection[str]) -> tuple[str, ...]:
        found = tuple(item.text() for item in listed.items())
        for name in found:
            if name not in among:
                raise listed.unknown(what, name, among)
        return found

    def instances(listed: Cursor) -> tuple[str, ...]:
        return known(listed, "instance", names.instances)

    def spread(group: Cursor) -> tuple[tuple[str, ...], tuple[str, ...]]:
        fields = group.mapping(("instances", "nodes"))
        if len(fields) < 2:
            raise group.error("says too little", "Needed: instances, nodes.")
        return instances(fields["instances"]), known(fields["nodes"], "node", names.nodes)

    return Expectation(
        _read_final(parts.get("instances", nothing), names.instances, "instance", ("state", "node")),
        _read_final(parts.get("nodes", nothing), names.nodes, "node", ("state", "power", "claims")),
        patterns("events"),
        patterns("never"),
        patterns("count"),
        instances(parts.get("moved", nothing)),
        instances(parts.get("not_moved", nothing)),
        tuple(instances(item) for item in parts.get("together", nothing).items()),
        tuple(instances(item) for item in parts.get("apart", nothing).items()),
        tuple(spread(item) for item in parts.get("spread", nothing).items()),
        tuple(item.text() for item in parts.get("violations", nothing).items()),
    )


def _read_pattern(cursor: Cursor, names: Names, counted: bool) -> Pattern:
    extra = ("detail", "times") if counted else ("detail",)
    fields = dict(cursor.mapping())
    values: dict[str, Any] = dict(read_fields(cursor, _PATTERN_FIELDS, names, ignore=extra))
    if "detail" in fields:
        values["detail"] = fields["detail"].text()
    if counted:
        if "times" not in fields:
            raise cursor.error("times is missing", "Say how often it must occur.")
        values["times"] = fields["times"].whole()
    return Pattern(**values)


def _read_final(
    cursor: Cursor, known: Sequence[str] | Any, what: str, keys: tuple[str, ...]
) -> dict[str, dict[str, tuple[str, ...]]]:
    result: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entry in cursor.mapping().items():
        if name not in known:
            raise entry.unknown(what, name, known)
        result[name] = {}
        for key, wanted in entry.mapping(keys).items():
            if key == "power":
                result[name][key] = ("on" if wanted.switch() else "off",)
            elif key == "claims":
                result[name][key] = tuple(item.choice(tuple(Proof), "proof") for item in wanted.items())
            else:
                result[name][key] = tuple("" if item.value is None else item.text() for item in wanted.one_or_more())
    return result


def write_expectation(expect: Expectation) -> dict[str, object]:
    """The opposite of `read_expectation`; what says nothing is left out."""
    document: dict[str, object] = {}
    for key in ("instances", "nodes"):
        finals: dict[str, dict[str, tuple[str, ...]]] = getattr(expect, key)
        if finals:
            document[key] = {
                name: {key: _write_final(key, values) for key, values in wanted.items()}
                for name, wanted in finals.items()
            }
    for key in ("events", "never", "count"):
        listed: tuple[Pattern, ...] = getattr(expect, key)
        if listed:
            document[key] = [_write_pattern(pattern) for pattern in listed]
    for key in ("moved", "not_moved", "violations"):
        if getattr(expect, key):
            document[key] = list(getattr(expect, key))
    for key in ("together", "apart"):
        if getattr(expect, key):
            document[key] = [list(group) for group in getattr(expect, key)]
    if expect.spread:
        document["spread"] = [{"instances": list(group), "nodes": list(nodes)} for group, nodes in expect.spread]
    return document


def _write_final(key: str, values: tuple[str, ...]) -> object:
    if key == "power":
        return Switch(values[0])
    return values[0] if len(values) == 1 and key != "claims" else list(values)


def _write_pattern(pattern: Pattern) -> dict[str, object]:
    values: dict[str, Value] = {
        "kind": pattern.kind,
        "node": pattern.node,
        "instance": pattern.instance,
        "after": pattern.after,
        "before": pattern.before,
    }
    document = write_fields(values, _PATTERN_FIELDS)
    if pattern.detail:
        document["detail"] = pattern.detail
    if pattern.times >= 0:
        document["times"] = pattern.times
    return document


# --- comparison -------------------------------------------------------------------------------------------------------


def check(expect: Expectation, homes: Mapping[str, str], outcome: Outcome) -> list[str]:
    """What differs, one sentence each; nothing if all is as expected. `homes`: instance → node at the beginning."""
    return [
        *_violations(expect.violations, outcome.violations),
        *_finals("instance", expect.instances, outcome.final.get("instances", {})),
        *_finals("node", expect.nodes, outcome.final.get("nodes", {})),
        *_sequence(expect.events, outcome.events),
        *_never(expect.never, outcome.events),
        *_count(expect.count, outcome.events),
        *_moves(expect, homes, outcome),
        *_groups(expect, outcome),
    ]


def _violations(wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    for violation in found:
        if not any(text in violation for text in wanted):
            yield f"violation: {violation}"
    for text in wanted:
        if not any(text in violation for violation in found):
            yield f"a violation of {text} was expected and did not happen"


def _finals(
    what: str, wanted: Mapping[str, Mapping[str, tuple[str, ...]]], found: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for name, keys in wanted.items():
        if name not in found:
            yield f"{what} {name} does not exist at the end"
            continue
        for key, allowed in keys.items():
            value = found[name].get(key)
            if key == "claims":
                if list(value or ()) != list(allowed):
                    yield f"{what} {name}: claims at the end are {_list(value)}, not {_list(allowed)}"
            elif (value or "") not in allowed:
                yield f"{what} {name}: {key} at the end is {value or 'nothing'}, not {' or '.join(allowed) or 'nothing'}"


def _list(values: Sequence[str] | None) -> str:
    return ", ".join(values or ()) or "none"


def _sequence(patterns: Sequence[Pattern], events: Sequence[Event]) -> Iterator[str]:
    """Each pattern takes the first event that fits after the one before it."""
    position, since, last = 0, 0.0, "the beginning"
    for index, pattern in enumerate(patterns):
        found = next((i for i in range(position, len(events)) if pattern.matches(events[i])), None)
        if found is None:
            elsewhen = [f"{event['t']:g} s" for event in events if pattern.same(event)]
            others = f"; it happened at {', '.join(elsewhen[:5])}" if elsewhen else "; it never happened"
            yield f"events[{index}]: no {pattern} after {last} ({since:g} s){others}"
            return
        position, since, last = found + 1, events[found]["t"], str(pattern)


def _never(patterns: Sequence[Pattern], events: Sequence[Event]) -> Iterator[str]:
    for index, pattern in enumerate(patterns):
        for event in events:
            if pattern.matches(event):
                yield f"never[{index}]: {pattern} happened at {event['t']:g} s: {event.get('detail', '')}"
                break


def _count(patterns: Sequence[Pattern], events: Sequence[Event]) -> Iterator[str]:
    for index, pattern in enumerate(patterns):
        found = [event["t"] for event in events if pattern.matches(event)]
        if len(found) != pattern.times:
            times = ", ".join(f"{t:g} s" for t in found[:10]) or "never"
            yield f"count[{index}]: {pattern} happened {len(found)} times ({times}), not {pattern.times}"


def _moves(expect: Expectation, homes: Mapping[str, str], outcome: Outcome) -> Iterator[str]:
    for name in (*expect.moved, *expect.not_moved):
        ran_on = [
            str(event["node"])
            for event in outcome.events
            if event["kind"] == "instance-started" and event.get("instance") == name
        ]
        home = homes.get(name) or next(iter(ran_on), "")
        end = outcome.final.get("instances", {}).get(name, {}).get("node") or ""
        if name in expect.moved and end in ("", home):
            yield f"instance {name} should have moved, and is on {end or 'no node'}"
        if name in expect.not_moved:
            others = [node for node in [*ran_on, end] if node not in ("", home)]
            if others:
                yield f"instance {name} should have stayed on {home}, and was on {', '.join(dict.fromkeys(others))}"


def _groups(expect: Expectation, outcome: Outcome) -> Iterator[str]:
    instances = outcome.final.get("instances", {})
    for wanted, groups in (("together", expect.together), ("apart", expect.apart)):
        for group in groups:
            nodes = [str(instances.get(name, {}).get("node") or "") for name in group]
            where = ", ".join(f"{name} on {node or 'no node'}" for name, node in zip(group, nodes, strict=True))
            if "" in nodes or len(set(nodes)) != (1 if wanted == "together" else len(nodes)):
                yield f"these should run {wanted} at the end: {where}"
    for group, over in expect.spread:
        places = [instances.get(name, {}).get("node") for name in group]
        counts = {node: places.count(node) for node in over}
        if sum(counts.values()) != len(group) or max(counts.values()) - min(counts.values()) > 1:
            found = ", ".join(f"{count} on {node}" for node, count in counts.items())
            yield f"{', '.join(group)} should be spread at the end, and are {found}, {len(group)} in all"
