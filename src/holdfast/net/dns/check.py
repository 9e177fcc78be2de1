"""What our name servers and the world answer: the basic checks that registries and Zonemaster make, for one zone."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
from dns.message import Message
from dns.name import Name

from holdfast.core.dns_model import DnsRecords, ServedZone
from holdfast.net.dns.answer import PAYLOAD_BYTES
from holdfast.net.dns.book import make_book

TIMEOUT_S = 2.0
WORLD_S = 6.0
"""For everything that is asked of the world's resolvers together."""
FOREIGN = dns.name.from_text("a.root-servers.net")
"""A name of no zone of ours."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    where: str
    """A name server with its address, or `the world`."""
    check: str
    ok: bool
    text: str


async def check_zone(
    zone: ServedZone, records: DnsRecords, *, resolver: str = "", port: int = 53, resolver_port: int = 53
) -> list[Finding]:
    """Every server of ours directly, and the delegation as `resolver` sees it (empty: this node's own)."""
    ours = [(name, address) for name, addresses in zone.servers.items() for address in addresses]
    asked = [_server(name, address, zone, records, port) for name, address in ours]
    found = [finding for one in await asyncio.gather(*asked) for finding in one]
    return [*found, *await _world(zone, records, resolver, resolver_port)]


async def _server(name: str, address: str, zone: ServedZone, records: DnsRecords, port: int) -> list[Finding]:
    where, apex = f"{name} {address}", dns.name.from_text(zone.apex)
    try:
        soa = await _udp(dns.message.make_query(apex, "SOA", use_edns=0, payload=PAYLOAD_BYTES), address, port)
    except (dns.exception.DNSException, OSError) as error:
        return [Finding(where, "answers", False, f"no answer by UDP: {error}")]
    found = [_authoritative(where, soa), _serial(where, soa, records.serial), _edns(where, soa)]
    for work in (_tcp_answers, _ns_and_glue, _no_recursion, _published, _status):
        try:
            found.append(await work(where, address, port, zone, records))
        except (dns.exception.DNSException, OSError, EOFError) as error:
            found.append(Finding(where, work.__name__.strip("_").replace("_", "-"), False, f"no answer: {error}"))
    return found


async def _udp(query: Message, address: str, port: int) -> Message:
    return await dns.asyncquery.udp(query, address, TIMEOUT_S, port=port)


def _authoritative(where: str, soa: Message) -> Finding:
    ok = soa.rcode() == dns.rcode.NOERROR and bool(soa.flags & dns.flags.AA) and bool(soa.answer)
    return Finding(where, "authoritative", ok, "it has the zone" if ok else f"{dns.rcode.to_text(soa.rcode())}, no SOA")


def _serial(where: str, soa: Message, published: int) -> Finding:
    serial = _serial_of(soa)
    same = serial == published
    return Finding(where, "serial", same, f"{serial}" if same else f"{serial}, but {published} is published")


def _serial_of(answer: Message) -> int | None:
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.SOA:
            return int(str(rrset[0]).split()[2])
    return None


def _edns(where: str, soa: Message) -> Finding:
    ok = soa.edns == 0
    return Finding(where, "edns", ok, f"up to {soa.payload} bytes" if ok else "it does not know EDNS")


async def _tcp_answers(where: str, address: str, port: int, zone: ServedZone, records: DnsRecords) -> Finding:
    query = dns.message.make_query(dns.name.from_text(zone.apex), "SOA")
    answer = await dns.asyncquery.tcp(query, address, TIMEOUT_S, port=port)
    ok = _serial_of(answer) is not None
    return Finding(where, "tcp", ok, "it answers" if ok else "no SOA by TCP")


async def _ns_and_glue(where: str, address: str, port: int, zone: ServedZone, records: DnsRecords) -> Finding:
    answer = await _udp(dns.message.make_query(dns.name.from_text(zone.apex), "NS", use_edns=0), address, port)
    said, wanted = _targets(answer.answer), {dns.name.from_text(name) for name in zone.servers}
    if said != wanted:
        return Finding(where, "ns", False, f"it names {_listed(said)} instead of {_listed(wanted)}")
    glued = {rrset.name for rrset in answer.additional}
    without = {dns.name.from_text(name) for name, addresses in zone.servers.items() if addresses} - glued
    if without:
        return Finding(where, "ns", False, f"no address comes with {_listed(without)}")
    return Finding(where, "ns", True, f"{len(said)} name servers, with addresses")


async def _no_recursion(where: str, address: str, port: int, zone: ServedZone, records: DnsRecords) -> Finding:
    answer = await _udp(dns.message.make_query(FOREIGN, "A"), address, port)
    ok = answer.rcode() == dns.rcode.REFUSED and not answer.flags & dns.flags.RA and not answer.answer
    return Finding(where, "recursion", ok, "refused" if ok else "it answers for names of others: an open resolver")


async def _published(where: str, address: str, port: int, zone: ServedZone, records: DnsRecords) -> Finding:
    """Every published name of the zone, with exactly its addresses."""
    book = make_book(DnsRecords(records.names, records.serial, "", (zone,)))
    asked = 0
    for part in book.zones.values():
        for name, sets in part.nodes.items():
            for rdtype, wanted in sets.items():
                if rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA):
                    continue
                asked += 1
                answer = await _udp(dns.message.make_query(name, rdtype, use_edns=0), address, port)
                if answer.flags & dns.flags.TC:
                    answer = await dns.asyncquery.tcp(
                        dns.message.make_query(name, rdtype), address, TIMEOUT_S, port=port
                    )
                said = {str(rdata) for rrset in answer.answer for rdata in rrset}
                if said != {str(rdata) for rdata in wanted}:
                    return Finding(where, "records", False, f"{name} is answered with {_listed(said)}")
    return Finding(where, "records", True, f"{asked} sets of addresses are as published")


