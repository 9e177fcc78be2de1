"""One connection of an agent to the guard, and the socket they come through."""

import os
import select
import socket
import struct
from pathlib import Path
from typing import Any

from holdfast.fencing.guard import messages

_CREDENTIALS = struct.Struct("@iII")
_PEERS_WAITING = 8


class Peer:
    """A connected process. `session` is empty until it has said hello."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.session = ""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, self.uid, _gid = _CREDENTIALS.unpack(raw)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._pidfd = -1

    def fileno(self) -> int:
        return self.connection.fileno()

    def permitted(self) -> bool:
        """Only root and the guard's own user may speak to the guard."""
        return self.uid in (0, os.geteuid())

    def alive(self) -> bool:
        """Its process lives (a connection can outlive it in a child that inherited the socket)."""
        return self._pidfd >= 0 and not _poll(self._pidfd, select.POLLIN)

    def receive(self) -> bytes | None:
        """The next packet; empty when the connection has ended; None when there is nothing yet."""
        try:
            return self.connection.recv(messages.MAX_SIZE, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def send(self, message: dict[str, Any]) -> bool:
        """Never blocks. False if it could not be sent: the peer does not read, or is gone."""
        try:
            self.connection.send(messages.encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _poll(fd: int, events: int) -> int:
    poller = select.poll()
    poller.register(fd, events)
    ready = poller.poll(0)
    return ready[0][1] if ready else 0


def listen(path: str) -> socket.socket:
    """The guard's socket, only for this user and root. A file left behind by a former guard is replaced: the caller
    holds the lock that keeps two guards apart."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(_PEERS_WAITING)
    return listener
