"""What a worker does with its instance: start it, keep it, hand it over, receive it, leave it alone, stop it."""

import asyncio
from collections.abc import Coroutine

import structlog

from holdfast.agent.context import NodeContext, Order, Steps, Target
from holdfast.agent.status import StatusWriter
from holdfast.core.model import Exclusivity, InstanceSpec, InstanceState
from holdfast.errors import AddressInUse, DriverError
from holdfast.ports import Driver, HealthProbe

log = structlog.get_logger("holdfast.agent")

TICK_S = 1.0
"""Period of renewals and health checks."""
HEALTH_TIMEOUT_S = 1.0
UNHEALTHY_AFTER = 2
"""Failed checks in a row after which the instance is reported as not answering."""
RESTART_AFTER = 6
"""Failed checks in a row after which it is restarted in place."""
EARLY_S = 10.0
"""What ends by itself so soon after it was started counts as a start that failed."""
STABLE_S = 60.0
"""After running for so long, earlier failures count no more."""
START_LIMIT_S = 60.0
"""A start that takes longer has failed: it is taken back and tried again."""
STOP_LIMIT_S = 30.0
"""A stop that takes longer than this beyond its grace has failed, and is tried again."""
ADVISORY_PROBE_S = 0.05
"""How long an advisory address waits for the answer of somebody who has it already."""


class ProcessEnded(DriverError):
    """It ran, and ended by itself."""


