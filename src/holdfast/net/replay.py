"""Which authentic datagrams are fresh: protection against recorded or delayed ones. Pure, without a clock of its own.

A datagram carries its sender's session number, a counter, and the sender's CLOCK_BOOTTIME when it was sent. Three rules:

1. *Counter.* Within a session each counter is accepted once; one that is WINDOW or more behind the highest is refused.
   Datagrams to another receiver do not count here at all: the destination is part of what is authenticated (see beats).
   So nothing can be played again, only be withheld and delivered late.
2. *Age.* The offset between receiver's and sender's clock is learnt per session as the smallest (receipt - sending) seen,
   allowed to grow by DRIFT per second, because the two clocks need not run at the same rate. What comes in more than
   MAX_AGE_S after that is refused. So a withheld datagram is worthless two seconds after it was sent, and a dead node can
   be made to look alive for no longer than that. No wall clock is involved. A sender whose clock stood still (a paused
   virtual machine) would be refused for ever; therefore an uninterrupted run of late datagrams for RELEARN_S sets a new
   offset. For an attacker that is useless: withholding for two seconds is a silence that raises the suspicion itself.
3. *Session.* Session numbers of a node grow with each start. A lower one than the current is refused, unless the current
   one has been silent for FORGET_S: so a node whose counter file was lost is refused for at most that long, and an old
   recording can speak for a node only when everybody has long known that it is silent.

What is left: a receiver that has just started, and never heard the sender, would believe what was withheld from its
predecessor, played at the original speed. It cannot do harm beyond a late suspicion: datagrams are hints, the manager also
looks at the age of the beat in the store, and a claim needs a proof.
"""

from dataclasses import dataclass, field
from enum import Enum

WINDOW = 64
"""Counters; they count all of a sender's datagrams, to whomever."""
MAX_AGE_S = 2.0
DRIFT = 0.02
"""Twice the clock-rate error ρ of the timing profiles."""
RELEARN_S = 3.0
RUN_GAP_S = 1.0
"""A longer silence ends a run of late datagrams."""
FORGET_S = 60.0


class Verdict(Enum):
    FRESH = "fresh"
    REPLAYED = "replayed"
    """Its counter was seen, or is far behind."""
    STALE = "stale"
    """Older than MAX_AGE_S."""
    OLD_SESSION = "old session"


@dataclass(slots=True)
class _Session:
    number: int
    highest: int = -1
    seen: int = 0
    """Bit n: counter highest - n was accepted."""
    offset_s: float = float("inf")
    last_s: float = 0.0
    """Receiver's time of the last accepted datagram."""
    late: "_LateRun | None" = None


@dataclass(slots=True)
class _LateRun:
    """An uninterrupted run of datagrams that were too old."""

    since_s: float
    last_s: float
    counter: int


@dataclass(slots=True)
class ReplayGuard:
    """Remembers one session per sender. Only authentic datagrams may be shown to it."""

    _sessions: dict[str, _Session] = field(default_factory=dict)

    def check(self, sender: str, session: int, counter: int, sent_s: float, now_s: float) -> Verdict:
        """`sent_s` in the sender's time, `now_s` in the receiver's. A FRESH one is remembered."""
        known = self._sessions.get(sender)
        if known is None or session > known.number or (session < known.number and now_s - known.last_s > FORGET_S):
            known = self._sessions[sender] = _Session(session, last_s=now_s)
        elif session < known.number:
            return Verdict.OLD_SESSION
        behind = known.highest - counter
        if behind >= WINDOW or (behind >= 0 and known.seen >> behind & 1):
            return Verdict.REPLAYED
        offset = now_s - sent_s
        expected = known.offset_s + DRIFT * max(0.0, now_s - known.last_s)
        if offset > expected + MAX_AGE_S:
            if not _relearnt(known, counter, now_s):
                return Verdict.STALE
            expected = offset
        known.offset_s = min(offset, expected)
        known.late, known.last_s = None, now_s
        if behind < 0:
            known.seen = (known.seen << min(-behind, WINDOW) | 1) & ((1 << WINDOW) - 1)
            known.highest = counter
        else:
            known.seen |= 1 << behind
        return Verdict.FRESH


def _relearnt(known: _Session, counter: int, now_s: float) -> bool:
    """Whether a run of late datagrams has lasted so long that the sender's clock must have stood still."""
    run = known.late
    if run is None or now_s - run.last_s > RUN_GAP_S:
        known.late = _LateRun(now_s, now_s, counter)
        return False
    if counter <= run.counter:
        return False
    run.last_s, run.counter = now_s, counter
    return now_s - run.since_s >= RELEARN_S
