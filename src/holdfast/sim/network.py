"""The simulated networks: who can send to whom, how late it arrives, and what gets lost."""

from collections.abc import Callable
from contextvars import Context
from random import Random

from holdfast.sim.loop import VirtualLoop

NETWORKS = ("management", "public")
DELAY_S = (0.0002, 0.002)
"""Shortest and longest time a datagram is under way. A later one may overtake an earlier one."""


class Network:
    """Reachability between nodes, one way at a time, per network."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self._loop = loop
        self._random = random
        self.off: set[tuple[str, str]] = set()
        """(node, network): the node's link is down."""
        self.broken: set[tuple[str, str, str]] = set()
        """(from, to, network): nothing gets from the one to the other."""
        self.loss: dict[str, float] = {}
        """Node → share of its datagrams that are lost, in and out (0…1)."""
        self.extra_delay: dict[str, float] = {}
        """Node → seconds that everything from and to it takes longer."""
        self.up: Callable[[str], bool] = lambda _node: True
        """Whether a node's kernel answers at all."""

    def path(self, sender: str, receiver: str, network: str = "management") -> bool:
        """Does what `sender` sends reach `receiver`, if it is not lost by chance?"""
        if not (self.up(sender) and self.up(receiver)):
            return False
        if sender == receiver:
            return True
        if (sender, network) in self.off or (receiver, network) in self.off:
            return False
        return (sender, receiver, network) not in self.broken

    def both(self, one: str, other: str, network: str = "management") -> bool:
        """Can the two talk to each other (TCP)? Heavy loss makes a connection useless."""
        lossy = max(self.loss.get(one, 0.0), self.loss.get(other, 0.0)) > 0.6
        return (one == other or not lossy) and self.path(one, other, network) and self.path(other, one, network)

    def delay(self, one: str, other: str) -> float:
        """Seconds of one datagram between two nodes."""
        return self._random.uniform(*DELAY_S) + self.extra_delay.get(one, 0.0) + self.extra_delay.get(other, 0.0)

    def send(self, sender: str, receiver: str, network: str, deliver: Callable[[], None], context: Context) -> None:
        """One datagram: delivered later, in the receiving process's context, or never."""
        lost = max(self.loss.get(sender, 0.0), self.loss.get(receiver, 0.0)) if sender != receiver else 0.0
        if lost and self._random.random() < lost:
            return
        if self.path(sender, receiver, network):
            self._loop.call_later(
                self.delay(sender, receiver), self._arrive, sender, receiver, network, deliver, context=context
            )

    def _arrive(self, sender: str, receiver: str, network: str, deliver: Callable[[], None]) -> None:
        if self.path(sender, receiver, network):
            deliver()
