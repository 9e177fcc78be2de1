"""What to do about nodes: fence, claim, hold."""

from collections.abc import Iterator

from holdfast.core.fencing import proof_of_death, waiting_for_proof, wants_power_fencing
from holdfast.core.intents import CancelPower, Claim, FencePower, Intent
from holdfast.core.model import Proof
from holdfast.core.view import InstanceView, NodeView, View


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
        yield Claim(node.id, evidence.proof, evidence.text, node.beat_revision, node.fence_revision)
    elif evidence is None and not hold and view.settled and wants_power_fencing(node, timing, now):
        yield FencePower(node.id, node.beat_revision)


def _claim_wanted(view: View, node: NodeView, proof: Proof, now: float, hold: bool) -> bool:
    """A proof permits a claim; this says whether one is wanted."""
    if proof in (Proof.OPERATOR, Proof.RELEASED):
        return True
    if proof is Proof.REBOOTED:
        # A node that was missed crashed: recover its instances elsewhere at once. One that nobody missed (the whole site was
        # switched on) restarts its own; a node without instances just joins.
        return node.was_down and any(_lost_with(node, instance) for instance in view.instances.values())
    return not hold and node.down(view.timing, now)


def _lost_with(node: NodeView, instance: InstanceView) -> bool:
    placement = instance.placement
    return placement is not None and placement.node == node.id and placement.fence_epoch == node.fence.epoch


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
    return ""
