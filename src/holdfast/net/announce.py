"""Tells the network where an address is, at once and again: announcements get lost, and the last announcer wins."""

import asyncio

import structlog

from holdfast.core.model import ServiceAddress
from holdfast.errors import HoldfastError
from holdfast.net.links import Link
from holdfast.net.packet_socket import FrameSender
from holdfast.net.packets import announcements, ethertype
from holdfast.ports import Addresses, Clock

_log = structlog.get_logger(__name__)

REPEATS_S = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Seconds after an address came up. The late ones reach caches that ignored the first because they had been confirmed
a moment ago (Linux: locktime 1 s), and switches that were still learning."""


def announce(link: Link, ip: str, sender: FrameSender) -> None:
    """Send one round of gratuitous ARP, or an unsolicited neighbour advertisement. Raises DriverError."""
    for frame in announcements(ip, link.hardware):
        sender.send(link, frame, ethertype(ip))


class Announcer:
    """Announces each address after it came up, repeatedly, and all of them again on request.

    Failures are logged, not raised: an announcement is repeated anyway, and the health check of the service tells whether
    clients find it.
    """

    def __init__(self, addresses: Addresses, clock: Clock, repeats_s: tuple[float, ...] = REPEATS_S) -> None:
        self._addresses = addresses
        self._clock = clock
        self._repeats_s = repeats_s
        self._running: dict[ServiceAddress, asyncio.Task[None] | None] = {}

    def up(self, address: ServiceAddress) -> None:
        """The address is on this node: announce it at once and at the repeats."""
        self._cancel(address)
        task = asyncio.get_running_loop().create_task(self._rounds(address), name=f"announce {address.ip}")
        self._running[address] = task

    def down(self, address: ServiceAddress) -> None:
        """The address is leaving this node: say nothing more of it. Call it before the address is removed."""
        self._cancel(address)
        self._running.pop(address, None)

    def again(self) -> None:
        """Announce all addresses again, e.g. after a partition has healed or a link came back."""
        for address in list(self._running):
            self.up(address)

    async def close(self) -> None:
        tasks = [task for task in self._running.values() if task is not None]
        for address in list(self._running):
            self.down(address)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, address: ServiceAddress) -> None:
        task = self._running.get(address)
        if task is not None:
            task.cancel()

    async def _rounds(self, address: ServiceAddress) -> None:
        begin = self._clock.now()
        for offset in self._repeats_s:
            await self._clock.sleep(begin + offset - self._clock.now())
            try:
                await self._addresses.announce(address)
            except HoldfastError as error:
                _log.warning("announcement failed", address=address.ip, error=str(error))
