"""The bytes of a query and the bytes of its answer."""

from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import pytest
from dns.message import Message

from dns_world import ADDRESSES, NAME, ZONE, desk, judge, malformed
from holdfast.net.dns.answer import PAYLOAD_BYTES, Desk, respond
from holdfast.net.dns.limit import AnswerLimit, Verdict

FUZZ = 20_000


def ask(
    name: str, rdtype: str = "A", *, on: Desk | None = None, stream: bool = False, edns: Any = 0, **more: Any
) -> Message:
    query = dns.message.make_query(name, rdtype, use_edns=edns, **more)
    [wire] = respond(query.to_wire(), on or desk(), "10.0.0.1", stream=stream)
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    assert not answer.flags & dns.flags.RA
    return answer


def data(answer: Message) -> set[str]:
    return {str(rdata) for rrset in answer.answer for rdata in rrset}


def test_addresses_are_authoritative_with_a_short_ttl() -> None:
    answer = ask(NAME)
    assert data(answer) == set(ADDRESSES)
    assert answer.flags & dns.flags.AA
    assert answer.answer[0].ttl == 5
    assert data(ask(NAME, "AAAA")) == {"fd78::61"}


def test_the_order_of_the_addresses_changes() -> None:
    firsts = {str(ask(NAME).answer[0][0]) for _ in range(60)}
    assert firsts == set(ADDRESSES)


def test_the_question_comes_back_as_it_was_written() -> None:
    answer = ask("S3.exAMPle.LAN")
    assert str(answer.answer[0].name) == str(answer.question[0].name) == "S3.exAMPle.LAN."


def test_wildcards() -> None:
    assert data(ask(f"bucket.{NAME}")) == set(ADDRESSES)
    assert data(ask(f"a.b.{NAME}")) == set(ADDRESSES)
    assert ask(f"x.a.deep.{ZONE}").rcode() == dns.rcode.NXDOMAIN, "below another name there is no wildcard"


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        (f"nobody.{ZONE}", "A", dns.rcode.NXDOMAIN),
        (NAME, "TXT", dns.rcode.NOERROR),
        (f"deep.{ZONE}", "A", dns.rcode.NOERROR),  # exists only because something lies below it
        (f"stopped.{ZONE}", "A", dns.rcode.NOERROR),
        (f"bucket.{NAME}", "AAAA", dns.rcode.NOERROR),
    ],
)
def test_what_is_not_there_is_denied_with_the_soa(name: str, rdtype: str, rcode: int) -> None:
    answer = ask(name, rdtype)
    assert answer.rcode() == rcode
    assert not answer.answer
    [soa] = answer.authority
    assert (str(soa.name), soa.rdtype, soa.ttl) == (f"{ZONE}.", dns.rdatatype.SOA, 5)
    assert answer.flags & dns.flags.AA


def test_soa_and_name_servers_with_glue() -> None:
    [soa] = data(ask(ZONE, "SOA"))
    assert soa == f"ns-n1.{ZONE}. first\\.last.example.lan. 77 60 10 604800 5"
    answer = ask(ZONE, "NS")
    assert data(answer) == {f"ns-n1.{ZONE}.", f"ns-n2.{ZONE}.", "ns.elsewhere.net."}
    glue = {(str(rrset.name), str(rdata)) for rrset in answer.additional for rdata in rrset}
    assert glue == {
        (f"ns-n1.{ZONE}.", "10.77.0.11"), (f"ns-n2.{ZONE}.", "10.77.0.12"), (f"ns-n2.{ZONE}.", "fd77::12"),
    }  # fmt: skip
    assert data(ask(f"ns-n1.{ZONE}")) == {"10.77.0.11"}


def test_everything_else_is_refused() -> None:
    assert ask("google.com").rcode() == dns.rcode.REFUSED
    assert ask("other.lan").rcode() == dns.rcode.REFUSED, "published, but in none of the zones"
    assert ask("lan", "SOA").rcode() == dns.rcode.REFUSED
    assert ask(NAME, rdclass=dns.rdataclass.HS).rcode() == dns.rcode.REFUSED
    assert ask(ZONE, "AXFR").rcode() == dns.rcode.REFUSED, "not by UDP"
    assert ask(ZONE, "AXFR", stream=True).rcode() == dns.rcode.REFUSED, "not for everybody"
    assert ask(ZONE, "MAILB").rcode() == dns.rcode.NOTIMP
    assert ask(NAME, on=Desk()).rcode() == dns.rcode.REFUSED