class Duties:
    """The state of one instance on this node, and one method per order (`agent.context.Order`). Errors: HoldfastError."""

    def __init__(self, context: NodeContext, driver: Driver, probe: HealthProbe | None, target: Target) -> None:
        self._context = context
        self._driver = driver
        self._probe = probe
        self.target = target
        self.running = False
        """Something of the instance may be here: set before the first side effect, cleared after a confirmed stop."""
        self.suspended = False
        """Nothing may be started: the session stops or has stopped everything."""
        self._received = context.clock.now()
        self._wake = asyncio.Event()
        self._grace_s = 10.0
        self._applied: InstanceSpec | None = None
        """The specification that what runs was started or reconfigured with."""
        self._failed_checks = 0
        self._failures = 0
        """Failed starts in a row."""
        self._up_at = context.clock.now()
        self._status = StatusWriter(context)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Another placement: what was said of the last one counts no more."""
        self._failures = 0
        self._stable = False
        self._migrate_error = ""
        self._handed_over = False
        """What was here is another node's now: what is left are remains."""
        self._powered_off = False
        """It ended by its own will, and stays off until it is placed anew."""

    @property
    def strict(self) -> bool:
        return self.target.spec.exclusivity is Exclusivity.STRICT

    def order(self) -> Order:
        """What is to be done now: the target's order, as far as the node may."""
        order = Order.STOP if self.suspended else self.target.order
        if order in (Order.STOP, Order.LEAVE_ALONE) or not self.strict:
            return order
        permitted = self._context.may_stay() if self.running else self._context.allowed()
        return order if permitted else Order.STOP

    def _say(
        self, state: InstanceState, *, detail: str = "", healthy: bool = False, steps: dict[str, float] | None = None
    ) -> None:
        self._status.report(
            self.target,
            state,
            detail=detail,
            healthy=healthy,
            steps=steps,
            failures=self._failures,
            stable=self._stable,
            powered_off=self._powered_off,
            migrate_error=self._migrate_error,
        )

    # --- run ------------------------------------------------------------------------------------------------------------

    async def _start_and_keep(self) -> None:
        if self._powered_off:
            await self._rest_off()
            return
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
            if await self._ended_unseen():
                self.running = self._powered_off = True
                return
            await self._start()
        await self._keep()

    async def _ended_unseen(self) -> bool:
        """It ended here by its own will while nobody waited for its end: the agent was away, or had another order."""
        spec = self.target.spec
        return self.strict and spec.id not in await self._driver.running() and await self._driver.wait_exit(spec)

    async def _rest_off(self) -> None:
        """It was shut down from inside, which is no failure: the manager takes note of it, and lets it rest."""
        if self.running:
            await self._take_down(0.0)
            self.running, self._applied = False, None
        self._say(InstanceState.STOPPED, detail="it powered itself off")
        await self._wait(3600)

    async def _start(self) -> None:
        spec, steps = self.target.spec, Steps(self._context.clock, self._received)
        epoch = self.target.placement.epoch if self.target.placement else 0

        def allowed() -> bool:
            placement = self.target.placement
            fresh = placement is not None and placement.epoch == epoch
            return fresh and self.order() is Order.RUN and (not self.strict or self._context.allowed())

        self._say(InstanceState.STARTING)
        self.running = True
        probing = asyncio.create_task(self._occupant(spec))
        try:
            await self._within(START_LIMIT_S, "start", self._driver.start(spec, allowed, steps))
            occupant = await self._answer_of(probing, spec)
        finally:
            probing.cancel()
        if spec.address is not None:
            if occupant and self.strict:
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
        self._applied = spec
        self._up_at = self._context.clock.now()
        self._say(InstanceState.RUNNING, steps=steps.taken)
        await self._first_health(spec, steps)

    async def _answer_of(self, probing: "asyncio.Task[str]", spec: InstanceSpec) -> str:
        """What the probe found. An advisory address does not wait for the whole silence: a neighbour answers within
        milliseconds, and for it a duplicate is no reason to stay away."""
        if self.strict:
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
        target = self.target
        for _ in range(40):
            if self.target != target or self._probe is None:
                return
            problem = await self._probe.check(spec, timeout=HEALTH_TIMEOUT_S)
            if not problem:
                steps.step("healthy")
                self._say(InstanceState.RUNNING, healthy=True, steps=steps.taken)
                return
            await self._wait(0.05)

    async def _keep(self) -> None:
        """Renew and check until something else is asked, or it powers itself off. Raises ProcessEnded."""
        spec, order = self.target.spec, self.order()
        exited = asyncio.create_task(self._driver.wait_exit(spec))
        exited.add_done_callback(lambda _task: self._wake.set())
        self._failed_checks = 0
        try:
            while self.order() is order and not exited.done() and self.target.spec == spec:
                if not self._status.says_running(self.target):
                    return
                await self._renew_address(spec)
                await self._driver.tick(spec)
                await self._check(spec)
                # A failed check took its whole time-out already: look again at once.
                await self._wait(0.05 if self._failed_checks else TICK_S)
        finally:
            exited.cancel()
        if exited.done() and not exited.cancelled() and self.order() is order:
            if exited.exception() is None and exited.result():
                self._powered_off = True
                return
            raise ProcessEnded(f"the process of {spec.id} ended by itself", "It is started again; see its log.")

    async def _check(self, spec: InstanceSpec) -> None:
        """One health check, and what follows from it."""
        if not self._failed_checks and self._ran_for() >= STABLE_S:
            self._stable, self._failures = True, 0
        if self._probe is None:
            self._say(InstanceState.RUNNING)
            return
        problem = await self._probe.check(spec, timeout=HEALTH_TIMEOUT_S)
        self._failed_checks = self._failed_checks + 1 if problem else 0
        if not problem:
            self._say(InstanceState.RUNNING, healthy=True)
        elif self._failed_checks >= UNHEALTHY_AFTER:
            self._say(InstanceState.RUNNING, detail=problem)
        if self._failed_checks >= RESTART_AFTER and self.order() is Order.RUN:
            log.warning("instance does not answer: restarting it", instance=spec.id, problem=problem)
            await self._driver.restart_hung(spec)
            self._failed_checks = 0

    # --- live migration -------------------------------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Give what runs here to the other node, once. From now on nothing of it is started here under this placement, for
        the other node may have it: an earlier run of this agent may have handed it over without a word."""
        spec, placement = self.target.spec, self.target.placement
        assert placement is not None
        present = spec.id in await self._driver.running()
        if not self._handed_over and not self._powered_off:
            self._powered_off = await self._ended_unseen()
        if present and not self._handed_over and not self._powered_off:
            self.running = True
            self._say(InstanceState.RUNNING)
            if not self._migrate_error:
                await self._migrate(spec, placement.migrate_to)
                return
            try:
                return await self._keep()
            except ProcessEnded:
                self._handed_over = True
        if present or self._powered_off:
            await self._take_down(0.0)
        elif spec.address is not None:
            self._context.announcer.down(spec.address)
            await self._context.addresses.remove(spec.address)
        self.running, self._applied = False, None
        self._say(InstanceState.MIGRATED)
        await self._wait(3600)

    async def _migrate(self, spec: InstanceSpec, to: str) -> None:
        # The store has this very placement now, and a manager that would still take it back for an older word of this node
        # (of an earlier run, for an earlier failure) cannot any more.
        if not await self._status.confirm():
            return await self._wait(TICK_S)
        attempt = asyncio.create_task(self._driver.migrate(spec, to))
        try:
            while not attempt.done():
                await self._renew_address(spec)
                try:
                    async with self._context.clock.timeout(TICK_S):
                        await asyncio.wait([attempt])
                except TimeoutError:
                    continue
            attempt.result()
        except DriverError as error:
            log.warning("not migrated", instance=spec.id, to=to, error=str(error))
            self._migrate_error = str(error)
        else:
            self._handed_over = True
        finally:
            if not attempt.done():
                # Whoever stops it next must not meet an attempt that is still under way.
                attempt.cancel()
                await asyncio.wait([attempt])
            if not attempt.cancelled():
                attempt.exception()  # of one that failed in the moment it was broken off; what follows decides anew

    async def _receive(self) -> None:
        """Open the door for what comes, and keep it open. Closed by a stop, or by the start that adopts what came."""
        spec, incoming = self.target.spec, self.target.incoming

        def allowed() -> bool:
            fresh = self.target.incoming == incoming and self.order() is Order.RECEIVE
            return fresh and (not self.strict or self._context.allowed())

        self.running = True
        await self._driver.receive(spec, allowed)
        while self.order() is Order.RECEIVE and self.target.incoming == incoming:
            await self._wait(TICK_S)

    # --- leave alone, stop ----------------------------------------------------------------------------------------------

    async def _leave_alone(self) -> None:
        """What becomes of it meanwhile is not known: anything may run here afterwards. Only its address is kept, which the
        kernel would take away."""
        spec = self.target.spec
        self.running, self._applied, self._powered_off = True, None, False
        self._say(InstanceState.IGNORED)
        if spec.address is not None and spec.address.ip in await self._context.addresses.present():
            await self._renew_address(spec)
        await self._wait(TICK_S)

    async def _stop(self) -> None:
        self._say(InstanceState.STOPPING)
        await self._take_down(self._grace_s)
        if not self.strict and self._failed_checks >= UNHEALTHY_AFTER and not self.suspended:
            # It moved away because it hung here: what stays warm must not be the hung process.
            await self._driver.restart_hung(self.target.spec)
        self.running, self._applied = False, None

    async def _take_down(self, grace_s: float) -> None:
        """Address muted, instance stopped, address removed: clients see silence and then the new owner."""
        spec = self.target.spec
        if spec.address is not None:
            self._context.announcer.down(spec.address)
        if spec.address is not None and self.strict:
            await self._context.addresses.mute(spec.address)
        try:
            await self._confirmed_stop(grace_s)
        finally:
            if spec.address is not None:
                await self._context.addresses.remove(spec.address)

    async def _take_back(self) -> None:
        """Undo a start that failed half way."""
        if self.running:
            await self._confirmed_stop(0.0)
            if self.target.spec.address is not None:
                await self._context.addresses.remove(self.target.spec.address)
            self.running = False

    async def _confirmed_stop(self, grace_s: float) -> None:
        """Stop it, and look again: another node may start it on the strength of this word."""
        spec = self.target.spec
        await self._within(grace_s + STOP_LIMIT_S, "stop", self._driver.stop(spec, grace_s))
        if self.strict and spec.id in await self._driver.running():
            raise DriverError(
                f"{spec.id} was stopped, and still runs here", "It is stopped again; look at its processes on the node."
            )

    async def _within(self, limit_s: float, what: str, action: Coroutine[object, object, None]) -> None:
        """A daemon that hangs must not hang its worker: then the attempt has failed."""
        try:
            async with self._context.clock.timeout(limit_s):
                await action
        except TimeoutError:
            raise DriverError(
                f"the {what} of {self.target.spec.id} took longer than {limit_s:g} s",
                "It is tried again; the log of the service tells where it hangs.",
            ) from None

    def _ran_for(self) -> float:
        """Seconds since its last start."""
        return self._context.clock.now() - self._up_at

    # --- small things ---------------------------------------------------------------------------------------------------

    async def _renew_address(self, spec: InstanceSpec) -> None:
        if spec.address is None:
            return
        lifetime = self._context.advisory_address_s
        if self.strict:
            lifetime = self._context.deadline() - self._context.clock.now()
            if lifetime <= 0:
                return
        await self._context.addresses.add(spec.address, lifetime)

    async def _wait(self, seconds: float) -> None:
        """So long, or until something is to be looked at."""
        try:
            async with self._context.clock.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
