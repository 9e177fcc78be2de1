"""One instance on this node: starts it, keeps it, stops it, and tells the store.

A worker does one thing at a time and always works towards its present `target`. Whether a strict instance may run is asked
from the session right before each side effect (`allowed`), never remembered.
"""

import asyncio

import structlog

from holdfast.agent.context import NodeContext, Steps, Target
from holdfast.agent.status import StatusWriter
from holdfast.core.model import (
    Exclusivity,
    InstanceSpec,
    InstanceState,
)
from holdfast.errors import AddressInUse, HoldfastError
from holdfast.ports import Driver, HealthProbe

log = structlog.get_logger("holdfast.agent")

TICK_S = 1.0
"""Period of renewals and health checks."""
HEALTH_TIMEOUT_S = 1.0
UNHEALTHY_AFTER = 2
"""Failed checks in a row after which the instance is reported as not answering."""
RESTART_AFTER = 6
"""Failed checks in a row after which it is restarted in place."""
RETRY_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Pauses between failed starts; the last one repeats."""
ADVISORY_PROBE_S = 0.05
"""How long an advisory address waits for the answer of somebody who has it already."""


class Worker:
    """See the module's text."""

    def __init__(self, context: NodeContext, driver: Driver, probe: HealthProbe | None, target: Target) -> None:
        self._context = context
        self._driver = driver
        self._probe = probe
        self.target = target
        self.running = False
        """Something of the instance may be here: set before the first side effect, cleared after a confirmed stop."""
        self.suspended = False
        """Nothing may be started: the session stops or has stopped everything."""
        self.held = False
        """Adopted by an agent that does not know yet whether it may go on: neither started nor stopped."""
        self._received = context.clock.now()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._grace_s = 10.0
        self._failures = 0
        self._failed_checks = 0
        self._applied: InstanceSpec | None = None
        """The specification that what runs was started or reconfigured with."""
        self._operation: asyncio.Task[None] | None = None
        """A start, or the keeping of what runs: can be interrupted by an order to stop."""
        self._status = StatusWriter(context)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._status.run())]

    # --- orders ---------------------------------------------------------------------------------------------------------

    def aim(self, target: Target) -> None:
        """A new target."""
        if target != self.target:
            if target.placement != self.target.placement:
                self._received = self._context.clock.now()
                self._failures = 0
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
        """Not placed here, and nothing of it is here."""
        return self.target.placement is None and not self.running and self._settled.is_set()

    # --- work -----------------------------------------------------------------------------------------------------------

    def _may_run(self) -> bool:
        if self.suspended or not self.target.run:
            return False
        if self.target.spec.exclusivity is not Exclusivity.STRICT:
            return True
        return self._context.may_stay() if self.running else self._context.allowed()

    def _interrupt(self) -> None:
        """An order to stop does not wait for a start that takes long or hangs."""
        if self._operation is not None and not self._may_run():
            self._operation.cancel()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._work_once()
            except HoldfastError as error:
                await self._failed(error)
            except Exception as error:
                log.exception("unexpected failure", instance=self.target.spec.id)
                await self._failed(HoldfastError(f"unexpected failure: {error!r}"))

    async def _work_once(self) -> None:
        if self.held:
            await self._wait(3600)
        elif self._may_run():
            self._operation = asyncio.create_task(self._start_and_keep())
            try:
                await asyncio.wait([self._operation])
                if not self._operation.cancelled():
                    self._operation.result()
            finally:
                self._operation.cancel()
                self._operation = None
        elif self.running:
            await self._stop()
        else:
            self._status.report(self.target, InstanceState.STOPPED)
            self._settled.set()
            await self._wait(TICK_S if self.target.run else 3600)

    async def _start_and_keep(self) -> None:
        spec, applied = self.target.spec, self._applied
        if self.running and applied is not None and applied != spec:
            if applied.address != spec.address and applied.address is not None:
                await self._context.addresses.remove(applied.address)
            if applied.address == spec.address:
                await self._driver.reconfigure(spec)
            else:
                await self._start()
            self._applied = spec
        if not self.running or not self._status.says_running(self.target):
            await self._start()
        await self._keep()

    async def _start(self) -> None:
        spec, steps = self.target.spec, Steps(self._context.clock, self._received)
        epoch = self.target.placement.epoch if self.target.placement else 0

        def allowed() -> bool:
            placement = self.target.placement
            strict = spec.exclusivity is Exclusivity.STRICT
            fresh = placement is not None and placement.epoch == epoch
            return fresh and self._may_run() and (not strict or self._context.allowed())

        self._status.report(self.target, InstanceState.STARTING)
        self.running = True
        probing = asyncio.create_task(self._occupant(spec))
        try:
            await self._driver.start(spec, allowed, steps)
            occupant = await self._answer_of(probing, spec)
        finally:
            probing.cancel()
        if spec.address is not None:
            if occupant and spec.exclusivity is Exclusivity.STRICT:
                raise AddressInUse(
                    f"the address {spec.address.ip} of {spec.id} is answered by {occupant}",
                    "Another host uses it: free the address, or give the service another one.",
                )
            if not allowed():
                return
            await self._renew_address(spec)
            steps.step("address")
            # Once before anything else, for whoever is told next (a tickled client) must answer to this node; then repeated.
            await self._context.addresses.announce(spec.address)
            self._context.announcer.up(spec.address)
        await self._driver.address_up(spec)
        self._failures = 0
        self._applied = spec
        self._status.report(self.target, InstanceState.RUNNING, steps=steps.taken)
        await self._first_health(spec, steps)

    async def _answer_of(self, probing: "asyncio.Task[str]", spec: InstanceSpec) -> str:
        """What the probe found. An advisory address does not wait for the whole silence: a neighbour answers within
        milliseconds, and for it a duplicate is no reason to stay away."""
        if spec.exclusivity is Exclusivity.STRICT:
            return await probing
        await asyncio.wait([probing], timeout=ADVISORY_PROBE_S)
        occupant = probing.result() if probing.done() else ""
        if occupant:
            log.warning("somebody else answers for the address", instance=spec.id, hardware=occupant)
        return occupant

    async def _occupant(self, spec: InstanceSpec) -> str:
        """Who else answers for the address; "" for nobody, and where it is ours already (an adopted instance)."""
        if spec.address is None or spec.address.ip in await self._context.addresses.present():
            return ""
        return await self._context.addresses.probe(spec.address)

    async def _first_health(self, spec: InstanceSpec, steps: Steps) -> None:
        """Check often at first, so that recovery is noticed at once."""
        for _ in range(40):
            if self._wake.is_set() or self._probe is None:
                return
            problem = await self._probe.check(spec, timeout=HEALTH_TIMEOUT_S)
            if not problem:
                steps.step("healthy")
                self._status.report(self.target, InstanceState.RUNNING, healthy=True, steps=steps.taken)
                return
            await self._wait(0.05)

    async def _keep(self) -> None:
        """Renew and check until the target changes or the process ends."""
        spec = self.target.spec
        exited = asyncio.create_task(self._driver.wait_exit(spec))
        exited.add_done_callback(lambda _task: self._wake.set())
        self._failed_checks = 0
        try:
            while self._may_run() and not exited.done() and self.target.spec == spec:
                if not self._status.says_running(self.target):
                    return
                await self._renew_address(spec)
                await self._driver.tick(spec)
                await self._check(spec)
                # A failed check took its whole time-out already: look again at once.
                await self._wait(0.05 if self._failed_checks else TICK_S)
        finally:
            exited.cancel()
        if exited.done() and not exited.cancelled() and self._may_run():
            log.warning("instance ended by itself", instance=spec.id)
            self._status.report(self.target, InstanceState.FAILED, detail="its process ended; it is started again")

    async def _check(self, spec: InstanceSpec) -> None:
        """One health check, and what follows from it."""
        if self._probe is None:
            return
        problem = await self._probe.check(spec, timeout=HEALTH_TIMEOUT_S)
        self._failed_checks = self._failed_checks + 1 if problem else 0
        if not problem:
            self._status.report(self.target, InstanceState.RUNNING, healthy=True)
        elif self._failed_checks >= UNHEALTHY_AFTER:
            self._status.report(self.target, InstanceState.RUNNING, detail=problem)
        if self._failed_checks >= RESTART_AFTER and self._may_run():
            log.warning("instance does not answer: restarting it", instance=spec.id, problem=problem)
            await self._driver.restart_hung(spec)
            self._failed_checks = 0

    async def _stop(self) -> None:
        """Address muted, instance stopped, address removed: clients see silence and then the new owner."""
        spec = self.target.spec
        self._status.report(self.target, InstanceState.STOPPING)
        if spec.address is not None:
            self._context.announcer.down(spec.address)
        if spec.address is not None and spec.exclusivity is Exclusivity.STRICT:
            await self._context.addresses.mute(spec.address)
        try:
            await self._driver.stop(spec, self._grace_s)
        finally:
            if spec.address is not None:
                await self._context.addresses.remove(spec.address)
        if spec.exclusivity is not Exclusivity.STRICT and self._failed_checks >= UNHEALTHY_AFTER and not self.suspended:
            # It moved away because it hung here: what stays warm must not be the hung process.
            await self._driver.restart_hung(spec)
        self.running = False
        self._applied = None
        self._status.report(self.target, InstanceState.STOPPED)
        self._settled.set()

    async def _failed(self, error: HoldfastError) -> None:
        """A start or stop failed: say so, wait, try again (unless the target changes meanwhile)."""
        log.warning("instance failed", instance=self.target.spec.id, error=str(error))
        self._status.report(self.target, InstanceState.FAILED, detail=str(error))
        if not self._may_run():
            self._settled.set()
        pause = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        if self.running and self._may_run():
            # What was half started is taken back before the next try.
            try:
                await self._driver.stop(self.target.spec, 0.0)
                if self.target.spec.address is not None:
                    await self._context.addresses.remove(self.target.spec.address)
                self.running = False
            except HoldfastError as again:
                log.warning("half-started instance not stopped", instance=self.target.spec.id, error=str(again))
        await self._wait(max(pause, 0.05))

    async def _renew_address(self, spec: InstanceSpec) -> None:
        if spec.address is None:
            return
        lifetime = self._context.advisory_address_s
        if spec.exclusivity is Exclusivity.STRICT:
            lifetime = self._context.deadline() - self._context.clock.now()
            if lifetime <= 0:
                return
        await self._context.addresses.add(spec.address, lifetime)

    async def _wait(self, seconds: float) -> None:
        try:
            async with self._context.clock.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
