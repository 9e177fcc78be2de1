"""Room that was made for somebody (the planner's second step) is that one's: neither who made it nor anybody of lower
priority takes it before.

The manager asks for moves and stops what is preemptible (manager/room.py); everything else follows from the view, so that
another manager goes on with it.
"""

from holdfast.core.batch import Batch
from holdfast.core.model import Desired
from holdfast.core.view import InstanceView

YIELD_S = 60.0
"""So long at most, after it was told to stop, an instance waits for the one it made room for; then whoever comes first."""
ROOM_FOR = "planner: room for "
"""Begins the operator's name in the planner's own requests for moves; the name of an instance follows."""


def yielding(batch: Batch, instance: InstanceView) -> str:
    """Why an instance that was stopped for another one is not started yet; "" if it may be."""
    placement = instance.placement
    if placement is None or not placement.yields_to or batch.now - instance.placed_at >= YIELD_S:
        return ""
    taker = batch.view.instances.get(placement.yields_to)
    if taker is None or not _homeless(batch, taker):
        return ""
    return f"it was stopped to make room for {taker.id}, which is started first"


def keep_what_is_freed(batch: Batch, instance: InstanceView) -> None:
    """It has no room yet: what others give up for it is not for those who come after it. Except where something is to move
    out of its way: there the room was made for that one."""
    freed = [other.placement for other in batch.freed.get(instance.id, ()) if batch.now - other.placed_at < YIELD_S]
    nodes = {placement.node for placement in freed if placement is not None}
    for node in sorted(nodes - _move_targets(batch, instance)) if nodes else ():
        batch.keep_room(instance, node)


def _move_targets(batch: Batch, instance: InstanceView) -> set[str]:
    """Where the planner moves others to, to make room for this one."""
    moves = (other.move for other in batch.view.instances.values())
    return {move.node for move in moves if move is not None and move.operator == f"{ROOM_FOR}{instance.id}"}


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
