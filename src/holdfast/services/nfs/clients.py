"""Which clients a volume has, kept on the shared storage so that the next owner of its address can reset them."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.services.nfs.tcp import Peer
from holdfast.services.storage import write_atomically

KEEP_FORMER_S = 60.0
"""How long a client of the former owner is remembered if it does not come back: until then a second failover resets it."""
ABSENT_S = 30.0
"""A client without a connection for so long (five leases) holds no state any more."""
_GAP_S = 5.0
"""After a pause this long between two looks, what was seen before says nothing about the pause."""


class _File(msgspec.Struct):
    clients: list[tuple[str, int]] = []


def load(path: Path) -> frozenset[Peer]:
    """The remembered clients; none if the file is missing or damaged (they then find out by themselves)."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return frozenset(Peer(ip, port) for ip, port in msgspec.json.decode(path.read_bytes(), type=_File).clients)
    return frozenset()


def save(path: Path, clients: Iterable[Peer]) -> None:
    content = _File([(client.ip, client.port) for client in sorted(clients)])
    write_atomically(path, msgspec.json.encode(content))


@dataclass(slots=True)
class ClientMemory:
    """What one node knows of the clients of a volume it serves. Pure; times are CLOCK_BOOTTIME seconds."""

    former: frozenset[Peer] = frozenset()
    """Clients of the former owner."""
    former_until: float = 0.0
    saved: frozenset[Peer] | None = None
    """What is in the file, as far as this node knows."""
    seen: dict[str, float] = field(default_factory=dict)
    """Address → when a connection was last seen."""
    watching_since: float = 0.0
    looked: float = 0.0

    def adopt_former(self, peers: frozenset[Peer], now: float) -> None:
        self.former, self.former_until, self.saved = peers, now + KEEP_FORMER_S, peers

    def waiting(self, connected: frozenset[Peer]) -> frozenset[Peer]:
        """Former clients that have not connected to this node yet."""
        back = {peer.ip for peer in connected}
        return frozenset(peer for peer in self.former if peer.ip not in back)

    def look(self, connected: frozenset[Peer], now: float) -> frozenset[Peer]:
        """Note who is connected now; returns what the file should hold."""
        if now - self.looked > _GAP_S:
            self.watching_since = now
        self.looked = now
        self.seen.update((peer.ip, now) for peer in connected)
        return connected | self.waiting(connected) if now < self.former_until else connected

    def absent(self, recorded: Iterable[str]) -> set[str]:
        """Of the recorded addresses those that were watched without a break for ABSENT_S and not seen."""
        since = self.looked - ABSENT_S
        if self.watching_since > since:
            return set()
        return {ip for ip in recorded if self.seen.get(ip, self.watching_since) < since}
