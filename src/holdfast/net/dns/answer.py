"""From the bytes of a query to the bytes of the answer. No socket, no clock.

Authoritative only: no recursion, no other zones, nothing that is much larger than what was asked for. A message with the QR
bit is never answered, so no two servers can be set talking to each other.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.nsbase
import dns.rrset
import dns.tsig
from dns.message import Message
from dns.name import Name
from dns.rcode import Rcode

from holdfast.net.dns.book import Book, Sets, ZoneBook, rrset

PAYLOAD_BYTES = 1232
"""Largest UDP answer: fits every path without fragments (DNS flag day 2020)."""
PLAIN_BYTES = 512
"""Without EDNS (RFC 1035)."""
TRANSFER_SETS = 200
"""Record sets per message of a zone transfer."""
_HEADER = struct.Struct("!HHHHHH")
_META = range(128, 256)
"""Types that are questions only, and no records (RFC 6895)."""
_UNSIGNED = (
    dns.message.UnknownTSIGKey,
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
    dns.tsig.PeerError,
)
_TTL_CHAOS_S = 0

Keyring = dict[Name, dns.tsig.Key]


def _nobody(_client: str, _key: Name | None) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Desk:
    """What is answered from."""

    book: Book = field(default_factory=Book)
    keyring: Keyring = field(default_factory=dict)
    """Of those who may transfer zones."""
    may_transfer: Callable[[str, Name | None], bool] = _nobody
    """Client address and the key that its query was signed with."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Name → text: what a TXT query of class CHAOS is told about this server."""


def respond(wire: bytes, desk: Desk, client: str, *, stream: bool) -> tuple[bytes, ...]:
    """The answers to send, in order: none, one, or (a zone transfer) several. Raises nothing, whatever the bytes are."""
    if len(wire) < _HEADER.size:
        return ()
    _, flags, questions, *_ = _HEADER.unpack_from(wire)
    if flags & dns.flags.QR:
        return ()
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return (bare(wire, dns.rcode.NOTIMP),)
    if questions != 1:
        return (bare(wire, dns.rcode.FORMERR),)
    try:
        query = dns.message.from_wire(wire, keyring=desk.keyring)
    except _UNSIGNED:
        return (bare(wire, dns.rcode.NOTAUTH),)
    except Exception:  # dnspython promises no more than DNSException; a stranger's bytes must never end the server
        return (bare(wire, dns.rcode.FORMERR),)
    if stream and query.question[0].rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        return _transfer(query, desk, client)
    response = dns.message.make_response(query, our_payload=PAYLOAD_BYTES, pad=0)
    _fill(response, query, desk)
    if stream:
        return (response.to_wire(max_size=65535),)
    offered = query.payload if query.edns >= 0 else PLAIN_BYTES
    return (response.to_wire(max_size=min(PAYLOAD_BYTES, max(PLAIN_BYTES, offered)), prefer_truncation=True),)


def bare(wire: bytes, rcode: Rcode, flags: int = 0) -> bytes:
    """A header alone, so never longer than what it answers."""
    number, asked, *_ = _HEADER.unpack_from(wire)
    kept = asked & (0x7800 | dns.flags.RD)  # opcode, and whether recursion was desired
    return _HEADER.pack(number, dns.flags.QR | kept | flags | rcode, 0, 0, 0, 0)


def truncated(wire: bytes) -> bytes:
    """Asks a client to come back by TCP, which cannot be done in another's name."""
    return bare(wire, dns.rcode.NOERROR, dns.flags.TC)


def _fill(response: Message, query: Message, desk: Desk) -> None:
    question = query.question[0]
    name, rdtype = question.name, question.rdtype
    if query.edns > 0:
        response.set_rcode(dns.rcode.BADVERS)
    elif question.rdclass == dns.rdataclass.CHAOS:
        _about(response, name, rdtype, desk.about)
    elif question.rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.REFUSED)
    elif rdtype in (dns.rdatatype.OPT, dns.rdatatype.TSIG, dns.rdatatype.TKEY):
        response.set_rcode(dns.rcode.FORMERR)
    elif (zone := desk.book.zone_of(name)) is None or rdtype == dns.rdatatype.AXFR:
        response.set_rcode(dns.rcode.REFUSED)
    elif rdtype == dns.rdatatype.IXFR:
        _soa(response.answer, response, zone)  # come back by TCP (RFC 1995)
    elif rdtype in _META and rdtype != dns.rdatatype.ANY:
        response.set_rcode(dns.rcode.NOTIMP)
    else:
        _look_up(response, zone, name, rdtype)


