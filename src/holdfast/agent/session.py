"""One run of the agent: joins, beats, holds the deadline, stops in time, joins again, releases.

This is the node's half of the safety protocol (design, section 3). The state machine is `core.validity.SESSION_TABLE`;
here stand only the store, the guard and the clock around it.
"""

import asyncio
from collections.abc import Callable

import structlog

from holdfast.agent.identity import Identity
from holdfast.agent.orders import NoOrders, Orders
from holdfast.agent.renewal import Capacity, Outcome, Renewal
from holdfast.agent.seams import Former, Workload
from holdfast.core.leaving import ShutdownKind, policy_for
from holdfast.core.model import Beat, BeatPhase, ShutdownPolicy, WatchdogAttestation
from holdfast.core.timing import Timing
from holdfast.core.validity import SessionEvent, SessionState, Validity, session_next
from holdfast.errors import StoreError
from holdfast.ports import Change, Clock, Entry, GuardLink, Store
from holdfast.store import keys
from holdfast.store.forward import ForwardStore
from holdfast.store.mirror import WENT_BACK

log = structlog.get_logger("holdfast.agent")

REFUSED_RETRY_S = 5.0
"""Pause before a join that was refused is tried again."""
MOVE_OFF_S = 300.0
"""A node that leaves by the policy `migrate` waits at most so long for its instances to be moved off."""
MOVE_OFF_LOOK_S = 0.5


