"""The secrets all nodes share, and how they change when a node leaves, without anybody's falling silent.

A *ring* holds the beat key and the cluster secret, and of each the one before. Rings are numbered (*generation*). When a
node is removed the operation makes the next ring and *seals* it for each node that stays, with the public key that the node
has put into the store; the node that leaves finds none for itself, and what it knows opens none of the others.

Who got a new ring believes datagrams under both beat keys, and sends each under both, for HOLD_S seconds and until every
member has said that it has the new ring; then it forgets the key before. What is locked in the store is locked anew with the
new secret by the management nodes; then rings without the secret before are sealed.

Sealing: X25519 with a key of the moment, HKDF-SHA256, ChaCha20-Poly1305, the node's id as associated data. The key is used
once, so that the nonce may be constant.
"""

import base64
import contextlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.bootstrap import files, secrets
from holdfast.errors import ConfigError
from holdfast.locks import SECRET_BYTES

HOLD_S = 30.0
"""How long the beat key before is used beside the new one at least. A member that could not follow would fall silent, and be
taken for dead: therefore it is waited for. So long, too, the cluster secret before still opens what is locked with it, once
every node has the new one: longer than an operation takes."""
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Ring:
    generation: int
    beat: bytes
    beat_before: bytes = b""
    cluster: bytes = b""
    """Empty: the node's roles do not need it."""
    cluster_before: bytes = b""
    """Every one with which something may still be locked, the newest first."""

    def following(self) -> "Ring":
        """The next ring."""
        return Ring(
            self.generation + 1,
            secrets.new_secret(),
            self.beat,
            secrets.new_secret(),
            self.cluster + self.cluster_before,
        )


def read(pki_dir: Path) -> Ring:
    """What this node has. Raises ConfigError."""
    return Ring(
        _generation(pki_dir),
        secrets.read_secret(pki_dir / files.BEAT_KEY),
        _optional(pki_dir / files.BEAT_PREVIOUS),
        _optional(pki_dir / files.CLUSTER_SECRET),
        _optional(pki_dir / files.CLUSTER_PREVIOUS),
    )


def write(pki_dir: Path, ring: Ring) -> None:
    """Replace what this node has; the number last, so that what was interrupted is done again. Raises ConfigError."""
    for name, content in (
        (files.BEAT_PREVIOUS, ring.beat_before),
        (files.CLUSTER_PREVIOUS, ring.cluster_before),
        (files.CLUSTER_SECRET, ring.cluster),
        (files.BEAT_KEY, ring.beat),
        (files.GENERATION, str(ring.generation).encode()),
    ):
        path = pki_dir / name
        if content:
            if _optional(path, any_size=True) != content:
                files.replace_file(path, content, files.SECRET_MODE)
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def forget_beat_key(pki_dir: Path) -> None:
    """The time of the beat key before is over."""
    (pki_dir / files.BEAT_PREVIOUS).unlink(missing_ok=True)


def sealing_key(pki_dir: Path) -> X25519PrivateKey:
    """This node's, made where there is none. It never leaves the node. Raises ConfigError."""
    path = pki_dir / files.SEALING_KEY
    content = _optional(path)
    if not content:
        content = X25519PrivateKey.generate().private_bytes_raw()
        files.replace_file(path, content, files.SECRET_MODE)
    return X25519PrivateKey.from_private_bytes(content)


def public_text(key: X25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(*_RAW)).decode()


def seal(ring: Ring, public: str, node: str) -> str:
    """For the node with this sealing key. Raises ConfigError if it is none."""
    try:
        recipient = X25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        own = X25519PrivateKey.generate()
        ephemeral = own.public_key().public_bytes(*_RAW)
        key = _key(own.exchange(recipient), ephemeral + recipient.public_bytes(*_RAW))
    except ValueError as error:
        raise ConfigError(f"node {node!r} has published no usable sealing key", "Start its agent anew.") from error
    content = msgspec.json.encode(ring)  # bytes as base64
    return base64.b64encode(ephemeral + ChaCha20Poly1305(key).encrypt(_NONCE, content, node.encode())).decode()


def unseal(box: str, key: X25519PrivateKey, node: str) -> Ring:
    """Raises ConfigError if it was sealed for somebody else, or is damaged."""
    try:
        raw = base64.b64decode(box, validate=True)
        shared = key.exchange(X25519PublicKey.from_public_bytes(raw[:32]))
        opened = ChaCha20Poly1305(_key(shared, raw[:32] + key.public_key().public_bytes(*_RAW)))
        ring = msgspec.json.decode(opened.decrypt(_NONCE, raw[32:], node.encode()), type=Ring)
    except (ValueError, InvalidTag, msgspec.DecodeError) as error:
        raise ConfigError(
            "the shared secrets in the store are not sealed for this node", "A management node seals them anew."
        ) from error
    whole = len(ring.beat) == SECRET_BYTES and len(ring.cluster) in (0, SECRET_BYTES)
    for secret in (ring.beat_before, ring.cluster_before):
        if not whole or len(secret) % SECRET_BYTES:
            raise ConfigError("the shared secrets in the store are damaged", "A management node seals them anew.")
    return ring


def _key(shared: bytes, salt: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, b"holdfast-seal-1").derive(shared)


def _generation(pki_dir: Path) -> int:
    try:
        return int((pki_dir / files.GENERATION).read_text())
    except (OSError, ValueError):
        return 1


def _optional(path: Path, *, any_size: bool = False) -> bytes:
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    return content if any_size or len(content) % SECRET_BYTES == 0 else b""
