"""What workers share: the node around them, and what one of them is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.core.model import Desired, Goal, InstanceSpec, Placement
from holdfast.net.announce import Announcer
from holdfast.ports import Addresses, Clock, Store


class Order(StrEnum):
    """What a worker works towards."""

    RUN = "run"
    STOP = "stop"
    """Nothing of it is to be here."""
    HAND_OVER = "hand-over"
    """Migrate it live to another node. It goes on here if that fails, but is never started here."""
    RECEIVE = "receive"
    """Be ready for another node to hand it over; what came is left running, nothing is started."""
    LEAVE_ALONE = "leave-alone"
    """Neither started, stopped nor checked, until the deadline ends what is strict."""


@dataclass(frozen=True, slots=True)
class Target:
    """What this node is asked to do with the instance."""

    spec: InstanceSpec
    placement: Placement | None
    """None: it is not placed here (any more)."""
    revision: int = 0
    incoming: Placement | None = None
    """The placement on another node from which it migrates here."""
    hands_off: bool = False
    """High availability is paused so that agents leave every instance alone."""

    @property
    def order(self) -> Order:
        placement, wanted = self.placement, self.spec.desired
        if placement is None and self.incoming is None:
            return Order.STOP
        if self.hands_off or wanted is Desired.IGNORED:
            return Order.LEAVE_ALONE
        if wanted is not Desired.STARTED:
            return Order.STOP
        if placement is None:
            return Order.RECEIVE
        if placement.goal is Goal.STOP:
            return Order.STOP
        return Order.HAND_OVER if placement.migrate_to else Order.RUN


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
