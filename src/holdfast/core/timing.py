"""The numbers of the safety protocol, computed in one place from a profile.

Users choose a profile, never a raw T_wait. The derivation stands in docs/safety.md; every inequality below is
checked when a profile is built, so that a profile which could break INV-1 cannot exist.
"""

from dataclasses import dataclass

from holdfast.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Timing:
    """One timing profile. All values in seconds, except `n` (a count) and `rho` (a ratio)."""

    name: str
    H: float
    """Beat period: how often the agent renews its beat in the store."""
    Q: float
    """Time-out of one beat attempt; its outcome is then unknown and extends nothing."""
    b: float
    """Back-off after a failed attempt."""
    n: int
    """Failed attempts tolerated before the deadline passes."""
    F: float
    """Validity of a beat, counted from just before it was sent."""
    G: float
    """Stop grace: what still runs at D + G is killed."""
    p: float
    """Period at which the guard pets the watchdog."""
    W: float
    """Time-out of the watchdog device."""
    j: float
    """Jitter of the watchdog device: it fires at most this much late."""
    k: float
    """Time a SIGKILL of everything takes."""
    rho: float
    """Bound of the clock-rate error of any node."""
    E: float
    """Fail-over time of etcd (leader election) that must not cost a node its validity."""

    def __post_init__(self) -> None:
        broken = [text for text, holds in self._conditions() if not holds]
        if broken:
            raise ConfigError(
                f"timing profile {self.name!r} breaks {'; '.join(broken)}",
                "Use one of the built-in profiles: " + ", ".join(sorted(PROFILES)),
            )

    def _conditions(self) -> list[tuple[str, bool]]:
        return [
            (
                "0 < H, Q, p, W and 0 <= b, G, j, k",
                min(self.H, self.Q, self.p, self.W) > 0 <= min(self.b, self.G, self.j, self.k),
            ),
            ("0 <= rho < 0.1", 0 <= self.rho < 0.1),
            ("liveness F >= H + n(Q+b)", self.H + self.n * (self.Q + self.b) <= self.F),
            ("liveness F >= H + E + Q", self.F >= self.H + self.E + self.Q),
            ("petting p < W", self.p < self.W),
            ("clean stop budget G + W - p - k > 0", self.stop_budget > 0),
        ]

    @property
    def B(self) -> float:
        """Longest time a node can run strict instances after sending its last committed beat, on its own clock.

        F + G + 2(W + j): validity, grace, one full watchdog period because a pause can sit between the guard's check and its
        write, and one more until the watchdog fires. The jitter counts in both: a device that is late may still be petted
        while it is late (found by the exhaustive model, docs/model.md).
        """
        return self.F + self.G + 2 * (self.W + self.j)

    @property
    def T_wait(self) -> float:
        """How long the manager waits, on its own clock, before proof P4: (1+rho)/(1-rho) * B, rounded up to 1 s."""
        exact = (1 + self.rho) / (1 - self.rho) * self.B
        return float(-(-exact // 1))

    @property
    def stop_budget(self) -> float:
        """Time a clean stop may take after the deadline before the watchdog could fire."""
        return self.G + self.W - self.p - self.k


PROFILES: dict[str, Timing] = {}
PROFILES["default"] = Timing("default", H=2, Q=2, b=1, n=3, F=12, G=3, p=1, W=6, j=1, k=1, rho=0.01, E=5)
PROFILES["fast"] = Timing("fast", H=1, Q=1.5, b=0.5, n=2, F=8, G=0, p=1, W=5, j=1, k=1, rho=0.01, E=5)


def profile(name: str) -> Timing:
    """The profile of that name. Raises ConfigError naming the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ConfigError(
            f"there is no timing profile {name!r}", "Choose one of: " + ", ".join(sorted(PROFILES))
        ) from None


@dataclass(frozen=True, slots=True)
class Detection:
    """Numbers of the fast detection by datagrams. Hints only: nothing here is part of a proof. Seconds."""

    period: float = 0.2
    """Each node sends a beat datagram this often on each cluster network."""
    miss_after: float = 0.6
    """An observer calls a target missing after this long without a datagram."""
    ask_after: float = 0.3
    """After so long the observer asks the silent node's kernel whether it lives."""
    ask_period: float = 0.1
    """It asks this often."""
    refusal_valid: float = 1.5
    """So long an answer counts; kernels answer at most once a second when asked often."""
    restart_grace: float = 4.0
    """While its kernel answers (the node lives, its agent is away, hung or starved of CPU), a target counts as missing only
    after this long: an agent that crashed or is upgraded comes back in that time and adopts what runs."""
    observers: int = 3
    """Observers per node (fewer in small clusters)."""
    report_period: float = 0.5
    """An observer repeats its report this often, besides at each change."""
    report_valid: float = 1.5
    """A report older than this counts no more."""
