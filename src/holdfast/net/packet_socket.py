"""AF_PACKET sockets bound to one interface and one protocol, with a kernel filter where the protocol carries bulk data."""

import ctypes
import socket
import struct

from holdfast.errors import DriverError
from holdfast.net.links import Link
from holdfast.net.packets import ETH_P_IPV6

_SO_ATTACH_FILTER = 26
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


def open_packet_socket(link: Link, protocol: int) -> socket.socket:
    """A non-blocking socket that sends on the interface and, if `protocol` is not 0, receives that ethertype. For IPv6 only
    neighbour advertisements are received. Raises DriverError."""
    try:
        handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        raise DriverError(
            f"no packet socket on {link.name}: {error}", "The agent needs CAP_NET_RAW; run it as root."
        ) from error
    try:
        handle.setblocking(False)
        if protocol == ETH_P_IPV6:
            _attach(handle)
        # Bound only after the filter is in place: with protocol 0 nothing was queued before.
        handle.bind((link.name, protocol))
    except OSError as error:
        handle.close()
        raise DriverError(
            f"packet socket on {link.name} failed: {error}", "Check the interface with `ip link`."
        ) from error
    return handle


def _attach(handle: socket.socket) -> None:
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _ADVERTISEMENTS)
    memory = ctypes.create_string_buffer(program, len(program))
    handle.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_ADVERTISEMENTS), ctypes.addressof(memory))
    )
