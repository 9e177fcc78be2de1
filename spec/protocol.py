"""The protocol as one guarded-transition system: where it begins, what can happen next, what must never be."""

from spec import agent, hardware, manager
from spec.agent import Steps
from spec.state import RUNNING, UNARMED, Config, State


def initial(c: Config) -> State:
    """The node has just sent a beat that was committed at once and told its guard; the manager has seen nothing yet."""
    return State(left=c.F * c.hi, guard_left=(c.F + c.G) * c.hi, watchdog=0 if c.watchdog else UNARMED)


def successors(s: State, c: Config) -> Steps:
    """(what happens, the state after it) of everything that may happen next."""
    yield from agent.steps(s, c)
    yield from hardware.steps(s, c)
    yield from manager.steps(s, c)


def violated(s: State) -> str:
    """The invariant that does not hold, one sentence; empty: all hold."""
    if not s.broken and s.group == RUNNING and s.elsewhere:
        return "INV-1: the instance runs on two nodes"
    return s.broken
