"""The kernel settings that floating addresses rely on. They belong to the node's network namespace."""

from pathlib import Path

from holdfast.errors import DriverError

_NET = Path("/proc/sys/net")


def sysctl_nonlocal_bind() -> None:
    """Let servers listen on a service address before it is on the node: a client's first SYN must find the listener, since a
    refused one costs Linux clients seconds. Raises DriverError."""
    _write(_NET / "ipv4/ip_nonlocal_bind", "1")
    if (_NET / "ipv6").is_dir():
        _write(_NET / "ipv6/ip_nonlocal_bind", "1")


def sysctl_arp(interface: str) -> None:
    """Make a node speak in ARP only for the interface's own addresses. Raises DriverError.

    arp_ignore=1: answer only for addresses configured on the interface where the question came in; by default Linux answers
    on every interface for every address, and with two cluster networks on one segment clients would learn the wrong MAC.
    arp_announce=2: ask with the interface's own address of the target's subnet as sender, never with a service address:
    each question carries sender → MAC and updates caches, so a node that has lost an address could draw clients back.
    IPv6 needs neither: Linux answers solicitations only on the interface that has the address.
    """
    _write(_NET / "ipv4/conf" / interface / "arp_ignore", "1")
    _write(_NET / "ipv4/conf" / interface / "arp_announce", "2")


def _write(path: Path, value: str) -> None:
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        raise DriverError(
            f"cannot set {path} to {value}: {error}", "The agent must run as root with /proc writable."
        ) from error
