"""The sockets the panel process listens on. Imports nothing heavy: they are opened before everything else is loaded, so that
clients of a process that was just restarted wait in the queue instead of being refused."""

import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.api.origin import network
from holdfast.errors import ConfigError

BACKLOG = 512
PER_ADDRESS = 512
"""Connections of one address (or IPv6 network) at a time: a browser has up to 7, and many people may share an address."""


class Doorkeeper(socket.socket):
    """A listening socket that gives no address more than its share, counted before the TLS handshake."""

    def __init__(self, *arguments: Any, per_address: int = PER_ADDRESS, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._per_address = per_address
        self._taken: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises ConnectionAbortedError, as if the client had given up, for a connection too many."""
        made, address = super().accept()
        source = network(address[0])
        if self._taken[source] >= self._per_address:
            made.close()
            raise ConnectionAbortedError
        self._taken[source] += 1
        return _Counted(made, lambda: self._give_back(source)), address

    def _give_back(self, source: str) -> None:
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]


class _Counted(socket.socket):
    def __init__(self, made: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(made.family, made.type, made.proto, fileno=made.detach())
        self._when_closed: Callable[[], None] | None = closed

    def close(self) -> None:
        super().close()
        if self._when_closed is not None:
            self._when_closed()
            self._when_closed = None


def tcp_sockets(port: int) -> list[socket.socket]:
    """All IPv4 and IPv6 addresses of this node, those it gets later included. Raises ConfigError."""
    sockets: list[socket.socket] = []
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - service addresses come and go
        try:
            # The protocol is named because asyncio sets TCP_NODELAY only then: without it each answer waits 40 ms for the
            # client's delayed acknowledgement.
            sock = Doorkeeper(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError:
            continue  # a kernel without IPv6
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if family == socket.AF_INET6 and sockets:
                continue
            raise ConfigError(
                f"TCP port {port} of {host} cannot be opened: {error.strerror}",
                f"See who uses it: ss -ltnp 'sport = :{port}'.",
            ) from error
        sockets.append(sock)
    return sockets


def unix_socket(path: Path) -> socket.socket:
    """Only root (or whoever runs the process) can open it. Replaces what a former process left. Raises ConfigError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        sock.bind(str(new))
        new.chmod(0o600)
        sock.listen(BACKLOG)  # nobody could connect before this line, so the mode was never wider
        new.replace(path)
    except OSError as error:
        sock.close()
        raise ConfigError(f"{path} cannot be opened: {error.strerror}", "Check the directory's permissions.") from error
    return sock


def remove_socket(path: Path, inode: int) -> None:
    """A process that ends by itself leaves no socket behind, so that commands know: there is no API on this node (any
    more). The socket of a process that has taken its place already stays."""
    with contextlib.suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()
