"""What to do about nodes: pause, hold, fence, claim, maintenance."""

from collections.abc import Iterator
from dataclasses import replace

from holdfast.core.fencing import CLEAR_S, MATURE_S, proof_of_death, waiting_for_proof, wants_power_fencing
from holdfast.core.health import after_failure, is_failure
from holdfast.core.intents import BringHome, CancelPower, Claim, FencePower, Intent, NoteMoved
from holdfast.core.model import Desired, Proof
from holdfast.core.view import InstanceView, NodeView, View

BRING_HOME_AT_ONCE = 200
"""So many moves are asked for in one transaction."""


def pause_reason(view: View) -> str:
    """Why nothing at all is decided, while operators have paused high availability; "" while it is on."""
    pause = view.pause
    if pause is None:
        return ""
    who = f" by {pause.operator}" if pause.operator else ""
    why = f" ({pause.reason})" if pause.reason else ""
    return (
        f"high availability is paused{who}{why}, mode {pause.mode}: nothing is fenced, claimed, placed or moved. "
        "To go on: holdfast ha resume"
    )


def hold_reason(view: View, now: float) -> str:
    """More than half of the members down at once points at our own view or at a site-wide fault: act on no suspicion."""
    members = [node for node in view.nodes.values() if node.member]
    down = sorted(node.id for node in members if node.down(view.timing, now))
    if len(down) > 1 and 2 * len(down) > len(members):
        return (
            f"{len(down)} of {len(members)} nodes are suspect at once ({', '.join(down)}): nothing is fenced or claimed on "
            "suspicion. Check the network and the power of the site; to go on for a node known to be off: "
            "holdfast node confirm-dead NODE"
        )
    return ""


def node_intents(view: View, node: NodeView, now: float, hold: bool) -> Iterator[Intent]:
    timing = view.timing
    evidence = proof_of_death(node, timing, now)
    if node.power_running and (hold or not node.down(timing, now)):
        yield CancelPower(node.id)
    if evidence is not None and _claim_wanted(view, node, evidence.proof, now, hold):
        health = after_failure(view, node, now) if is_failure(node, evidence.proof) else None
        yield Claim(
            node.id,
            evidence.proof,
            evidence.text,
            node.beat_revision,
            node.fence_revision,
            health,
            node.health_revision,
        )
    elif evidence is None and not hold and _clear(view, node, now) and wants_power_fencing(node, timing, now):
        yield FencePower(node.id, node.beat_revision)
    yield from _maintenance_intents(view, node, now)


def _clear(view: View, node: NodeView, now: float) -> bool:
    """Nodes that vanish together become suspect one after another: the first ones are not switched off before it is clear
    whether to hold. That takes a datagram period, and longer while more than half are missed by somebody."""
    if not view.settled or node.suspicion is None:
        return view.settled
    members = [other for other in view.nodes.values() if other.member]
    wide = 2 * sum(other.missed or other.down(view.timing, now) for other in members) > len(members)
    return now - node.suspicion.since >= (MATURE_S if wide else CLEAR_S)


def _maintenance_intents(view: View, node: NodeView, now: float) -> Iterator[Intent]:
    """Write down what is to leave before it leaves; after that, once the node is well, ask for its return."""
    if node.maintenance is not None:
        known = node.maintenance.moved
        new = sorted(i.id for i in view.instances.values() if _placed_on(node, i) and _wanted(i) and i.id not in known)
        if new:
            noted = replace(node.maintenance, moved=(*known, *new))
            yield NoteMoved(node.id, noted, node.maintenance_revision)
    elif node.bring_back is not None and node.well(view.timing, now):
        listed = node.bring_back.instances
        away = []
        for instance_id in listed[:BRING_HOME_AT_ONCE]:
            instance = view.instances.get(instance_id)
            if instance is None or not _wanted(instance) or instance.move is not None:
                continue
            if instance.bound_for or not _placed_on(node, instance):
                away.append(instance_id)
        yield BringHome(node.id, tuple(away), listed[BRING_HOME_AT_ONCE:], node.bring_back_revision)


def _wanted(instance: InstanceView) -> bool:
    """It has a home that matters: it runs there, or would be started there."""
    return instance.spec.desired in (Desired.STARTED, Desired.STOPPED) and not instance.deleting


def _claim_wanted(view: View, node: NodeView, proof: Proof, now: float, hold: bool) -> bool:
    """A proof permits a claim; this says whether one is wanted."""
    if proof is Proof.OPERATOR:
        return True
    if proof is Proof.RELEASED:
        # A frozen node's instances wait for its return, unless an operator does not want to wait.
        confirmation = node.confirmation
        return not node.frozen or (confirmation is not None and confirmation.beat_revision == node.beat_revision)
    if proof is Proof.REBOOTED:
        # A node that was missed crashed: recover its instances elsewhere at once. One that nobody missed (the whole site was
        # switched on) restarts its own; a node without instances just joins.
        return node.was_down and any(_placed_on(node, instance) for instance in view.instances.values())
    return not hold and node.down(view.timing, now)


def _placed_on(node: NodeView, instance: InstanceView) -> bool:
    placement = instance.placement
    return placement is not None and placement.node == node.id and placement.fence_epoch == node.fence.epoch


def frozen_wait(view: View, instance: InstanceView) -> str:
    """What an instance waits for whose node went down to come back; "" for every other one."""
    node = view.nodes.get(instance.placement.node) if instance.placement else None
    started = instance.spec.desired == Desired.STARTED and not instance.deleting
    if node is None or not node.frozen or not started or not _placed_on(node, instance):
        return ""
    return (
        f"{node.id} was shut down by the policy `freeze`: it is started there again when the node returns. To start it "
        f"elsewhere now: holdfast node confirm-dead {node.id}"
    )


def node_note(view: View, node: NodeView, now: float) -> str:
    if node.down(view.timing, now):
        who = (
            f"missed by {', '.join(node.suspicion.missed_by)}"
            if node.suspicion
            else f"no beat in the store for {now - node.beat_seen_at:.0f} s"
        )
        return f"{who}; {waiting_for_proof(node, view.timing, now)}"
    if node.lost_networks:
        return f"lost the network {', '.join(node.lost_networks)}"
    if node.frozen:
        return "its instances wait for its return"
    if not node.member:
        return ""
    if node.maintenance is not None:
        return f"to end it: holdfast node maintenance exit {node.id}"
    if node.health is not None and node.health.quarantined:
        return node.health.quarantined
    return node.closed_reason
