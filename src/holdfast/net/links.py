"""Facts about the interfaces of this network namespace, by ioctl: /sys may show another namespace's interfaces."""

import fcntl
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.errors import DriverError

_SIOCGIFFLAGS = 0x8913
_SIOCGIFADDR = 0x8915
_SIOCGIFHWADDR = 0x8927
_IFF_UP = 0x1
_IFF_RUNNING = 0x40
_ARPHRD_ETHER = 1


@dataclass(frozen=True, slots=True)
class Link:
    """One Ethernet interface."""

    name: str
    index: int
    hardware: bytes
    """MAC address, 6 bytes."""


def link(index: int) -> Link:
    """The interface with this index. Raises DriverError if it is gone, down, without carrier or not Ethernet."""
    try:
        name = socket.if_indextoname(index)
        flags = struct.unpack_from("H", _ioctl(_SIOCGIFFLAGS, name), 16)[0]
        family, hardware = struct.unpack_from("H6s", _ioctl(_SIOCGIFHWADDR, name), 16)
    except OSError as error:
        raise DriverError(
            f"interface number {index} is gone: {error}", "Check the network set-up with `ip link`."
        ) from error
    if not flags & _IFF_UP:
        raise DriverError(f"interface {name} is down", f"Switch it on: `ip link set {name} up`.")
    if not flags & _IFF_RUNNING:
        raise DriverError(f"interface {name} has no link", "Check cable and switch port.")
    if family != _ARPHRD_ETHER:
        raise DriverError(f"interface {name} is not Ethernet", "Service addresses need a network with ARP or ND.")
    return Link(name, index, hardware)


def own_hardware() -> set[bytes]:
    """The MAC addresses of all interfaces of this node."""
    found = set()
    for _, name in socket.if_nameindex():
        try:
            found.add(struct.unpack_from("6s", _ioctl(_SIOCGIFHWADDR, name), 18)[0])
        except OSError:  # the interface has just gone
            continue
    return found


def hardware_addresses(addresses: Iterable[str]) -> list[str]:
    """MACs of the interfaces that carry these addresses of the node, up or not; those that are not there are left out."""
    found = {interface_of(address) for address in addresses} - {""}
    return sorted(readable(struct.unpack_from("6s", _ioctl(_SIOCGIFHWADDR, name), 18)[0]) for name in found)


def interface_of(address: str) -> str:
    """Name of the interface that carries this address of the node; "" if none does (or it is a second IPv4 address)."""
    if ":" in address:
        return _interface_of_v6(socket.inet_pton(socket.AF_INET6, address))
    wanted = socket.inet_pton(socket.AF_INET, address)
    for _, name in socket.if_nameindex():
        try:
            if struct.unpack_from("4s", _ioctl(_SIOCGIFADDR, name), 20)[0] == wanted:
                return name
        except OSError:  # no IPv4 address on it
            continue
    return ""


def _interface_of_v6(wanted: bytes) -> str:
    try:
        with open("/proc/self/net/if_inet6", encoding="ascii") as table:  # noqa: PTH123
            rows = [line.split() for line in table]
    except OSError:  # a kernel without IPv6
        return ""
    return next((row[5] for row in rows if bytes.fromhex(row[0]) == wanted), "")


def _ioctl(request: int, name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        return fcntl.ioctl(handle, request, struct.pack("256s", name.encode()))


def readable(hardware: bytes) -> str:
    """A MAC address as people write it."""
    return hardware.hex(":")
