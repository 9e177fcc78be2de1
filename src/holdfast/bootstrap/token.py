"""Join tokens: one line that lets one machine join as one node, once, within a time.

It carries its id, a secret, the node's id, the fingerprint of the cluster's authority, and where the API is. The machine
makes its own key, asks those addresses for the authority's certificate (which anybody may see), believes it only if it has
that fingerprint, and then sends the secret and a certificate request over TLS that is checked against it. So who stands in
between learns nothing, and the private key never leaves the machine. The store keeps only a hash of the secret.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field

import msgspec

from holdfast.errors import InvalidInput

PREFIX = "hf1-"
"""Of a token of this format."""
_ID_BYTES = 8
_SECRET_BYTES = 32
MAX_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    secret: str = field(repr=False)
    node: str
    fingerprint: str
    """SHA-256 of the authority's certificate, hexadecimal."""
    urls: tuple[str, ...]
    """https://ADDRESS:PORT of management nodes."""

    @property
    def text(self) -> str:
        packed = msgspec.msgpack.encode([self.id, self.secret, self.node, self.fingerprint, list(self.urls)])
        return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def new_token(node: str, fingerprint: str, urls: tuple[str, ...]) -> Token:
    return Token(secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES), node, fingerprint, urls)


def parse(text: str) -> Token:
    """Raises InvalidInput."""
    body = text.strip().removeprefix(PREFIX)
    try:
        if not text.strip().startswith(PREFIX) or len(text) > MAX_CHARACTERS:
            raise ValueError("it does not look like one")
        packed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        found = msgspec.msgpack.decode(packed, type=tuple[str, str, str, str, tuple[str, ...]])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidInput(
            "this is not a join token", "Copy the whole line that `holdfast node token` printed."
        ) from error
    return Token(*found)


def digest(secret: str) -> str:
    """What the store keeps of a token's secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
