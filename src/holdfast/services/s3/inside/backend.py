"""Requests between the parts of a cluster: each carries a key, and none waits for a server that is gone.

Swift has no authentication between its servers. The key keeps out who can reach the storage network but not read it; who can
read it must be kept out by the network. The keepalives are for a request that was sent when its server died: as soon as the
address is on another node, that node's kernel resets the connection, and the client is told to try again.
"""

import socket
from typing import Any

from swift.common.bufferedhttp import BufferedHTTPConnection

from holdfast.services.s3.conf import BACKEND_HEADER as HEADER

HEADER_ENV = "HTTP_" + HEADER.upper().replace("-", "_")

KEEPALIVE_S = 1
KEEPALIVES = 4
"""Without an answer to so many the server is gone, whether or not its address has come back."""

_key = ""


def current() -> str:
    assert _key, "the program installs it before it serves"
    return _key


def install(key: str) -> None:
    """For this process, once: know the key, and send it along."""
    global _key
    _key = key
    connect, send = BufferedHTTPConnection.connect, BufferedHTTPConnection.putrequest

    def connect_alive(self: Any) -> Any:
        result = connect(self)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVES)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * KEEPALIVE_S * KEEPALIVES)
        return result

    def send_with_key(self: Any, *arguments: Any, **named: Any) -> Any:
        result = send(self, *arguments, **named)
        self.putheader(HEADER, key)
        return result

    BufferedHTTPConnection.connect = connect_alive
    BufferedHTTPConnection.putrequest = send_with_key
