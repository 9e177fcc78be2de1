"""The decision: a pure function of what the manager has observed.

`decide(view, now)` gives the intents; the manager commits each as one transaction that compares its term and every
revision the intent rests on. An intent that lost its race is simply decided anew from the next view.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from holdfast.core.fencing import proof_of_death, waiting_for_proof, wants_power_fencing
from holdfast.core.model import BeatPhase, Goal, Placement, Proof
from holdfast.core.placement import Load, choose, load_of, moves_without_claim, refusal
from holdfast.core.view import InstanceView, NodeView, View

UNHEALTHY_MOVE_S = 0.5
"""An advisory instance whose agent said for so long that it runs but does not answer is moved to another node."""


@dataclass(frozen=True, slots=True)
class FencePower:
    """Switch this node off and verify it, in the background."""

    node: str
    beat_revision: int


@dataclass(frozen=True, slots=True)
class CancelPower:
    """Its reason is gone: stop a power-fencing attempt that is still under way."""

    node: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Commit that the node is dead: raises its fence epoch, which voids every placement on it."""

    node: str
    proof: Proof
    text: str
    beat_revision: int
    fence_revision: int


@dataclass(frozen=True, slots=True)
class Place:
    """Write the placement of an instance."""

    instance: str
    placement: Placement
    previous_revision: int
    spec_revision: int
    node_fence_revision: int
    """Fence record of the target; 0 for a Goal.STOP, which must not depend on it."""
    finishes_move: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete every trace of an instance (and its service) that is confirmed stopped."""

    instance: str
    placement_revision: int
    spec_revision: int


Intent = FencePower | CancelPower | Claim | Place | Remove


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and what to tell people about what is not done."""

    intents: tuple[Intent, ...] = ()
    waiting: dict[str, str] = field(default_factory=dict)
    """Instance → why it is not placed or does not run."""
    notes: dict[str, str] = field(default_factory=dict)
    """Node → one sentence."""
    hold: str = ""


def decide(view: View, now: float) -> Decision:
    """Every intent that is justified by this view at this moment (manager's CLOCK_BOOTTIME, seconds)."""
    hold = _hold(view, now)
    notes: dict[str, str] = {}
    intents: list[Intent] = []
    claimed: set[str] = set()
    for node in view.nodes.values():
        for intent in _node_intents(view, node, now, bool(hold)):
            intents.append(intent)
            if isinstance(intent, Claim):
                claimed.add(node.id)
        note = _note(view, node, now)
        if note:
            notes[node.id] = note
    waiting: dict[str, str] = {}
    loads = load_of(view.instances.values())
    for instance in sorted(view.instances.values(), key=lambda i: (-i.spec.priority, i.id)):
        intents.extend(_instance_intents(view, instance, now, loads, claimed, waiting))
    return Decision(tuple(intents), waiting, notes, hold)


def _hold(view: View, now: float) -> str:
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


def _node_intents(view: View, node: NodeView, now: float, hold: bool) -> Iterator[Intent]:
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


def _note(view: View, node: NodeView, now: float) -> str:
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


def _instance_intents(
    view: View,
    instance: InstanceView,
    now: float,
    loads: dict[str, Load],
    claimed: set[str],
    waiting: dict[str, str],
) -> Iterator[Intent]:
    """At most one intent for one instance. `loads` is updated by what is decided, so that a batch spreads."""
    placement = instance.placement
    node = view.nodes.get(placement.node) if placement else None
    free = placement is None or node is None or placement.fence_epoch != node.fence.epoch
    if instance.spec.desired == "stopped":
        yield from _towards_stopped(instance, free, now, view)
        return
    if free or instance.confirmed_stopped():
        yield from _place(view, instance, now, loads, waiting)
        return
    assert placement is not None and node is not None
    if node.id in claimed:
        waiting[instance.id] = f"{node.id} is being claimed"
        return
    if placement.goal is Goal.STOP:
        waiting[instance.id] = _stop_wait(instance, node, now, view)
        if moves_without_claim(instance.spec) and node.down(view.timing, now):
            yield from _place(view, instance, now, loads, waiting)
        return
    yield from _reconsider(view, instance, node, now, loads, waiting)


def _towards_stopped(instance: InstanceView, free: bool, now: float, view: View) -> Iterator[Intent]:
    placement = instance.placement
    if free or instance.confirmed_stopped():
        if instance.deleting:
            yield Remove(instance.id, instance.placement_revision, instance.spec_revision)
    elif placement is not None and placement.goal is Goal.RUN:
        yield _stop(instance, placement, view, "stopped by its operator")


