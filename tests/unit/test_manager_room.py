"""The desk that makes room: when it asks, what it commits, and when it stops asking. The solver is a table of answers."""

import asyncio
from dataclasses import replace

from decide_world import N1, N2, NOW, STOP, T, vm

from holdfast.core.intents import AskMove, Decision, EndMove, Intent, Place
from holdfast.core.make_room import Move, RoomProblem, RoomSolution
from holdfast.core.model import Goal, InstanceState, MoveRequest
from holdfast.core.view import ROOM_FOR, InstanceView, View
from holdfast.manager.room import GIVE_UP_S, RIPE_S, RoomDesk

BIG = vm("vm/big", "", spec={"memory_mib": 8192, "priority": 900})
SMALL = vm("vm/small", "n1")
BATCH = vm("vm/batch", "n2", spec={"memory_mib": 8192, "preemptible": True, "priority": 1})
MOVES = RoomSolution({"vm/big": "n1"}, (Move("vm/small", "n1", "n2"),))
STOPS = RoomSolution({"vm/big": "n2"}, (), ("vm/batch",))
CRAMPED = Decision(cramped=("vm/big",))


class Solver:
    """Gives the same answer to whatever it is asked."""

    def __init__(self, answer: RoomSolution) -> None:
        self.answer = answer
        self.asked: list[RoomProblem] = []

    async def solve(self, problem: RoomProblem) -> RoomSolution:
        self.asked.append(problem)
        return self.answer


def seen(*instances: InstanceView) -> View:
    return View(T, 500, {"n1": N1, "n2": N2}, {i.id: i for i in instances})


def desk_of(answer: RoomSolution) -> tuple[RoomDesk, Solver]:
    solver = Solver(answer)
    return RoomDesk(solver.solve, lambda: None), solver


async def turns(desk: RoomDesk, view: View, *moments: float, decision: Decision = CRAMPED) -> list[list[Intent]]:
    """What it wants at each of these moments, with time for the solver after each."""
    wanted = []
    for moment in moments:
        wanted.append(desk.steps(view, decision, NOW + moment))
        for _ in range(3):
            await asyncio.sleep(0)
    return wanted


async def test_it_asks_after_a_while_and_commits_the_answer_once() -> None:
    desk, solver = desk_of(MOVES)
    view = seen(BIG, SMALL, vm("vm/other", "n1", spec={"memory_mib": 7168}))
    early, asks, answers, again, later = await turns(desk, view, 0, RIPE_S, RIPE_S + 1, RIPE_S + 2, RIPE_S + 5)
    assert early == asks == again == later == [] and len(solver.asked) == 1
    [move] = answers
    assert isinstance(move, AskMove) and move.request == MoveRequest("n2", f"{ROOM_FOR}vm/big", live=True)
    assert (move.placement_revision, move.spec_revision) == (70, 7)


async def test_an_answer_to_another_problem_is_not_used() -> None:
    desk, solver = desk_of(MOVES)
    await turns(desk, seen(BIG, SMALL), 0, RIPE_S)
    grown = replace(SMALL, spec=replace(SMALL.spec, memory_mib=2048))
    assert await turns(desk, seen(BIG, grown), RIPE_S + 1) == [[]] and len(solver.asked) == 2


async def test_what_is_stopped_says_for_whom() -> None:
    desk, _ = desk_of(STOPS)
    *_, answers = await turns(desk, seen(BIG, SMALL, BATCH), 0, RIPE_S, RIPE_S + 1)
    [stop] = answers
    assert isinstance(stop, Place) and stop.event == "instance-preempted"
    placement = stop.placement
    assert (placement.goal, placement.node, placement.yields_to) == (Goal.STOP, "n2", "vm/big")


async def test_nothing_is_begun_while_something_moves_stops_or_starts() -> None:
    moves = vm("vm/small", "n1", placement={"migrate_to": "n2", "migrate_fence_epoch": 1})
    stops = vm("vm/small", "n1", InstanceState.STOPPING, placement=STOP)
    starts = vm("vm/small", "n1", InstanceState.STARTING, placed_at=NOW)
    asked = replace(SMALL, move=MoveRequest("n2", f"{ROOM_FOR}vm/big", live=True), move_revision=90)
    for busy in (moves, stops, starts, asked):
        desk, solver = desk_of(MOVES)
        assert await turns(desk, seen(BIG, busy), 0, RIPE_S, RIPE_S + 1) == [[], [], []]
        assert solver.asked == []


async def test_a_request_that_nothing_came_of_is_withdrawn() -> None:
    asked = replace(SMALL, move=MoveRequest("n2", f"{ROOM_FOR}vm/big", live=True), move_revision=90)
    desk, _ = desk_of(MOVES)
    first, late = await turns(desk, seen(BIG, asked), 0, GIVE_UP_S)
    assert first == [] and late == [EndMove("vm/small", 90, "vm/small could not move for vm/big")]
    assert desk.next_look(NOW) == NOW + RIPE_S
    [needless] = await turns(desk, seen(BIG, asked), 1, decision=Decision())
    assert needless == [EndMove("vm/small", 90, "vm/small need not move for vm/big any more")]
    operators = replace(asked, move=MoveRequest("n2", "root"))
    assert await turns(desk, seen(BIG, operators), 2, decision=Decision()) == [[]]


async def test_a_solver_that_fails_costs_nothing_but_the_room() -> None:
    async def breaks(_problem: RoomProblem) -> RoomSolution:
        raise RuntimeError("no solver today")

    desk = RoomDesk(breaks, lambda: None)
    assert await turns(desk, seen(BIG, SMALL), 0, RIPE_S, RIPE_S + 1, RIPE_S + 2) == [[], [], [], []]


async def test_nothing_is_done_in_a_hold_or_before_the_view_is_settled() -> None:
    for view, decision in (
        (seen(BIG, SMALL), replace(CRAMPED, hold="more than half are suspect")),
        (replace(seen(BIG, SMALL), settled=False), CRAMPED),
    ):
        desk, solver = desk_of(MOVES)
        await turns(desk, view, 0, RIPE_S, RIPE_S + 1, decision=decision)
        assert solver.asked == []


async def test_in_a_hold_nothing_is_written_and_afterwards_everything_ripens_anew() -> None:
    asked = replace(SMALL, move=MoveRequest("n2", f"{ROOM_FOR}vm/big", live=True), move_revision=90)
    desk, solver = desk_of(MOVES)
    view = seen(BIG, asked)
    paused = Decision(hold="high availability is paused")  # then nobody is said to be cramped
    suspects = replace(CRAMPED, hold="more than half are suspect")
    await turns(desk, view, 0)
    for hold in (paused, suspects):
        assert await turns(desk, view, 1, GIVE_UP_S + 1, decision=hold) == [[], []]
        assert desk.next_look(NOW) == float("inf")
    after = GIVE_UP_S + 2
    assert await turns(desk, view, after, after + GIVE_UP_S - 1) == [[], []], "it has its whole minute again"
    [late] = await turns(desk, view, after + GIVE_UP_S)
    assert late == [EndMove("vm/small", 90, "vm/small could not move for vm/big")]
    assert solver.asked == []
