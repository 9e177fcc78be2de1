"""The frames on the wire, byte by byte, and what is read out of others' frames."""

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from holdfast.net.mute import script
from holdfast.net.packets import announcements, answer, question

MAC = bytes.fromhex("020000000001")


def test_gratuitous_arp_is_a_request_and_a_reply_for_oneself() -> None:
    request, reply = announcements("10.78.0.101", MAC)
    head = "ffffffffffff" + "020000000001" + "0806" + "0001080006040001"
    assert request.hex() == head + "020000000001" + "0a4e0065" + "000000000000" + "0a4e0065"
    assert reply[20:22] == b"\0\x02"
    assert reply[22:28] == reply[32:38] == MAC and reply[28:32] == reply[38:42]


def test_unsolicited_advertisement_overrides_and_has_a_right_checksum() -> None:
    (frame,) = announcements("fd78::101", MAC)
    assert frame[:6].hex() == "333300000001" and frame[12:14].hex() == "86dd"
    assert frame[21] == 255 and frame[54] == 136
    assert struct.unpack("!I", frame[58:62])[0] == 0x20000000
    pseudo = frame[22:54] + struct.pack("!II", len(frame) - 54, 58)
    words = struct.unpack(f"!{(len(pseudo) + len(frame) - 54) // 2}H", pseudo + frame[54:])
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_a_question_claims_nothing() -> None:
    for ip in ("10.78.0.101", "fd78::101"):
        assert answer(question(ip, MAC), ip) is None
    probe = question("10.78.0.101", MAC)
    assert probe[28:32] == bytes(4)
    solicitation = question("fd78::1:101", MAC)
    assert solicitation[:6].hex() == "3333ff010101" and solicitation[22:38] == bytes(16)
    assert solicitation[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1:ff01:101")


def test_answers_and_announcements_name_the_owner() -> None:
    for ip, other in (("10.78.0.101", "10.78.0.102"), ("fd78::101", "fd78::102")):
        for frame in announcements(ip, MAC):
            assert answer(frame, ip) == MAC
            assert answer(frame, other) is None


@given(st.binary(max_size=120))
def test_noise_never_raises(noise: bytes) -> None:
    for head in (b"", bytes(12) + b"\x08\x06", bytes(12) + b"\x86\xdd"):
        answer(head + noise, "10.78.0.101")
        answer(head + noise, "fd78::101")


def test_the_mute_table_is_replaced_as_a_whole() -> None:
    assert script(set()) == "add table inet holdfast-mute\ndelete table inet holdfast-mute\n"
    text = script({"10.78.0.101", "fd78::101"})
    assert text.count(" drop") == 8 and "ip6 daddr fd78::101" in text and "ip saddr 10.78.0.101" in text