def test_any_gets_one_small_record() -> None:
    assert data(ask(ZONE, "ANY")) == {'"RFC8482" ""'}
    assert ask(f"nobody.{ZONE}", "ANY").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 9])
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    wire = bytearray(dns.message.make_query(NAME, "A").to_wire())
    wire[2] = opcode << 3
    [answer] = respond(bytes(wire), desk(), "10.0.0.1", stream=False)
    assert len(answer) == 12 and answer[3] & 0xF == dns.rcode.NOTIMP


def test_edns() -> None:
    assert ask(NAME).payload == PAYLOAD_BYTES
    assert ask(NAME, edns=None).edns == -1, "who does not speak it is not answered with it"
    newer = dns.message.make_query(NAME, "A", use_edns=0)
    newer.use_edns(1)
    [wire] = respond(newer.to_wire(), desk(), "10.0.0.1", stream=False)
    answer = dns.message.from_wire(wire)
    assert answer.rcode() == dns.rcode.BADVERS and answer.edns == 0


def test_what_does_not_fit_is_marked_and_comes_by_tcp() -> None:
    world = desk(many=300)
    for edns, limit in ((None, 512), (0, PAYLOAD_BYTES)):
        query = dns.message.make_query(f"many.{ZONE}", "A", use_edns=edns, payload=65000)
        [wire] = respond(query.to_wire(), world, "10.0.0.1", stream=False)
        answer = dns.message.from_wire(wire)
        assert len(wire) <= limit and answer.flags & dns.flags.TC and not answer.answer
    assert len(data(ask(f"many.{ZONE}", on=world, stream=True))) == 300
    small = dns.message.make_query(f"many.{ZONE}", "A", use_edns=0, payload=4)
    assert len(respond(small.to_wire(), world, "10.0.0.1", stream=False)[0]) <= 512


def test_who_answers_and_how() -> None:
    assert data(ask("ID.server.", "TXT", rdclass=dns.rdataclass.CH)) == {'"n1"'}
    assert ask("version.bind.", "TXT", rdclass=dns.rdataclass.CH).rcode() == dns.rcode.REFUSED


def test_a_transfer_for_who_may() -> None:
    query = dns.message.make_query(ZONE, "AXFR", use_edns=None)
    wires = respond(query.to_wire(), desk(many=5), "192.0.2.53", stream=True)
    rrsets = [rrset for wire in wires for rrset in dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True).answer]
    assert rrsets[0].rdtype == rrsets[-1].rdtype == dns.rdatatype.SOA
    everything = {(str(rrset.name), str(rdata)) for rrset in rrsets for rdata in rrset}
    assert (f"*.{NAME}.", ADDRESSES[0]) in everything and ("ns-n2.example.lan.", "fd77::12") in everything
    assert not any("other.lan" in name for name, _ in everything)
    lower = dns.message.make_query("lan", "AXFR", use_edns=None)
    assert dns.message.from_wire(respond(lower.to_wire(), desk(), "192.0.2.53", stream=True)[0]).rcode() == 9


def test_a_signature_that_we_do_not_know_is_not_accepted() -> None:
    query = dns.message.make_query(NAME, "A")
    query.use_tsig(dns.tsig.Key("stranger.", b"x" * 32))
    [wire] = respond(query.to_wire(), desk(), "10.0.0.1", stream=False)
    assert len(wire) == 12 and wire[3] & 0xF == dns.rcode.NOTAUTH


def test_an_answer_is_never_answered() -> None:
    for stream in (False, True):
        assert respond(ask(NAME).to_wire(), desk(), "10.0.0.1", stream=stream) == ()


def test_malformed_packets_neither_crash_nor_are_reflected() -> None:
    world = desk(many=20)
    for wire in malformed(FUZZ, seed=6):
        judge(wire, respond(wire, world, "10.0.0.1", stream=False))


# --- the limit -----------------------------------------------------------------------------------------------------


def test_a_network_gets_so_many_answers_and_then_hints_to_come_by_tcp() -> None:
    limit = AnswerLimit(rate=10, burst=20)
    burst = [limit.judge(f"10.0.0.{k}", 100.0) for k in range(40)]
    assert burst[:20] == [Verdict.ANSWER] * 20
    assert burst[20:] == [Verdict.DROP, Verdict.TRUNCATE] * 10
    assert limit.judge("10.0.1.1", 100.0) is Verdict.ANSWER, "another network is not concerned"
    assert limit.judge("10.0.0.1", 100.5) is Verdict.ANSWER, "it gets more with time"
    assert [limit.judge("2001:db8::1", 0.0) for _ in range(21)][-1] is Verdict.DROP
    assert limit.judge("2001:db8:0:ff:1::1", 0.0) is not Verdict.ANSWER, "of the same /56"
    assert limit.judge("2001:db8:0:100::1", 0.0) is Verdict.ANSWER
