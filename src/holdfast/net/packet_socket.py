"""AF_PACKET sockets: one to send frames, and listeners with a kernel filter where the protocol carries bulk data."""

import ctypes
import socket
import struct

from holdfast.errors import DriverError
from holdfast.net.links import Link
from holdfast.net.packets import ETH_P_IPV6

_SO_ATTACH_FILTER = 26
_ADVICE = "Check the interface with `ip link`; the agent must run as root (CAP_NET_RAW)."
_LDH, _LDB, _JEQ, _RET = 0x28, 0x30, 0x15, 0x06

#: Lets only ICMPv6 neighbour advertisements pass: ethertype, next header, ICMP type (classic BPF: code, jt, jf, k).
_ADVERTISEMENTS = (
    (_LDH, 0, 0, 12),
    (_JEQ, 0, 5, ETH_P_IPV6),
    (_LDB, 0, 0, 20),
    (_JEQ, 0, 3, 58),
    (_LDB, 0, 0, 54),
    (_JEQ, 0, 1, 136),
    (_RET, 0, 0, 0xFFFF),
    (_RET, 0, 0, 0),
)


class FrameSender:
    """Sends frames on any interface through one socket that stays open: the kernel's close of a packet socket waits for a
    grace period (synchronize_net), 10 ms and more during which the event loop would stand still."""

    def __init__(self) -> None:
        self._handle: socket.socket | None = None

    def send(self, link: Link, frame: bytes, protocol: int) -> None:
        """Raises DriverError."""
        try:
            if self._handle is None:
                # Protocol 0: it receives nothing.
                self._handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._handle.sendto(frame, (link.name, protocol))
        except OSError as error:
            raise DriverError(f"cannot send on {link.name}: {error}", _ADVICE) from error

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def open_listener(link: Link, protocol: int) -> socket.socket:
    """A non-blocking socket that receives that ethertype on the interface; of IPv6 only neighbour advertisements. Close it
    in a thread (see FrameSender). Raises DriverError."""
    try:
        handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        raise DriverError(f"no packet socket on {link.name}: {error}", _ADVICE) from error
    try:
        if protocol == ETH_P_IPV6:
            _attach(handle)
        # Bound only after the filter is in place: with protocol 0 nothing was queued before.
        handle.bind((link.name, protocol))
    except OSError as error:
        handle.close()
        raise DriverError(f"packet socket on {link.name} failed: {error}", _ADVICE) from error
    return handle


def _attach(handle: socket.socket) -> None:
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _ADVERTISEMENTS)
    memory = ctypes.create_string_buffer(program, len(program))
    handle.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_ADVERTISEMENTS), ctypes.addressof(memory))
    )
