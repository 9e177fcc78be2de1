"""What the model knows: the constants of one check, and one state of the world.

Times in `Config` are whole ticks. A tick is what a clock that runs fast by ρ shows in one step of real time, the model's
quantum. Times in `State` are sub-ticks (1 tick = `hi` of them): in one step a fast clock advances by `hi`, a slow one by
`lo`, so that `hi / lo` is exactly (1+ρ)/(1−ρ) and nothing is rounded.
"""

from dataclasses import dataclass
from typing import NamedTuple

PAST = -1
"""A deadline that lies behind, or was never told."""
ELSEWHERE = -1
"""The placement names another node."""
UNARMED = -1
"""The watchdog device is not open."""

LIVE = ("active", "paused")
"""Phases of a beat with which strict instances may run. A paused one is an active one that no P4 may be built on."""

NOTHING, LAUNCHING, RUNNING, STRAY = range(4)
"""What the strict group of the node holds. LAUNCHING: a launcher that was allowed to go on and has not executed the program
yet. STRAY (mutants only): such a launcher outside of the group, where nothing can kill it."""

SENT, COMMITTED = range(2)
"""Where the beat that is under way is: not applied by the store (as far as the agent knows), or applied and not answered."""


@dataclass(frozen=True, slots=True)
class Config:
    """Constants and limits of one check."""

    F: int = 1
    G: int = 1
    W: int = 1
    j: int = 1
    T: int = 0
    """T_wait; 0: the bound."""
    lo: int = 1
    hi: int = 1
    """(1+ρ)/(1−ρ) = hi/lo."""
    steady: bool = False
    """The node's clock is slow and the manager's fast all the time, instead of any mixture of rates."""
    late_device: bool = False
    """The watchdog fires at any moment in [W, W+j] and a pet before that saves the node. Otherwise it decides to fire at W,
    for good, and j is the time until the machine is dead."""
    proofs: frozenset[str] = frozenset({"P4"})
    epochs: int = 1
    """Claims that may be committed."""
    boots: int = 0
    restarts: int = 0
    """Restarts of the agent on the same boot."""
    terms: int = 0
    """Changes of the leading manager."""
    late_success: bool = False
    """Beats of unknown outcome may be committed later, any number of them."""
    slow_start: bool = False
    """The agent may be paused between allowed() and the execution of the program."""
    slow_watch: bool = False
    """The manager's mirror may lag behind the store."""
    release: bool = False
    pause: bool = False
    """High availability is paused and resumed at will."""
    clone: bool = False
    """Another machine tries to join under the node's identity."""
    watchdog: bool = True
    beats: bool = True
    """The node goes on beating; otherwise it is cut off after the first one."""
    prompt: int = 0
    """INV-5: nothing is paused, the guard pets each `period`, stops take at most so many ticks. 0: everything may pause."""
    period: int = 1
    mutants: frozenset[str] = frozenset()

    @property
    def B(self) -> int:
        """The longest life after a beat was sent, in ticks of the node's clock."""
        return self.F + self.G + 2 * self.W + (2 if self.late_device else 1) * self.j

    @property
    def bound(self) -> int:
        """(1+ρ)/(1−ρ) · B, in whole ticks of the manager's clock."""
        return -(-self.hi * self.B // self.lo)

    @property
    def T_wait(self) -> int:
        return self.T or self.bound


class Attempt(NamedTuple):
    """The beat that the agent waits for."""

    phase: str
    left: int
    """Until s + F, on the node's clock; s was noted right before it was sent."""
    stage: int = SENT


class Lost(NamedTuple):
    """A beat whose sender waits no more, and which the store may still apply. It compares the beat's present revision: it is
    dropped as soon as that changes."""

    phase: str
    ack: int
    own: bool
    same_boot: bool


class State(NamedTuple):
    """One state. Sessions, boots and revisions are known only as "the same as" or not, which keeps the space finite."""

    # The machine and what runs on it.
    on: bool = True
    group: int = NOTHING
    watchdog: int = 0
    """Since the last pet; UNARMED."""
    # The guard.
    guard: str = "armed"
    """armed, idle, or absent (no agent has told it anything)."""
    guard_left: int = PAST
    """Until D + G as the guard knows D."""
    checked: int = 0
    """Writes to the device that follow from a check that was made already."""
    # The agent.
    agent: str = "active"
    """read → announce → announced → joined (or read → adopt) → active → stopping → idle;
    releasing → released → gone; off."""
    left: int = PAST
    """Until D."""
    pausing: bool = False
    """A paused beat is certainly the last one in the store: the agent may go on without the store."""
    told: bool = True
    """The guard has acknowledged the last deadline."""
    ack: int = 0
    """The fence epoch this session acknowledges."""
    current: bool = True
    """The beat revision the agent knows is the store's."""
    placed: int = 0
    """The node's fence epoch in the placement as the agent's mirror shows it; ELSEWHERE."""
    attempt: Attempt | None = None
    stop_time: int = 0
    """How long the stops have taken (only where nothing is paused)."""
    # The store.
    lost: tuple[Lost, ...] = ()
    epoch: int = 0
    """The fence epoch."""
    beat: str = "active"
    beat_ack: int = 0
    beat_own: bool = True
    """Written by the agent's present session."""
    beat_boot: bool = True
    """Written on the present boot."""
    placement: int = 0
    """Of the one instance: the fence epoch of this node it was placed with; ELSEWHERE."""
    elsewhere: bool = False
    """The instance runs on another node."""
    clone: bool = False
    """Another machine is about to write `joining`; it compares the present revision."""
    # The manager.
    seen: str = ""
    """Phase of the last beat it saw in this term; empty: none."""
    seen_ack: int = 0
    seen_current: bool = False
    """That beat is the store's last one."""
    seen_epoch: int = 0
    age: int = 0
    """Since it first saw that beat, on its clock; counted up to T_wait."""
    power: str = ""
    """Attempt against the beat seen last: "", asked, off (read back)."""
    off_under_way: bool = False
    """A power-off on its way to the machine, from whatever attempt."""
    # Counters that bound the space, and the verdict.
    boots: int = 0
    restarts: int = 0
    terms: int = 0
    broken: str = ""
    """The invariant that the last step broke."""
