"""Automatic evening out, one move at a time, while it is worth it, everything is calm, and the guarantee stays: of what is
counted always, since such a move is only a change of state (core/spreading.py); of the load, by live migration, where the
compute cluster's settings want it (core/rebalance.py).

Whether a move would take the guarantee away is computed beside the manager's work, and holds for exactly the cluster that it
was computed for.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from holdfast.core.assurance import lost_work
from holdfast.core.intents import AskMove, Decision, EndMove, Intent
from holdfast.core.model import MoveRequest
from holdfast.core.moves import Proposal
from holdfast.core.rebalance import automatic
from holdfast.core.spreading import automatic as spread_automatically
from holdfast.core.view import InstanceView, View
from holdfast.manager.guarantee import Assess, inputs

log = structlog.get_logger("holdfast.manager")

OPERATOR = "rebalance"
"""In whose name the moves are asked for."""
GIVE_UP_S = 60.0
"""A request that could not be followed for so long is withdrawn."""
REFUSALS = 8
"""So many moves at most are found to break the guarantee before the load is left as it is, until something changes."""


class Balancer:
    """One per manager. `done` is called (synchronously) whenever a move has been judged."""

    def __init__(self, assess: Assess | None, done: Callable[[], None]) -> None:
        """`assess`: None if this manager gives no guarantee; then no move can break it."""
        self._assess = assess
        self._done = done
        self._balancing = False
        self._asked_at: dict[str, float] = {}
        """Instance → when the present request for its move was first seen."""
        self._inputs: object = None
        self._judged: dict[tuple[str, str], bool] = {}
        """(Instance, target) → whether the guarantee stays, of the cluster as it is."""
        self._judging: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End of the term: forget everything."""
        self._balancing = False
        self._asked_at.clear()
        self._forget(None)

    def steps(self, view: View, decision: Decision, now: float, *, incident: bool = False) -> list[Intent]:
        """What is to be committed now. To be asked after each decision. `incident`: one is open."""
        if decision.hold:
            return []
        withdrawn: list[Intent] = list(self._withdrawn(view, now))
        if withdrawn or decision.intents or incident:
            return withdrawn
        if self._assess is not None and view.compute is not None and (seen := inputs(view, now)) != self._inputs:
            self._forget(seen)
        refused = {move for move, stays in self._judged.items() if not stays}
        if len(refused) >= REFUSALS:
            return []
        move = spread_automatically(view, now, without=refused)
        if move is None and not decision.cramped:
            self._balancing, move = automatic(view, now, balancing=self._balancing, without=refused)
        if move is None or not self._stays(view, move, now):
            return []
        instance = view.instances[move.instance]
        return [AskMove(instance.id, _request(move), instance.placement_revision, instance.spec_revision)]

    def next_look(self, now: float) -> float:
        """When time alone changes what is to be done (beside `core/horizon.py`); infinity: never."""
        moments = (at + GIVE_UP_S for at in self._asked_at.values())
        return min((moment for moment in moments if moment > now), default=float("inf"))

    def _withdrawn(self, view: View, now: float) -> Iterator[EndMove]:
        asked = {i.id: i for i in view.instances.values() if i.move is not None and i.move.operator == OPERATOR}
        self._asked_at = {name: self._asked_at.get(name, now) for name in asked}
        for name, instance in asked.items():
            if now - self._asked_at[name] >= GIVE_UP_S and not _under_way(instance):
                yield EndMove(name, instance.move_revision, f"{name} could not move to even out the load")

    # --- the guarantee ----------------------------------------------------------------------------------------------------

    def _forget(self, seen: object) -> None:
        """The cluster is another one now."""
        self._inputs = seen
        self._judged.clear()
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None

    def _stays(self, view: View, move: Proposal, now: float) -> bool:
        """The guarantee, if there is one, was found to stay with this move. Has it judged if it was not yet."""
        if self._assess is None or view.compute is None:
            return True
        if (move.instance, move.target) not in self._judged and self._judging is None:
            self._judging = asyncio.create_task(self._judge(self._assess, view, view.compute.tolerate, move, now))
        return self._judged.get((move.instance, move.target), False)

    async def _judge(self, assess: Assess, view: View, tolerate: int, move: Proposal, now: float) -> None:
        instance = replace(view.instances[move.instance], move=_request(move))
        moved = replace(view, instances={**view.instances, move.instance: instance})
        try:
            then = await assess(moved, tolerate, now)
            stays = then.holds
            if not stays:
                before = await assess(view, tolerate, now)
                stays = not before.holds and lost_work(view, then) <= lost_work(view, before)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a mistake in a prognosis must not end the manager
            log.error("the guarantee could not be computed", error=repr(error))
            stays = False
        if not stays:
            log.info("not moved to even out the load", instance=move.instance, to=move.target)
        self._judged[move.instance, move.target] = stays
        self._judging = None
        self._done()


def _request(move: Proposal) -> MoveRequest:
    return MoveRequest(move.target, OPERATOR, live=True)


def _under_way(instance: InstanceView) -> bool:
    return instance.placement is not None and bool(instance.placement.migrate_to or instance.bound_for)
