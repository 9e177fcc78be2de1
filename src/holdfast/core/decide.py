"""The decision: a pure function of what the manager has observed."""

from holdfast.core.decide_instances import instance_intents
from holdfast.core.decide_nodes import hold_reason, node_intents, node_note
from holdfast.core.intents import Claim, Decision, Intent
from holdfast.core.placement import load_of
from holdfast.core.view import View


def decide(view: View, now: float) -> Decision:
    """Every intent that is justified by this view at this moment (manager's CLOCK_BOOTTIME, seconds)."""
    hold = hold_reason(view, now)
    notes: dict[str, str] = {}
    intents: list[Intent] = []
    claimed: set[str] = set()
    for node in view.nodes.values():
        for intent in node_intents(view, node, now, bool(hold)):
            intents.append(intent)
            if isinstance(intent, Claim):
                claimed.add(node.id)
        note = node_note(view, node, now)
        if note:
            notes[node.id] = note
    waiting: dict[str, str] = {}
    loads = load_of(view.instances.values())
    for instance in sorted(view.instances.values(), key=lambda i: (-i.spec.priority, i.id)):
        intents.extend(instance_intents(view, instance, now, loads, claimed, waiting))
    return Decision(tuple(intents), waiting, notes, hold)
