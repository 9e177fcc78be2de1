"""The manager: observe, decide, commit, again and again while it leads; watch and stand ready while it does not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from holdfast.core.decide import decide
from holdfast.core.history import ManagerView
from holdfast.core.horizon import next_look
from holdfast.core.intents import CancelPower, Claim, Decision, FencePower, Intent, Place
from holdfast.core.model import ManagementSpec
from holdfast.core.timing import Detection
from holdfast.core.view import PowerEvidence, View
from holdfast.errors import StoreError
from holdfast.manager.alarms import AlarmDesk, Apart
from holdfast.manager.balance import Balancer
from holdfast.manager.commit import Committer, EventLog
from holdfast.manager.delivery import Send
from holdfast.manager.election import REFRESH_S, Election, LostLeadership
from holdfast.manager.guarantee import Assess, GuaranteeKeeper
from holdfast.manager.incidents import IncidentKeeper
from holdfast.manager.measures import Measures
from holdfast.manager.names import NameDesk, Push
from holdfast.manager.news import differences, fence_failures, steady
from holdfast.manager.observe import Observations
from holdfast.manager.power import PowerDesk
from holdfast.manager.reports import Detector, Reports
from holdfast.manager.room import RoomDesk, Solve
from holdfast.manager.store_watch import Look
from holdfast.ports import Clock, Compare, Delete, HealthProbe, Op, PowerFences, Put, Store
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.forward import ForwardStore
from holdfast.store.measured import MeasuredStore
from holdfast.store.mirror import WENT_BACK, Mirror
from holdfast.store.scrapers import may_scrape

T = TypeVar("T")

log = structlog.get_logger("holdfast.manager")

LOOK_S = 2.0
"""Longest pause between two decisions. Every reason to decide anew is an event or a moment that is known beforehand
(core/horizon.py); this is for the one that was forgotten."""
RETRY_S = 0.1
"""After something did not succeed it is decided anew this soon."""
MEMBERSHIP_S = 0.5
"""Pause between two steps of a change of the management nodes."""
KEPT = {keys.EVENTS: 2000, keys.AUDIT: 5000}
"""History → so many of its newest records stay."""
CATCH_UP_S = 1.0
"""How long to wait until the mirror shows what was just committed."""

Commit = Callable[[list[Compare], list[Op]], Awaitable[bool]]


class Manager:
    """One manager process. `membership_step(spec, commit)` performs at most one change of the store's members."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        node: str,
        session: str,
        devices: PowerFences,
        probes: Mapping[str, HealthProbe],
        membership_step: Callable[[ManagementSpec, Commit], Awaitable[str]] | None = None,
        detector: Detector | None = None,
        solve: Solve | None = None,
        assess: Assess | None = None,
        push: Push | None = None,
        look: Look | None = None,
        send: Send | None = None,
        apart: Apart | None = None,
    ) -> None:
        """`detector`: where suspicions come from; by default from the observers' reports (`report`). `solve`: looks for room
        when something does not fit, without holding up the event loop; None: nobody does. `assess`: computes the guarantee,
        likewise. `push`: updates other name servers. `look`: asks the store's members how they are. `send`: tells receivers
        of alarms. `apart`: judges alarms without holding up the event loop."""
        self.measures = measures = Measures(clock)
        self.measured = measured = MeasuredStore(store, clock)
        """The store's client, for figures."""
        self._store = store = ForwardStore(measured, self._store_went_back)
        self._clock = clock
        self._node = node
        self._mirror = Mirror(store, notable=lambda change: self.observations.notable(change))  # noqa: PLW0108 – made below
        self._detector = detector or Reports(clock, Detection())
        self.observations = Observations(self._mirror, clock, self._detector)
        self.election = Election(
            store, self._mirror, clock, node, session, self.observations.suspicion, self.observations.gone
        )
        self._power = PowerDesk(store, clock, devices, self.wake, self.observations.beat_revision)
        self._incidents = IncidentKeeper(self._mirror, clock, probes, self.wake)
        self._room = RoomDesk(measures.job("room", solve), self.wake)
        self._guarantee = GuaranteeKeeper(measures.job("guarantee", assess), self.wake)
        self._balancer = Balancer(measures.job("balance", assess), self.wake)
        self._names = NameDesk(self._mirror, clock, self.election, measures.job("dns-update", push))
        self._alarms = AlarmDesk(
            self._mirror,
            clock,
            self.election,
            node,
            measured,
            devices,
            look=look,
            send=measures.sending(send),
            apart=measures.job("alarms", apart),
        )
        self._membership_step = membership_step
        self._published: ManagerView | None = None
        self.leads = False
        self._distrusts = ""
        """Why nothing is decided any more by this process; empty: all is well."""
        self._mirror.on_regress(self._store_went_back)
        self._said: dict[str, str] = {}
        self._told: dict[str, PowerEvidence] = {}
        """Node → its last failed power fencing that people were told of."""

    async def run(self) -> None:
        """For ever. Cancel to stop; call `resign` then. Raises what ended the mirror (StoreRejected): deaf it is useless."""
        tasks = [asyncio.create_task(self._mirror.run()), asyncio.create_task(self._manage())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._power.stop()

    async def _manage(self) -> None:
        await self._mirror.ready.wait()
        while True:
            self._mirror.changed.clear()
            if await self.election.try_take_over():
                await self._lead()
            else:
                await self._wait(min(self.election.next_look(), self._detector.next_look()))

    async def resign(self) -> None:
        await self.election.resign()

    def stored(self, prefix: str, kind: type[T]) -> dict[str, T]:
        """What the mirror has below a prefix, by the last part of the key. Raises StoreError."""
        return self._mirror.all(prefix, kind)

    def may_scrape(self, authorization: str) -> bool:
        """Is this the header of somebody who may read this process's figures?"""
        return may_scrape(self._mirror, authorization, self._clock.wall())

    def wake(self) -> None:
        """Something happened that the store does not tell: decide anew."""
        self._mirror.changed.set()

    def report(self, observer: str, self_suspect: bool, targets: Mapping[str, Mapping[str, int]]) -> None:
        """An observer's report came in."""
        assert isinstance(self._detector, Reports), "this manager does not live on reports"
        if self._detector.take(observer, self_suspect, targets):
            self.wake()

    def _store_went_back(self) -> None:
        self._distrusts = WENT_BACK
        log.error("the store is not believed any more", reason=WENT_BACK)

    # --- leading --------------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        self._begin_term()
        self.leads = True
        helpers = [asyncio.create_task(part) for part in (self._renew(), self._change_members(), self._alarms.run())]
        try:
            await self._caught_up(self.election.term_revision)
            self._incidents.begin_term()  # now the former leader's last word on its incidents is known
            while not any(helper.done() for helper in helpers):
                await self._wait(await self._turn())
            for helper in helpers:
                if helper.done():
                    helper.result()
        except LostLeadership as lost:
            log.info("not leading any more", reason=str(lost))
        finally:
            self.leads = False
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._power.stop()
            self._room.stop()
            self._guarantee.stop()
            self._balancer.stop()
            self._names.stop()
            self._alarms.stop()

    def _begin_term(self) -> None:
        self.measures.terms += 1
        self.observations.begin_term(self.election.term)
        self._power.stop()
        self._room.stop()
        self._guarantee.stop()
        self._balancer.stop()
        self._published = None
        self._said.clear()
        self._events = EventLog(self.election.term, self._clock)
        self._committer = Committer(self.election, self._events)
        self._names.begin_term(self._events)
        self._alarms.begin_term(self._events)

    async def _turn(self) -> float:
        """One decision and what follows from it; gives when to look again. Store errors leave all to the next turn."""
        self._mirror.changed.clear()
        if self.election.blind():
            return self._clock.now() + RETRY_S
        step = self.measures.step
        with step("observe"):
            view = self.observations.view(self._power.evidence(), self._power.running)
        now = self._clock.now()
        with step("decide"):
            decision = Decision(hold=self._distrusts) if self._distrusts else decide(view, now)
        self._incidents.observe(view, decision)
        with step("commit"):
            await asyncio.gather(self._act_on(decision.intents, view), self._publish_names(view, now))
        self._switch_on(view)
        with step("publish"):
            published = await self._publish(view, decision)
        with step("plan"):  # after everything else, so that recovery never waits for it
            steps = self._room.steps(view, decision, now)
            steps = steps or self._balancer.steps(view, decision, now, incident=self._incidents.open)
            await self._act_on(steps, view)
            self._guarantee.observe(view, now)
        if decision.intents or steps or not published or self._names.behind:
            return self._clock.now() + RETRY_S
        desks = (self._room.next_look(now), self._balancer.next_look(now))
        return min(next_look(view, now), self._detector.next_look(), *desks)

    async def _act_on(self, intents: Iterable[Intent], view: View) -> None:
        """All of them at once. What the store does not take is decided anew."""
        results = await asyncio.gather(*(self._act(intent, view) for intent in intents), return_exceptions=True)
        for result in results:
            if isinstance(result, LostLeadership):
                raise result
            if isinstance(result, StoreError):
                log.warning("not committed as far as known", error=str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _act(self, intent: Intent, view: View) -> None:
        if isinstance(intent, FencePower) and intent.node == self._node:
            # Whoever switches itself off cannot claim, nor tell the next leader what it did: let another manager judge.
            await self.election.resign()
            raise LostLeadership(f"{self._node} itself is missed by a majority of its observers")
        if isinstance(intent, FencePower):
            node = view.nodes[intent.node].spec
            self._incidents.fencing(intent, ", ".join(device.name for device in node.fence_devices))
            self._power.start(node, intent.beat_revision)
        elif isinstance(intent, CancelPower):
            self._power.cancel(intent.node)
        else:
            revision = await self._committer.commit(intent, view)
            if revision:
                self._committed(intent)
                await self._caught_up(revision)

    def _committed(self, intent: Intent) -> None:
        if isinstance(intent, Claim):
            log.warning("claimed", node=intent.node, proof=str(intent.proof), why=intent.text)
            self._incidents.claimed(intent)
            self._power.cancel(intent.node)
        elif isinstance(intent, Place):
            placement = intent.placement
            log.info(
                "placed", instance=intent.instance, node=placement.node, goal=str(placement.goal), why=placement.reason
            )
            self._incidents.placed(intent)

    async def _publish_names(self, view: View, now: float) -> None:
        """Beside what is decided: a dead gateway leaves DNS at once, and no recovery waits for it."""
        try:
            revision = 0 if self._distrusts else await self._names.publish(view, now)
            if revision:
                await self._caught_up(revision)
        except StoreError as error:
            log.warning("names not published", error=str(error))

    def _switch_on(self, view: View) -> None:
        """Nodes that a manager switched off come back by themselves, if the cluster's settings want it; what was found off
        stays off."""
        cluster = self.observations.cluster()
        if cluster and cluster.dead_node_power_on and view.pause is None and not self._distrusts:
            for node in view.nodes.values():
                if node.to_switch_on:
                    self._power.power_on(node.spec, node.beat_revision)

    async def _caught_up(self, revision: int) -> None:
        """Wait until the mirror shows what was written, so that the next turn does not decide from the past."""
        give_up = self._clock.now() + CATCH_UP_S
        while self._mirror.revision < revision and self._clock.now() < give_up:
            await self._clock.sleep(0.002)

    # --- telling people ---------------------------------------------------------------------------------------------------

    async def _publish(self, view: View, decision: Decision) -> bool:
        """Manager's view, incidents, and events for what changed, in one transaction after the work is done. True if nothing
        is left to be said."""
        now = self._clock.now()
        states = {name: node.state(view.timing, now) for name, node in view.nodes.items()}
        published = ManagerView(
            self._node,
            self.election.term,
            states,
            steady(decision.notes),
            steady(decision.waiting),
            decision.hold,
            dict(decision.failed),
            {name: node.lost_networks for name, node in view.nodes.items() if node.lost_networks},
            self._guarantee.word,
        )
        self._alarms.observe(view, published)
        ops: list[Op] = [*self._incidents.puts(), *fence_failures(view, self._told, self._events)]
        if published != self._published:
            ops.append(Put(keys.MANAGER_VIEW, encode(published)))
            ops.extend(self._news(published))
        if not ops:
            return True
        try:
            if (await self.election.commit([], ops)).succeeded:
                self._published = published
                self._incidents.written()
                return True
        except StoreError as error:
            log.warning("view not published", error=str(error))
        return False

    def _news(self, new: ManagerView) -> list[Put]:
        """Of this term's first view also who leads now."""
        old, news = self._published, []
        if old is None:
            text = f"the manager on {self._node} leads (term {new.term})"
            news.append(self._events.put("manager-elected", text, node=self._node))
            try:
                old = self.observations.read(keys.MANAGER_VIEW, ManagerView)
            except StoreError as error:
                log.warning("the former leader's view cannot be read", error=str(error))
        return news + (differences(old, new, self._events) if old is not None else [])

    # --- in the background of a term --------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Sign of life; after a gap every age counts anew, so that nobody is judged by time in which we were blind."""
        renewals = 0
        while True:
            try:
                if not await self.election.renew():
                    log.warning("the store was out of reach: observations begin anew")
                    self.observations.begin_term()
                    self.wake()
                renewals += 1
                if renewals % 120 == 1:
                    await self._trim_history()
            except StoreError as error:
                log.info("leadership not renewed", error=str(error))
            await self._clock.sleep(REFRESH_S)

    async def _trim_history(self) -> None:
        for prefix, kept in KEPT.items():
            old = [entry.key for entry in self._mirror.below(prefix)][:-kept]
            while old:
                await self.election.commit([], [Delete(key) for key in old[:100]])
                old = old[100:]

    async def _change_members(self) -> None:
        """Move the store's members towards the wanted management nodes, one step at a time."""

        async def commit(compare: list[Compare], ops: list[Op]) -> bool:
            return (await self.election.commit(compare, ops)).succeeded

        while self._membership_step is not None:
            try:
                spec = self.observations.read(keys.MANAGEMENT, ManagementSpec)
                said = await self._membership_step(spec, commit) if spec else ""
            except StoreError as error:
                said = str(error)
            if said and said != self._said.get("members"):
                log.info("members", step=said)
            self._said["members"] = said
            await self._clock.sleep(MEMBERSHIP_S)
        await asyncio.Event().wait()

    async def _wait(self, until: float) -> None:
        """Until something changed, at most until then (CLOCK_BOOTTIME, seconds)."""
        try:
            async with self._clock.timeout(min(LOOK_S, max(0.001, until - self._clock.now()))):
                await self._mirror.changed.wait()
        except TimeoutError:
            pass
