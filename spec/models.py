"""What is checked: the protocol within limits that an exhaustive search can bear, and mistakes that must be found out."""

from dataclasses import dataclass, replace

from spec.checker import Result, search
from spec.protocol import initial, successors, violated
from spec.state import Config, State


@dataclass(frozen=True, slots=True)
class Model:
    """The protocol, with everything in `why` free to happen and nothing else."""

    name: str
    why: str
    config: Config
    tight: bool = False
    """One tick less must be unsafe: of T_wait, or (INV-5) one tick more for the stops."""
    quick: bool = False
    """In the unit tests, too."""

    def one_tick_off(self) -> Config:
        if self.config.prompt:
            return replace(self.config, prompt=self.config.prompt + 1)
        return replace(self.config, T=self.config.T_wait - 1)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One deliberate mistake, and the smallest model that finds it."""

    name: str
    mistake: str
    code: str
    """Where the rule stands that it breaks."""
    config: Config


def check(config: Config) -> Result[State]:
    return search(initial(config), lambda state: successors(state, config), violated)


def _proofs(*names: str) -> frozenset[str]:
    return frozenset(names)


# --- the bound -------------------------------------------------------------------------------------------------------

_BOUND = (
    Model("bound-1", "perfect clocks", Config(F=1, G=1, W=1, j=1), tight=True, quick=True),
    Model("bound-2", "perfect clocks, other proportions", Config(F=4, G=1, W=2, j=1), tight=True),
    Model("bound-3", "no grace, no jitter", Config(F=3, G=0, W=2, j=0), tight=True, quick=True),
    Model("bound-4", "clocks off by 1/3, in any mixture", Config(F=1, G=1, W=1, j=1, lo=1, hi=2), tight=True),
    Model("bound-5", "clocks off by 1/5, in any mixture", Config(F=2, G=0, W=2, j=0, lo=2, hi=3), tight=True),
    Model(
        "bound-6",
        "clocks off by 1/5, node slow, manager fast",
        Config(F=2, G=0, W=2, j=2, lo=2, hi=3, steady=True),
        tight=True,
        quick=True,
    ),
    Model(
        "bound-7",
        "clocks off by 1/9, node slow, manager fast",
        Config(F=4, G=4, W=4, j=0, lo=4, hi=5, steady=True),
        tight=True,
    ),
    Model(
        "bound-default",
        "the default profile in seconds, perfect clocks, cut off after one beat",
        Config(F=12, G=3, W=6, j=1, beats=False),
        tight=True,
    ),
    Model(
        "bound-late",
        "a watchdog whose lateness a pet can use: B has 2j",
        Config(F=1, G=1, W=1, j=1, late_device=True),
        tight=True,
        quick=True,
    ),
    Model(
        "bound-late-2",
        "the same with clocks off by 1/3",
        Config(F=1, G=0, W=1, j=1, lo=1, hi=2, late_device=True),
        tight=True,
    ),
)

# --- everything else: small times, many events -----------------------------------------------------------------------

_TINY = Config(F=1, G=0, W=1, j=0, slow_start=True, slow_watch=True)

_EVENTS = (
    Model(
        "terms",
        "P4 with changes of the leading manager, stale mirrors, late successes, starts held up",
        replace(_TINY, G=1, terms=1, late_success=True),
        tight=True,
    ),
    Model(
        "reboots",
        "P2 twice: crashes, boots, joining, late successes",
        replace(_TINY, proofs=_proofs("P2"), boots=1, late_success=True, epochs=2),
    ),
    Model(
        "adoption",
        "P2 with restarts of the agent that adopt what runs",
        replace(_TINY, proofs=_proofs("P2"), boots=1, restarts=1, late_success=True),
    ),
    Model(
        "release",
        "P3, and the agent is started again",
        replace(_TINY, proofs=_proofs("P3"), release=True, restarts=1, late_success=True),
    ),
    Model(
        "power",
        "P1: power-offs that come late, also to the next boot",
        replace(_TINY, proofs=_proofs("P1", "P2"), boots=1),
    ),
    Model("rejoin", "P4 twice: the claimed node joins again and is claimed again", replace(_TINY, boots=1, epochs=2)),
    Model(
        "pause",
        "P4 while high availability is paused and resumed, with restarts of the agent",
        replace(_TINY, slow_start=False, slow_watch=False, pause=True, restarts=1, late_success=True),
        tight=True,
    ),
    Model(
        "clone", "another machine joins under the same identity", replace(_TINY, proofs=_proofs("P2", "P4"), clone=True)
    ),
    Model(
        "together",
        "P1 to P4, boots, releases, restarts, a clone",
        replace(_TINY, slow_start=False, proofs=_proofs("P1", "P2", "P3", "P4"), boots=1, release=True, clone=True),
    ),
    Model(
        "no-watchdog",
        "silence without a watchdog: never a claim",
        replace(_TINY, watchdog=False, late_success=True),
        quick=True,
    ),
)

# --- INV-5 -----------------------------------------------------------------------------------------------------------

_CLEAN = (
    Model(
        "clean-stop",
        "INV-5: any store outage, nothing paused, stops take less than G + W − p",
        Config(F=2, G=1, W=3, j=1, prompt=2, release=True, proofs=_proofs()),
        tight=True,
        quick=True,
    ),
    Model(
        "clean-stop-2",
        "the same with p = 2",
        Config(F=4, G=2, W=4, j=0, prompt=3, period=2, release=True, proofs=_proofs()),
        tight=True,
    ),
)

MODELS = _BOUND + _EVENTS + _CLEAN
BY_NAME = {model.name: model for model in MODELS}


# --- mistakes --------------------------------------------------------------------------------------------------------

_TIMED = Config(F=1, G=1, W=1, j=1)
_LONGER = Config(F=1, G=2, W=3, j=1)
_AWAY = replace(_TINY, boots=1)


def _mutant(name: str, mistake: str, code: str, config: Config) -> Mutant:
    return Mutant(name, mistake, code, replace(config, mutants=frozenset({name})))


MUTANTS = (
    Mutant("one-W", "T_wait with W once", "core/timing.py B", replace(_LONGER, T=_LONGER.B - _LONGER.W)),
    Mutant("no-grace", "T_wait without G", "core/timing.py B", replace(_LONGER, T=_LONGER.B - _LONGER.G)),
    Mutant("no-jitter", "T_wait without j", "core/timing.py B", replace(_LONGER, T=_LONGER.B - _LONGER.j)),
    Mutant(
        "no-drift", "T_wait without (1+ρ)/(1−ρ)", "core/timing.py T_wait", replace(_TIMED, lo=1, hi=2, steady=True, T=5)
    ),
    Mutant(
        "single-jitter",
        "2W + j with a watchdog whose lateness a pet can use",
        "core/timing.py B",
        replace(_TIMED, late_device=True, T=5),
    ),
    _mutant("deadline-from-reply", "D counted from the reply", "core/validity.py committed", _TIMED),
    _mutant("unknown-extends", "a beat of unknown outcome extends D", "agent/session.py _attempt", _TIMED),
    _mutant("pet-on-events", "the guard pets while an agent is connected", "fencing/guard/core.py may_pet", _TIMED),
    _mutant("pet-on-hello", "the guard pets when an agent says hello", "fencing/guard/process.py _hello", _TIMED),
    _mutant(
        "pet-twice-per-check", "two writes to the device after one check", "fencing/guard/process.py _open", _TIMED
    ),
    _mutant(
        "guard-believes-idle", "idle is believed though something runs", "fencing/guard/core.py IDLE_REFUSED", _TIMED
    ),
    _mutant(
        "start-without-recheck", "allowed() asked before the launcher is in the group", "agent/launch.py launch", _TIMED
    ),
    _mutant("start-untold", "started before the guard acknowledged the deadline", "agent/session.py allowed", _TIMED),
    _mutant(
        "silence-is-proof",
        "P4 without an attested watchdog",
        "core/fencing.py proof_of_death",
        replace(_TIMED, watchdog=False),
    ),
    _mutant(
        "seen-across-terms",
        "a new leader takes over when its predecessor first saw the beat",
        "manager/observe.py begin_term",
        replace(_TIMED, terms=1),
    ),
    _mutant(
        "claim-ignores-beat",
        "the claim does not compare the beat",
        "manager/commit.py _claim",
        replace(_TIMED, slow_watch=True),
    ),
    _mutant(
        "claim-ignores-fence",
        "the claim does not compare the fence",
        "manager/commit.py _claim",
        replace(_TINY, epochs=2),
    ),
    _mutant(
        "unknown-claim-places", "a claim that was not committed is taken for done", "manager/commit.py _claim", _TINY
    ),
    _mutant("beat-ignores-fence", "the beat does not compare the fence", "agent/session.py _attempt", _TINY),
    _mutant(
        "paused-is-silent",
        "P4 against a paused beat",
        "core/fencing.py relied_watchdog",
        replace(_TINY, slow_start=False, slow_watch=False, pause=True),
    ),
    _mutant(
        "pausing-too-soon",
        "a paused beat of unknown outcome lets the node go on",
        "agent/session.py _attempt",
        replace(_TINY, slow_start=False, slow_watch=False, pause=True),
    ),
    _mutant(
        "pausing-too-long",
        "it goes on until an unpaused beat is certain, not only until one is sent",
        "agent/session.py _attempt",
        replace(_TINY, slow_start=False, slow_watch=False, pause=True),
    ),
    _mutant(
        "old-placement",
        "a placement of an earlier fence epoch is acted on",
        "agent/executor.py _refresh_one",
        replace(_AWAY, proofs=_proofs("P2")),
    ),
    _mutant(
        "joining-while-running",
        "an agent that restarts says `joining` and stops nothing",
        "agent/session.py _announce_joining",
        replace(_TINY, restarts=1, proofs=_proofs("P2")),
    ),
    _mutant(
        "release-before-stops",
        "the release is written before the stops are confirmed",
        "agent/session.py release",
        replace(_TINY, release=True, proofs=_proofs("P3")),
    ),
    _mutant(
        "clone-joins",
        "another machine may join while the node is active",
        "agent/session.py _join",
        replace(_TINY, clone=True, proofs=_proofs("P2")),
    ),
    _mutant(
        "power-unverified",
        "a power-off that was accepted counts as a proof",
        "fencing/power/sequence.py",
        replace(_TINY, proofs=_proofs("P1")),
    ),
    _mutant(
        "evidence-outlives-beat",
        "a power-off verified for one beat is used against a later one",
        "core/fencing.py proof_of_death",
        replace(_AWAY, proofs=_proofs("P1")),
    ),
)
MUTANTS_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
