"""Secrets that the cluster's nodes share, in files of theirs. What is locked with them: `holdfast.locks`.

- *beat key*: authenticates the datagrams between nodes; on every node.
- *cluster secret*: unlocks what the store keeps locked, the authority's private key among it, so that a copy of the store (a
  snapshot, a backup) opens nothing. On the nodes whose roles need it (`bootstrap/ring.py`).

Both change when a node leaves; for a while the one before is there as well.
"""

import secrets
from pathlib import Path

from holdfast.errors import ConfigError
from holdfast.locks import SECRET_BYTES


def new_secret() -> bytes:
    """32 random bytes: a cluster secret or a beat key."""
    return secrets.token_bytes(SECRET_BYTES)


def read_with_previous(path: Path) -> bytes:
    """The secret of this file, and behind it those before while they count (`locks`). Raises ConfigError."""
    found = read_secret(path)
    try:
        previous = path.with_suffix(".previous").read_bytes()
    except OSError:
        return found
    return found if len(previous) % SECRET_BYTES else found + previous


def read_secret(path: Path) -> bytes:
    """A secret file's 32 bytes. Raises ConfigError."""
    try:
        value = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            "Run this as root on a member of the cluster; if the file is gone, copy it from another member.",
        ) from error
    if len(value) != SECRET_BYTES:
        raise ConfigError(
            f"{path} has {len(value)} bytes instead of {SECRET_BYTES}", "Copy it from another member of the cluster."
        )
    return value
