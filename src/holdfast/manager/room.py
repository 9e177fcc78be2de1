"""The planner's second step: when something does not fit, a solver looks for room, and its answer becomes moves and stops.

The solver runs beside the manager's work and never holds it up. What it says is used only if the problem is still the same
when it has said it, and one step at a time: first what is stopped, then one move after the other. Everything that was begun
can be seen in the store, so that nothing is begun anew before it is over, by whichever manager.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

import structlog

from holdfast.core.batch import Batch
from holdfast.core.intents import AskMove, Decision, EndMove, Intent
from holdfast.core.make_room import Move, RoomProblem, RoomSolution
from holdfast.core.model import Desired, Goal, InstanceState, MoveRequest
from holdfast.core.neighbourhood import room_problem
from holdfast.core.start_order import starting
from holdfast.core.view import ROOM_FOR, InstanceView, View
from holdfast.errors import HoldfastError

log = structlog.get_logger("holdfast.manager")

RIPE_S = 3.0
"""So long something must have had no room before anybody else is disturbed for it: nodes join and starts fail meanwhile."""
GIVE_UP_S = 60.0
"""A request of the planner that could not be followed for so long is withdrawn."""
REMEMBERED = 32
"""So many problems are not solved twice."""

Solve = Callable[[RoomProblem], Awaitable[RoomSolution]]


class RoomDesk:
    """One per manager. `done` is called (synchronously) whenever the solver has answered."""

    def __init__(self, solve: Solve | None, done: Callable[[], None]) -> None:
        """`solve`: None if this manager makes no room."""
        self._solve = solve
        self._done = done
        self._cramped_since: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        """Instance → when the planner's present request for its move was first seen."""
        self._solving: asyncio.Task[None] | None = None
        self._answered: tuple[RoomProblem, RoomSolution] | None = None
        self._tried: deque[RoomProblem] = deque(maxlen=REMEMBERED)
        self._moves: deque[tuple[Move, str]] = deque()
        """What is left of the last answer: moves, and for whom."""

    def stop(self) -> None:
        """End of the term: forget everything."""
        if self._solving is not None:
            self._solving.cancel()
        self._solving, self._answered = None, None
        self._cramped_since.clear()
        self._asked_at.clear()
        self._tried.clear()
        self._moves.clear()

    def next_look(self, now: float) -> float:
        """When time alone changes what is to be done; infinity: never."""
        moments = [since + RIPE_S for since in self._cramped_since.values()]
        moments += [at + GIVE_UP_S for at in self._asked_at.values()]
        return min((moment for moment in moments if moment > now), default=float("inf"))

    def steps(self, view: View, decision: Decision, now: float) -> list[Intent]:
        """What is to be committed now. To be asked after each decision."""
        if decision.hold:  # what such a view says is not acted upon: afterwards everything ripens anew
            self._cramped_since.clear()
            self._asked_at.clear()
            self._moves.clear()
            return []
        self._cramped_since = {name: self._cramped_since.get(name, now) for name in decision.cramped}
        withdrawn: list[Intent] = list(self._withdrawn(view, now))
        if self._solve is None or withdrawn or not decision.cramped:
            self._moves.clear()
            return withdrawn
        ripe = [name for name in decision.cramped if now - self._cramped_since[name] >= RIPE_S]
        if not ripe or decision.intents or not view.settled:
            return []
        batch = Batch.of(view, now, ())
        if any(_in_motion(batch, instance) for instance in view.instances.values()):
            return []
        while self._moves:
            step = self._next_move(batch, *self._moves.popleft())
            if step is not None:
                return [step]
        problem = room_problem(view, batch.fleet, ripe)
        if self._answered is not None and self._answered[0] == problem:
            _, solution = self._answered
            self._answered = None
            return self._begin(batch, solution)
        if self._solving is None and problem not in self._tried:
            self._tried.append(problem)
            self._solving = asyncio.create_task(self._ask(self._solve, problem))
        return []

    async def _ask(self, solve: Solve, problem: RoomProblem) -> None:
        try:
            solution = await solve(problem)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # without room the instance waits on, and says so: the manager must not end for it
            text = str(error) if isinstance(error, HoldfastError) else repr(error)
            solution = RoomSolution(why=f"the solver failed: {text}")
        log.info(
            "looked for room",
            placed=dict(solution.placed),
            moved=[move.instance for move in solution.moves],
            stopped=list(solution.stopped),
            proven=solution.proven,
            why=solution.why,
        )
        self._answered = (problem, solution)
        self._solving = None
        self._done()

    # --- using an answer --------------------------------------------------------------------------------------------------

    def _begin(self, batch: Batch, solution: RoomSolution) -> list[Intent]:
        """Its stops, or its first move if it has none."""
        if not solution.placed:
            return []
        self._moves.extend((move, _taker(batch, solution, move.source)) for move in solution.moves)
        stops: list[Intent] = []
        for name in solution.stopped:
            instance = batch.view.instances[name]
            assert instance.placement is not None and instance.spec.preemptible
            taker = _taker(batch, solution, instance.placement.node)
            stops.append(
                batch.stop(instance, f"to make room for {taker}", "", event="instance-preempted", yields_to=taker)
            )
        if stops or not self._moves:
            return stops
        step = self._next_move(batch, *self._moves.popleft())
        return [step] if step is not None else []

    def _next_move(self, batch: Batch, move: Move, taker: str) -> Intent | None:
        """Ask for the move, if it can still be made and is not made yet. A group moves as one: its first move is enough."""
        instance = batch.view.instances.get(move.instance)
        placement = instance.placement if instance is not None else None
        if instance is None or placement is None or placement.node != move.source or not instance.running():
            return None
        if instance.move is not None or instance.lock is not None or instance.spec.desired is not Desired.STARTED:
            return None
        if batch.choose(instance.spec, {move.target: batch.view.nodes[move.target]}, moving=True).node != move.target:
            self._moves.clear()
            return None
        request = MoveRequest(move.target, f"{ROOM_FOR}{taker}", live=True)
        return AskMove(instance.id, request, instance.placement_revision, instance.spec_revision)

    def _withdrawn(self, view: View, now: float) -> Iterator[EndMove]:
        """The planner's requests that nothing came of, or that nobody needs any more."""
        asked = {i.id: i for i in view.instances.values() if i.moves_for}
        self._asked_at = {name: self._asked_at.get(name, now) for name in asked}
        for name, instance in asked.items():
            if instance.placement is not None and (instance.placement.migrate_to or instance.bound_for):
                continue
            taker = instance.moves_for
            if taker not in self._cramped_since:
                yield EndMove(name, instance.move_revision, f"{name} need not move for {taker} any more")
            elif now - self._asked_at[name] >= GIVE_UP_S:
                yield EndMove(name, instance.move_revision, f"{name} could not move for {taker}")


def _taker(batch: Batch, solution: RoomSolution, node: str) -> str:
    """For whom room is made on this node: the most important one that is to come there, else the most important of all."""

    def order(name: str) -> tuple[int, str]:
        return (-batch.view.instances[name].spec.priority, name)

    there: Iterable[str] = [name for name, target in solution.placed.items() if target == node]
    return min(there or solution.placed, key=order)


def _in_motion(batch: Batch, instance: InstanceView) -> bool:
    """Something is under way that changes what is free: it is waited for."""
    placement, word = instance.placement, instance.word
    if instance.moves_for:
        return True
    here = batch.executors(instance)
    if placement is None or not here or not all(_up(batch, node) for node in here):
        return False
    leaves = placement.goal is Goal.STOP and instance.spec.desired is Desired.STARTED
    failed = word is not None and word.state is InstanceState.FAILED
    return bool(placement.migrate_to) or (leaves and not failed) or starting(batch, instance)


def _up(batch: Batch, node: str) -> bool:
    return batch.view.nodes[node].up(batch.view.timing, batch.now)
