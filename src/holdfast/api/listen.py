"""The sockets the panel process listens on. Imports nothing heavy: they are opened before everything else is loaded, so that
clients of a process that was just restarted wait in the queue instead of being refused."""

import contextlib
import socket
from pathlib import Path

from holdfast.errors import ConfigError

BACKLOG = 512


def tcp_sockets(port: int) -> list[socket.socket]:
    """All IPv4 and IPv6 addresses of this node, those it gets later included. Raises ConfigError."""
    sockets: list[socket.socket] = []
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - service addresses come and go
        try:
            # The protocol is named because asyncio sets TCP_NODELAY only then: without it each answer waits 40 ms for the
            # client's delayed acknowledgement.
            sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
