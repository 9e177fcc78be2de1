"""Checks of what an operator typed about nodes and networks. Each raises InvalidInput that says what to write instead."""

import ipaddress
import re
from collections.abc import Iterable, Mapping

from holdfast.core.model import NetworkSpec
from holdfast.errors import InvalidInput

NODE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
"""A host name label of at most 32 characters: it stands in keys, certificates, unit names and host names."""
MANAGEMENT = "management"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_node_id(node_id: str) -> None:
    _check_name("node id", node_id)


def check_cluster_name(name: str) -> None:
    _check_name("cluster name", name)


def check_networks(networks: Iterable[NetworkSpec]) -> None:
    """Names, prefixes, no overlap, at most one prefix per family and network, `management` there."""
    seen: list[tuple[str, Network]] = []
    names: set[str] = set()
    for network in networks:
        _check_name("network name", network.name)
        if network.name in names:
            raise InvalidInput(
                f"network {network.name!r} is declared twice", "Declare it once, with both its prefixes."
            )
        names.add(network.name)
        if not network.cidrs:
            raise InvalidInput(f"network {network.name!r} has no prefix", "Give it at least one, like 10.77.0.0/24.")
        families: set[int] = set()
        for cidr in network.cidrs:
            prefix = _prefix(network.name, cidr)
            if prefix.version in families:
                raise InvalidInput(
                    f"network {network.name!r} has two IPv{prefix.version} prefixes",
                    "A network has at most one IPv4 and one IPv6 prefix; declare a second network for the other.",
                )
            families.add(prefix.version)
            for other_name, other in seen:
                if prefix.overlaps(other):
                    raise InvalidInput(
                        f"{prefix} of network {network.name!r} overlaps {other} of network {other_name!r}",
                        "Give every network prefixes of its own.",
                    )
            seen.append((network.name, prefix))
    if MANAGEMENT not in names:
        raise InvalidInput(
            "no network is called `management`",
            "Declare it, e.g. --network management=10.77.0.0/24: it carries store, beats and panel.",
        )


def check_addresses(node_id: str, addresses: Mapping[str, str], networks: Iterable[NetworkSpec]) -> None:
    """A node's own addresses: known networks, inside their prefixes, usable as host addresses, `management` there."""
    known = {network.name: network for network in networks}
    used: set[Address] = set()
    for name, text in addresses.items():
        if name not in known:
            raise InvalidInput(
                f"node {node_id!r} has an address on network {name!r}, which the cluster does not have",
                "Networks are: " + (", ".join(sorted(known)) or "none") + ".",
            )
        address = check_address(text, known[name])
        if address in used:
            raise InvalidInput(
                f"node {node_id!r} has the address {address} twice", "Give each network its own address."
            )
        used.add(address)
    if MANAGEMENT not in addresses:
        raise InvalidInput(
            f"node {node_id!r} has no address on the management network",
            "Add one, e.g. --address management=10.77.0.11.",
        )


def check_address(text: str, network: NetworkSpec) -> Address:
    """A host address inside the network's prefixes."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is not an IP address",
            "Write the address alone, without prefix length or port, like 10.77.0.11 or fd77::11.",
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise InvalidInput(f"{text} has a zone", "Use an address that is not link-local.")
    prefixes = [_prefix(network.name, cidr) for cidr in network.cidrs]
    same_family = [prefix for prefix in prefixes if prefix.version == address.version]
    if not same_family:
        raise InvalidInput(
            f"{address} is IPv{address.version}, but network {network.name!r} has only {_listed(prefixes)}",
            f"Use an address of that network, or add an IPv{address.version} prefix to it.",
        )
    inside = next((prefix for prefix in same_family if address in prefix), None)
    if inside is None:
        raise InvalidInput(
            f"{address} is not inside network {network.name!r} ({_listed(prefixes)})",
            "Use an address of that network.",
        )
    if inside.num_addresses > 2 and (
        address == inside.network_address or (address.version == 4 and address == inside.broadcast_address)
    ):
        raise InvalidInput(f"{address} is the network or broadcast address of {inside}", "Use a host's address.")
    return address


def _prefix(name: str, cidr: str) -> Network:
    try:
        prefix = ipaddress.ip_network(cidr)
    except ValueError:
        try:
            nearest = ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            raise InvalidInput(
                f"{cidr!r} of network {name!r} is not a prefix", "Write it like 10.77.0.0/24 or fd77::/64."
            ) from None
        raise InvalidInput(
            f"{cidr!r} of network {name!r} is an address with host bits, not a prefix", f"Did you mean {nearest}?"
        ) from None
    if prefix.is_multicast or prefix.is_loopback or prefix.is_link_local:
        raise InvalidInput(f"{prefix} of network {name!r} is not for hosts on a network", "Use a unicast prefix.")
    return prefix


def _check_name(what: str, name: str) -> None:
    if not NODE_ID.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a {what}",
            "Use 1 to 32 small letters, digits and hyphens; the first and the last are not hyphens.",
        )


def _listed(prefixes: list[Network]) -> str:
    return ", ".join(str(prefix) for prefix in prefixes)
