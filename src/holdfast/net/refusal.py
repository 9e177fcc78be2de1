"""Is a silent node dead, or only its agent away or starved? Its kernel tells: a datagram to a port that nobody listens on is
answered by "port unreachable" (RFC 1122, section 4.1.3.1). A hint only; a forged answer delays detection by the grace."""

import socket

from holdfast.config import KERNEL_PORT


class RefusalProbe:
    """Asks by empty datagrams to KERNEL_PORT. Never blocks, never raises."""

    def __init__(self, own_address: str, port: int = KERNEL_PORT) -> None:
        self._own = own_address
        self._port = port
        self._sockets: dict[str, socket.socket] = {}

    def refuses(self, address: str) -> bool:
        """Whether the kernel at this address answered the last question with a refusal; asks anew for the next call."""
        refused = False
        try:
            handle = self._sockets.get(address) or self._open(address)
            try:
                handle.recv(1)
            except BlockingIOError:
                pass
            except ConnectionRefusedError:
                refused = True
            handle.send(b"")
        except ConnectionRefusedError:
            refused = True
        except OSError:
            self._drop(address)
        return refused

    def close(self) -> None:
        for address in list(self._sockets):
            self._drop(address)

    def _open(self, address: str) -> socket.socket:
        handle = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            handle.setblocking(False)
            handle.bind((self._own, 0))
            handle.connect((address, self._port))
        except OSError:
            handle.close()
            raise
        self._sockets[address] = handle
        return handle

    def _drop(self, address: str) -> None:
        handle = self._sockets.pop(address, None)
        if handle is not None:
            handle.close()
