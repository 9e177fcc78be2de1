"""Secrets under lock: how the store keeps what it must not tell to whoever holds a copy of it.

A *lock secret* is 32 bytes, or several such secrets one behind the other, the newest first: while the cluster's secret
changes (`bootstrap/ring.py`) what was locked with the one before can still be opened. Fernet: AES-128-CBC with HMAC-SHA256.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from holdfast.errors import ConfigError, InvalidInput

SECRET_BYTES = 32
TOKEN = "gAAAAA"  # noqa: S105 (how every Fernet token begins: version 128, and the first bytes of a 64-bit time)
MARK = "locked:"
"""Before a locked value in a field that once held, or may hold, clear text."""


def lock(content: bytes, secret: bytes) -> str:
    """Encrypted and authenticated, as text for the store."""
    return _fernets(secret)[0].encrypt(content).decode("ascii")


def unlock(locked: str, secret: bytes) -> bytes:
    """What was locked. Raises ConfigError if it was with none of these secrets."""
    try:
        return _open(locked, secret)
    except (InvalidToken, ValueError) as error:
        raise ConfigError(
            "the cluster secret of this node does not unlock what the store keeps",
            "If nodes were removed a moment ago it comes by itself. Otherwise copy cluster.secret from a management node: "
            "this one belongs to another cluster or is damaged.",
        ) from error


def is_current(locked: str, secret: bytes) -> bool:
    """Whether the newest of the secrets opens it."""
    try:
        _fernets(secret)[0].decrypt(locked.encode("ascii"))
    except (InvalidToken, ValueError):
        return False
    return True


def marked(text: str, secret: bytes) -> str:
    """Locked, for a field that may hold clear text as well. Raises InvalidInput where the two could be confused."""
    if text.startswith(MARK):
        raise InvalidInput(f"a secret cannot begin with `{MARK}`", "Choose another one.")
    return MARK + lock(text.encode(), secret)


def is_marked(text: str) -> bool:
    return text.startswith(MARK)


def clear(text: str, secret: bytes) -> str:
    """Of such a field: what it says. Raises ConfigError."""
    return unlock(text.removeprefix(MARK), secret).decode() if is_marked(text) else text


@lru_cache(maxsize=65536)
def _open(locked: str, secret: bytes) -> bytes:
    return MultiFernet(_fernets(secret)).decrypt(locked.encode("ascii"))


@lru_cache(maxsize=16)
def _fernets(secret: bytes) -> list[Fernet]:
    if not secret or len(secret) % SECRET_BYTES:
        raise ValueError(f"a lock secret of {len(secret)} bytes")
    parts = [secret[i : i + SECRET_BYTES] for i in range(0, len(secret), SECRET_BYTES)]
    return [Fernet(base64.urlsafe_b64encode(part)) for part in parts]
