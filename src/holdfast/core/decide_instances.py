"""What to do about instances: place, stop, move, remove."""

from collections.abc import Iterator, Mapping

from holdfast.core.batch import Batch, counters_of
from holdfast.core.fencing import waiting_for_proof
from holdfast.core.intents import EndMove, Intent, KeepOff, Place, Remove
from holdfast.core.migration import migration_intents
from holdfast.core.model import Desired, Exclusivity, Goal, InstanceSpec, InstanceState
from holdfast.core.placement import Choice, moves_without_claim
from holdfast.core.reasons import LIVE_KINDS, Leave, reasons_to_leave, restarts_used_up, times
from holdfast.core.start_order import OPEN, gate, queued
from holdfast.core.view import InstanceView, NodeView
from holdfast.core.yielding import keep_what_is_freed, yielding


def instance_intents(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    """At most one intent for one instance."""
    placement, desired = instance.placement, instance.spec.desired
    if restarts_used_up(instance):
        batch.failed[instance.id] = _failure(instance)
    if desired is Desired.IGNORED:
        return
    if desired is Desired.STARTED and instance.powered_off() and instance.status_revision > instance.spec_revision:
        yield KeepOff(instance.id, instance.spec_revision, instance.status_revision)
        return
    executors = batch.executors(instance)
    if batch.unheard and not executors and not moves_without_claim(instance.spec):
        batch.waiting[instance.id] = batch.unheard
        return
    if not executors:
        yield from _place_free(batch, instance)
        return
    assert placement is not None
    claimed = sorted(executors & set(batch.claimed))
    if claimed:
        batch.waiting[instance.id] = f"{claimed[0]} is being claimed"
    elif placement.migrate_to:
        yield from migration_intents(batch, instance)
    elif desired is not Desired.STARTED:
        yield from _towards_stopped(batch, instance)
    elif placement.goal is Goal.STOP:
        yield from _stopping(batch, instance)
    else:
        yield from _reconsider(batch, instance)


# --- nothing of it runs anywhere ----------------------------------------------------------------------------------------


def _place_free(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    if instance.spec.desired is Desired.STARTED:
        yield from _place(batch, instance)
    elif instance.deleting:
        yield Remove(instance.id, instance.placement_revision, instance.spec_revision)
    elif instance.spec.desired is Desired.STOPPED:
        yield from _rest(batch, instance)


def _place(batch: Batch, instance: InstanceView, *, avoid: str = "") -> Iterator[Intent]:
    """Run it on the best node, as soon as start order and the node's other starts permit."""
    placement, move = instance.placement, instance.move
    held = OPEN if batch.executors(instance) else gate(batch, instance)
    waits = yielding(batch, instance) or ("" if held.soon else held.why)
    if waits:
        batch.waiting[instance.id] = waits
        return
    source = placement.node if placement else ""
    wanted = move.node if move else placement.next_node if placement else ""
    if move is not None and not move.node:
        avoid = source
    counters = counters_of(instance)
    nodes = batch.candidates(instance)
    choice = batch.choose(instance.spec, nodes, wanted=wanted, avoid=avoid, tried=counters[1])
    if not choice.node:
        why = f"{_unplaceable(batch, nodes)} can take it: {choice.why_not()}"
        yielded = placement.yields_to if placement and placement.goal is Goal.STOP else ""
        batch.waiting[instance.id] = f"it was stopped to make room for {yielded}; {why}" if yielded else why
        everywhere = (
            instance.spec.exclusivity is Exclusivity.EVERYWHERE
        )  # the other copies are there: nobody makes room
        homeless = not batch.executors(instance) and not choice.waits and not everywhere
        if homeless and batch.choose(instance.spec, nodes, weightless=True).node:
            batch.cramped.append(instance.id)
            keep_what_is_freed(batch, instance)
        return
    later = held.why or queued(batch, instance, choice.node)
    if later:
        batch.waiting[instance.id] = later
        batch.keep_room(instance, choice.node)
        return
    moved = source not in ("", choice.node)
    relocated = moved and source in counters[1]
    yield batch.put(
        instance,
        choice.node,
        Goal.RUN,
        _why_there(instance.spec, choice) or (f"moved from {source}" if moved else "chosen by free resources"),
        event="instance-relocated" if relocated else "",
        counters=counters,
        finishes_move=move is not None,
    )


def _why_there(spec: InstanceSpec, choice: Choice) -> str:
    """In words, of a copy with a home; "" for every other instance."""
    if choice.node == spec.home:
        return "its home"
    why = choice.reasons.get(spec.home, "")
    return f"in place of its home {spec.home}{f', which {why}' if why else ''}" if spec.home else ""


def _unplaceable(batch: Batch, nodes: Mapping[str, NodeView]) -> str:
    """Begin of the sentence that says why an instance is nowhere; `nodes` are those that come into question."""
    only = len(nodes) < len(batch.view.nodes)
    return f"its high availability is off, and only {' or '.join(nodes)}" if only else "no node"


def _follows_suspicion(batch: Batch, instance: InstanceView) -> bool:
    """It is started elsewhere as soon as its node is down, without a claim."""
    return moves_without_claim(instance.spec) and batch.view.recovers(instance.spec)


def _rest(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    """A stopped instance has a home: a living node where it would be started. Another one when that is lost, is to be freed,
    or an operator asks for it."""
    move, nodes = instance.move, batch.view.candidates(instance)
    home = _home(batch, instance)
    if home is not None:
        leaves = home.drain_reason or (move is not None and move.node != home.id)
        if not leaves or instance.lock is not None:
            yield from _end_move(instance, home.id)
            return
        nodes = batch.others(home.id)
    wanted = move.node if move else ""
    choice = batch.choose(instance.spec, nodes, wanted=wanted)
    if not choice.node:
        # It needs a place, and resources only when it is started.
        choice = batch.choose(instance.spec, nodes, wanted=wanted, weightless=True)
    if choice.node:
        reason = "it is stopped, and would be started here"
        yield batch.put(instance, choice.node, Goal.STOP, reason, finishes_move=move is not None)
    elif home is None:
        batch.waiting[instance.id] = f"it is stopped; {_unplaceable(batch, nodes)} can be its home: {choice.why_not()}"


def _home(batch: Batch, instance: InstanceView) -> NodeView | None:
    """The living node that has confirmed that it is stopped there."""
    placement = instance.placement
    node = batch.view.nodes.get(placement.node) if placement else None
    if placement is None or node is None or node.fence.epoch != placement.fence_epoch:
        return None
    return node if instance.confirmed_stopped() else None


# --- it is to stop, or stops --------------------------------------------------------------------------------------------


def _towards_stopped(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    placement, word = instance.placement, instance.word
    assert placement is not None
    node = batch.view.nodes[placement.node]
    if placement.goal is Goal.RUN:
        yield batch.stop(instance, "stopped by its operator", placement.node)
    elif node.down(batch.view.timing, batch.now) or (word is not None and word.state is InstanceState.FAILED):
        batch.waiting[instance.id] = _stop_wait(batch, instance, node)


def _stopping(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    """It is to run, but elsewhere, or again: first its node must confirm that it stopped."""
    placement = instance.placement
    assert placement is not None
    node = batch.view.nodes[placement.node]
    if node.down(batch.view.timing, batch.now) and _follows_suspicion(batch, instance):
        yield from _place(batch, instance)
        return
    stays = placement.next_node == node.id and node.up(batch.view.timing, batch.now)
    if stays and next(reasons_to_leave(batch, instance, node), None) is None:
        # On the same node there is nothing to wait for.
        yield batch.put(instance, node.id, Goal.RUN, "started again by its operator", counters=counters_of(instance))
        return
    batch.waiting[instance.id] = _stop_wait(batch, instance, node)


def _stop_wait(batch: Batch, instance: InstanceView, node: NodeView) -> str:
    word = instance.word
    if node.down(batch.view.timing, batch.now):
        return waiting_for_proof(node, batch.view.timing, batch.now)
    if word is not None and word.state is InstanceState.FAILED:
        return (
            f"{node.id} could not stop it ({word.detail}) and tries again; it is started nowhere else before it is certain "
            f"that nothing of it runs there. End it by hand on {node.id}, or switch {node.id} off: then it is recovered"
        )
    return f"waiting for {node.id} to confirm that it stopped"


# --- it is placed to run on a node that was not claimed -----------------------------------------------------------------


def _reconsider(batch: Batch, instance: InstanceView) -> Iterator[Intent]:
    """Stay, wait for a proof, or move."""
    placement = instance.placement
    assert placement is not None
    node = batch.view.nodes[placement.node]
    # A node that is frozen keeps what is strict: its return is waited for.
    follows = _follows_suspicion(batch, instance)
    if node.down(batch.view.timing, batch.now) or (node.frozen and follows):
        if follows:
            yield from _place(batch, instance)
        elif moves_without_claim(instance.spec):
            batch.waiting[instance.id] = f"its high availability is off, so it waits for {node.id}"
        else:
            batch.waiting[instance.id] = waiting_for_proof(node, batch.view.timing, batch.now)
        return
    if instance.powered_off():  # and somebody wants it to run since
        yield batch.stop(instance, "it powered itself off, and is to be started again", node.id)
        return
    for leave in reasons_to_leave(batch, instance, node):
        hindrance, choice = _way_out(batch, instance, node, leave)
        if not hindrance and leave.live and _about_to_run(instance):
            # It has just come here, or its agent begins anew: a moment later it can go live, and need not be stopped.
            batch.waiting[instance.id] = f"should leave {node.id} ({leave.why}), and does as soon as it runs"
            return
        if not hindrance:
            yield _go(batch, instance, node, leave, choice)
            return
        if not leave.event:  # a mere preference is nothing to wait for
            batch.waiting.setdefault(instance.id, hindrance)
    yield from _end_move(instance, node.id)


def _way_out(batch: Batch, instance: InstanceView, node: NodeView, leave: Leave) -> tuple[str, Choice]:
    """(why it cannot leave although it should; "" if it can, where to)."""
    should = f"should leave {node.id} ({leave.why}) but"
    locked = (
        next((m for m in (instance, *batch.mates(instance)) if m.lock is not None), None) if leave.planned else None
    )
    if locked is not None and locked.lock is not None:
        why = f": {locked.lock.reason}" if locked.lock.reason else ""
        return f"{should} {locked.id} is locked{why}", Choice("", {})
    nodes = batch.others(node.id) if leave.nodes is None else leave.nodes
    tried = counters_of(instance)[1]
    choice = batch.choose(instance.spec, nodes, wanted=leave.wanted, tried=tried, moving=leave.moving)
    if choice.node and not (leave.only and choice.node != leave.wanted):
        return "", choice
    if leave.relocates:
        return _exhausted(instance, node, leave, choice), choice
    if choice.node:
        return f"{should} {leave.wanted} {choice.reasons.get(leave.wanted, 'is not there')}", choice
    return f"{should} no other node can take it: {choice.why_not()}", choice


def _exhausted(instance: InstanceView, node: NodeView, leave: Leave, choice: Choice) -> str:
    relocations, _ = counters_of(instance)
    if relocations >= instance.spec.max_relocations:
        why = f"it was relocated {times(relocations)}, as often as it may" if relocations else "it may not be relocated"
    else:
        why = f"no other node can take it: {choice.why_not()}"
    return (
        f"{leave.why}; {why}. It is tried again on {node.id} now and then, and at once when it is changed or a node joins. "
        f"See its log on {node.id}"
    )


def _about_to_run(instance: InstanceView) -> bool:
    """Of a kind that can be migrated live; its agent has not said yet that it runs, and not that it failed."""
    word = instance.word
    return instance.spec.kind in LIVE_KINDS and (word is None or word.state is InstanceState.STARTING)


def _go(batch: Batch, instance: InstanceView, node: NodeView, leave: Leave, choice: Choice) -> Place:
    placement, move = instance.placement, instance.move
    assert placement is not None
    relocations, tried = counters_of(instance)
    if leave.relocates:
        relocations = min(relocations + 1, instance.spec.max_relocations)
        tried = (*(name for name in tried if name not in (node.id, choice.node)), node.id)
    why = f"off {node.id}: {leave.why}"
    asked = move is not None and move.live and leave.live
    live = leave.live and instance.spec.kind in LIVE_KINDS and instance.running()
    if live and (asked or not placement.migrate_failed):
        return batch.migrate(instance, choice.node, f"to migrate {why}", event=leave.event or "instance-migrating")
    if moves_without_claim(instance.spec):
        return batch.put(
            instance,
            choice.node,
            Goal.RUN,
            f"moved {why}",
            event=leave.event or ("instance-relocated" if leave.relocates else ""),
            counters=(relocations, tried),
            finishes_move=move is not None,
        )
    return batch.stop(instance, f"to move {why}", choice.node, event=leave.event, counters=(relocations, tried))


def _end_move(instance: InstanceView, node: str) -> Iterator[Intent]:
    if instance.move is not None and instance.move.node == node:
        yield EndMove(instance.id, instance.move_revision, f"{instance.id} is on {node}")


def _failure(instance: InstanceView) -> str:
    placement, word = instance.placement, instance.word
    assert placement is not None and word is not None
    return f"{instance.id} failed to start {times(word.failures)} on {placement.node}: {word.detail}"
