"""A network in memory, for tests of whoever uses service addresses (port Addresses; same contract tests as the kernel's)."""

import ipaddress
from dataclasses import dataclass, field

from holdfast.core.model import ServiceAddress
from holdfast.errors import AddressInUse, DriverError, InvalidInput
from holdfast.ports import Clock


@dataclass
class MemoryNetwork:
    """What all nodes share: who has which address, and where clients believe it is.

    `announced[ip]` is the node a client's cache points to. A client without one finds any live owner.
    """

    clock: Clock
    prefixes: dict[str, tuple[str, ...]]
    """Network name → its CIDRs."""
    expiry: dict[tuple[str, str], float] = field(default_factory=dict)
    """(node, ip) → clock time at which the kernel drops the address."""
    announced: dict[str, str] = field(default_factory=dict)
    muted: set[tuple[str, str]] = field(default_factory=set)
    cut: set[tuple[str, str]] = field(default_factory=set)
    """(node, network) pairs whose link is down."""
    strangers: dict[str, str] = field(default_factory=dict)
    """ip → MAC of a host outside the cluster that uses it."""
    rounds: list[tuple[float, str, str]] = field(default_factory=list)
    """Every announcement: (time, node, ip)."""

    def owners(self, ip: str) -> list[str]:
        """Nodes that have the address now."""
        now = self.clock.now()
        return sorted(node for (node, owned), until in self.expiry.items() if owned == ip and until > now)

    def reach(self, ip: str, network: str) -> str:
        """The node that answers a client now; "" if nobody does."""
        owners = self.owners(ip)
        if ip not in self.announced and owners:
            self.announced[ip] = owners[0]
        node = self.announced.get(ip, "")
        silent = node not in owners or (node, ip) in self.muted or (node, network) in self.cut
        return "" if silent else node

    def power_off(self, node: str) -> None:
        """The node is gone with everything it had."""
        self.expiry = {key: until for key, until in self.expiry.items() if key[0] != node}
        self.muted = {key for key in self.muted if key[0] != node}


def hardware_of(node: str) -> str:
    """The made-up MAC address of a node."""
    return "02:" + node.encode().ljust(5, b"\0")[:5].hex(":")


class MemoryAddresses:
    """One node's view of a MemoryNetwork (port Addresses)."""

    def __init__(self, network: MemoryNetwork, node: str, node_addresses: dict[str, str]) -> None:
        self._network = network
        self._node = node
        self._own = node_addresses

    async def probe(self, address: ServiceAddress) -> str:
        self._check(address)
        ip = _canonical(address.ip)
        self._link(address)
        if ip in self._network.strangers:
            return self._network.strangers[ip]
        others = [
            node
            for node in self._network.owners(ip)
            if node != self._node
            and (node, ip) not in self._network.muted
            and (node, address.network) not in self._network.cut
        ]
        return hardware_of(others[0]) if others else ""

    async def add(self, address: ServiceAddress, valid_s: float) -> None:
        self._check(address)
        ip = _canonical(address.ip)
        if ip in self._own.values():
            raise AddressInUse(f"{ip} is configured on this node itself", "Choose another service address.")
        if (self._node, ip) not in self._network.expiry:
            self._link(address)
        self._network.expiry[self._node, ip] = self._network.clock.now() + valid_s

    async def remove(self, address: ServiceAddress) -> None:
        ip = _canonical(address.ip)
        self._network.expiry.pop((self._node, ip), None)
        self._network.muted.discard((self._node, ip))

    async def announce(self, address: ServiceAddress) -> None:
        self._check(address)
        self._link(address)
        ip = _canonical(address.ip)
        self._network.announced[ip] = self._node
        self._network.rounds.append((self._network.clock.now(), self._node, ip))

    async def mute(self, address: ServiceAddress) -> None:
        self._network.muted.add((self._node, _canonical(address.ip)))

    async def unmute(self, address: ServiceAddress) -> None:
        self._network.muted.discard((self._node, _canonical(address.ip)))

    async def present(self) -> list[str]:
        now = self._network.clock.now()
        return sorted(ip for (node, ip), until in self._network.expiry.items() if node == self._node and until > now)

    def _link(self, address: ServiceAddress) -> None:
        if (self._node, address.network) in self._network.cut:
            raise DriverError(f"the link of network `{address.network}` is down on {self._node}", "Check the cable.")

    def _check(self, address: ServiceAddress) -> None:
        ip = ipaddress.ip_address(_canonical(address.ip))
        if address.network not in self._own:
            raise InvalidInput(f"this node has no address on a network `{address.network}`", "Check its addresses.")
        if str(ip) == self._own[address.network]:
            raise InvalidInput(f"{ip} is this node's own address", "Choose a free address of the network.")
        prefixes = [ipaddress.ip_network(prefix) for prefix in self._network.prefixes[address.network]]
        if not any(ip in prefix for prefix in prefixes):
            raise InvalidInput(f"{ip} is not inside network `{address.network}`", "Choose a free address inside it.")


def _canonical(ip: str) -> str:
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        raise InvalidInput(f"`{ip}` is not an IP address", "Write it without prefix length.") from None
