"""Service addresses on this node's real interfaces (port Addresses)."""

import ipaddress
import socket
from dataclasses import dataclass

from holdfast.core.model import ServiceAddress
from holdfast.errors import AddressInUse, DriverError, InvalidInput
from holdfast.net.announce import announce
from holdfast.net.links import link
from holdfast.net.mute import Muter
from holdfast.net.netlink import AddressTable, KernelAddress
from holdfast.net.packet_socket import FrameSender
from holdfast.net.probe import probe
from holdfast.net.sysctl import sysctl_arp, sysctl_nonlocal_bind


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an address belongs on this node."""

    index: int
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    """Prefixes of the node's own addresses on that interface."""


class KernelAddresses:
    """The kernel of this network namespace is the only memory: what is ours is marked there (netlink.PROTOCOL), expires
    there, and is found again by the next agent. Only the muted addresses are remembered here, see `flush`.

    A method takes about half a millisecond (`probe` 135 ms if nobody answers, `mute` and `unmute` a few for running nft).
    """

    def __init__(self, node_addresses: dict[str, str]) -> None:
        """`node_addresses`: network name → this node's own address on it; it says which interface serves which network."""
        self._own = {network: _canonical(ip) for network, ip in node_addresses.items()}
        self._table = AddressTable()
        self._muter = Muter()
        self._sender = FrameSender()
        self._index: dict[str, int] = {}
        """Addresses added by this agent → interface, so that a renewal need not read the whole table."""

    async def probe(self, address: ServiceAddress) -> str:
        ip = _canonical(address.ip)
        place, _ = await self._locate(address.network, ip)
        return await probe(link(place.index), ip, self._sender)

    async def add(self, address: ServiceAddress, valid_s: float) -> None:
        """See the port. A renewal is not refused while the link is down: the address stays where it was."""
        ip = _canonical(address.ip)
        if ip in self._index and await self._renew(ip, valid_s):
            return
        place, table = await self._locate(address.network, ip)
        for entry in table:
            if entry.ip == ip and not entry.ours:
                raise AddressInUse(
                    f"{ip} is configured on this node itself, not by Holdfast",
                    "Remove it from the node's own network configuration, or choose another service address.",
                )
        link(place.index)
        await self._table.put(ip, place.index, valid_s)
        await self._verify(ip)
        self._index[ip] = place.index

    async def remove(self, address: ServiceAddress) -> None:
        ip = _canonical(address.ip)
        await self._delete({ip})
        # Only now: while it was still here an unmuted server could have answered clients with a reset.
        await self._muter.unmute(ip)

    async def announce(self, address: ServiceAddress) -> None:
        ip = _canonical(address.ip)
        index = self._index.get(ip)
        if index is None:
            index = (await self._locate(address.network, ip))[0].index
        announce(link(index), ip, self._sender)

    async def mute(self, address: ServiceAddress) -> None:
        await self._muter.mute(_canonical(address.ip))

    async def unmute(self, address: ServiceAddress) -> None:
        await self._muter.unmute(_canonical(address.ip))

    async def present(self) -> list[str]:
        return sorted({entry.ip for entry in await self._table.list() if entry.ours})

    # --- beyond the port, for the agent's start and end ---------------------------------------------------------------

    async def prepare(self) -> None:
        """Call it when the agent starts: kernel settings of every network's interface (net.sysctl says why), and no mute of
        an earlier agent left. Raises DriverError; an interface that is down is left for the next call."""
        sysctl_nonlocal_bind()
        table = await self._table.list()
        for own in self._own.values():
            index = next((entry.index for entry in table if entry.ip == own), None)
            if index is not None:
                sysctl_arp(socket.if_indextoname(index))
        await self.flush()

    async def flush(self) -> None:
        """Undo all mutes, those of an earlier agent too."""
        await self._muter.flush()

    async def drop_all(self) -> None:
        """Remove every address that Holdfast added to this node, and all mutes."""
        await self._delete({entry.ip for entry in await self._table.list() if entry.ours})
        await self._muter.flush()

    async def close(self) -> None:
        self._sender.close()
        await self._table.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _renew(self, ip: str, valid_s: float) -> bool:
        """False if the interface has changed, so that it must be looked up again."""
        try:
            await self._table.put(ip, self._index[ip], valid_s)
        except DriverError:
            del self._index[ip]
            return False
        return True

    async def _delete(self, ips: set[str]) -> None:
        for ip in ips:
            self._index.pop(ip, None)
        for entry in await self._table.list():
            if entry.ours and entry.ip in ips:
                await self._table.delete(entry)

    async def _verify(self, ip: str) -> None:
        """Kernels before 5.18 ignore the mark; without it no later agent would find the address."""
        for entry in await self._table.list():
            if entry.ip == ip and not entry.ours:
                await self._table.delete(entry)
                raise DriverError(f"this kernel cannot mark {ip} as Holdfast's", "Run Linux 5.18 or newer.")

    async def _locate(self, network: str, ip: str) -> tuple[_Place, list[KernelAddress]]:
        """The interface for a service address, and the table it was found in. Raises InvalidInput if the address does not
        fit the network, DriverError if the node is not on the network now."""
        own = self._own_of(network)
        table = await self._table.list()
        place = self._find(network, own, table)
        _check_fits(ip, network, place, own)
        return place, table

    def _own_of(self, network: str) -> str:
        if network not in self._own:
            raise InvalidInput(
                f"this node has no address on a network `{network}`",
                f"Its networks are: {', '.join(sorted(self._own))}. See `addresses` in /etc/holdfast/node.toml.",
            )
        return self._own[network]

    @staticmethod
    def _find(network: str, own: str, table: list[KernelAddress]) -> _Place:
        index = next((entry.index for entry in table if entry.ip == own and not entry.ours), None)
        if index is None:
            raise DriverError(
                f"the node's own address {own} of network `{network}` is on none of its interfaces",
                "Bring the interface up, or correct `addresses` in /etc/holdfast/node.toml.",
            )
        prefixes = {
            ipaddress.ip_network(f"{entry.ip}/{entry.prefix_len}", strict=False)
            for entry in table
            if entry.index == index and not entry.ours and entry.global_scope
        }
        return _Place(index, tuple(prefixes))


def _check_fits(ip: str, network: str, place: _Place, own: str) -> None:
    """Raises InvalidInput unless the address may be a service address on that interface."""
    address = ipaddress.ip_address(ip)
    same_family = [prefix for prefix in place.networks if prefix.version == address.version]
    if not same_family:
        raise InvalidInput(
            f"{ip} is an IPv{address.version} address, but network `{network}` has none of that family on this node",
            f"Choose one of the family of {own}.",
        )
    around = [prefix for prefix in same_family if address in prefix]
    if not around:
        known = ", ".join(sorted(map(str, same_family)))
        raise InvalidInput(f"{ip} is not inside network `{network}` ({known})", "Choose a free address inside it.")
    if ip == own:
        raise InvalidInput(f"{ip} is this node's own address", "Choose a free address of the network.")
    if address.version == 4 and any(
        address in (prefix.network_address, prefix.broadcast_address) for prefix in around if prefix.prefixlen < 31
    ):
        raise InvalidInput(f"{ip} is the network's own or its broadcast address", "Choose another one.")


def _canonical(ip: str) -> str:
    """The address as the kernel prints it. Raises InvalidInput if it is none."""
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        raise InvalidInput(
            f"`{ip}` is not an IP address", "Write it without prefix length, e.g. 10.78.0.101."
        ) from None
