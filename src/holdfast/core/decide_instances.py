"""What to do about instances: place, stop, move, remove."""

from collections.abc import Iterator
from dataclasses import replace

from holdfast.core.fencing import waiting_for_proof
from holdfast.core.intents import Intent, Place, Remove
from holdfast.core.model import BeatPhase, Goal, Placement
from holdfast.core.placement import Load, choose, moves_without_claim, refusal
from holdfast.core.view import InstanceView, NodeView, View

UNHEALTHY_MOVE_S = 0.5
"""An advisory instance whose agent said for so long that it runs but does not answer is moved to another node."""


def instance_intents(
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
        return refusal(replace(instance.spec, cpu=0.0, memory_mib=0), node, own, view.timing, now, staying=True)
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
