"""The second step solved by CP-SAT (OR-tools): exact on what it is asked, within a limited amount of work.

One worker, a fixed seed and a limit in deterministic time: the same problem gets the same answer on every machine, however
busy it is. Each point of the objective is a solve of its own, which keeps the numbers small and the bounds tight.
"""

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.core.make_room import Move, RoomItem, RoomProblem, RoomSolution
from holdfast.core.move_order import executable_order
from holdfast.planning.move_rules import all_at_once, in_some_order
from holdfast.planning.room_model import Answer, RoomModel

if TYPE_CHECKING:
    from types import ModuleType

WORK_S = 4.0
"""Limit for a whole call in CP-SAT's deterministic seconds, which come near to real ones on an idle machine of 2020."""
ORDERED = 30
"""With more movable items their order is not asked for exactly."""
MISSING = "the solver is not installed (Python package ortools): the planner goes on without making room"


class CpSatSolver:
    """`core.make_room.Solver`. Imports OR-tools (some two seconds) with its first problem, not before."""

    def __init__(self, work_s: float = WORK_S) -> None:
        self._work_s = work_s

    def solve(self, problem: RoomProblem) -> RoomSolution:
        library = _library()
        if library is None:
            return RoomSolution(why=MISSING)
        if not any(not item.node for item in problem.items):
            return RoomSolution(proven=True)
        # Most answers can be carried out as they are. Only if one cannot, its order becomes part of the question.
        share = self._work_s / 2
        answer = RoomModel(library, problem, share).solve()
        order = executable_order(problem, answer.targets, answer.stopped)
        if order is None and sum(item.movable for item in problem.items) <= ORDERED:
            answer = RoomModel(library, problem, share, in_some_order).solve()
            order = executable_order(problem, answer.targets, answer.stopped)
        if order is None:
            answer = replace(RoomModel(library, problem, share, all_at_once).solve(), proven=False)
            order = executable_order(problem, answer.targets, answer.stopped)
        assert order is not None, "moves that have room all at once have it in any order"
        return _told(problem, answer, order)


def _library() -> "ModuleType | None":
    """OR-tools' modelling module, or None where it is not installed."""
    try:
        return importlib.import_module("ortools.sat.python.cp_model")
    except ImportError:
        return None


def _told(problem: RoomProblem, answer: Answer, order: tuple[RoomItem, ...]) -> RoomSolution:
    waiting = [item for item in problem.items if not item.node]
    gone = [item for item in problem.items if item.id in answer.stopped]
    solution = RoomSolution(
        placed={name: answer.placed[item.id] for item in waiting if item.id in answer.placed for name in item.members},
        moves=tuple(Move(name, item.node, answer.targets[item.id]) for item in order for name in item.members),
        stopped=tuple(name for item in gone for name in item.members),
        proven=answer.proven,
    )
    return (
        solution
        if answer.proven
        else replace(
            solution, why="no proof: the limit of work was reached, or the order of moves was too hard to ask for"
        )
    )
