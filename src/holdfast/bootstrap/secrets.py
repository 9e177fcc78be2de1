"""Secrets the cluster's nodes share, and the authority's key under lock in the store.

- *beat key*: authenticates the datagrams between nodes; on every node.
- *cluster secret*: unlocks the authority's private key, which the store keeps encrypted, so that a copy of the store (a
  snapshot, a backup) cannot issue certificates. Needed where certificates are issued: on management nodes. Any node may
  become one (`ha enable`), so for the time being every join bundle carries it.
"""

import base64
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from holdfast.errors import ConfigError

SECRET_BYTES = 32


def new_secret() -> bytes:
    """32 random bytes: a cluster secret or a beat key."""
    return secrets.token_bytes(SECRET_BYTES)


def lock_key(key_pem: bytes, cluster_secret: bytes) -> str:
    """The private key encrypted and authenticated (Fernet: AES-128-CBC with HMAC-SHA256), as text for the store."""
    return Fernet(base64.urlsafe_b64encode(cluster_secret)).encrypt(key_pem).decode("ascii")


def unlock_key(locked: str, cluster_secret: bytes) -> bytes:
    """The private key. Raises ConfigError if the secret is not the one it was locked with."""
    try:
        return Fernet(base64.urlsafe_b64encode(cluster_secret)).decrypt(locked.encode("ascii"))
    except (InvalidToken, ValueError) as error:
        raise ConfigError(
            "the cluster secret of this node does not unlock the authority's key in the store",
            "Copy cluster.secret from another management node; this one belongs to another cluster or is damaged.",
        ) from error


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