class Session:
    """See the module's text. `run` ends only after a release."""

    def __init__(
        self,
        node: str,
        store: Store,
        guard: GuardLink,
        clock: Clock,
        timing: Timing,
        identity: Identity,
        workload: Workload,
        capacity: Capacity = lambda: (0.0, 0),
        orders: Orders | None = None,
        former: Former | None = None,
    ) -> None:
        self._node = node
        self._former = former
        self._guard = guard
        self._clock = clock
        self._timing = timing
        self._identity = identity
        self._workload = workload
        self._orders = orders if orders is not None else NoOrders()
        forward = ForwardStore(store, lambda: self.distrust(WENT_BACK))
        self._renewal = Renewal(node, forward, clock, timing, identity, capacity)
        self.state = SessionState.JOINING
        self.validity = Validity(timing)
        self.fence_epoch = 0
        """The acknowledged fence epoch; 0 before the first join."""
        self.last_commit = float("-inf")
        """When the last committed beat was sent (CLOCK_BOOTTIME, seconds)."""
        self.problem = ""
        """Why the node cannot join, for people."""
        self.attested_watchdog: WatchdogAttestation | None = None
        """What the last committed beat attested, for people."""
        self._distrusts = ""
        """Why the store is not believed any more; empty: it is."""
        self._attested = False
        self._gated = False
        """The guard acknowledged a deadline of this session, and no pause since: only then does its attestation hold."""
        self._leaving = ""
        self._guard_lock = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._stopper: asyncio.Task[None] | None = None
        self._released = asyncio.Event()
        self.on_state: Callable[[SessionState], None] = lambda _state: None

    # --- what others ask -------------------------------------------------------------------------------------------

    def allowed(self) -> bool:
        """May a strict instance be started at this very moment? Asked right before each side effect."""
        if not self.may_stay():
            return False
        # The manager trusts the attested watchdog (P4); without the guard's acknowledgement nothing enforces it.
        return not self._attested or self._guard.connected

    def may_stay(self) -> bool:
        """May a strict instance that runs here go on? A guard that restarts is no reason to stop it."""
        return self.state is SessionState.ACTIVE and self.validity.may_run(self._clock.now())

    def hurry(self) -> None:
        """Beat now: something suggests that the store, the guard or this node's membership changed."""
        self._hurry.set()

    def seen(self, change: Change) -> None:
        """The watch delivered something: beat at once if it is about this node's membership or about a pause."""
        if change.key == keys.PAUSE:
            self.hurry()
        elif change.key == keys.fence(self._node) and change.entry is not None:
            self.fence_seen(change.entry)

    def fence_seen(self, entry: Entry) -> None:
        """The watch delivered the fence record. Only a hint to look at once; the look itself is linearizable."""
        known = self._renewal.fence_revision
        if known and entry.mod_revision > known:
            self.hurry()

    def distrust(self, reason: str) -> None:
        """What the store says may contradict what it said before: stop everything strict, and do not join again in this run
        of the agent. `reason` tells people what to do."""
        log.error("the store is not believed any more", node=self._node, reason=reason)
        self._distrusts = self.problem = reason
        self.validity.revoke(self._clock.now())
        self._event(SessionEvent.CLAIMED)
        if self.state is SessionState.STOPPING:
            self._begin_stops(everything=False)
        self.hurry()

    # --- life -----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Join, beat until released."""
        watcher = asyncio.create_task(self._watch_deadline())
        try:
            while not self._released.is_set():
                if self._distrusts and self.state not in (SessionState.RELEASING, SessionState.RELEASED):
                    await self._sleep(REFUSED_RETRY_S)
                elif self.state is SessionState.JOINING:
                    await self._join()
                elif self.state is SessionState.RELEASED:
                    await self._write_release()
                elif not self.fence_epoch:
                    await self._sleep(self._timing.b)  # leaving without ever having joined: only the stops remain
                else:
                    await self._beat()
        finally:
            watcher.cancel()
            if self._stopper:
                self._stopper.cancel()

    async def leave(self, kind: ShutdownKind = ShutdownKind.SHUTDOWN) -> None:
        """The node is about to go down: say so, and wait for what the cluster's policy wants before everything stops."""
        self._leaving = policy_for(self._orders.shutdown_policy(), kind).value
        if self._leaving != ShutdownPolicy.MIGRATE:
            return
        give_up = self._clock.now() + MOVE_OFF_S
        self.hurry()
        while self.state is SessionState.ACTIVE and not self._orders.paused() and self._orders.to_be_moved():
            if self._clock.now() >= give_up:
                log.warning("not everything was moved off in time: the rest is stopped")
                return
            await self._clock.sleep(MOVE_OFF_LOOK_S)

    async def release(self, kind: ShutdownKind = ShutdownKind.SHUTDOWN) -> None:
        """Graceful shutdown: leave, stop everything, write the release, say farewell. Returns when done."""
        if not self._leaving:
            await self.leave(kind)
        self._event(SessionEvent.RELEASE_ASKED)
        if self.state is SessionState.RELEASING:
            self._begin_stops(everything=True)
        self.hurry()
        await self._released.wait()

    # --- joining --------------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        try:
            fence, previous = await self._renewal.read(joining=True)
        except StoreError as error:
            self._refuse(str(error))
            return await self._sleep(self._timing.b)
        if fence is None:
            return await self._turn_away(
                f"{self._node} is not a node of this cluster (any more): holdfast node add {self._node}"
            )
        live = previous is not None and previous.fence_epoch == fence.epoch and previous.phase is BeatPhase.ACTIVE
        if previous is not None and live and not self._is_this_machine(previous):
            return await self._turn_away(
                f"another machine uses the identity of {self._node} (a cloned disk, or new hardware). If this machine "
                f"replaces the other one, which is off: holdfast node confirm-dead {self._node}"
            )
        adopting = previous is not None and live and previous.boot_id == self._identity.boot_id
        if self._former is not None and not adopting:
            try:
                await self._former.tell()
            except StoreError as error:
                self._refuse(str(error))
                return await self._sleep(self._timing.b)
        self.problem = ""
        self.fence_epoch = fence.epoch
        if not adopting and not await self._announce_joining():
            return await self._sleep(self._timing.b)
        if self.state is not SessionState.JOINING:
            return None
        # An agent that restarted on the same boot goes on with what runs, so it must not say `joining`.
        outcome = await self._attempt(BeatPhase.ACTIVE)
        if outcome is Outcome.COMMITTED:
            self._event(SessionEvent.ADMITTED)
            self._resume()
        elif outcome is Outcome.UNKNOWN:
            await self._sleep(self._timing.b)

    async def _announce_joining(self) -> bool:
        """Make sure that nothing strict runs, say so to guard and store, and give the manager a moment to use it (P2)."""
        if not await self._workload.stop_strict(0.0):
            self._refuse("something strict runs here and cannot be stopped; see the agent's log")
            return False
        async with self._guard_lock:
            if not await self._declare_idle():
                self._refuse("the guard does not believe that nothing strict runs here; see its log")
                return False
        if await self._attempt(BeatPhase.JOINING) is not Outcome.COMMITTED:
            return False
        await self._sleep(min(1.0, self._timing.H))
        return True

    def _is_this_machine(self, previous: Beat) -> bool:
        """A beat that a restored store has in place of one that it does not know names no machine: then this one's own
        memory counts."""
        mine = self._identity.machine_id
        known = self._former is not None and self._former.was(mine)
        return previous.machine_id == mine or (not previous.machine_id and known)

    async def _turn_away(self, problem: str) -> None:
        """Whoever may not join runs nothing strict, whatever it was allowed before and by which store: in a pause of high
        availability no deadline would ever end it."""
        self._refuse(problem)
        await self._workload.stop_strict(0.0)
        await self._sleep(REFUSED_RETRY_S)

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            log.warning("cannot join", node=self._node, reason=problem)

    # --- beating --------------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """One attempt and the pause after it."""
        began = self._clock.now()
        self._hurry.clear()
        outcome = await self._attempt(BeatPhase.ACTIVE)
        if outcome is Outcome.COMMITTED:
            was_idle = self.state is SessionState.IDLE
            self._event(SessionEvent.RENEWED)
            if was_idle:
                self._resume()
            await self._sleep(max(0.0, self._timing.H - (self._clock.now() - began)))
        elif outcome is Outcome.UNKNOWN:
            await self._sleep(self._timing.b)
        elif outcome.settled and self.state is not SessionState.RELEASED:
            await self._lost_claim(outcome)

    async def _lost_claim(self, outcome: Outcome) -> None:
        if outcome is Outcome.FOREIGN:
            log.error("identity used twice", node=self._node, advice="Switch one of the two machines off.")
        self.validity.revoke(self._clock.now())
        self._event(SessionEvent.CLAIMED)
        if self.state is SessionState.STOPPING:
            self._begin_stops(everything=False)
        if self.state is not SessionState.JOINING:
            await self._sleep(0.2)

    async def _attempt(self, phase: BeatPhase) -> Outcome:
        """Write the beat once. Only a certainly committed active beat moves the deadline."""
        active = phase is BeatPhase.ACTIVE
        paused = active and self._orders.paused()
        if self.validity.paused and not paused:
            # BEFORE sending: whatever becomes of the beat, from here on the manager may count the time by it.
            self.validity.resume(self._clock.now())
        watchdog = await self._guard.attest() if active and self._gated and not paused else None
        self._attested = self._attested or watchdog is not None
        attempt = await self._renewal.write(
            phase, self.fence_epoch, watchdog=watchdog, leaving=self._leaving, paused=paused
        )
        if active and self._distrusts:
            return Outcome.UNKNOWN  # it was under way, and is not believed any more
        if active and attempt.outcome is Outcome.COMMITTED:
            self.last_commit = max(self.last_commit, attempt.sent_at)
            self._attested = watchdog is not None
            self.attested_watchdog = watchdog
            if paused:
                self.validity.pause()
            else:
                self.validity.committed(attempt.sent_at)
            await self._tell_guard()
        return attempt.outcome

    async def _tell_guard(self) -> None:
        """The deadline as it is now, or that there is none."""
        async with self._guard_lock:
            # A beat that was under way while the release was decided: the guard was told `idle`, and that stands.
            if self.state is SessionState.RELEASED:
                pass
            elif self.validity.paused:
                await self._guard.pause()
                self._gated = False
            else:
                gated, self._gated = self._gated, await self._guard.set_deadline(self.validity.deadline, self._timing.G)
                if self._gated and not gated:
                    self.hurry()  # to attest what now holds
        self._state_changed.set()

    # --- the deadline -----------------------------------------------------------------------------------------------------

    async def _watch_deadline(self) -> None:
        """Fires EXPIRED at D. Sleeps in short pieces: a suspended host must notice soon after it woke up."""
        while True:
            self._state_changed.clear()
            left = self.validity.deadline - self._clock.now()
            if left <= 0 and self.state is SessionState.ACTIVE:
                log.warning("deadline passed without a committed beat: stopping everything strict")
                self._event(SessionEvent.EXPIRED)
                self._begin_stops(everything=False)
            try:
                async with self._clock.timeout(min(max(left, 0.01), 0.5) if self.state is SessionState.ACTIVE else 0.5):
                    await self._state_changed.wait()
            except TimeoutError:
                continue

    def _begin_stops(self, *, everything: bool) -> None:
        if self._stopper is not None and not self._stopper.done():
            if not everything:
                return
            self._stopper.cancel()
        self._stopper = asyncio.create_task(self._stop_until_confirmed(everything))

    async def _stop_until_confirmed(self, everything: bool) -> None:
        """Stop; what cannot be confirmed is tried again until the guard ends the matter at D + G."""
        left = min(self.validity.deadline - self._clock.now(), self._timing.F)
        grace = max(self._timing.G, left - 1) if everything else self._timing.G
        stop = self._workload.stop_all if everything else self._workload.stop_strict
        while True:
            if await stop(grace):
                async with self._guard_lock:
                    # Under the lock, so that nobody is told `idle` after a new deadline was told.
                    if await self._declare_idle():
                        self._event(SessionEvent.STOPS_CONFIRMED)
                        break
            grace = 0.0
            await self._clock.sleep(0.2)
        self.hurry()

    async def _declare_idle(self) -> bool:
        """True if the guard takes it. One that refuses still sees processes; without a guard there is nobody to convince."""
        return await self._guard.set_idle() or not self._guard.present

    # --- release --------------------------------------------------------------------------------------------------------

    async def _write_release(self) -> None:
        """The last beat of this session. If the store cannot be reached the node still goes down cleanly; then other
        proofs must serve."""
        give_up = self._clock.now() + max(self._timing.Q * 2, self._timing.F / 2)
        while self.fence_epoch and self._clock.now() < give_up:
            if (await self._attempt(BeatPhase.RELEASED)).settled:
                break
            await self._clock.sleep(min(0.2, self._timing.b))
        async with self._guard_lock:
            await self._guard.farewell(restart=False)
        self._released.set()

    # --- small things -----------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if self.state is SessionState.ACTIVE:  # and not leaving meanwhile
            self._workload.resume()

    def _event(self, event: SessionEvent) -> None:
        row = session_next(self.state, event)
        if row.next is not self.state:
            log.info("session", state=str(row.next), cause=str(event), why=row.sentence)
            self.state = row.next
            self.on_state(row.next)
        self._state_changed.set()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until somebody hurries us."""
        try:
            async with self._clock.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()
