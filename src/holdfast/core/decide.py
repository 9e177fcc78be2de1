"""The decision: a pure function of what the manager has observed."""

from holdfast.core.batch import Batch
from holdfast.core.decide_instances import instance_intents
from holdfast.core.decide_nodes import frozen_wait, hold_reason, node_intents, node_note, pause_reason
from holdfast.core.intents import CancelPower, Claim, Decision, Intent
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
    batch = Batch.of(view, now, claimed)
    for instance in batch.ordered():
        intents.extend(instance_intents(batch, instance))
        frozen = frozen_wait(view, instance)
        if frozen:
            batch.waiting.setdefault(instance.id, frozen)
    return Decision(tuple(intents), batch.waiting, _notes(view, now), hold, batch.failed, tuple(batch.cramped))


def _notes(view: View, now: float) -> dict[str, str]:
    said = {node.id: node_note(view, node, now) for node in view.nodes.values()}
    return {name: note for name, note in said.items() if note}
