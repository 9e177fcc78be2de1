"""A file that only a passphrase opens, and that tells when it was damaged.

One line of JSON (what it is, how the key is made), then the ciphertext: scrypt (RFC 7914) and ChaCha20-Poly1305 (RFC 8439)
with the line as associated data, so that neither can be changed. The line also has the SHA-256 of what follows: a copy can
be checked without the passphrase.
"""

import base64
import hashlib
import secrets
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from holdfast.errors import InvalidInput

FORMAT = 1
SHORTEST = 12
"""Characters of a passphrase."""
_N, _R, _P = 2**15, 8, 1
"""32 MiB and about 0.1 s for each guess."""
_NONCE = 12
_LINE_BYTES = 64 * 1024


def seal(payload: bytes, passphrase: str, about: dict[str, Any]) -> bytes:
    """`about`: what may be read without the passphrase. Raises InvalidInput for a passphrase that is too short."""
    if len(passphrase) < SHORTEST:
        raise InvalidInput(
            f"the passphrase has {len(passphrase)} characters", f"Take {SHORTEST} or more, and keep it elsewhere."
        )
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(_NONCE)
    head = {"holdfast-backup": FORMAT, **about, "salt": base64.b64encode(salt).decode()}
    cipher = ChaCha20Poly1305(_key(passphrase, salt))
    body = nonce + cipher.encrypt(nonce, payload, msgspec.json.encode(head))
    line = msgspec.json.encode({**head, "sha256": hashlib.sha256(body).hexdigest()})
    return line + b"\n" + body


def about(content: bytes) -> dict[str, Any]:
    """What may be read without the passphrase, of a file that is whole. Raises InvalidInput."""
    return _split(content)[0]


def unseal(content: bytes, passphrase: str) -> tuple[dict[str, Any], bytes]:
    """(about, payload). Raises InvalidInput: not a backup, damaged, or another passphrase."""
    head, body = _split(content)
    try:
        cipher = ChaCha20Poly1305(_key(passphrase, base64.b64decode(head["salt"])))
        payload = cipher.decrypt(body[:_NONCE], body[_NONCE:], msgspec.json.encode(head))
    except (InvalidTag, KeyError, ValueError) as error:
        raise InvalidInput(
            "the passphrase does not open this backup", "Give the file that holds the passphrase it was made with."
        ) from error
    return head, payload


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    line, newline, body = content.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=dict[str, Any]) if newline and len(line) < _LINE_BYTES else {}
    except msgspec.DecodeError:
        head = {}
    if "holdfast-backup" not in head:
        raise InvalidInput("this is no backup of a Holdfast cluster", "Give a file made by `holdfast cluster backup`.")
    if head["holdfast-backup"] != FORMAT:
        raise InvalidInput(
            f"this backup has the format {head['holdfast-backup']}, which this version does not read",
            "Restore it with the version of Holdfast that made it.",
        )
    if head.pop("sha256", "") != hashlib.sha256(body).hexdigest():
        raise InvalidInput("this backup is damaged: its checksum is another one", "Take an older one.")
    return head, body


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())
