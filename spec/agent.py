"""The agent's steps. It may be held up between any two of them: no step is ever forced. Code: agent/session.py,
agent/renewal.py, core/validity.py."""

from collections.abc import Iterator

from spec.state import (
    COMMITTED,
    ELSEWHERE,
    LAUNCHING,
    LIVE,
    NOTHING,
    PAST,
    RUNNING,
    SENT,
    STRAY,
    UNARMED,
    Attempt,
    Config,
    Lost,
    State,
)

Steps = Iterator[tuple[str, State]]

BEATING = ("active", "stopping", "idle", "releasing")
JOINING = ("announced", "joined", "adopt")


def steps(s: State, c: Config) -> Steps:
    if not s.on:
        return
    if s.attempt is None:
        yield from _send(s, c)
    else:
        yield from _outcome(s, s.attempt, c)
    yield from _deadline(s, c)
    yield from _start(s, c)
    if c.release:
        yield from _release(s, c)
    if s.restarts < c.restarts and s.agent != "read":
        yield "agent restarts on the same boot", session_ends(s, c)._replace(agent="read", restarts=s.restarts + 1)


# --- joining and beating: Session._join, _announce_joining, _attempt -------------------------------------------------


def _send(s: State, c: Config) -> Steps:
    if s.agent == "read":
        live = s.beat in LIVE and s.beat_ack == s.epoch
        adopts = live and s.beat_boot and "joining-while-running" not in c.mutants
        after = "adopt" if adopts else "announce"
        yield f"agent reads fence and beat: {after}", s._replace(agent=after, ack=s.epoch, current=True)
    elif s.agent == "announce":
        sent = s._replace(agent="announced", attempt=Attempt("joining", PAST))
        if "joining-while-running" not in c.mutants:
            sent = idle(sent, c)
        yield "agent stops everything, says idle to the guard, sends `joining`", sent
    elif s.agent in ("joined", "adopt"):
        yield "agent sends its first active beat", s._replace(attempt=Attempt("active", c.F * c.hi))
    elif s.agent in BEATING and c.beats:
        # A failed or unknown attempt was followed by a read, which teaches the revision only of its own beats.
        beat = s._replace(attempt=Attempt("active", c.F * c.hi), current=s.current or s.beat_own)
        yield "agent notes s and sends a beat", beat._replace(pausing=s.pausing and "pausing-too-long" in c.mutants)
        if c.pause:
            yield "agent notes s and sends a paused beat", beat._replace(attempt=Attempt("paused", c.F * c.hi))
    elif s.agent == "released":
        yield "agent sends `released`", s._replace(attempt=Attempt("released", PAST), current=s.current or s.beat_own)
        yield "agent gives up on the release and takes leave of the guard", _farewell(s)


def _outcome(s: State, a: Attempt, c: Config) -> Steps:
    """Of the attempt under way: Session._attempt, _explain_failure, _committed."""
    if a.stage == SENT:
        fence_holds = s.ack == s.epoch or "beat-ignores-fence" in c.mutants
        if s.current and fence_holds:
            applied = write_beat(s, c, a.phase, s.ack, own=True, same_boot=True)
            yield "store commits the beat", applied._replace(attempt=a._replace(stage=COMMITTED), current=True)
        elif s.ack != s.epoch or not s.beat_own:
            yield "agent learns that it is claimed, or its identity used", _claimed(s)
        else:
            yield "agent learns that an earlier beat of its own was committed", _unknown(s, a, c)
    else:
        yield "agent hears that the beat is committed", _committed(s, a, c)
    yield "attempt times out: outcome unknown", _unknown(s, a, c)


def _committed(s: State, a: Attempt, c: Config) -> State:
    s = s._replace(attempt=None)
    if a.phase == "joining":
        return s._replace(agent="joined" if s.agent == "announced" else s.agent)
    if a.phase == "released":
        return _farewell(s)
    until = c.F * c.hi if "deadline-from-reply" in c.mutants else a.left
    agent = "active" if s.agent in (*JOINING, "idle") else s.agent
    left, paused = max(s.left, until), a.phase == "paused"
    return s._replace(left=left, told=agent == "released", agent=agent, pausing=paused)


def _unknown(s: State, a: Attempt, c: Config) -> State:
    """Extends nothing. What was sent may be applied later."""
    after = s._replace(
        attempt=None,
        current=False,
        lost=_in_the_network(s, c),
        agent="read" if s.agent in JOINING else s.agent,
    )
    if "unknown-extends" in c.mutants and a.left > after.left:
        after = after._replace(left=a.left, told=False)
    if "pausing-too-soon" in c.mutants and a.phase == "paused":
        after = after._replace(pausing=True)
    return after


def _claimed(s: State) -> State:
    """Session._lost_claim."""
    follows = {"active": "stopping", "stopping": "stopping", "releasing": "releasing", "released": "released"}
    after = s._replace(attempt=None, current=False, left=PAST, pausing=False)
    if s.agent == "released":
        return _farewell(after)
    return after._replace(agent=follows.get(s.agent, "read"))