def _reconsider(
    view: View, instance: InstanceView, node: NodeView, now: float, loads: dict[str, Load], waiting: dict[str, str]
) -> Iterator[Intent]:
    """It is placed to run on a node that was not claimed: stay, wait for a proof, or move."""
    placement = instance.placement
    assert placement is not None
    if node.down(view.timing, now):
        if moves_without_claim(instance.spec):
            yield from _place(view, instance, now, loads, waiting)
        else:
            waiting[instance.id] = waiting_for_proof(node, view.timing, now)
        return
    reason = _reason_to_leave(view, instance, node, loads, now)
    if not reason:
        return
    others = choose(instance.spec, _without(view, node.id), loads, view.timing, now, wanted=_wish(instance))
    if not others.node or (instance.move and instance.move.node and others.node != instance.move.node):
        waiting[instance.id] = f"should leave {node.id} ({reason}) but no other node can take it: {others.why_not()}"
        return
    if moves_without_claim(instance.spec):
        yield from _place(view, instance, now, loads, waiting, avoid=node.id)
    else:
        yield _stop(instance, placement, view, f"to move off {node.id}: {reason}")


def _reason_to_leave(view: View, instance: InstanceView, node: NodeView, loads: dict[str, Load], now: float) -> str:
    """Why a placed instance should go elsewhere; "" to stay."""
    if instance.move is not None and instance.move.node != node.id:
        return "an operator asked for it"
    silent = instance.unhealthy_since is not None and now - instance.unhealthy_since > UNHEALTHY_MOVE_S
    if silent and moves_without_claim(instance.spec):
        return "it does not answer"
    own = Load(0, 0.0, 0)
    if node.beat is not None and node.beat.phase is BeatPhase.ACTIVE:
        # Its own resources are part of the node's load: only the other hard rules count for staying.
        return refusal(replace(instance.spec, cpu=0.0, memory_mib=0), node, own, view.timing, now)
    return ""


def _wish(instance: InstanceView) -> str:
    return instance.move.node if instance.move else ""


def _without(view: View, node: str) -> dict[str, NodeView]:
    return {name: value for name, value in view.nodes.items() if name != node}


def _stop_wait(instance: InstanceView, node: NodeView, now: float, view: View) -> str:
    if node.down(view.timing, now):
        return waiting_for_proof(node, view.timing, now)
    detail = f" ({instance.status.detail})" if instance.status and instance.status.detail else ""
    return f"waiting for {node.id} to confirm that it stopped{detail}"


def _next_epoch(view: View, instance: InstanceView) -> int:
    """Larger than every epoch this instance ever had, also in an earlier life under the same name (INV-3)."""
    return max(instance.placement.epoch + 1 if instance.placement else 1, view.revision)


def _stop(instance: InstanceView, placement: Placement, view: View, reason: str) -> Place:
    stopped = replace(placement, epoch=_next_epoch(view, instance), goal=Goal.STOP, reason=reason)
    return Place(instance.id, stopped, instance.placement_revision, instance.spec_revision, 0)


def _place(
    view: View,
    instance: InstanceView,
    now: float,
    loads: dict[str, Load],
    waiting: dict[str, str],
    *,
    avoid: str = "",
) -> Iterator[Intent]:
    placement = instance.placement
    source = placement.node if placement else ""
    choice = choose(
        instance.spec, view.nodes, loads, view.timing, now, wanted=_wish(instance) or _stay(instance, view), avoid=avoid
    )
    if not choice.node:
        waiting[instance.id] = f"no node can take it: {choice.why_not()}"
        return
    target = view.nodes[choice.node]
    reason = f"moved from {source}" if source and source != choice.node else "chosen by free resources"
    new = Placement(choice.node, _next_epoch(view, instance), target.fence.epoch, Goal.RUN, reason)
    load = loads.get(choice.node, Load())
    loads[choice.node] = Load(
        load.instances + 1, load.cpu + instance.spec.cpu, load.memory_mib + instance.spec.memory_mib
    )
    yield Place(
        instance.id,
        new,
        instance.placement_revision,
        instance.spec_revision,
        target.fence_revision,
        finishes_move=instance.move is not None,
    )


def _stay(instance: InstanceView, view: View) -> str:
    """After a confirmed stop without a wish to move (started again by its operator) it returns to where it was."""
    if instance.move is None and instance.confirmed_stopped() and instance.placement is not None:
        return instance.placement.node if instance.placement.reason.startswith("stopped by") else ""
    return ""
