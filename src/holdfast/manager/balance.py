"""Automatic evening out of the load: one live migration at a time, while it is worth it and everything is calm."""

from collections.abc import Iterator

from holdfast.core.intents import AskMove, Decision, EndMove, Intent
from holdfast.core.model import MoveRequest
from holdfast.core.rebalance import automatic
from holdfast.core.view import InstanceView, View

OPERATOR = "rebalance"
"""In whose name the moves are asked for."""
GIVE_UP_S = 60.0
"""A request that could not be followed for so long is withdrawn."""


class Balancer:
    """One per manager."""

    def __init__(self) -> None:
        self._balancing = False
        self._asked_at: dict[str, float] = {}
        """Instance → when the present request for its move was first seen."""

    def stop(self) -> None:
        """End of the term: forget everything."""
        self._balancing = False
        self._asked_at.clear()

    def steps(self, view: View, decision: Decision, now: float) -> list[Intent]:
        """What is to be committed now. To be asked after each decision."""
        if view.compute is None or view.compute.rebalance != "auto":
            self.stop()
            return []
        if decision.hold:
            return []
        withdrawn: list[Intent] = list(self._withdrawn(view, now))
        if withdrawn or decision.intents or decision.cramped:
            return withdrawn
        self._balancing, move = automatic(view, now, balancing=self._balancing)
        if move is None:
            return []
        instance = view.instances[move.instance]
        request = MoveRequest(move.target, OPERATOR, live=True)
        return [AskMove(instance.id, request, instance.placement_revision, instance.spec_revision)]

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


def _under_way(instance: InstanceView) -> bool:
    return instance.placement is not None and bool(instance.placement.migrate_to or instance.bound_for)
