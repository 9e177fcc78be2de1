"""Breadth-first search of everything that can happen: either every reachable state is good, or here is the shortest way to a
bad one."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """What happened, and the state it led to."""

    what: str
    state: S


@dataclass(frozen=True, slots=True)
class Result(Generic[S]):
    """Of one search."""

    states: int
    seconds: float
    """Of one processor."""
    violation: str = ""
    """Empty: every reachable state is good (if `complete`)."""
    trace: tuple[Step[S], ...] = field(default=())
    """From the initial state to the bad one."""
    complete: bool = True
    """False: given up at the limit."""


def search(
    start: S,
    successors: Callable[[S], Iterable[tuple[str, S]]],
    violated: Callable[[S], str],
    limit: int = 2_000_000,
) -> Result[S]:
    """Visit every state that can be reached from `start`, nearest first, at most `limit`. `violated` returns the invariant
    that a state breaks, or nothing. States are compared as values (hashable), so none is visited twice."""
    gc.disable()  # states refer to nothing that could form a cycle, and collecting them over and over costs most of the time
    try:
        return _search(start, successors, violated, limit)
    finally:
        gc.enable()


def _search(
    start: S, successors: Callable[[S], Iterable[tuple[str, S]]], violated: Callable[[S], str], limit: int
) -> Result[S]:
    began = time.process_time()
    came_from: dict[S, tuple[S, str] | None] = {start: None}
    frontier = [start]
    while frontier:
        following: list[S] = []
        for state in frontier:
            for what, after in successors(state):
                if after in came_from:
                    continue
                came_from[after] = (state, what)
                problem = violated(after)
                if problem:
                    elapsed = time.process_time() - began
                    return Result(len(came_from), elapsed, problem, _trace(came_from, after))
                following.append(after)
        if len(came_from) > limit:
            return Result(len(came_from), time.process_time() - began, complete=False)
        frontier = following
    return Result(len(came_from), time.process_time() - began)


def _trace(came_from: dict[S, tuple[S, str] | None], last: S) -> tuple[Step[S], ...]:
    steps: list[Step[S]] = []
    at: S = last
    while (origin := came_from[at]) is not None:
        before, what = origin
        steps.append(Step(what, at))
        at = before
    steps.append(Step("the beginning", at))
    return tuple(reversed(steps))
