"""What becomes of a live migration.

While a placement names a second node (`migrate_to`), each of the two may execute the instance. The source says that nothing
of it is there any more, or is claimed: then it is the target's, which adopts what runs or starts it. The target is claimed,
or the source says that the hand-over failed: then it stays the source's. The manager never takes the order back on its own,
for only the source knows whether the hand-over happened.
"""

from collections.abc import Iterator

from holdfast.core.batch import Batch, counters_of
from holdfast.core.fencing import waiting_for_proof
from holdfast.core.intents import Intent, Place
from holdfast.core.model import Desired, Goal, InstanceState
from holdfast.core.view import InstanceView


def migration_intents(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    """At least one of its two nodes may execute the instance."""
    placement, word = instance.placement, instance.word
    assert placement is not None and placement.migrate_to
    source, target = placement.node, placement.migrate_to
    executors = batch.executors(instance)
    if source not in executors:
        if word is not None and word.state is InstanceState.MIGRATED:
            yield _settle(batch, instance, target, f"migrated live from {source}", "migrated")
        else:
            yield _settle(batch, instance, target, f"{source} ended while it handed it over")
    elif target not in executors:
        yield _settle(batch, instance, source, f"{target} was lost before it took it over", "migrate-failed")
    elif word is not None and word.migrate_error:
        why = f"the live migration to {target} failed: {word.migrate_error}"
        yield _settle(batch, instance, source, why, "migrate-failed")
    elif instance.spec.desired is not Desired.STARTED and placement.goal is Goal.RUN:
        yield batch.stop(instance, "stopped by its operator", source)
    else:
        node = batch.view.nodes[source]
        if node.down(batch.view.timing, batch.now):
            proof = waiting_for_proof(node, batch.view.timing, batch.now)
            batch.waiting[instance.id] = f"{proof}; it was being handed over to {target}, which has it then"


def _settle(batch: Batch, instance: InstanceView, node: str, reason: str, event: str = "") -> Place:
    """It is this node's alone."""
    placement, move = instance.placement, instance.move
    assert placement is not None
    stays = node == placement.node
    return batch.put(
        instance,
        node,
        Goal.RUN if instance.spec.desired is Desired.STARTED else Goal.STOP,
        reason,
        event=event,
        counters=counters_of(instance) if stays else (0, ()),
        migrate_failed=placement.migrate_failed + 1 if stays else 0,
        finishes_move=move is not None and (move.live or not stays) and move.node in ("", placement.migrate_to),
    )
