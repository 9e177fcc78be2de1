"""What workers share: the node around them, and what one of them is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.core.model import Goal, InstanceSpec, Placement
from holdfast.net.announce import Announcer
from holdfast.ports import Addresses, Clock, Store


@dataclass(frozen=True, slots=True)
class Target:
    """What this node is asked to do with the instance. placement None: it is not placed here (any more)."""

    spec: InstanceSpec
    placement: Placement | None
    revision: int = 0

    @property
    def run(self) -> bool:
        return self.placement is not None and self.placement.goal is Goal.RUN and self.spec.desired == "started"


@dataclass(slots=True)
class Steps:
    """StepRecorder: seconds since the target was received."""

    clock: Clock
    began: float
    taken: dict[str, float] = field(default_factory=dict)

    def step(self, name: str) -> None:
        self.taken[name] = round(self.clock.now() - self.began, 4)


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What all workers of a node share."""

    node: str
    session: str
    store: Store
    clock: Clock
    addresses: Addresses
    announcer: Announcer
    allowed: Callable[[], bool]
    """May a strict instance be started at this moment?"""
    may_stay: Callable[[], bool]
    """May a strict instance that runs go on at this moment?"""
    deadline: Callable[[], float]
    """D of the node, CLOCK_BOOTTIME seconds; bounds the lifetime of a strict instance's address."""
    advisory_address_s: float
    """Kernel lifetime of the address of an instance that is not strict, without a renewal."""
