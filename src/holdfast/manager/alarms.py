"""Raises and clears alarms while its manager leads, beside what is decided and never in its way.

Everything is written by transactions that compare the term and the alarm's own revision: a former leader writes nothing, an
acknowledgement is never overwritten unseen, and what is raised already stands in the store and is not raised again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from holdfast.core.alarm import Judgement, judge
from holdfast.core.alarm_life import Tracker, to_forget
from holdfast.core.alarm_model import Alarm, AlarmKind, AlarmState, Delivery, Facts, ManagerHealth, NodeReport
from holdfast.core.history import ManagerView, Severity
from holdfast.core.model import ManagementSpec
from holdfast.core.view import View
from holdfast.errors import StoreError
from holdfast.manager.commit import EventLog
from holdfast.manager.delivery import Couriers, Send
from holdfast.manager.election import Election, LostLeadership
from holdfast.manager.fence_tests import FenceTester
from holdfast.manager.store_watch import Look, StoreWatch
from holdfast.manager.wall_clocks import WallClocks
from holdfast.ports import Clock, Compare, Delete, Op, PowerFences, Put
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.measured import MeasuredStore
from holdfast.store.mirror import Mirror
from holdfast.store.view import all_said

log = structlog.get_logger("holdfast.manager")

LOOK_S = 1.0
HEALTH_S = 10.0
"""The figures for people are written at most this often."""
AT_ONCE = 20
"""Alarms in one transaction, each with its event."""


Apart = Callable[[Callable[[], Judgement]], Awaitable[Judgement]]


async def _at_once(judge: Callable[[], Judgement]) -> Judgement:
    return judge()


class AlarmDesk:
    """One per manager. `run` is to run for the length of a term."""

    def __init__(
        self,
        mirror: Mirror,
        clock: Clock,
        election: Election,
        node: str,
        store: MeasuredStore,
        devices: PowerFences,
        *,
        look: Look | None = None,
        send: Send | None = None,
        apart: Apart | None = None,
    ) -> None:
        """`store`: whose latency counts. `look`: asks the store's members how they are. `send`: delivers. `apart`: judges
        without holding up the event loop: of the largest clusters that takes a tenth of a second."""
        self._mirror = mirror
        self._clock = clock
        self._election = election
        self._node = node
        self._store = store
        self._fences = FenceTester(clock, devices)
        self._clocks = WallClocks(mirror, clock)
        self._members = StoreWatch(clock, look, lambda: mirror.read(keys.MANAGEMENT, ManagementSpec))
        self._apart = apart or _at_once
        self._couriers = Couriers(mirror, clock, election, node, send)
        self._tracker = Tracker()
        self._seen: tuple[View, ManagerView, float] | None = None
        self._health: ManagerHealth | None = None
        self._health_at = float("-inf")

    def begin_term(self, events: EventLog) -> None:
        self.stop()
        self._events = events
        self._fences.begin_term()
        self._store.forget()

    def stop(self) -> None:
        """End of the term."""
        self._fences.stop()
        self._members.stop()
        self._couriers.stop()
        self._tracker = Tracker()
        self._seen = self._health = None

    def observe(self, view: View, said: ManagerView) -> None:
        """What the manager sees and says now. Costs nothing: it is looked at by `run`."""
        self._seen = view, said, self._clock.now()

    async def run(self) -> None:
        """For the length of a term. Raises LostLeadership."""
        watching, trouble = asyncio.create_task(self._members.run()), ""
        try:
            while True:
                await self._clock.sleep(LOOK_S)
                if self._seen is None or self._election.blind():
                    continue
                try:
                    await self._step(*self._seen)
                    trouble = ""
                except LostLeadership:
                    raise
                except StoreError as error:
                    log.info("alarms not written", error=str(error))
                except Exception as error:  # a mistake here must not end the manager
                    if repr(error) != trouble:  # said once, not each second
                        log.error("alarms could not be looked at", error=repr(error))
                    trouble = repr(error)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _step(self, view: View, said: ManagerView, seen_at: float) -> None:
        now = self._clock.now()
        self._couriers.follow()
        if not view.settled:
            return  # before it has heard the observers it would clear what its predecessor has raised
        self._fences.observe(view, now)
        alarms = all_said(self._mirror, keys.ALARMS, Alarm)
        # As they were read: what an operator acknowledges from here on makes the write fail instead of being overwritten.
        revisions = {name: self._mirror.revision_of(keys.alarm(name)) for name in alarms}
        facts = self._facts(view, said)
        raised = frozenset(name for name, alarm in alarms.items() if alarm.open)
        judged = await self._apart(lambda: judge(view, facts, seen_at, raised))
        changed = self._tracker.step(judged, alarms, now, facts.wall)
        for at in range(0, len(changed), AT_ONCE):
            await self._write(changed[at : at + AT_ONCE], alarms, revisions)
        old = {keys.alarm(name): revisions[name] for name in to_forget(alarms, facts.deliveries.values())}
        await self._forget(old, view)
        await self._publish(facts, now)

    def _facts(self, view: View, said: ManagerView) -> Facts:
        latency = self._store.latency_s()
        return Facts(
            wall=self._clock.wall(),
            guarantee=said.guarantee,
            waiting=said.waiting,
            failed=said.failed,
            notes=said.notes,
            hold=said.hold,
            management=self._mirror.read(keys.MANAGEMENT, ManagementSpec) or ManagementSpec(nodes=()),
            reports=all_said(self._mirror, keys.REPORTS, NodeReport),
            offsets_s=self._clocks.offsets_s(view.nodes),
            fence_tests=dict(self._fences.results),
            members=self._members.members,
            latency_s=latency[0] if latency else None,
            deliveries=self._deliveries(),
        )

    def _deliveries(self) -> dict[str, Delivery]:
        known = all_said(self._mirror, keys.DELIVERIES, Delivery)
        return {name: state for name, state in known.items() if self._mirror.revision_of(keys.receiver(name))}

    # --- writing --------------------------------------------------------------------------------------------------------

    async def _write(self, changed: list[Alarm], alarms: dict[str, Alarm], revisions: Mapping[str, int]) -> None:
        """If somebody has acknowledged one of them meanwhile nothing is written: the next look decides anew."""
        compare = [Compare(keys.alarm(one.id), revisions.get(one.id, 0)) for one in changed]
        ops: list[Op] = [Put(keys.alarm(alarm.id), encode(alarm)) for alarm in changed]
        ops += [event for alarm in changed for event in self._news(alarms.get(alarm.id), alarm)]
        result = await self._election.commit(compare, ops)
        if result.succeeded:
            for alarm in changed:
                log.info("alarm", id=alarm.id, state=str(alarm.state), severity=str(alarm.severity), text=alarm.text)
            await self._caught_up(result.revision)

    def _news(self, old: Alarm | None, new: Alarm) -> list[Put]:
        """An event where receivers are told, too."""
        if old is not None and (old.number, old.change) == (new.number, new.change):
            return []
        node = new.subject.partition("/")[0] if new.kind in _OF_NODES else ""
        instance = new.subject if new.kind in _OF_INSTANCES else ""
        if new.state is AlarmState.CLEARED:
            text = f"alarm cleared: {new.text}"
            return [self._events.put("alarm-cleared", text, node=node, instance=instance)]
        severity = Severity(new.severity)
        return [self._events.put("alarm-raised", f"alarm: {new.text}", severity=severity, node=node, instance=instance)]

    async def _caught_up(self, revision: int) -> None:
        """Wait until the mirror shows it, so that the next look does not compare with the past."""
        give_up = self._clock.now() + LOOK_S
        while self._mirror.revision < revision and self._clock.now() < give_up:
            await self._clock.sleep(0.01)

    async def _forget(self, old: dict[str, int], view: View) -> None:
        """Alarms that were over long ago (key → revision), and what nodes said that are none any more."""
        for key in self._mirror.keys_below(keys.REPORTS):
            if keys.last_part(key) not in view.nodes:
                old[key] = self._mirror.revision_of(key)
        some = list(old.items())[:AT_ONCE]
        if some:
            await self._election.commit(
                [Compare(key, revision) for key, revision in some], [Delete(key) for key, _ in some]
            )

    async def _publish(self, facts: Facts, now: float) -> None:
        latency = self._store.latency_s() or (0.0, 0.0)
        health = ManagerHealth(
            self._node,
            self._election.term,
            round(latency[0], 3),
            round(latency[1], 3),
            facts.members or (),
            dict(facts.fence_tests),
            dict(facts.offsets_s),
        )
        if health != self._health and now - self._health_at >= HEALTH_S:
            self._health_at = now
            if (await self._election.commit([], [Put(keys.MANAGER_HEALTH, encode(health))])).succeeded:
                self._health = health


_OF_NODES = {
    AlarmKind.NODE_SUSPECT,
    AlarmKind.NODE_DEAD,
    AlarmKind.NODE_QUARANTINED,
    AlarmKind.NETWORK_LOST,
    AlarmKind.WATCHDOG_MISSING,
    AlarmKind.FENCE_TEST_FAILED,
    AlarmKind.CLOCK_SKEW,
}
_OF_INSTANCES = {AlarmKind.INSTANCE_WAITING, AlarmKind.INSTANCE_FAILED}
