"""A run as text for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.sim.expect import Event, Outcome

LOUD = {"violation", "instance-failed", "fence-failed", "hold"}
"""Kinds of events that stand out."""


def time_line(events: Sequence[Event]) -> Iterator[str]:
    """One line per event: time, kind, who, what."""
    kind_width = max((len(event["kind"]) for event in events), default=0)
    who_width = min(28, max((len(_who(event)) for event in events), default=0))
    for event in events:
        mark = "!" if event["kind"] in LOUD else " "
        line = (
            f"{event['t']:>10.3f} {mark} {event['kind']:<{kind_width}}  {_who(event):<{who_width}}  {event['detail']}"
        )
        yield line.rstrip()


def _who(event: Event) -> str:
    return " on ".join(event[key] for key in ("instance", "node") if event.get(key))


def final_lines(final: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """How everything stands at the end."""
    nodes, instances = final.get("nodes", {}), final.get("instances", {})
    width = max((len(name) for name in (*nodes, *instances)), default=0)
    for name, node in nodes.items():
        claims = f", claimed with {', '.join(node['claims'])}" if node.get("claims") else ""
        yield f"  {name:<{width}}  {node['state']}, power {node['power']}{claims}"
    for name, instance in instances.items():
        where = f" on {instance['node']}" if instance.get("node") else ""
        yield f"  {name:<{width}}  {instance['state']}{where}"


def text(outcome: Outcome, unmet: Sequence[str]) -> str:
    """All of it. `unmet`: how it differs from what its file expects, its violations included."""
    lines = [*time_line(outcome.events), "", "At the end:", *final_lines(outcome.final)]
    if outcome.violations:
        expected = not any(sentence.startswith("violation: ") for sentence in unmet)
        lines += [
            "",
            "Violations, as the file expects:" if expected else "Violations:",
            *(f"  {violation}" for violation in outcome.violations),
        ]
    differing = [sentence for sentence in unmet if not sentence.startswith("violation: ")]
    if differing:
        lines += ["", "Not as expected:", *(f"  {sentence}" for sentence in differing)]
    return "\n".join(lines)
