"""Messages survive the wire; other bytes are no messages."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.net.messages import BeatMessage, ReportMessage, decode_beat, decode_report, encode

BEAT = BeatMessage(network="management", sequence=7, boot_id="b")
REPORT = ReportMessage(
    observer="n1", self_suspect=False, targets={"n2": {"management": -1, "public": 1200}, "n3": {"public": -2}}
)


def test_round_trip() -> None:
    assert decode_beat(encode(BEAT)) == BEAT
    assert decode_report(encode(REPORT)) == REPORT


def test_one_kind_is_not_taken_for_the_other() -> None:
    assert decode_report(encode(BEAT)) is None
    assert decode_beat(encode(REPORT)) is None


def test_messages_are_small() -> None:
    many = {f"node-{n:03}": {"management": 100_000, "public": -1, "storage": -2} for n in range(16)}
    assert len(encode(BEAT)) < 24
    assert len(encode(ReportMessage("node-001", False, many))) < 1100


@pytest.mark.parametrize(
    "value",
    [
        ["b", "", 1, "x"],
        ["b", "public", -1, "x"],
        ["b", "public", "1", "x"],
        ["b", "public", 1],
        ["b", "public", 1, "x", "more"],
        ["z", "public", 1, "x"],
        {"network": "public"},
        None,
    ],
)
def test_a_beat_of_the_wrong_shape_is_none(value: object) -> None:
    assert decode_beat(msgspec.msgpack.encode(value)) is None


@pytest.mark.parametrize("missing", [-3, 1.5, "1", None, True])
def test_a_report_with_a_wrong_number_is_none(missing: object) -> None:
    assert decode_report(msgspec.msgpack.encode(["r", "n1", False, {"n2": {"public": missing}}])) is None


@given(st.binary(max_size=200))
def test_noise_never_raises(noise: bytes) -> None:
    decode_beat(noise)
    decode_report(noise)
