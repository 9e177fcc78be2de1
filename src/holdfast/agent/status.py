"""What an instance's worker tells the store."""

import asyncio

import structlog

from holdfast.agent.context import NodeContext, Target
from holdfast.core.model import InstanceState, InstanceStatus
from holdfast.errors import StoreError
from holdfast.ports import Compare, Get, Put
from holdfast.store import keys
from holdfast.store.codec import encode

log = structlog.get_logger("holdfast.agent")

RETRY_S = 0.5
_UNKNOWN = -1
"""No key ever has this revision: the comparison fails and the real one is learnt."""


class StatusWriter:
    """Writes the newest status of one instance; older ones that were not written yet are skipped."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._last: tuple[InstanceStatus, Target] | None = None
        self._dirty = asyncio.Event()
        self._revision = 0
        """Of the status in the store, as far as is known."""
        self._writing = asyncio.Lock()

    def says_running(self, target: Target) -> bool:
        """For exactly this placement it was said that the instance runs."""
        if target.placement is None or self._last is None:
            return False
        status = self._last[0]
        return status.epoch == target.placement.epoch and status.state is InstanceState.RUNNING

    def report(
        self,
        target: Target,
        state: InstanceState,
        *,
        detail: str = "",
        healthy: bool = False,
        steps: dict[str, float] | None = None,
        failures: int = 0,
        stable: bool = False,
        powered_off: bool = False,
        migrate_error: str = "",
    ) -> None:
        """Queue a status. Nothing is said without a placement on this node. `steps` None keeps the known ones."""
        placement = target.placement
        if placement is None:
            return
        if steps is None:
            known = self._last[0] if self._last and self._last[0].epoch == placement.epoch else None
            steps = known.steps if known else {}
        status = InstanceStatus(
            self._context.node,
            self._context.session,
            placement.epoch,
            state,
            detail=detail,
            healthy=healthy,
            steps=dict(steps),
            failures=failures,
            stable=stable,
            powered_off=powered_off,
            migrate_error=migrate_error,
        )
        if self._last is None or status != self._last[0]:
            self._last = (status, target)
            self._dirty.set()

    async def confirm(self) -> bool:
        """Write the last status now, even if it was written before: whoever still acts on an older word of this node loses
        the race. False: the store has another placement already. Raises StoreError."""
        assert self._last is not None
        return await self._write(*self._last)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            assert self._last is not None
            try:
                await self._write(*self._last)
            except StoreError as error:
                log.warning("status not written", instance=self._last[1].spec.id, error=str(error))
                self._dirty.set()
                await self._context.clock.sleep(RETRY_S)

    async def _write(self, status: InstanceStatus, target: Target) -> bool:
        """Each status is compared with the very placement it speaks of: a word about an old one has no effect (INV-3). And
        with the status before it: a write whose outcome was unknown must not come through after a newer one."""
        placement_key, key = keys.placement(target.spec.id), keys.status(target.spec.id)
        async with self._writing:
            while True:
                expected, self._revision = self._revision, _UNKNOWN
                result = await self._context.store.txn(
                    [Compare(placement_key, target.revision), Compare(key, expected)],
                    [Put(key, encode(status))],
                    [Get(placement_key), Get(key)],
                )
                if result.succeeded:
                    self._revision = result.revision
                    return True
                placement, known = result.gets[placement_key], result.gets[key]
                self._revision = known.mod_revision if known else 0
                if placement is None or placement.mod_revision != target.revision:
                    return False