async def _status(where: str, address: str, port: int, zone: ServedZone, records: DnsRecords) -> Finding:
    """Whether the server has the store, or lives on what it knew last."""
    query = dns.message.make_query("status.holdfast.", "TXT", rdclass=dns.rdataclass.CHAOS)
    answer = await _udp(query, address, port)
    said = " ".join(str(rdata).strip('"') for rrset in answer.answer for rdata in rrset)
    return Finding(where, "store", said.startswith("current"), said or "it does not say")


# --- the world ------------------------------------------------------------------------------------------------------


async def _world(zone: ServedZone, records: DnsRecords, resolver: str, port: int) -> list[Finding]:
    """What somebody finds who knows only the root."""
    where = f"the world by {resolver}" if resolver else "the world by this node's resolver"
    apex = dns.name.from_text(zone.apex)
    try:
        asked = dns.asyncresolver.Resolver(configure=not resolver)
        if resolver:
            asked.nameservers, asked.port = [resolver], port
        asked.lifetime = TIMEOUT_S
        async with asyncio.timeout(WORLD_S):
            answer = await asked.resolve(apex, "SOA")
            serial = _serial_of(answer.response)
            same = serial == records.serial
            text = f"{serial}" if same else f"{serial}, but {records.serial} is published (a resolver may remember it)"
            return [Finding(where, "serial", same, text), await _delegation(where, zone, apex, asked)]
    except (dns.exception.DNSException, OSError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        return [Finding(where, "delegation", False, f"{zone.apex} is not found: {said}")]


async def _delegation(where: str, zone: ServedZone, apex: Name, asked: dns.asyncresolver.Resolver) -> Finding:
    """What the parent zone says of ours, or if the parent cannot be asked, what the resolver has made of it."""
    wanted = {dns.name.from_text(name) for name in zone.servers}
    parents: Iterable[str] = ()
    try:
        parent = await dns.asyncresolver.zone_for_name(apex.parent(), resolver=asked)
        if parent != dns.name.root:
            servers = await asked.resolve(parent, "NS")
            parents = [a for server in servers for a in await _addresses(asked, dns.name.from_text(str(server)))]
    except (dns.exception.DNSException, OSError):
        pass
    for address in parents:
        try:
            query = dns.message.make_query(apex, "NS", flags=0, use_edns=0)
            answer = await _udp(query, address, asked.port)
        except (dns.exception.DNSException, OSError):
            continue
        said = _targets([*answer.answer, *answer.authority])
        if said:
            return _compared(where, f"the parent on {address}", said, wanted)
    answered = await asked.resolve(apex, "NS")
    return _compared(where, "the resolver", _targets(answered.response.answer), wanted)


async def _addresses(asked: dns.asyncresolver.Resolver, server: Name) -> list[str]:
    try:
        return [str(rdata) for rdata in await asked.resolve(server, "A")]
    except (dns.exception.DNSException, OSError):
        return []


def _compared(where: str, who: str, said: set[Name], wanted: set[Name]) -> Finding:
    if said == wanted:
        return Finding(where, "delegation", True, f"{who} names the same {len(wanted)} name servers")
    missing, foreign = _listed(wanted - said), _listed(said - wanted)
    return Finding(where, "delegation", False, f"{who} leaves out {missing}, and names {foreign} besides")


def _targets(rrsets: Sequence[dns.rrset.RRset]) -> set[Name]:
    return {dns.name.from_text(str(r)) for rrset in rrsets if rrset.rdtype == dns.rdatatype.NS for r in rrset}


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(str(name) for name in names)) or "none"
