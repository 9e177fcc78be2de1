"""One instance on this node: works towards its present target, one thing at a time, and tells the store.

Whether a strict instance may run is asked from the session right before each side effect (`allowed`), never remembered. What
is done for each order stands in `agent.duties`; here stand the orders, their interruption, and what follows from a failure.
"""

import asyncio

import structlog

from holdfast.agent.context import NodeContext, Order, Target
from holdfast.agent.duties import EARLY_S, Duties, ProcessEnded
from holdfast.core.model import InstanceState
from holdfast.errors import HoldfastError
from holdfast.ports import Driver, HealthProbe

log = structlog.get_logger("holdfast.agent")

RETRY_S = (0.05, 0.5, 1.0, 2.0, 5.0)
"""Pauses between failed starts, and between failed stops; the last one repeats."""
SLOW_RETRY_S = 10.0
"""Pause between starts once the restarts in place are used up: now it is the manager's turn to try another node."""


class Worker(Duties):
    """See the module's text."""

    def __init__(self, context: NodeContext, driver: Driver, probe: HealthProbe | None, target: Target) -> None:
        super().__init__(context, driver, probe, target)
        self.held = False
        """Adopted by an agent that does not know yet whether it may go on: neither started nor stopped."""
        self._settled = asyncio.Event()
        self._stop_failures = 0
        self._operation: asyncio.Task[None] | None = None
        """Something that takes long: an order to do something else interrupts it."""
        self._serves: tuple[Order, int] = (Order.STOP, 0)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._status.run())]

    # --- orders ---------------------------------------------------------------------------------------------------------

    def aim(self, target: Target) -> None:
        """A new target."""
        if target == self.target:
            return
        if target.placement != self.target.placement:
            self._received = self._context.clock.now()
            self._begin_anew()
        elif target.spec != self.target.spec:
            self._failures = 0  # whoever changed it wants it tried at once
        self.target = target
        self._settled.clear()
        self._wake.set()
        self._interrupt()

    def hold(self) -> None:
        """Something of the instance runs here already: leave it alone until `resume` or `suspend`."""
        self.held = self.running = True

    def suspend(self) -> None:
        """Start nothing, stop what runs."""
        self.suspended, self.held = True, False
        self._wake.set()
        self._interrupt()

    def resume(self) -> None:
        self.suspended = self.held = False
        self._failures = 0
        self._wake.set()

    async def stopped(self, grace_s: float) -> bool:
        """Suspend, and wait until the stop is confirmed. False if it could not be."""
        self._grace_s = grace_s
        self._settled.clear()
        self.suspend()
        await self._settled.wait()
        return not self.running

    async def close(self) -> None:
        """End the worker without touching the instance (an agent that restarts)."""
        for task in self._tasks:
            task.cancel()
        self._settled.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def finished(self) -> bool:
        """Nothing is asked of this node, and nothing of the instance is here."""
        idle = self.target.placement is None and self.target.incoming is None
        return idle and not self.running and self._settled.is_set()

    # --- work -----------------------------------------------------------------------------------------------------------

    def _serving(self) -> tuple[Order, int]:
        """The order, and the placement's epoch where another epoch makes it another order."""
        order, placement = self.order(), self.target.placement
        return order, placement.epoch if placement and order is Order.HAND_OVER else 0

    def _interrupt(self) -> None:
        """An order to stop does not wait for a start that takes long or hangs."""
        if self._operation is not None and self._serving() != self._serves:
            self._operation.cancel()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            order, target = self.order(), self.target
            try:
                await self._work_once(order)
            except HoldfastError as error:
                await self._failed(error, order, target)
            except Exception as error:
                log.exception("unexpected failure", instance=self.target.spec.id)
                await self._failed(HoldfastError(f"unexpected failure: {error!r}"), order, target)

    async def _work_once(self, order: Order) -> None:
        if self.held:
            await self._wait(3600)
        elif order is Order.LEAVE_ALONE:
            await self._leave_alone()
        elif order is not Order.STOP:
            await self._operate(order)
        else:
            if self.running:
                await self._stop()
            self._stop_failures = 0
            # What is to be handed over is never started here again under this placement: say so, it may be the other's now.
            self._say(InstanceState.MIGRATED if self.target.order is Order.HAND_OVER else InstanceState.STOPPED)
            self._settled.set()
            await self._wait(1.0 if self.target.order is not Order.STOP else 3600)

    async def _operate(self, order: Order) -> None:
        duty = {Order.RUN: self._start_and_keep, Order.HAND_OVER: self._hand_over, Order.RECEIVE: self._receive}[order]
        self._serves = self._serving()
        self._operation = asyncio.create_task(duty())
        try:
            await asyncio.wait([self._operation])
            if not self._operation.cancelled():
                self._operation.result()
        finally:
            self._operation.cancel()
            self._operation = None

    # --- failures -------------------------------------------------------------------------------------------------------

    async def _failed(self, error: HoldfastError, order: Order, target: Target) -> None:
        """Say so, wait, try again (unless something else is asked meanwhile)."""
        self._wake.clear()
        if order is Order.STOP:
            self._settled.set()
        if self.order() is not order or self.target.placement != target.placement:
            log.info("abandoned", instance=target.spec.id, order=str(order), reason=str(error))
            return
        log.warning("instance failed", instance=target.spec.id, order=str(order), error=str(error))
        if order is Order.RUN:
            pause = await self._start_failed(error)
        elif order is Order.STOP:
            self._say(InstanceState.FAILED, detail=str(error))
            pause = RETRY_S[min(self._stop_failures, len(RETRY_S) - 1)]
            self._stop_failures += 1
        else:
            pause = RETRY_S[2]
        await self._wait(pause)

    async def _start_failed(self, error: HoldfastError) -> float:
        """Count it, take back what was half started, and give the pause before the next try."""
        if self.strict and not self._context.allowed():
            return RETRY_S[1]  # the node may start nothing just now: that is not the instance's fault
        limit, ended = self.target.spec.max_restarts, isinstance(error, ProcessEnded)
        if not ended or self._ran_for() < EARLY_S:
            # No further than one: what is tried again for ever must not change the status for ever.
            self._failures = min(self._failures + 1, limit + 1)
        self._say(InstanceState.FAILED, detail=str(error))
        if not ended:
            try:
                await self._take_back()
            except HoldfastError as again:
                log.warning("half-started instance not stopped", instance=self.target.spec.id, error=str(again))
        return RETRY_S[max(0, min(self._failures, len(RETRY_S)) - 1)] if self._failures <= limit else SLOW_RETRY_S
