"""The published records as a name server looks them up. Never changed once made: another record, another book."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset
from dns.name import Name
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType

from holdfast.core.dns_model import DnsRecords, ServedZone

REFRESH_S = 60
"""How often a secondary looks by itself whether the zone has changed; it is told of each change besides."""
RETRY_S = 10
EXPIRE_S = 7 * 86400
"""How long a secondary goes on serving while it reaches none of us."""

Sets = dict[RdataType, Rdataset]
"""What there is at one name."""
_IN = dns.rdataclass.IN


@dataclass(frozen=True, slots=True)
class ZoneBook:
    """One zone."""

    apex: Name
    minimum_s: int
    nodes: dict[Name, Sets] = field(default_factory=dict)
    """Every name that exists. One that exists only because there is something below it has no records."""

    @property
    def soa(self) -> Rdataset:
        return self.nodes[self.apex][dns.rdatatype.SOA]

    @property
    def serial(self) -> int:
        soa = self.soa[0]
        assert isinstance(soa, dns.rdtypes.ANY.SOA.SOA)
        return int(soa.serial)

    def find(self, name: Name) -> Sets | None:
        """What there is at a name of this zone, also by a wildcard (RFC 4592); None: it does not exist."""
        found = self.nodes.get(name)
        if found is not None:
            return found
        encloser = name.parent()
        while encloser not in self.nodes:
            encloser = encloser.parent()
        return self.nodes.get(dns.name.Name((b"*", *encloser.labels)))

    def rrsets(self) -> Iterator[dns.rrset.RRset]:
        """All of it, without the SOA."""
        for name, sets in self.nodes.items():
            for rdtype, rdataset in sets.items():
                if rdtype != dns.rdatatype.SOA:
                    yield rrset(name, rdataset)


@dataclass(frozen=True, slots=True)
class Book:
    """All zones, by their apex."""

    zones: dict[Name, ZoneBook] = field(default_factory=dict)

    def zone_of(self, name: Name) -> ZoneBook | None:
        """The zone that the name lies in."""
        while True:
            found = self.zones.get(name)
            if found is not None or len(name) <= 1:
                return found
            name = name.parent()


def rrset(name: Name, rdataset: Rdataset) -> dns.rrset.RRset:
    """The records under a name as they stand in a message; dnspython shuffles them when it writes them."""
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))


def make_book(records: DnsRecords) -> Book:
    """What cannot be written as a DNS name, or lies in none of the zones, is left out."""
    made = (_zone(zone, records) for zone in records.zones)
    return Book({zone.apex: zone for zone in made})


def parse(text: str) -> Name | None:
    """A fully qualified name; None if it cannot be one."""
    try:
        return dns.name.from_text(text, dns.name.root).canonicalize()
    except (dns.exception.DNSException, UnicodeError, ValueError):
        return None


def _zone(zone: ServedZone, records: DnsRecords) -> ZoneBook:
    apex = parse(zone.apex)
    assert apex is not None, f"{zone.apex} was checked when the zone was created"
    book = ZoneBook(apex, zone.minimum_s)
    servers = [(name, addresses) for text, addresses in zone.servers.items() if (name := parse(text))]
    first = min((name for name, addresses in servers if addresses), default=apex)
    soa = f"{first} {_mailbox(zone.hostmaster)} {records.serial} {REFRESH_S} {RETRY_S} {EXPIRE_S} {zone.minimum_s}"
    _add(book, apex, "SOA", zone.ttl_s, [soa])
    _add(book, apex, "NS", zone.ttl_s, [str(name) for name, _ in servers])
    for name, addresses in servers:
        if name.is_subdomain(apex):
            _add_addresses(book, name, zone.ttl_s, addresses)
    for text, addresses in records.names.items():
        name = parse(text)
        if name is not None and name.is_subdomain(apex):
            _add_addresses(book, name, zone.ttl_s, addresses)
    for name in list(book.nodes):
        _add_above(book, name)
    return book


def _add_above(book: ZoneBook, name: Name) -> None:
    """Names between this one and the apex exist."""
    while name != book.apex:
        name = name.parent()
        book.nodes.setdefault(name, {})


def _add_addresses(book: ZoneBook, name: Name, ttl_s: int, addresses: Iterable[str]) -> None:
    book.nodes.setdefault(name, {})
    for address in addresses:
        _add(book, name, "A" if ipaddress.ip_address(address).version == 4 else "AAAA", ttl_s, [address])


def _add(book: ZoneBook, name: Name, rdtype: str, ttl_s: int, texts: Iterable[str]) -> None:
    kind = dns.rdatatype.from_text(rdtype)
    sets = book.nodes.setdefault(name, {})
    for text in texts:
        rdata = dns.rdata.from_text(_IN, kind, text, dns.name.root, relativize=False)
        sets.setdefault(kind, dns.rdataset.Rdataset(_IN, kind, ttl=ttl_s)).add(rdata, ttl_s)


def _mailbox(mail: str) -> Name:
    """`first.last@example.lan` → `first\\.last.example.lan.`"""
    user, _, domain = mail.partition("@")
    return dns.name.Name((user.encode(), *dns.name.from_text(domain, dns.name.root).labels))
