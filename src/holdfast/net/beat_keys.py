"""The beat keys of this node: the present one, and while it changes the one before.

Two files, `beat.key` and `beat.previous` beside it, are read again every LOOK_S seconds. While both are there each datagram
is sent under both and believed under either, so that nobody falls silent whichever node learns of the change first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from holdfast.errors import ConfigError, InvalidInput
from holdfast.ports import Clock

LOOK_S = 1.0


class BeatKeys(Protocol):
    def current(self) -> Sequence[bytes]:
        """The present one first."""


class OneKey:
    """A key that never changes (simulations, tests)."""

    def __init__(self, key: bytes) -> None:
        self._keys = (check(key),)

    def current(self) -> Sequence[bytes]:
        return self._keys


class KeyFile:
    """See the module's text. Raises ConfigError where there is no usable key at first; later the last ones go on."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        try:
            self._keys: tuple[bytes, ...] = self._read()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", "Copy it from another node.") from error
        self._looked_at = clock.now()

    def current(self) -> Sequence[bytes]:
        now = self._clock.now()
        if now >= self._looked_at + LOOK_S:
            self._looked_at = now
            try:
                self._keys = self._read()
            except (OSError, InvalidInput):
                return self._keys
        return self._keys

    def _read(self) -> tuple[bytes, ...]:
        present = check(self._path.read_bytes())
        try:
            before = check(self._path.with_suffix(".previous").read_bytes())
        except (OSError, InvalidInput):
            return (present,)
        return (present,) if before == present else (present, before)


def check(key: bytes) -> bytes:
    """Raises InvalidInput."""
    if not 16 <= len(key) <= 64:
        raise InvalidInput(f"the beat key has {len(key)} bytes", "It must have 16 to 64; copy it from another node.")
    return key
