"""The decision: a pure function of what the manager has observed."""

from holdfast.core.decide_instances import instance_intents
from holdfast.core.decide_nodes import frozen_wait, hold_reason, node_intents, node_note, pause_reason
from holdfast.core.intents import CancelPower, Claim, Decision, Intent
from holdfast.core.placement import load_of
from holdfast.core.view import View


def decide(view: View, now: float) -> Decision:
    """Every intent that is justified by this view at this moment (manager's CLOCK_BOOTTIME, seconds)."""
    paused = pause_reason(view)
    if paused:
        cancelled = tuple(CancelPower(node.id) for node in view.nodes.values() if node.power_running)
        return Decision(cancelled, notes=_notes(view, now), hold=paused)
    hold = hold_reason(view, now)
    intents: list[Intent] = []
    claimed: set[str] = set()
    for node in view.nodes.values():
        for intent in node_intents(view, node, now, bool(hold)):
            intents.append(intent)
            if isinstance(intent, Claim):
                claimed.add(node.id)
    waiting: dict[str, str] = {}
    loads = load_of(view.instances.values())
    for instance in sorted(view.instances.values(), key=lambda i: (-i.spec.priority, i.id)):
        intents.extend(instance_intents(view, instance, now, loads, claimed, waiting))
        frozen = frozen_wait(view, instance)
        if frozen:
            waiting.setdefault(instance.id, frozen)
    return Decision(tuple(intents), waiting, _notes(view, now), hold)


def _notes(view: View, now: float) -> dict[str, str]:
    said = {node.id: node_note(view, node, now) for node in view.nodes.values()}
    return {name: note for name, note in said.items() if note}
