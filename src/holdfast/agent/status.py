"""What an instance's worker tells the store."""

import asyncio

import structlog

from holdfast.agent.context import NodeContext, Target
from holdfast.core.model import InstanceState, InstanceStatus
from holdfast.errors import StoreError
from holdfast.ports import Compare, Put
from holdfast.store import keys
from holdfast.store.codec import encode

log = structlog.get_logger("holdfast.agent")

RETRY_S = 0.5


class StatusWriter:
    """Writes the newest status of one instance; older ones that were not written yet are skipped."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._last: tuple[InstanceStatus, Target] | None = None
        self._dirty = asyncio.Event()

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
    ) -> None:
        """Queue a status. Nothing is said without a placement on this node. `steps` None keeps the known ones."""
        placement = target.placement
        if placement is None:
            return
        if steps is None:
            known = self._last[0] if self._last and self._last[0].epoch == placement.epoch else None
            steps = known.steps if known else {}
        status = InstanceStatus(
            self._context.node, self._context.session, placement.epoch, state, detail, healthy, dict(steps)
        )
        if self._last is None or status != self._last[0]:
            self._last = (status, target)
            self._dirty.set()

    async def run(self) -> None:
        """For ever. Each status is compared with the very placement it speaks of: a word about an old one has no effect
        (INV-3)."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            assert self._last is not None
            status, target = self._last
            spec_id = target.spec.id
            try:
                await self._context.store.txn(
                    [Compare(keys.placement(spec_id), target.revision)], [Put(keys.status(spec_id), encode(status))]
                )
            except StoreError as error:
                log.warning("status not written", instance=spec_id, error=str(error))
                self._dirty.set()
                await self._context.clock.sleep(RETRY_S)
