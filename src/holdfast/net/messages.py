"""What the nodes tell each other in datagrams: msgpack arrays, decoded strictly. Other bytes decode to None."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]

_MissingMs = Annotated[int, Meta(ge=-2, lt=2**31)]
"""For how many milliseconds a target has been silent; -1: heard within the bound; -2: never heard (says nothing of it)."""


class BeatMessage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="b"):
    """A node is alive, on this network (agents to their observers, BEAT_PORT)."""

    network: _Name
    sequence: _Count
    boot_id: Annotated[str, Meta(max_length=64)]


class ReportMessage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="r"):
    """What one observer misses (agents to managers, REPORT_PORT)."""

    observer: _Name
    self_suspect: bool
    """The observer misses most of its targets and therefore suspects itself: its word counts for nothing."""
    targets: dict[_Name, dict[_Name, _MissingMs]]
    """Target node → network → silence."""


_Message = TypeVar("_Message", BeatMessage, ReportMessage)
_encoder = msgspec.msgpack.Encoder()
_beats = msgspec.msgpack.Decoder(BeatMessage)
_reports = msgspec.msgpack.Decoder(ReportMessage)


def encode(message: BeatMessage | ReportMessage) -> bytes:
    return _encoder.encode(message)


def decode_beat(payload: bytes) -> BeatMessage | None:
    return _decode(_beats, payload)


def decode_report(payload: bytes) -> ReportMessage | None:
    return _decode(_reports, payload)


def _decode(decoder: "msgspec.msgpack.Decoder[_Message]", payload: bytes) -> _Message | None:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
