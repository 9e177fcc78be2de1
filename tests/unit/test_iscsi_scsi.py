"""SCSI answers: what the standard says is understood, garbage ends in an error of ours. The journal's judgement."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidInput
from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.journal import BLOCK_BYTES, LOST, STALE, TORN, judge, stamp
from holdfast.services.iscsi.scsi import Access, BadAnswer, ScsiError
from holdfast.services.iscsi.session import Chap, Login, check_portal

OURS, THEIRS = b"run-one!", b"run-two!"
PARSERS = (
    scsi.parse_inquiry,
    scsi.parse_serial,
    scsi.parse_identification,
    scsi.parse_capacity,
    scsi.parse_caching,
    scsi.parse_target_port_groups,
    scsi.parse_reservation_keys,
    scsi.parse_reservation,
)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=80))
def test_garbage_ends_in_an_error_of_ours(parse: Callable[[bytes], object], data: bytes) -> None:
    for candidate in (data, b"\0\x80" + data, b"\0\x83" + data):
        with contextlib.suppress(BadAnswer):
            parse(candidate)


def test_the_longest_registered_name_is_the_wwid_and_the_port_has_a_group() -> None:
    t10 = b"\x02\x01\x00\x08HOLDFAST"
    made_up = b"\x01\x03\x00\x08" + bytes.fromhex("3000000100000001")
    registered = b"\x01\x03\x00\x10" + bytes.fromhex("600140500000000000000000000000aa")
    group = b"\x51\x95\x00\x04\x00\x00\x00\x07"
    found = scsi.parse_identification(page(t10 + made_up + registered + group))
    assert found == scsi.Identification("3600140500000000000000000000000aa", 7)
    assert scsi.parse_identification(page(t10)).wwid == "1HOLDFAST"
    with pytest.raises(BadAnswer, match="who it is"):
        scsi.parse_identification(page(group))


def page(designators: bytes) -> bytes:
    return b"\0\x83" + len(designators).to_bytes(2) + designators


def test_states_of_port_groups() -> None:
    answer = bytes.fromhex("0000001c 00cf0001 00000001 00000001 82cf0002 00000002 00000002 00000003".replace(" ", ""))
    assert scsi.parse_target_port_groups(answer) == {1: Access.OPTIMIZED, 2: Access.STANDBY}
    assert Access.OPTIMIZED.serves and Access.NON_OPTIMIZED.serves and not Access.TRANSITIONING.serves
    assert scsi.parse_target_port_groups(bytes.fromhex("00000008 09cf0003 00000000".replace(" ", ""))) == {
        3: Access.UNAVAILABLE
    }


@pytest.mark.parametrize(
    ("sense", "meaning"),
    [
        ((2, 0x04, 0x0B), "not_this_path"),
        ((2, 0x04, 0x0C), "not_this_path"),
        ((5, 0x25, 0x00), "not_this_path"),
        ((2, 0x3A, 0x00), "not_this_path"),
        ((2, 0x04, 0x0A), "try_again"),
        ((0xB, 0x00, 0x00), "try_again"),
        ((6, 0x2A, 0x06), "unit_attention"),
        ((4, 0x44, 0x00), ""),
        ((3, 0x11, 0x00), ""),
        ((5, 0x24, 0x00), ""),
    ],
)
def test_what_an_error_means_for_the_path(sense: tuple[int, int, int], meaning: str) -> None:
    error = ScsiError("there", "READ(16)", scsi.STATUS_CHECK_CONDITION, *sense)
    meanings = ("not_this_path", "unit_attention", "try_again")
    assert [name for name in meanings if getattr(error, name)] == [meaning] * bool(meaning)
    assert f"{sense[0]:x}/{sense[1]:02x}/{sense[2]:02x}" in str(error)


def test_busy_is_no_refusal() -> None:
    assert ScsiError("there", "READ(16)", scsi.STATUS_BUSY).try_again
    conflict = ScsiError("there", "WRITE(16)", scsi.STATUS_RESERVATION_CONFLICT)
    assert not conflict.try_again and not conflict.not_this_path and "reservation conflict" in str(conflict)


@pytest.mark.parametrize("portal", ["10.0.0.1:3260", "[fd00::1]:3260"])
def test_portals(portal: str) -> None:
    check_portal(portal)


@pytest.mark.parametrize(
    "portal", ["", "n1:3260", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70000", "fd00::1:3260", "[10.0.0.1:1"]
)
def test_what_is_no_portal(portal: str) -> None:
    with pytest.raises(InvalidInput):
        check_portal(portal)


def test_names_and_secrets_of_a_login() -> None:
    with pytest.raises(InvalidInput):
        Login("", "iqn.2026-01.a:b")
    with pytest.raises(InvalidInput):
        Login("iqn.2026-01.a:b", "iqn.2026-01.a:c", Chap("user", "x" * 300))
    with pytest.raises(InvalidInput, match="Mutual"):
        Login("iqn.2026-01.a:b", "iqn.2026-01.a:c", None, Chap("user", "secret"))
    assert "geheim" not in repr(Chap("user", "geheim"))


# --- the journal's judgement --------------------------------------------------------------------------------------------


def test_a_stamp_says_everything_once() -> None:
    assert len(stamp(OURS, 3, 7)) == BLOCK_BYTES
    assert judge(stamp(OURS, 3, 7), OURS, 3, 7, 7) == ""


@pytest.mark.parametrize(
    "there",
    [bytes(BLOCK_BYTES), stamp(THEIRS, 3, 7), stamp(OURS, 4, 7), bytes([0xFF]) * BLOCK_BYTES],
    ids=["zeros", "another run's", "another block's", "ones"],
)
def test_lost(there: bytes) -> None:
    assert judge(there, OURS, 3, 7, 7) == LOST


def test_stale() -> None:
    assert judge(stamp(OURS, 3, 5), OURS, 3, 7, 7) == STALE


@pytest.mark.parametrize("cut", [512, 700, 2048, 3584, 4000])
@pytest.mark.parametrize("before", ["nothing", "an older write", "another run's"])
def test_torn(cut: int, before: str) -> None:
    under = {"nothing": bytes(BLOCK_BYTES), "an older write": stamp(OURS, 3, 5), "another run's": stamp(THEIRS, 3, 7)}
    assert judge(stamp(OURS, 3, 7)[:cut] + under[before][cut:], OURS, 3, 7, 7) == TORN
    assert judge(under[before][:cut] + stamp(OURS, 3, 7)[cut:], OURS, 3, 7, 7) != ""


@given(st.integers(0, BLOCK_BYTES - 1), st.integers(1, 255))
def test_a_single_flipped_byte_is_seen(at: int, change: int) -> None:
    data = bytearray(stamp(OURS, 3, 7))
    data[at] ^= change
    assert judge(bytes(data), OURS, 3, 7, 7) == TORN


def test_of_a_write_without_an_answer_anything_may_be_there_but_nothing_older() -> None:
    for there in (stamp(OURS, 3, 7), stamp(OURS, 3, 9), stamp(OURS, 3, 9)[:1024] + stamp(OURS, 3, 7)[1024:]):
        assert judge(there, OURS, 3, 7, 9) == ""
    assert judge(stamp(OURS, 3, 5), OURS, 3, 7, 9) == STALE
    assert judge(stamp(OURS, 3, 9)[:1024] + stamp(OURS, 3, 5)[1024:], OURS, 3, 7, 9) == TORN
