"""Whether an instance that runs nowhere may be started now: start order, and how much a node starts at once.

What runs is never stopped for either, and neither is a restart in place or a live migration held up. Who does not exist, or
is not to be started at all (stopped, disabled, ignored, being deleted), is waited for by nobody. While an instance waits for
something that is on its way, its room is kept: nothing of lower priority takes it.
"""

from dataclasses import dataclass

from holdfast.core.batch import Batch
from holdfast.core.model import Desired, Exclusivity, Goal, InstanceState
from holdfast.core.reasons import restarts_used_up
from holdfast.core.view import InstanceView

PATIENCE_S = 60.0
"""So long after it was placed an instance counts as on its way; a preference (strict: false) waits for nobody longer."""
STARTS_PER_NODE = 8
"""So many strict instances start on one node at a time, the most important first: the more there are, the slower each."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What an instance waits for."""

    why: str = ""
    """Empty: it may start."""
    soon: bool = False
    """All that it waits for is on its way: room is kept for it meanwhile."""


OPEN = Gate()


def gate(batch: Batch, instance: InstanceView) -> Gate:
    """May it be started, though it runs nowhere?"""
    late: dict[str, bool] = {}
    for name, strict in batch.rules.before.get(instance.id, {}).items():
        earlier = batch.view.instances.get(name)
        if earlier is None or earlier.spec.desired is not Desired.STARTED or earlier.deleting or ready(batch, earlier):
            continue
        coming = _on_its_way(batch, earlier)
        if strict or coming:
            late[name] = coming
    if not late:
        return OPEN
    return Gate(f"waits for {' and '.join(late)} to be ready", all(late.values()))


def queued(batch: Batch, instance: InstanceView, node: str) -> str:
    """Why it cannot start on this node at once, though it is to run there; "" if it can."""
    if instance.spec.exclusivity is not Exclusivity.STRICT or _starts(batch, node) < STARTS_PER_NODE:
        return ""
    return f"{node} starts {STARTS_PER_NODE} others first"


def _starts(batch: Batch, node: str) -> int:
    """How many start there, those placed in this turn included. Who takes too long, or failed, keeps nobody waiting."""
    if batch.starts is None:
        batch.starts = {}
        for instance in batch.view.instances.values():
            if instance.spec.exclusivity is Exclusivity.STRICT and starting(batch, instance):
                assert instance.placement is not None
                there = instance.placement.node
                batch.starts[there] = batch.starts.get(there, 0) + 1
    return batch.starts.get(node, 0)


def starting(batch: Batch, instance: InstanceView) -> bool:
    """It was placed a short while ago and its first start there is not over."""
    placement, word = instance.placement, instance.word
    if placement is None or placement.goal is not Goal.RUN:
        return False
    if instance.spec.desired is not Desired.STARTED or batch.now - instance.placed_at >= PATIENCE_S:
        return False
    begun = word is None or (word.state is InstanceState.STARTING and not word.failures)
    return begun and placement.node in instance.executors(batch.view.nodes)


def ready(batch: Batch, instance: InstanceView) -> bool:
    """It runs on a living node and answers, or, where nobody asks it, has run for a stable time."""
    placement, word = instance.placement, instance.word
    if placement is None or word is None or placement.goal is not Goal.RUN or not instance.running():
        return False
    node = batch.view.nodes.get(placement.node)
    if node is None or node.fence.epoch != placement.fence_epoch or not node.up(batch.view.timing, batch.now):
        return False
    return word.healthy or (word.stable and not word.detail)


def _on_its_way(batch: Batch, instance: InstanceView) -> bool:
    """It was placed a short while ago and has not failed, or is placed, or has room kept, in this very turn."""
    before = instance.executors(batch.view.nodes)
    if not before:
        return bool(batch.executors(instance))
    if restarts_used_up(instance) or batch.now - instance.placed_at >= PATIENCE_S:
        return False
    return all(batch.view.nodes[name].up(batch.view.timing, batch.now) for name in before)
