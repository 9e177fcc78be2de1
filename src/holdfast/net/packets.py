"""The few frames that floating addresses need: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861). Pure functions.

Every frame starts with its Ethernet header, as AF_PACKET sockets of type RAW want it.
"""

import socket
import struct

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)
_REQUEST, _REPLY = 1, 2
_SOLICITATION, _ADVERTISEMENT = 135, 136
_ICMPV6 = 58
_OVERRIDE = 0x20000000
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")


def ethertype(ip: str) -> int:
    return ETH_P_IPV6 if ":" in ip else ETH_P_ARP


def announcements(ip: str, hardware: bytes) -> list[bytes]:
    """One round that tells everybody on the link that `ip` is at `hardware`.

    IPv4: a gratuitous request and a gratuitous reply, because some stacks listen to only one of the two. The reply repeats
    the sender's MAC as target: Linux then takes it for gratuitous and updates even an entry it has just confirmed.
    IPv6: an unsolicited advertisement to all nodes with the override flag.
    """
    if ":" not in ip:
        address = socket.inet_pton(socket.AF_INET, ip)
        return [
            _arp(hardware, _REQUEST, (hardware, address), (_NOBODY, address)),
            _arp(hardware, _REPLY, (hardware, address), (hardware, address)),
        ]
    address = socket.inet_pton(socket.AF_INET6, ip)
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address + b"\x02\x01" + hardware
    return [_icmpv6(hardware, address, _ALL_NODES, body)]


def question(ip: str, hardware: bytes) -> bytes:
    """Asks who has `ip` without claiming anything: the sender's protocol address is the unspecified one, so that nobody's
    cache changes (an ARP probe of RFC 5227; the solicitation of duplicate address detection, RFC 4862)."""
    if ":" not in ip:
        return _arp(hardware, _REQUEST, (hardware, bytes(4)), (_NOBODY, socket.inet_pton(socket.AF_INET, ip)))
    address = socket.inet_pton(socket.AF_INET6, ip)
    solicited = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + address[13:]
    body = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + address
    return _icmpv6(hardware, bytes(16), solicited, body)


def answer(frame: bytes, ip: str) -> bytes | None:
    """The MAC address that claims `ip` in this frame (an answer or an announcement); None if the frame says nothing of it.

    Another host's own *probe* for the address is not a claim.
    """
    return _advertised(frame, ip) if ":" in ip else _arp_claim(frame, ip)


def _arp_claim(frame: bytes, ip: str) -> bytes | None:
    if len(frame) < 42 or frame[12:20] != struct.pack("!HHHBB", ETH_P_ARP, 1, 0x0800, 6, 4):
        return None
    sender, address = frame[22:28], frame[28:32]
    return sender if address == socket.inet_pton(socket.AF_INET, ip) else None


def _advertised(frame: bytes, ip: str) -> bytes | None:
    if len(frame) < 78 or frame[12:14] != struct.pack("!H", ETH_P_IPV6):
        return None
    next_header, hop_limit = frame[20], frame[21]
    # A hop limit of 255 shows that the advertisement was sent on this link (RFC 4861, 7.1.2).
    if next_header != _ICMPV6 or hop_limit != 255 or frame[54] != _ADVERTISEMENT:
        return None
    if frame[62:78] != socket.inet_pton(socket.AF_INET6, ip):
        return None
    return _link_layer_option(frame[78:]) or frame[6:12]


def _link_layer_option(options: bytes) -> bytes | None:
    while len(options) >= 8 and options[1]:
        if options[0] == 2:
            return options[2:8]
        options = options[options[1] * 8 :]
    return None


def _arp(hardware: bytes, operation: int, sender: tuple[bytes, bytes], target: tuple[bytes, bytes]) -> bytes:
    header = _BROADCAST + hardware + struct.pack("!H", ETH_P_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + b"".join(sender + target)


def _icmpv6(hardware: bytes, source: bytes, target: bytes, body: bytes) -> bytes:
    """An ICMPv6 packet to a multicast group, in its Ethernet frame."""
    pseudo = source + target + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = b"\x33\x33" + target[12:] + hardware + struct.pack("!H", ETH_P_IPV6)
    return header + struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255) + source + target + body


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
