"""Stored form of the model: JSON through msgspec, strict on types, tolerant of fields written by a newer version."""

from typing import Any, TypeVar

import msgspec

from holdfast.errors import StoreError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(value: object) -> bytes:
    """Deterministic JSON: equal values give equal bytes."""
    return _encoder.encode(value)


def decode(value: bytes, kind: type[T], key: str = "?") -> T:
    """The value as `kind`. Raises StoreError naming the key and what does not fit."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(value)  # type: ignore[no-any-return]
    except msgspec.DecodeError as error:
        raise StoreError(
            f"the store's key {key!r} does not hold a valid {kind.__name__}: {error}",
            "It was written by an incompatible version or by hand; restore it from a backup or remove it.",
        ) from error