def _in_the_network(s: State, c: Config) -> tuple[Lost, ...]:
    """The beats of unknown outcome, with the present attempt if that can still be applied."""
    if not c.late_success or s.attempt is None or s.attempt.stage == COMMITTED or not s.current:
        return s.lost
    return tuple(sorted({*s.lost, Lost(s.attempt.phase, s.ack, True, True)}))


def write_beat(s: State, c: Config, phase: str, ack: int, *, own: bool, same_boot: bool) -> State:
    """A committed put of the beat: whoever compares an earlier revision has lost."""
    after = s._replace(
        beat=phase,
        beat_ack=ack,
        beat_own=own,
        beat_boot=same_boot,
        current=False,
        lost=(),
        clone=False,
        seen_current=False,
    )
    if c.slow_watch or not s.seen:
        return after
    return after._replace(seen=phase, seen_ack=ack, seen_current=True, age=0, power="")


# --- the deadline: Session._watch_deadline, _stop_until_confirmed, Validity.may_run ----------------------------------


def _deadline(s: State, c: Config) -> Steps:
    if not s.told and s.left >= 0 and s.agent in BEATING:
        device = 0 if c.watchdog and s.watchdog == UNARMED else s.watchdog  # opened, and thereby armed, when first told
        yield (
            "agent tells the guard the deadline",
            s._replace(told=True, guard="armed", guard_left=max(s.guard_left, s.left + c.G * c.hi), watchdog=device),
        )
    if s.pausing and s.agent in ("active", "releasing") and s.left < c.F * c.hi:
        yield "agent goes on because a paused beat is the last one", s._replace(left=c.F * c.hi, told=False)
    if s.agent == "active" and s.left <= 0:
        yield "agent sees that D has passed", s._replace(agent="stopping", left=PAST)
    if s.agent == "stopping":
        yield "agent confirms the stops and says idle to the guard", idle(s, c)._replace(agent="idle")
        if "guard-believes-idle" in c.mutants:
            yield "agent says idle though a stop failed", idle(s, c)._replace(agent="idle", group=s.group)


def idle(s: State, c: Config) -> State:
    """Nothing strict is left, and the guard, which looks for itself, was told so. It opens the device, if it was not, and
    pets it from now on; no beat in flight can bring an older deadline back, so D is of no use any more."""
    group = STRAY if s.group == STRAY else NOTHING
    return s._replace(
        group=group,
        guard="idle",
        guard_left=PAST,
        watchdog=0 if c.watchdog else UNARMED,
        checked=0,
        told=True,
        left=PAST,
        stop_time=0,
    )


# --- starting: Session.allowed, Worker._start, agent/launch.py -------------------------------------------------------


def _start(s: State, c: Config) -> Steps:
    if s.group == NOTHING and s.agent == "active" and s.left >= 0 and _may_act(s, c):
        if "start-without-recheck" in c.mutants:
            yield "agent decides to start", s._replace(group=STRAY)
        elif c.slow_start:
            yield "agent asks allowed() with the launcher in the group: yes", s._replace(group=LAUNCHING)
        else:
            yield "agent asks allowed() with the launcher in the group: yes, and it starts", _started(s)
    elif s.group in (LAUNCHING, STRAY):
        yield "the program is executed", _started(s)
    if s.placed != s.placement:
        yield "agent's mirror shows the placement", s._replace(placed=s.placement)


def _started(s: State) -> State:
    return s._replace(group=RUNNING, broken="" if s.ack == s.epoch else "INV-3: started with an old fence epoch")


def _may_act(s: State, c: Config) -> bool:
    told = s.told or not c.watchdog or "start-untold" in c.mutants
    mine = s.placed == s.ack or ("old-placement" in c.mutants and s.placed != ELSEWHERE)
    return told and mine


# --- leaving: Session.release, _write_release ------------------------------------------------------------------------


def _release(s: State, c: Config) -> Steps:
    if s.agent in ("active", "stopping", "idle"):
        yield "shutdown is asked for", s._replace(agent="releasing")
    elif s.agent == "releasing":
        if "release-before-stops" in c.mutants:
            yield "agent releases without waiting for the stops", s._replace(agent="released")
        else:
            yield "agent confirms the stops and says idle to the guard", idle(s, c)._replace(agent="released")


def _farewell(s: State) -> State:
    """The guard disarms an idle node's device; the agent ends."""
    gone = s._replace(agent="gone", attempt=None, left=PAST)
    return gone._replace(guard="absent", watchdog=UNARMED, checked=0) if s.guard == "idle" else gone


def session_ends(s: State, c: Config) -> State:
    """The agent's process ends: all that only it knew is gone; what it sent is not."""
    return s._replace(
        left=PAST,
        pausing=False,
        told=False,
        ack=0,
        current=False,
        placed=ELSEWHERE,
        stop_time=0,
        lost=tuple(sorted({lost._replace(own=False) for lost in _in_the_network(s, c)})),
        beat_own=False,
        attempt=None,
    )
