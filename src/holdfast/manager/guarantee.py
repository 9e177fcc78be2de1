"""Does every set of tolerated failures leave room for all? Computed beside the manager's work, whenever something that it
depends on has changed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holdfast.core.admission import Guarantee
from holdfast.core.assurance import assure, at_rest
from holdfast.core.history import GuaranteeWord
from holdfast.core.make_room import Solver
from holdfast.core.view import View

log = structlog.get_logger("holdfast.manager")

PAUSE_S = 2.0
"""From one computation to the next: a fail-over changes everything several times a second."""
NAMED = 100
"""So many instances are named in the published word."""

Assess = Callable[[View, int, float], Awaitable[Guarantee]]
"""`assess`, run so that it does not hold up the event loop."""


def assess(view: View, tolerate: int, now: float, solver: Solver | None = None) -> Guarantee:
    """Of the cluster when all that is under way has arrived. Takes seconds for the largest."""
    return assure(at_rest(view, now), tolerate, now, solver)


class GuaranteeKeeper:
    """One per manager. `done` is called (synchronously) whenever there is a new answer."""

    def __init__(self, assess: Assess | None, done: Callable[[], None]) -> None:
        """`assess`: None if this manager gives no guarantee."""
        self._assess = assess
        self._done = done
        self._inputs: object = None
        self._next = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self.word: GuaranteeWord | None = None
        """The last answer; None: there is no compute cluster, or no answer yet."""

    def stop(self) -> None:
        """End of the term."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._inputs, self.word = None, None, None

    def observe(self, view: View, now: float) -> None:
        """To be called in each turn; cheap when nothing has changed."""
        if view.compute is None or self._assess is None:
            self.stop()
            return
        if self._task is not None or now < self._next:
            return
        seen = inputs(view, now)
        if seen != self._inputs:
            self._inputs, self._next = seen, now + PAUSE_S
            self._task = asyncio.create_task(self._compute(self._assess, view, view.compute.tolerate, now))

    async def _compute(self, assess: Assess, view: View, tolerate: int, now: float) -> None:
        try:
            found = await assess(view, tolerate, now)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a mistake in a prognosis must not end the manager
            log.error("the guarantee could not be computed", error=repr(error))
        else:
            self.word = word(found)
        self._task = None
        self._done()


def inputs(view: View, now: float) -> object:
    """All that the answer depends on, as far as it does not change by itself."""
    nodes = [
        (node.spec, node.up(view.timing, now), node.closed_reason, node.cpu, node.memory_mib, node.lost_networks)
        for node in view.nodes.values()
    ]
    instances = [(i.spec, i.placement, i.move, i.lock, i.deleting, i.running()) for i in view.instances.values()]
    return view.compute, view.rules, nodes, instances


def word(found: Guarantee) -> GuaranteeWord:
    """What people and programs are told of it."""
    waiting = sorted(found.waiting)
    count = "" if len(waiting) < 2 else f" and {len(waiting) - 1} more"
    now = f"there is no room now for {waiting[0]}{count}; of the rest: " if waiting else ""
    return GuaranteeWord(
        found.tolerate,
        found.holds,
        found.worst,
        tuple(sorted(found.unplaced)[:NAMED]),
        tuple(waiting[:NAMED]),
        now + found.text,
    )


def news(old: GuaranteeWord | None, new: GuaranteeWord | None) -> tuple[str, str] | None:
    """(kind of event, text) when the guarantee was lost or is there again."""
    if new is None or (old is not None and old.holds == new.holds) or (old is None and new.holds):
        return None
    return ("guarantee-holds" if new.holds else "guarantee-lost"), new.text
