"""CP-SAT against an exhaustive search: the same value by every point of the objective, by steps that can be carried out."""

import sys

import pytest
from room_judge import best, broken, end_of, random_problem, score_of

from holdfast.core.make_room import Move, RoomItem, RoomNode, RoomProblem
from holdfast.planning.cpsat import CpSatSolver


@pytest.mark.parametrize("seed", range(100))
def test_answer_is_the_best_there_is(seed: int) -> None:
    problem = random_problem(seed)
    solution = CpSatSolver().solve(problem)
    final, order = end_of(problem, solution)
    assert broken(problem, final, order) == ""
    assert solution.proven, solution.why
    assert score_of(problem, final) == best(problem)


def test_without_its_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    solution = CpSatSolver().solve(random_problem(0))
    assert (solution.placed, solution.moves, solution.stopped, solution.proven) == ({}, (), (), False)
    assert "not installed" in solution.why


def test_a_swap_of_two_full_nodes_is_left_out() -> None:
    """c would fit beside b; but neither a nor b has room on the other's node while that is there."""
    both = frozenset(("n1", "n2"))
    a = RoomItem(("a",), (4,), both, 500, 501, "n1", movable=True)
    b = RoomItem(("b",), (3,), both, 500, 501, "n2", movable=True)
    c = RoomItem(("c",), (2,), frozenset(("n1",)), 500, 501)
    solution = CpSatSolver().solve(RoomProblem((RoomNode("n1", (5,)), RoomNode("n2", (5,))), (a, b, c)))
    assert solution.proven and not solution.placed and not solution.moves
    with_a_way_out = (RoomNode("n1", (5,)), RoomNode("n2", (7,)))
    assert CpSatSolver().solve(RoomProblem(with_a_way_out, (a, b, c))).placed == {"c": "n1"}


def test_moves_come_in_an_order_in_which_each_has_room() -> None:
    """c needs n1 whole; a goes to n2 only after b has left it for n3."""
    everywhere = frozenset(("n1", "n2", "n3"))
    nodes = (RoomNode("n1", (4,)), RoomNode("n2", (4,)), RoomNode("n3", (2,)))
    a = RoomItem(("a",), (4,), frozenset(("n1", "n2")), 500, 501, "n1", movable=True)
    b = RoomItem(("b",), (2,), everywhere, 500, 501, "n2", movable=True)
    c = RoomItem(("c",), (4,), frozenset(("n1",)), 500, 501)
    solution = CpSatSolver().solve(RoomProblem(nodes, (a, b, c)))
    assert solution.moves == (Move("b", "n2", "n3"), Move("a", "n1", "n2"))
    assert solution.placed == {"c": "n1"} and solution.proven


def test_the_same_answer_again_and_an_honest_one_when_time_is_short() -> None:
    problem = random_problem(7)
    assert CpSatSolver().solve(problem) == CpSatSolver().solve(problem)
    hurried = CpSatSolver(work_s=1e-9).solve(problem)
    final, order = end_of(problem, hurried)
    assert broken(problem, final, order) == ""
    assert hurried.proven or hurried.why
