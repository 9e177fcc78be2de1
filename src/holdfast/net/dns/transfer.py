"""The operator's secondaries: who may copy the zones, and telling them of a change (NOTIFY, RFC 1996)."""

import asyncio
import base64
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import structlog
from dns.name import Name

from holdfast.core.dns_model import Secondary, TsigKey
from holdfast.net.dns.answer import Keyring
from holdfast.net.dns.book import Book, ZoneBook, parse, rrset
from holdfast.ports import Clock

log = structlog.get_logger("holdfast.dns")

ATTEMPTS = 5
FIRST_WAIT_S = 2.0
"""For the answer to the first NOTIFY; doubled each time. A secondary that misses all of them looks by itself (REFRESH_S)."""

Unlock = Callable[[str], str]
"""A TSIG key's stored secret → Base64. Raises HoldfastError."""


def signer(key: TsigKey, unlock: Unlock) -> dns.tsig.Key:
    """Raises HoldfastError if the secret cannot be unlocked."""
    name = parse(key.name)
    assert name is not None, f"{key.name} was checked when the key was stored"
    return dns.tsig.Key(name, base64.b64decode(unlock(key.secret)), dns.name.from_text(key.algorithm))


@dataclass(frozen=True, slots=True)
class Peer:
    """A secondary with its key ready for use."""

    spec: Secondary
    key: dns.tsig.Key | None

    def admits(self, client: str, signed_with: Name | None) -> bool:
        address = ipaddress.ip_address(client.partition("%")[0])
        inside = any(address in ipaddress.ip_network(text) for text in self.spec.addresses)
        return inside and (self.key is None or signed_with == self.key.name)


def keyring(peers: Iterable[Peer]) -> Keyring:
    return {peer.key.name: peer.key for peer in peers if peer.key is not None}


def admission(peers: Iterable[Peer]) -> Callable[[str, Name | None], bool]:
    """Who may transfer the zones."""
    known = tuple(peers)
    return lambda client, key: any(peer.admits(client, key) for peer in known)


class Notifier:
    """Tells the secondaries of each new serial. One task per zone and secondary; a newer change replaces it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, Name], int] = {}
        self._tasks: dict[tuple[str, Name], asyncio.Task[None]] = {}

    def tell(self, book: Book, peers: Mapping[str, Peer]) -> None:
        """What changed since it was told last. The first book after a start is told too: it may have changed meanwhile."""
        for zone in book.zones.values():
            for name, peer in peers.items():
                if peer.spec.notify and self._told.get((name, zone.apex)) != zone.serial:
                    self._told[name, zone.apex] = zone.serial
                    self._start((name, zone.apex), zone, peer)
        gone = {(name, apex) for name, apex in self._told if name not in peers or apex not in book.zones}
        for which in gone:
            del self._told[which]
            if (task := self._tasks.pop(which, None)) is not None:
                task.cancel()

    def _start(self, which: tuple[str, Name], zone: ZoneBook, peer: Peer) -> None:
        if (former := self._tasks.pop(which, None)) is not None:
            former.cancel()
        task = self._tasks[which] = asyncio.create_task(self._tell_all(zone, peer))
        task.add_done_callback(lambda done: self._tasks.pop(which) if self._tasks.get(which) is done else None)

    async def _tell_all(self, zone: ZoneBook, peer: Peer) -> None:
        await asyncio.gather(*(self._tell_one(zone, peer, address, port) for address, port in peer.spec.notify))

    async def _tell_one(self, zone: ZoneBook, peer: Peer, address: str, port: int) -> None:
        problem = "no answer"
        for attempt in range(ATTEMPTS):
            wait_s = FIRST_WAIT_S * 2**attempt
            started = self._clock.now()
            try:
                answer = await dns.asyncquery.udp(notice(zone, peer.key), address, port=port, timeout=wait_s)
                if answer.rcode() == dns.rcode.NOERROR:
                    return
                problem = dns.rcode.to_text(answer.rcode())
            except (dns.exception.DNSException, OSError) as error:
                problem = str(error)
            await self._clock.sleep(max(0.0, started + wait_s - self._clock.now()))
        log.warning("secondary not told", zone=str(zone.apex), secondary=peer.spec.name, address=address, error=problem)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def notice(zone: ZoneBook, key: dns.tsig.Key | None) -> dns.message.Message:
    """NOTIFY with the new SOA as a hint."""
    message = dns.message.make_query(zone.apex, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    message.flags = (message.flags | dns.flags.AA) & ~dns.flags.RD
    message.answer.append(rrset(zone.apex, zone.soa))
    if key is not None:
        message.use_tsig(key)
    return message
