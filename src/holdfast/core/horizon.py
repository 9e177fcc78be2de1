"""When to look again: the next moment at which time alone can change a decision.

Whatever else changes a decision is an event (a change in the store, an observer's report, the end of a power fencing, a
probe's answer) and wakes the manager by itself. So a manager of a calm cluster sleeps.
"""

from collections.abc import Iterator

from holdfast.core.fencing import CLEAR_S, MATURE_S, POWER_RETRY_S
from holdfast.core.reasons import UNHEALTHY_MOVE_S
from holdfast.core.rebalance import moments as rebalance_moments
from holdfast.core.restored import PATIENCE_S as UNHEARD_PATIENCE_S
from holdfast.core.spreading import moments as spreading_moments
from holdfast.core.start_order import PATIENCE_S
from holdfast.core.view import HEALTHY_S, View
from holdfast.core.yielding import YIELD_S


def next_look(view: View, now: float) -> float:
    """The earliest moment after `now` (manager's CLOCK_BOOTTIME, seconds) at which the same view may give another decision;
    infinity if there is none."""
    return min((moment for moment in _moments(view) if moment > now), default=float("inf"))


def _moments(view: View) -> Iterator[float]:
    """Every threshold that some comparison with the time in `core` knows."""
    timing = view.timing
    if view.epoch_floor:
        yield view.term_since + timing.T_wait
    for node in view.nodes.values():
        if node.member:
            yield node.beat_seen_at + timing.F
            yield node.beat_seen_at + timing.T_wait
        if node.unheard:
            yield node.beat_seen_at + UNHEARD_PATIENCE_S
        if node.power is not None:
            yield node.power.ended_at + POWER_RETRY_S
        yield node.up_since + HEALTHY_S
        if node.suspicion is not None:
            yield node.suspicion.since + CLEAR_S
            yield node.suspicion.since + MATURE_S
    for instance in view.instances.values():
        if instance.unhealthy_since is not None:
            yield instance.unhealthy_since + UNHEALTHY_MOVE_S
        if instance.placement is not None:
            yield instance.placed_at + PATIENCE_S
            yield instance.placed_at + YIELD_S
    yield from rebalance_moments(view)
    yield from spreading_moments(view)
