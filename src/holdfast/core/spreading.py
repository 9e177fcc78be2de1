"""Spreading what is counted: of each spread set (core/counts.py) every node is to carry as many as the others.

A move goes to a node that carries at least two fewer of the set than the one it leaves, so each takes at least two off the
sum of the squared counts: it ends. Then the counts differ by one at most, as far as rules and locks let anything move.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from holdfast.core.batch import Batch
from holdfast.core.counts import SpreadSet, counted, spread_set
from holdfast.core.model import Desired, Goal
from holdfast.core.moves import Proposal, calm, liked_less, runs_well, takes_part, undisturbed
from holdfast.core.placement import choose
from holdfast.core.reasons import LIVE_KINDS, QUICK_KINDS, SEAMLESS_KINDS, joined_since
from holdfast.core.start_order import starting
from holdfast.core.view import InstanceView, View

COST = 1.0
"""Of a move, to be compared with what it takes off the sum of the squared counts: at least 2."""
QUIET_S = 60.0
"""Automatic: nothing is moved to a node so soon after it came (back). One that fails again mostly does so earlier (a second
fencing takes half a minute at most), and clients have logged in to its prepared paths again by then (open-iscsi tries every
few seconds). Less than for the load (core/rebalance.py), since here a move is a change of state and takes no second."""


def automatic(view: View, now: float, *, without: Collection[tuple[str, str]] = ()) -> Proposal | None:
    """The one move to be made now. Only kinds that move by a change of state, one instance at a time, while all is calm, and
    none that its owner wants to stay where a failure has put it (`failback: false`). `without`: none of these (instance,
    target)."""
    quick = [one for one in view.instances.values() if one.spec.kind in QUICK_KINDS and _takes_part_by_number(one)]
    targets = (
        {name for name in _taking_part(view, now) if now - view.nodes[name].up_since >= QUIET_S} if quick else set()
    )
    uneven = [members for members in _sets(quick) if _uneven(members, targets)]
    if not uneven or not calm(view, now):
        return None
    batch = Batch.of(view, now, ())
    if any(_under_way(batch, instance) for instance in quick):
        return None
    for members in _in_order(uneven):
        movable = [one for one in members if one.spec.failback and undisturbed(batch, one)]
        found = _best(batch, movable, targets - _distrusted(batch, members), without)
        if found is not None:
            return found
    return None


def by_hand(batch: Batch, *, limit: int, restarts: bool, without: Collection[tuple[str, str]] = ()) -> list[Proposal]:
    """At most so many moves, of all that is counted, made in the batch. `restarts`: also what is interrupted by it."""
    view, moves = batch.view, list[Proposal]()
    asked = [one for one in view.instances.values() if _takes_part_by_number(one) and (restarts or _unasked(one))]
    nodes = set(_taking_part(view, batch.now))
    for members in _in_order(_sets(asked)):
        movable = {one.id: one for one in members if undisturbed(batch, one)}
        while len(moves) < limit and (found := _best(batch, movable.values(), nodes, without)) is not None:
            spec = movable.pop(found.instance).spec
            batch.fleet.place(spec, found.target)
            batch.fleet.remove(spec, found.source)
            moves.append(found)
    return moves


def moments(view: View) -> Iterator[float]:
    """When time alone may let a move be made (core/horizon.py)."""
    for node in view.nodes.values():
        yield node.up_since + QUIET_S


def _takes_part_by_number(instance: InstanceView) -> bool:
    """A copy with a home does not: it is there, or on its way back."""
    return counted(instance.spec) and not instance.spec.home


def _unasked(instance: InstanceView) -> bool:
    """It may be moved though nobody allowed that anything is restarted."""
    return instance.spec.kind in QUICK_KINDS | LIVE_KINDS


def _taking_part(view: View, now: float) -> Iterator[str]:
    return (node.id for node in view.nodes.values() if takes_part(view, node, now))


def _sets(instances: Iterable[InstanceView]) -> Iterable[list[InstanceView]]:
    """By spread set, in any order."""
    sets: dict[SpreadSet, list[InstanceView]] = {}
    for instance in instances:
        sets.setdefault(spread_set(instance.spec), []).append(instance)
    return sets.values()


def _in_order(sets: Iterable[list[InstanceView]]) -> list[list[InstanceView]]:
    """In each set, what is to be moved rather than others comes first: the less important, then what has been where it is
    for longest, so that what somebody has just put somewhere stays there."""
    return sorted((sorted(members, key=_order) for members in sets), key=lambda members: _order(members[0]))


def _order(instance: InstanceView) -> tuple[int, int, str]:
    return instance.spec.priority, instance.placement.epoch if instance.placement else 0, instance.id


def _uneven(members: Collection[InstanceView], targets: Collection[str]) -> bool:
    """Whether a look at where they may go can be worth it, for next to nothing."""
    carried = Counter(instance.placement.node for instance in members if instance.placement)
    listed = next(iter(members)).spec.nodes or targets
    fewest = min((carried[name] for name in listed if name in targets), default=len(members))
    return max(carried.values(), default=0) - fewest >= 2


def _under_way(batch: Batch, instance: InstanceView) -> bool:
    moves = instance.move is not None or bool(instance.bound_for) or len(batch.executors(instance)) > 1
    return moves or starting(batch, instance)


def _distrusted(batch: Batch, members: Iterable[InstanceView]) -> set[str]:
    """Nodes that carry one of them badly, or where one failed to start, as long as they have not been away since."""
    nodes: set[str] = set()
    for instance in members:
        placement = instance.placement
        if placement is None:
            continue
        to_run = placement.goal is Goal.RUN and instance.spec.desired is Desired.STARTED
        if to_run and not runs_well(instance):
            nodes.add(placement.node)
        if placement.tried and instance.spec_revision <= instance.placement_revision:
            nodes.update(set(placement.tried) - joined_since(batch, instance).keys())
    return nodes


def _best(
    batch: Batch,
    movable: Collection[InstanceView],
    targets: Collection[str],
    without: Collection[tuple[str, str]],
) -> Proposal | None:
    """From the node that carries most of this spread set (of equals, most of the kind), as far as something there may go to
    one that carries at least two fewer: to the one of these that the planner would choose."""
    on: dict[str, list[InstanceView]] = {}
    for instance in movable:
        on.setdefault(min(batch.executors(instance)), []).append(instance)
    if not on:
        return None
    some, arrays = next(iter(movable)).spec, batch.fleet.arrays
    counts, of_kind = arrays.counts.of_set(spread_set(some)), arrays.counts.of_kind(some.kind)
    able = [name for name in some.nodes or arrays.names if name in targets]
    taking_part = set(_taking_part(batch.view, batch.now))
    carried = {name: int(counts[arrays.index[name]]) for name in {*on, *able}}

    def fullest_first(name: str) -> tuple[int, int, str]:
        return -carried[name], -int(of_kind[arrays.index[name]]), name

    for source in sorted(on.keys() & taking_part, key=fullest_first):
        fewer = [name for name in able if carried[source] - carried[name] >= 2]
        for instance in on[source] if fewer else ():
            spec = instance.spec
            among = [n for n in fewer if (spec.id, n) not in without and not liked_less(batch, spec, source, n)]
            target = choose(spec, batch.fleet, among, moving=True).node if among else ""
            if target:
                before = (carried[source], carried[target])
                gain = 2.0 * (before[0] - before[1] - 1)
                return Proposal(spec.id, source, target, spec.kind in SEAMLESS_KINDS, gain, COST, before)
    return None
