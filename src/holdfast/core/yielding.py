"""Room that was made for somebody (the planner's second step) is that one's: neither who made it nor anybody of lower
priority takes it before.

The manager asks for moves and stops what is preemptible (manager/room.py); everything else follows from the view, so that
another manager goes on with it.
"""

from holdfast.core.batch import Batch
from holdfast.core.model import Desired, Goal
from holdfast.core.view import InstanceView

YIELD_S = 60.0
"""So long at most, after it was told to stop or has moved, the room of an instance is for the one it gave way to; then for
whoever comes first."""


def yielding(batch: Batch, instance: InstanceView) -> str:
    """Why an instance that was stopped for another one is not started yet; "" if it may be."""
    placement = instance.placement
    if placement is None or not placement.yields_to or placement.goal is not Goal.STOP:
        return ""
    taker = batch.view.instances.get(placement.yields_to)
    if taker is None or not _homeless(batch, taker) or batch.now - instance.placed_at >= YIELD_S:
        return ""
    return f"it was stopped to make room for {taker.id}, which is started first"


def keep_what_is_freed(batch: Batch, instance: InstanceView) -> None:
    """It has no room yet: what others give up for it is not for those who come after it. Except where something is to move
    out of its way: there the room was made for that one."""
    others = batch.freed.get(instance.id, ())
    targets = {other.move.node for other in others if other.move is not None and other.moves_for}
    for node in sorted({_gives_up(batch, other) for other in others} - targets - {""}):
        if batch.choose(instance.spec, {node: batch.view.nodes[node]}, weightless=True).node:
            batch.keep_room(instance, node)


def _gives_up(batch: Batch, instance: InstanceView) -> str:
    """The node on which it makes room, or has just made some; "" if that is too long ago."""
    placement = instance.placement
    assert placement is not None
    if instance.moves_for:
        return placement.node
    recent = batch.now - instance.placed_at < YIELD_S
    return (placement.left or placement.node) if recent else ""


def somebody_could_use(batch: Batch, node: str) -> bool:
    """Does an instance that runs nowhere fit there now? A mere preference does not take the last room from it."""
    waiting = [other for other in batch.view.instances.values() if _homeless(batch, other)]
    able = [other for other in waiting if other.id not in batch.where and node in batch.candidates(other)]
    among = {node: batch.view.nodes[node]}
    return any(batch.choose(other.spec, among).node for other in able)


def _homeless(batch: Batch, instance: InstanceView) -> bool:
    """It is to run, and nothing of it is anywhere."""
    wanted = instance.spec.desired is Desired.STARTED and not instance.deleting
    return wanted and not instance.executors(batch.view.nodes)
