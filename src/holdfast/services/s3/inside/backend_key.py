"""The key with which the parts of a cluster know each other: every request between them carries it in a header.

Swift has no authentication between its servers. This keeps out who can reach the storage network but not read it; who can
read it must be kept out by the network.
"""

import hashlib
from typing import Any

from swift.common.bufferedhttp import BufferedHTTPConnection

HEADER = "X-Holdfast-Backend"
HEADER_ENV = "HTTP_X_HOLDFAST_BACKEND"

_key = ""


def derive(hash_prefix: str, hash_suffix: str) -> str:
    """The same on every node, and from which nothing is learnt of the hash."""
    return hashlib.sha256(f"holdfast backend {hash_prefix} {hash_suffix}".encode()).hexdigest()


def current() -> str:
    assert _key, "the program installs it before it serves"
    return _key


def install(key: str) -> None:
    """For this process, once: know the key, and send it along."""
    global _key
    _key = key
    send = BufferedHTTPConnection.putrequest

    def send_with_key(self: Any, *arguments: Any, **named: Any) -> Any:
        result = send(self, *arguments, **named)
        self.putheader(HEADER, key)
        return result

    BufferedHTTPConnection.putrequest = send_with_key
