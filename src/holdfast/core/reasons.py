"""Why an instance that is placed to run on a living node should go elsewhere."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from holdfast.core.batch import Batch, counters_of
from holdfast.core.capacity import lost_networks, refusal
from holdfast.core.model import BeatPhase, InstanceState
from holdfast.core.placement import better_node, misplaced, moves_without_claim
from holdfast.core.view import InstanceView, NodeView
from holdfast.core.yielding import somebody_could_use

UNHEALTHY_MOVE_S = 0.5
"""An advisory instance whose agent said for so long that it runs but does not answer is moved to another node."""
LIVE_KINDS = frozenset({"vm"})
"""Kinds whose drivers can hand over what runs (ports.Driver.migrate)."""
QUICK_KINDS = frozenset({"iscsi", "s3"})
"""Kinds whose move their clients hardly notice: a change of state on prepared nodes (iSCSI), or a start that gateways wait
for (S3). They are evened out without being asked."""
SEAMLESS_KINDS = LIVE_KINDS | {"iscsi"}
"""Kinds whose move is no interruption worth the name."""


@dataclass(frozen=True, slots=True)
class Leave:
    """One reason, and what it asks for."""

    why: str
    wanted: str = ""
    """Where it should go rather than anywhere else."""
    only: bool = False
    """There or nowhere."""
    nodes: Mapping[str, NodeView] | None = None
    """The nodes that come into question; None: all but the one it is on."""
    planned: bool = True
    """A lock forbids it; what recovers an instance is not planned."""
    live: bool = True
    """Without an interruption where the kind can."""
    moving: bool = True
    """Its whole group of strict affinity goes."""
    relocates: bool = False
    """Its starts failed: this counts as a relocation."""
    event: str = ""


def reasons_to_leave(batch: Batch, instance: InstanceView, node: NodeView) -> Iterator[Leave]:
    """The most urgent first. It is placed to run on `node`, which is not down."""
    move, view = instance.move, batch.view
    if move is not None and move.node != node.id:
        yield Leave(f"{move.operator or 'an operator'} asked for it", move.node, only=bool(move.node), live=move.live)
    if node.beat is None or node.beat.phase is not BeatPhase.ACTIVE:
        return
    unfit = refusal(instance.spec, node, view.timing, batch.now, staying=True)
    if unfit:
        yield Leave(unfit, planned=not lost_networks(instance.spec, node))
    if instance.id in batch.rules.groups:
        yield from _by_rules(batch, instance, node)
    if instance.spec.home not in ("", node.id):
        yield from _homecoming(batch, instance)
    if restarts_used_up(instance):
        yield from _relocation(batch, instance, node)
    silent = instance.unhealthy_since is not None and batch.now - instance.unhealthy_since > UNHEALTHY_MOVE_S
    if silent and moves_without_claim(instance.spec) and not instance.spec.home:
        yield Leave("it does not answer", planned=False)


def _by_rules(batch: Batch, instance: InstanceView, node: NodeView) -> Iterator[Leave]:
    for mate in batch.mates(instance):
        if mate.bound_for and mate.placement is not None and mate.placement.node == node.id:
            yield Leave(f"it moves with {mate.id}", mate.bound_for, only=True, live=bool(mate.placement.migrate_to))
    broken = misplaced(instance.spec, node.id, batch.fleet)
    if broken:
        yield Leave(broken)
    yield from _failback(batch, instance, node)


def _failback(batch: Batch, instance: InstanceView, node: NodeView) -> Iterator[Leave]:
    """Return to a node that the rules prefer, once that node and the whole group are well. A preference is worth no second
    interruption: not where its starts failed, and not cold after a live migration that failed."""
    view, placement = batch.view, instance.placement
    assert placement is not None
    if not view.settled or not instance.spec.failback or instance.spec.home:
        return
    if not all(_may_fail_back(member) for member in (instance, *batch.mates(instance))):
        return
    better = better_node(instance.spec, node.id, batch.fleet, tried=_unforgiven(batch, instance))
    if better and not somebody_could_use(batch, better):
        yield Leave(f"{better} is preferred by its rules and is back", better, only=True, event="failback")


def _homecoming(batch: Batch, instance: InstanceView) -> Iterator[Leave]:
    """A copy returns to its own node as soon as that is well and may carry it, however well it runs elsewhere. Not where its
    starts failed, for that would be tried for ever."""
    home = batch.view.nodes.get(instance.spec.home)
    if home is None or not batch.view.settled or not home.well(batch.view.timing, batch.now):
        return
    if home.id not in _unforgiven(batch, instance) and batch.choose(instance.spec, {home.id: home}, moving=True).node:
        yield Leave(f"its home {home.id} is back", home.id, only=True, nodes={home.id: home}, event="failback")


def _unforgiven(batch: Batch, instance: InstanceView) -> Collection[str]:
    """Where it failed to start; not if an operator has changed it since, and not nodes that have been away since."""
    placement = instance.placement
    if placement is None or not placement.tried or instance.spec_revision > instance.placement_revision:
        return ()
    return set(placement.tried) - joined_since(batch, instance).keys()


def _may_fail_back(member: InstanceView) -> bool:
    word, placement = member.word, member.placement
    if placement is None or word is None or not member.running() or member.unhealthy_since is not None:
        return False
    return not member.lock and not placement.migrate_failed and (word.healthy or word.stable)


# --- starts that fail ---------------------------------------------------------------------------------------------------


def restarts_used_up(instance: InstanceView) -> bool:
    """Its agent tried as often as it may in place. A word that is older than the specification says nothing of that."""
    word = instance.word
    return (
        word is not None
        and word.failures > instance.spec.max_restarts
        and word.state in (InstanceState.FAILED, InstanceState.STARTING)
        and instance.status_revision > instance.spec_revision
    )


def joined_since(batch: Batch, instance: InstanceView) -> dict[str, NodeView]:
    """Nodes that came (back) after it was placed."""
    view = batch.view
    return {
        name: node
        for name, node in view.nodes.items()
        if node.up_since > instance.placed_at and node.well(view.timing, batch.now)
    }


def _relocation(batch: Batch, instance: InstanceView, node: NodeView) -> Iterator[Leave]:
    """To a node where it was not tried, as often as it may; after that only to a node that has come since. A group moves
    when none of it starts: what runs is not interrupted for a member that does not."""
    word, limit = instance.word, instance.spec.max_relocations
    assert word is not None
    relocations, tried = counters_of(instance)
    others = batch.others(node.id)
    if relocations < limit:
        nodes = {name: other for name, other in others.items() if name not in tried}
    else:
        nodes = {name: other for name, other in joined_since(batch, instance).items() if limit and name in others}
    moving = all(restarts_used_up(mate) for mate in batch.mates(instance) if node.id in batch.executors(mate))
    yield Leave(
        f"its start failed {times(word.failures)} on {node.id}: {word.detail}",
        nodes=nodes,
        planned=False,
        live=False,
        moving=moving,
        relocates=True,
    )


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
