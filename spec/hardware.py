"""Guard, watchdog, power and clocks. Code: fencing/guard/core.py and process.py; the rest is hardware."""

from spec.agent import Steps, session_ends
from spec.state import LAUNCHING, NOTHING, PAST, RUNNING, UNARMED, Config, State


def steps(s: State, c: Config) -> Steps:
    if s.on:
        yield from _guard(s, c)
        if c.boots:
            yield "the machine loses its power", power_lost(s, c)
        if s.watchdog >= c.W * c.hi:
            broken = "INV-5: a node that stops cleanly is reset" if c.prompt else ""
            yield "the watchdog resets the machine", power_lost(s, c)._replace(broken=broken)
    elif s.boots < c.boots:
        yield "the machine boots", s._replace(on=True, agent="read", boots=s.boots + 1)
    if s.off_under_way:
        yield "the power-off arrives", power_lost(s, c)._replace(off_under_way=False)
    yield from _time(s, c)


# --- the guard: core.may_pet, Guard._pet, tick -----------------------------------------------------------------------


def may_pet(s: State, c: Config) -> bool:
    """`now < D + G`. The instant D + G itself counts on the side that is worse for what is checked (docs/model.md)."""
    if s.guard == "idle" or (s.guard == "armed" and "pet-on-events" in c.mutants):
        return True
    return s.guard == "armed" and s.guard_left >= (1 if c.prompt else 0)


def _guard(s: State, c: Config) -> Steps:
    if s.watchdog != UNARMED and s.guard != "idle":
        if may_pet(s, c):
            yield "guard checks and pets", _petted(s, c)
            # To be held up after an earlier check is no worse than after the last one that says yes.
            if not s.checked and not c.prompt and s.guard_left < c.hi:
                writes = 2 if "pet-twice-per-check" in c.mutants else 1
                yield "guard checks, may pet, and is paused", s._replace(checked=writes)
        if s.checked:
            yield "guard goes on and writes to the device", _petted(s, c)._replace(checked=s.checked - 1)
        if "pet-on-hello" in c.mutants and s.agent != "gone":
            yield "guard pets because an agent says hello", s._replace(watchdog=0)
    if s.guard == "armed" and s.guard_left <= 0 and s.group in (LAUNCHING, RUNNING):
        yield "guard kills the strict group at D + G", s._replace(group=NOTHING)


def _petted(s: State, c: Config) -> State:
    in_time = c.late_device or s.watchdog <= c.W * c.hi
    return s._replace(watchdog=0) if in_time else s


# --- power -----------------------------------------------------------------------------------------------------------


def power_lost(s: State, c: Config) -> State:
    if not s.on:
        return s
    ended = session_ends(s, c)
    return ended._replace(
        on=False,
        group=NOTHING,
        watchdog=UNARMED,
        guard="absent",
        guard_left=PAST,
        checked=0,
        agent="off",
        beat_boot=False,
        lost=tuple(sorted({lost._replace(same_boot=False) for lost in ended.lost})),
    )


# --- time ------------------------------------------------------------------------------------------------------------


def _time(s: State, c: Config) -> Steps:
    """One step of real time. Each clock is slow or fast in it, whatever it was before."""
    for node, manager in _rates(c):
        after = _node_time(s, c, node)
        if after is None:
            continue
        if s.seen and "P4" in c.proofs and s.epoch < c.epochs:
            after = after._replace(age=min(s.age + manager, c.T_wait * c.hi))
        if after != s:
            yield _elapsed(c, node, manager), after


def _rates(c: Config) -> tuple[tuple[int, int], ...]:
    if c.steady:
        return ((c.lo, c.hi),)
    speeds = (c.lo,) if c.lo == c.hi else (c.lo, c.hi)
    return tuple((node, manager) for node in speeds for manager in speeds)


def _elapsed(c: Config, node: int, manager: int) -> str:
    if c.lo == c.hi:
        return "– one tick –"
    word = {c.lo: "slow", c.hi: "fast"}
    return f"– one step: node's clock {word[node]}, manager's {word[manager]} –"


def rates_of(what: str, c: Config) -> tuple[int, int]:
    """By how many sub-ticks the clocks of node and manager went on in a step of that name."""
    return next((rates for rates in _rates(c) if _elapsed(c, *rates) == what), (0, 0))


def _node_time(s: State, c: Config, passed: int) -> State | None:
    """None: something must happen first (the device fires; where nothing is paused, whatever is due)."""
    if not s.on:
        return s
    watchdog = s.watchdog
    if watchdog != UNARMED and s.guard != "idle":
        watchdog += passed
        if watchdog > (c.W + c.j) * c.hi:
            return None
    if c.prompt and _due(s, c, passed):
        return None
    attempt = s.attempt
    if attempt is not None and attempt.left >= 0:
        attempt = attempt._replace(left=max(attempt.left - passed, PAST))
    return s._replace(
        watchdog=watchdog,
        guard_left=max(s.guard_left - passed, PAST),
        left=max(s.left - passed, PAST),
        attempt=attempt,
        stop_time=s.stop_time + passed if c.prompt and s.agent in ("stopping", "releasing") else 0,
    )


def _due(s: State, c: Config, passed: int) -> bool:
    """Where nothing is paused: the guard's pet, the look at D, the word to the guard, the end of the stops."""
    pet = s.guard == "armed" and may_pet(s, c) and s.watchdog + passed > c.period * c.hi
    expire = s.agent == "active" and s.left <= 0
    tell = not s.told and s.left >= 0 and s.agent in ("active", "stopping", "releasing")
    stop = s.agent in ("stopping", "releasing") and s.stop_time + passed > c.prompt * c.hi
    return pet or expire or tell or stop


def at_its_last_moment(s: State, c: Config) -> bool:
    """The device cannot wait any longer. Its check was strictly before D + G, so it fires strictly before the bound is over:
    at the same instant it comes before the claim."""
    return s.on and s.watchdog == (c.W + c.j) * c.hi
