"""What a node tells of itself for people, rarely: its certificate, its wall clock, who else answers for its addresses.

The safety protocol knows nothing of it. It stands in a key of its own, so that beats stay small.
"""

from collections.abc import Callable, Sequence

import structlog

from holdfast.core.alarm_model import NodeReport
from holdfast.core.model import ServiceAddress
from holdfast.errors import HoldfastError, StoreError
from holdfast.ports import Addresses, Clock, Put, Store
from holdfast.store import keys
from holdfast.store.codec import encode

log = structlog.get_logger("holdfast.agent")

PERIOD_S = 60.0
RETRY_S = 5.0
"""After a write that failed; and before a conflict that was found is believed: the former owner of an address that has just
come may still be on its way out."""


class Reporter:
    """Writes reports/<node> as long as `run` runs."""

    def __init__(
        self,
        node: str,
        session: str,
        store: Store,
        clock: Clock,
        addresses: Addresses,
        *,
        active: Callable[[], bool],
        wanted: Callable[[], Sequence[ServiceAddress]],
        certificates: Callable[[], tuple[str, str]] = lambda: ("", ""),
    ) -> None:
        """`active`: the node is a member. `wanted`: the service addresses that belong here now. `certificates`: when that of
        the node and that of the authority end, ISO 8601 UTC; empty: unknown."""
        self._node = node
        self._session = session
        self._store = store
        self._clock = clock
        self._addresses = addresses
        self._active = active
        self._wanted = wanted
        self._certificates = certificates

    async def run(self) -> None:
        while True:
            wait_s = PERIOD_S
            if self._active():
                conflicts = await self._conflicts()
                try:
                    await self._write(conflicts)
                except StoreError as error:
                    log.info("report not written", error=str(error))
                    wait_s = RETRY_S
            else:
                wait_s = RETRY_S
            await self._clock.sleep(wait_s)

    async def _write(self, conflicts: dict[str, str]) -> None:
        """The wall clock is read last: whoever reads this compares with the moment at which it comes."""
        own, authority = self._certificates()
        report = NodeReport(self._session, self._clock.wall(), own, authority, conflicts)
        await self._store.txn([], [Put(keys.report(self._node), encode(report))])

    async def _conflicts(self) -> dict[str, str]:
        """Address → who else answers for it, twice."""
        first = await self._asked(self._wanted())
        if not first:
            return {}
        await self._clock.sleep(RETRY_S)
        return await self._asked([address for address in self._wanted() if address.ip in first])

    async def _asked(self, addresses: Sequence[ServiceAddress]) -> dict[str, str]:
        found = {}
        for address in addresses:
            try:
                who = await self._addresses.probe(address)
            except HoldfastError as error:
                log.info("nobody could be asked for an address", address=address.ip, error=str(error))
                continue
            if who:
                log.warning("somebody else answers for an address", address=address.ip, who=who)
                found[address.ip] = who
        return found
