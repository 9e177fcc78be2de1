"""A zone to ask about, and malformed packets."""

import random
import struct
from collections.abc import Iterator

import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from holdfast.core.dns_model import DnsRecords, ServedZone
from holdfast.net.dns.answer import PAYLOAD_BYTES, Desk
from holdfast.net.dns.book import make_book

ZONE = "example.lan"
NAME = f"s3.{ZONE}"
ADDRESSES = ("10.78.0.61", "10.78.0.62")


def records(serial: int = 77, many: int = 0, addresses: tuple[str, ...] = ADDRESSES) -> DnsRecords:
    names = {
        NAME: (*addresses, "fd78::61"),
        f"*.{NAME}": addresses,
        f"a.deep.{ZONE}": ("10.78.0.70",),
        f"stopped.{ZONE}": (),
        "other.lan": ("10.1.1.1",),
        "..bad..": ("10.1.1.1",),
        f"many.{ZONE}": tuple(f"10.80.{k // 250}.{k % 250 + 1}" for k in range(many)),
    }
    servers = {
        f"ns-n1.{ZONE}": ("10.77.0.11",),
        f"ns-n2.{ZONE}": ("10.77.0.12", "fd77::12"),
        "ns.elsewhere.net": (),
    }
    return DnsRecords(names, serial, "then", (ServedZone(ZONE, "first.last@example.lan", 5, 5, servers),))


def desk(serial: int = 77, many: int = 0) -> Desk:
    return Desk(make_book(records(serial, many)), {}, lambda client, key: client == "192.0.2.53", {"id.server.": "n1"})


def malformed(count: int, seed: int) -> Iterator[bytes]:
    """Packets that nobody should send: noise, cut and altered queries, headers that promise what is not there, pointers that
    go round in circles."""
    chance = random.Random(seed)
    kinds = ["A", "AAAA", "NS", "SOA", "ANY", "TXT", "AXFR", "IXFR", "OPT", "TSIG", "TYPE65399", "DS"]
    while count:
        count -= 1
        if chance.random() < 0.15:
            yield chance.randbytes(chance.choice([0, 1, 11, 12, 13, 17, 40, 200, 600]))
            continue
        name = chance.choice([NAME, f"x.{NAME}", ZONE, "google.com", f"{'a' * 63}.{ZONE}", "."])
        query = dns.message.make_query(name, "A", use_edns=chance.choice([None, 0]))
        query.question[0].rdtype = dns.rdatatype.from_text(chance.choice(kinds))
        if chance.random() < 0.2:
            query.question[0].rdclass = dns.rdataclass.RdataClass.make(chance.choice([3, 254, 255, 4711]))
        wire = bytearray(query.to_wire())
        for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
            wire[chance.randrange(len(wire))] = chance.choice([0, 1, 0x80, 0xC0, 0xFF, chance.randrange(256)])
        if chance.random() < 0.2:
            del wire[chance.randrange(len(wire)) :]
        if chance.random() < 0.2:
            wire += chance.randbytes(chance.randrange(60))
        yield bytes(wire)


def judge(wire: bytes, answers: tuple[bytes, ...]) -> None:
    """Whatever came, the answer is an answer to it, and a malformed packet gets no more than a header."""
    assert len(answers) <= 1
    if len(wire) < 12 or wire[2] & 0x80:
        assert answers == ()
        return
    for answer in answers:
        assert answer[:2] == wire[:2] and answer[2] & 0x80 and len(answer) <= PAYLOAD_BYTES
        _, flags, *_ = struct.unpack_from("!HHHHHH", answer)
        if flags & 0xF in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and len(answer) > 12:
            assert len(answer) <= len(wire) + 11, "at most the question and our OPT"
