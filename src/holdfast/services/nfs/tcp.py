"""TCP connections as the kernel lists them, and tickle ACKs that end those of a former owner of an address.

A tickle ACK (the method is CTDB's) is a bare ACK with sequence number 0 from the service address to a client that had a
connection to its former owner. The client's kernel answers with its real numbers; this node's kernel knows no such
connection and resets it. So the client reconnects at once instead of waiting for its retransmissions.
"""

import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = 0x01
LISTEN = 0x0A
_ACK = 0x10
_IPV6_CHECKSUM = 7
"""linux/in6.h: the kernel fills in the checksum at the given offset."""


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """A client's end of a connection."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class TcpEntry:
    local: Peer
    remote: Peer
    state: int


def parse(text: str) -> list[TcpEntry]:
    """Lines of /proc/net/tcp or /proc/net/tcp6 (Documentation/networking/proc_net_tcp). IPv4 addresses in IPv6 form
    (::ffff:10.0.0.1), as a server with one socket for both has them, are given as IPv4."""
    entries = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3:
            entries.append(TcpEntry(_peer(fields[1]), _peer(fields[2]), int(fields[3], 16)))
    return entries


def _peer(text: str) -> Peer:
    host, port = text.split(":")
    # The kernel prints each 32-bit word of the address in the machine's byte order.
    words = [int(host[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(host), 8)]
    return Peer(canonical(str(ipaddress.ip_address(b"".join(words)))), int(port, 16))


def canonical(ip: str) -> str:
    """The usual form of an address; IPv4 in IPv6 form becomes IPv4."""
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def table() -> list[TcpEntry]:
    """All TCP sockets of this network namespace."""
    entries: list[TcpEntry] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            entries += parse(Path("/proc/net", name).read_text())
    return entries


def listening(ip: str, port: int) -> bool:
    """Whether somebody here listens at exactly this address, without connecting to it."""
    wanted = Peer(canonical(ip), port)
    return any(entry.state == LISTEN and entry.local == wanted for entry in table())


def clients_of(ip: str, port: int) -> frozenset[Peer]:
    """Clients with an established connection to this address and port."""
    wanted = Peer(canonical(ip), port)
    own = wanted.ip
    return frozenset(
        entry.remote
        for entry in table()
        if entry.state == ESTABLISHED and entry.local == wanted and entry.remote.ip != own
    )


def tickle(ip: str, port: int, clients: Iterable[Peer]) -> int:
    """Send each client a tickle ACK from ip:port; returns how many were sent. Needs the address on this node and
    CAP_NET_RAW. A client that cannot be reached is skipped: it will find out by itself."""
    address = ipaddress.ip_address(canonical(ip))
    v6 = address.version == 6
    family = socket.AF_INET6 if v6 else socket.AF_INET
    sent = 0
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setblocking(False)
        if v6:
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, 16)
        raw.bind((str(address), 0))
        for client in clients:
            with contextlib.suppress(OSError, ValueError):
                target = ipaddress.ip_address(client.ip)
                if target.version == address.version:
                    segment = ack(address.packed, port, target.packed, client.port, checksum=not v6)
                    raw.sendto(segment, (client.ip, 0))
                    sent += 1
    return sent


def ack(source: bytes, source_port: int, target: bytes, target_port: int, *, checksum: bool) -> bytes:
    """A bare ACK segment with sequence and acknowledgement number 0 (RFC 9293, section 3.1)."""
    segment = struct.pack(">HHIIBBHHH", source_port, target_port, 0, 0, 5 << 4, _ACK, 1024, 0, 0)
    if not checksum:
        return segment
    pseudo = source + target + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(segment))
    return segment[:16] + struct.pack(">H", _sum(pseudo + segment)) + segment[18:]


def _sum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
