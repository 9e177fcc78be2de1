"""Manager, power fencing and the other nodes. Suspicion is a hint, so it is free: whatever a suspicion permits may happen at
any time. Code: core/fencing.py, manager/commit.py, manager/observe.py, manager/power.py, core/decide_instances.py."""

from collections.abc import Iterator

from spec.agent import Steps, write_beat
from spec.hardware import at_its_last_moment
from spec.state import ELSEWHERE, LIVE, NOTHING, Config, State


def steps(s: State, c: Config) -> Steps:
    yield from _network(s, c)
    if s.epoch < c.epochs:  # after the last claim of this check nothing depends on the manager any more
        yield from _observe(s, c)
        if "P1" in c.proofs:
            yield from _power(s, c)
        yield from _claims(s, c)
        yield from _back(s)


# --- what the network still holds ------------------------------------------------------------------------------------


def _network(s: State, c: Config) -> Steps:
    for lost in s.lost:
        if lost.ack == s.epoch or "beat-ignores-fence" in c.mutants:
            late = write_beat(s, c, lost.phase, lost.ack, own=lost.own, same_boot=lost.same_boot)
            yield f"late success: a beat of unknown outcome ({lost.phase}) is committed", late
    if c.clone:
        live = s.beat in LIVE and s.beat_ack == s.epoch
        if not s.clone and (not live or "clone-joins" in c.mutants):
            yield "another machine with this identity reads the beat", s._replace(clone=True)
        elif s.clone:
            yield "another machine commits `joining`", write_beat(s, c, "joining", s.epoch, own=False, same_boot=False)


# --- Observations._node, begin_term ----------------------------------------------------------------------------------


def _observe(s: State, c: Config) -> Steps:
    if not s.seen_current or s.seen_epoch != s.epoch:
        yield "manager's mirror shows beat and fence", _saw(s, c)
    if s.terms < c.terms:
        new = _nothing_seen(s)._replace(terms=s.terms + 1)
        if "seen-across-terms" in c.mutants and s.seen_current:
            # A time of another machine's clock says nothing: the new leader's may be far ahead of it.
            new = s._replace(terms=s.terms + 1, age=c.T_wait * c.hi)
        yield "another manager leads", new


def _saw(s: State, c: Config) -> State:
    """The age of a beat begins anew with its revision, and so does power fencing."""
    keeps_power = s.seen_current or ("evidence-outlives-beat" in c.mutants and s.power == "off")
    return s._replace(
        seen=s.beat,
        seen_ack=s.beat_ack,
        seen_current=True,
        seen_epoch=s.epoch,
        age=s.age if s.seen_current else 0,
        power=s.power if keeps_power else "",
    )


def _nothing_seen(s: State) -> State:
    return s._replace(seen="", seen_ack=0, seen_current=False, seen_epoch=0, age=0, power="")


# --- PowerDesk, fence_off --------------------------------------------------------------------------------------------


def _power(s: State, c: Config) -> Steps:
    if s.seen in LIVE and s.seen_ack == s.seen_epoch and not s.power:
        yield "manager sends a power-off, against the beat it saw last", s._replace(power="asked", off_under_way=True)
    if s.power == "asked" and (not s.on or "power-unverified" in c.mutants):
        yield "manager reads the power back: off", s._replace(power="off")


# --- proof_of_death, Committer._claim --------------------------------------------------------------------------------


def proofs(s: State, c: Config) -> Iterator[str]:
    """What is at hand, as core.fencing.proof_of_death says it."""
    if not s.seen or s.seen_ack != s.seen_epoch:
        return
    if s.power == "off":
        yield "P1"
    if s.seen == "joining" and "P2" in c.proofs:
        yield "P2"
    if s.seen == "released" and "P3" in c.proofs:
        yield "P3"
    silent = s.seen == "active" or (s.seen == "paused" and "paused-is-silent" in c.mutants)
    waited = silent and "P4" in c.proofs and s.age >= c.T_wait * c.hi
    if waited and (c.watchdog or "silence-is-proof" in c.mutants) and not at_its_last_moment(s, c):
        yield "P4"


def _claims(s: State, c: Config) -> Steps:
    for proof in proofs(s, c):
        beat_holds = s.seen_current or "claim-ignores-beat" in c.mutants
        fence_holds = s.seen_epoch == s.epoch or "claim-ignores-fence" in c.mutants
        if beat_holds and fence_holds:
            yield f"manager claims the node ({proof}) and places the instance elsewhere", _claim(s, c)
        elif "unknown-claim-places" in c.mutants and s.placement != ELSEWHERE:
            yield (
                f"manager takes a claim ({proof}) that failed for done and places the instance elsewhere",
                s._replace(placement=ELSEWHERE, elsewhere=True),
            )


def _claim(s: State, c: Config) -> State:
    """The claim, the placement and the other node's start are three steps of the code. Here they are one: the other node is
    as fast as can be, which is the worst case."""
    broken = ""
    if s.seen_epoch + 1 <= s.epoch:
        broken = "INV-3: a claim did not raise the fence epoch"
    elif s.on and s.group != NOTHING:
        broken = "INV-2: claimed while something strict runs or is about to"
    lost = s.lost if "beat-ignores-fence" in c.mutants else tuple(lost for lost in s.lost if lost.ack > s.epoch)
    after = s._replace(
        epoch=s.seen_epoch + 1, age=0, lost=lost, clone=False, placement=ELSEWHERE, elsewhere=True, broken=broken
    )
    return after if after.epoch < c.epochs else _nothing_seen(after)


# --- decide_instances ------------------------------------------------------------------------------------------------


def _back(s: State) -> Steps:
    member = s.seen_current and s.seen in LIVE and s.seen_ack == s.seen_epoch == s.epoch
    if s.elsewhere and member:
        back = s._replace(elsewhere=False, placement=s.epoch)
        yield "the other node confirms a stop; the manager places the instance here again", back
