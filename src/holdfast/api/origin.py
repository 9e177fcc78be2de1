"""Where requests come from. Imports nothing heavy: listen.py needs it before everything else."""

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What counts as one address: an IPv6 host has its /64 to choose from."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