def _look_up(response: Message, zone: ZoneBook, name: Name, rdtype: int) -> None:
    response.flags |= dns.flags.AA
    found = zone.find(name)
    if found is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif rdtype == dns.rdatatype.ANY and found:
        response.answer.append(_little(name, found))
        return
    elif rdtype in found:
        rdataset = found[dns.rdatatype.RdataType.make(rdtype)]
        response.answer.append(rrset(name, rdataset))
        if rdtype == dns.rdatatype.NS:
            response.additional += _glue(zone, rdataset)
        return
    _soa(response.authority, response, zone, ttl_s=min(zone.minimum_s, zone.soa.ttl))


def _soa(section: list[dns.rrset.RRset], response: Message, zone: ZoneBook, *, ttl_s: int | None = None) -> None:
    response.flags |= dns.flags.AA
    made = rrset(zone.apex, zone.soa)
    if ttl_s is not None:
        made.update_ttl(ttl_s)
    section.append(made)


def _little(name: Name, found: Sets) -> dns.rrset.RRset:
    """The answer to ANY (RFC 8482): nothing that is worth being sent to somebody else."""
    ttl_s = next(iter(found.values())).ttl
    text = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.HINFO, '"RFC8482" ""')
    return dns.rrset.from_rdata_list(name, ttl_s, [text])


def _glue(zone: ZoneBook, servers: dns.rdataset.Rdataset) -> list[dns.rrset.RRset]:
    """The addresses of the zone's own name servers."""
    made = []
    for server in servers:
        assert isinstance(server, dns.rdtypes.nsbase.NSBase)
        for rdataset in zone.nodes.get(server.target, {}).values():
            made.append(rrset(server.target, rdataset))
    return made


def _about(response: Message, name: Name, rdtype: int, about: Mapping[str, str]) -> None:
    text = about.get(str(name).lower())
    if text is None or rdtype != dns.rdatatype.TXT:
        response.set_rcode(dns.rcode.REFUSED)
        return
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"')[:250] + '"'
    rdata = dns.rdata.from_text(dns.rdataclass.CHAOS, dns.rdatatype.TXT, quoted)
    response.flags |= dns.flags.AA
    response.answer.append(dns.rrset.from_rdata_list(name, _TTL_CHAOS_S, [rdata]))


# --- zone transfer -------------------------------------------------------------------------------------------------


def _transfer(query: Message, desk: Desk, client: str) -> tuple[bytes, ...]:
    """The whole zone, for those who may have it; also where only the changes are asked for (RFC 1995 allows that)."""
    zone = desk.book.zones.get(query.question[0].name)
    key: Any = query.keyname if query.had_tsig else None
    refused = None if zone is not None else dns.rcode.NOTAUTH
    if query.question[0].rdclass != dns.rdataclass.IN or not desk.may_transfer(client, key):
        refused = dns.rcode.REFUSED
    if zone is None or refused is not None:
        response = dns.message.make_response(query, our_payload=PAYLOAD_BYTES, pad=0)
        response.set_rcode(refused or dns.rcode.REFUSED)
        return (response.to_wire(),)
    soa = rrset(zone.apex, zone.soa)
    sets = [soa, *zone.rrsets(), soa]
    wires, context = [], None
    for first in range(0, len(sets), TRANSFER_SETS):
        response = dns.message.make_response(query, our_payload=PAYLOAD_BYTES, pad=0)
        response.flags |= dns.flags.AA
        response.answer = sets[first : first + TRANSFER_SETS]
        wires.append(response.to_wire(max_size=65535, multi=True, tsig_ctx=context))
        context = response.tsig_ctx
    return tuple(wires)
