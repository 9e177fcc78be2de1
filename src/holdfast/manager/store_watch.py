"""How the members of the store are, asked one by one. For people; what the store itself does needs none of it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holdfast.core.alarm_model import StoreMember
from holdfast.core.model import ManagementMember, ManagementSpec
from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.store.etcd import EtcdAdmin, EtcdStore
from holdfast.store.etcd.unit import DEFAULT_QUOTA_BYTES

log = structlog.get_logger("holdfast.manager")

PERIOD_S = 10.0
STATUS_S = 3.0
"""Time-out of one member's answer."""

Look = Callable[[ManagementSpec], Awaitable[tuple[StoreMember, ...]]]


class StoreWatch:
    """Looks every few seconds during a term."""

    def __init__(self, clock: Clock, look: Look | None, spec: Callable[[], ManagementSpec | None]) -> None:
        """`look`: None where nobody can."""
        self._clock = clock
        self._look = look
        self._spec = spec
        self.members: tuple[StoreMember, ...] | None = None
        """None: nobody has looked yet in this term."""

    def stop(self) -> None:
        self.members = None

    async def run(self) -> None:
        """For the length of a term. Whatever goes wrong here ends nothing else."""
        while self._look is not None:
            try:
                spec = self._spec()
                self.members = await self._look(spec) if spec else None
            except Exception as error:
                text = str(error) if isinstance(error, HoldfastError) else repr(error)
                log.info("the store's members were not looked at", error=text)
            await self._clock.sleep(PERIOD_S)
        await asyncio.Event().wait()


def looker(store: EtcdStore) -> Look:
    """Asks the members of an etcd cluster."""
    admin = EtcdAdmin(store)

    async def one(member: ManagementMember) -> StoreMember:
        try:
            said = await admin.status(member.client_url, timeout=STATUS_S)
        except HoldfastError:
            return StoreMember(member.node, False, voter=member.state != "learner", quota_bytes=DEFAULT_QUOTA_BYTES)
        return StoreMember(
            member.node,
            True,
            not said.learner,
            said.db_bytes,
            said.db_used_bytes,
            DEFAULT_QUOTA_BYTES,
            said.errors,
            said.version,
        )

    async def look(spec: ManagementSpec) -> tuple[StoreMember, ...]:
        present = [member for member in spec.members if member.state != "joining"]
        return tuple(await asyncio.gather(*(one(member) for member in present)))

    return look
