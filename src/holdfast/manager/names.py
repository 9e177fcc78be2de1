"""What the leading manager publishes in DNS: the record that the name servers answer from, and updates of other servers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from holdfast.core.dns_model import DnsRecords, UpdateState, UpdateTarget, Zone
from holdfast.core.dns_records import Candidate, candidates, changed, names_for, names_of, next_serial, served
from holdfast.core.model import ManagementSpec
from holdfast.core.view import View
from holdfast.errors import HoldfastError, StoreError
from holdfast.manager.commit import EventLog
from holdfast.manager.election import Election, LostLeadership
from holdfast.ports import Clock, Compare, Delete, Op, Put
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.manager")

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0
"""Pauses between attempts to update a server are doubled up to this."""
AGAIN_S = 300.0
"""A server is brought to the published state this often even if nothing changed: somebody else may have changed it."""


@dataclass(frozen=True, slots=True)
class Job:
    """Bring a target to what these records say."""

    target: UpdateTarget
    records: DnsRecords
    forget: frozenset[str]
    """Names that may be there and are published no more."""


Push = Callable[[Job], Awaitable[None]]
"""Does a job. Raises HoldfastError."""


class NameDesk:
    """Publishes while its manager leads: all it writes compares the term."""

    def __init__(self, mirror: Mirror, clock: Clock, election: Election, push: Push | None = None) -> None:
        """`push`: updates other servers; None: nobody does."""
        self._mirror = mirror
        self._clock = clock
        self._election = election
        self._push = push
        self._begun = False
        self.behind = False
        """What is published is not what should be: try again soon."""
        self._pushers: dict[str, _Pusher] = {}

    def begin_term(self, events: EventLog) -> None:
        """The first record of a term gets a new serial in any case: the store may have been restored from a backup."""
        self.stop()
        self._events = events
        self._begun = False

    def stop(self) -> None:
        for pusher in self._pushers.values():
            pusher.stop()
        self._pushers.clear()

    async def publish(self, view: View, now: float) -> int:
        """Write what is to be published if that is new. The revision of the write, 0 if there was none. Raises
        LostLeadership and StoreError."""
        zones = self._mirror.all(keys.DNS_ZONES, Zone)
        targets = self._mirror.all(keys.DNS_TARGETS, UpdateTarget)
        known = self._mirror.read(keys.DNS_RECORDS, DnsRecords)
        if not view.settled or (not zones and not targets and known is None):
            return 0  # before it has heard the observers it would publish what its predecessor has withdrawn
        records: DnsRecords | None = None
        ops: list[Op] = [Delete(keys.DNS_RECORDS)]
        if zones or targets:
            records, ops = self._records(view, now, zones, known)
        self.behind = bool(ops)
        revision = await self._write(ops) if ops else 0
        if self.behind and not revision:
            return 0
        self.behind, self._begun = False, True
        self._keep_pushers(targets, records)
        return revision

    def _records(
        self, view: View, now: float, zones: Mapping[str, Zone], known: DnsRecords | None
    ) -> tuple[DnsRecords, list[Op]]:
        """What is to be published, and the writes for that: none if it is published already."""
        management = self._mirror.read(keys.MANAGEMENT, ManagementSpec) or ManagementSpec(())
        found = candidates(view, now)
        names = names_of(found)
        books = served(zones.values(), management.nodes, {name: node.spec for name, node in view.nodes.items()})
        if known is not None and self._begun and not changed(known, names, books):
            return known, []
        wall = self._clock.wall()
        last = known.serial if known is not None else 0
        records = DnsRecords(names, next_serial(last, int(datetime.fromisoformat(wall).timestamp())), wall, books)
        news = [self._events.put("dns-changed", text) for text in _news(known, found, names)]
        return records, [Put(keys.DNS_RECORDS, encode(records)), *news]

    async def _write(self, ops: list[Op]) -> int:
        compare = [Compare(keys.DNS_RECORDS, self._mirror.revision_of(keys.DNS_RECORDS))]
        result = await self._election.commit(compare, ops)
        return result.revision if result.succeeded else 0

    # --- updates of other servers --------------------------------------------------------------------------------------

    def _keep_pushers(self, targets: Mapping[str, UpdateTarget], records: DnsRecords | None) -> None:
        for name in [name for name, pusher in self._pushers.items() if targets.get(name) != pusher.target]:
            self._pushers.pop(name).stop()
        if records is None or self._push is None:
            return
        for name, target in targets.items():
            if name not in self._pushers:
                self._pushers[name] = _Pusher(target, self._mirror, self._clock, self._election, self._push)
            self._pushers[name].want(records)


class _Pusher:
    """Keeps one target up to date during one term."""

    def __init__(self, target: UpdateTarget, mirror: Mirror, clock: Clock, election: Election, push: Push) -> None:
        self.target = target
        self._mirror = mirror
        self._clock = clock
        self._election = election
        self._push = push
        self._wanted: DnsRecords | None = None
        self._news = asyncio.Event()
        self._state = mirror.read(keys.dns_state(target.name), UpdateState) or UpdateState()
        self._task = asyncio.create_task(self._run())

    def want(self, records: DnsRecords) -> None:
        if records != self._wanted:
            self._wanted = records
            self._news.set()

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._news.clear()
            wait_s = AGAIN_S
            if self._wanted is not None:
                try:
                    await self._bring_to(self._wanted)
                    retry_s = FIRST_RETRY_S
                except LostLeadership:
                    return
                except HoldfastError as error:
                    await self._failed(error)
                    wait_s, retry_s = retry_s, min(LAST_RETRY_S, retry_s * 2)
            try:
                async with self._clock.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _bring_to(self, records: DnsRecords) -> None:
        """What may be there afterwards is written down before: whoever leads next must know what to take away."""
        names = frozenset(names_for(self.target, records.names))
        everything = names | set(self._state.names)
        await self._say(replace(self._state, names=tuple(sorted(everything))))
        await self._push(Job(self.target, records, everything - names))
        said = UpdateState(records.serial, tuple(sorted(names)))
        await self._say(said)

    async def _failed(self, error: HoldfastError) -> None:
        if str(error) != self._state.error:
            log.warning("update target not updated", target=self.target.name, error=str(error))
        try:
            await self._say(replace(self._state, error=str(error)))
        except (StoreError, LostLeadership) as lost:
            log.info("update state not written", target=self.target.name, error=str(lost))

    async def _say(self, state: UpdateState) -> None:
        if replace(state, at="") == replace(self._state, at=""):
            return
        state = replace(state, at=self._clock.wall())
        alive = Compare(keys.dns_target(self.target.name), self._mirror.revision_of(keys.dns_target(self.target.name)))
        result = await self._election.commit([alive], [Put(keys.dns_state(self.target.name), encode(state))])
        if result.succeeded:
            self._state = state


def _news(known: DnsRecords | None, found: Sequence[Candidate], names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A sentence for each name whose addresses have changed."""
    before = known.names if known is not None else {}
    said = []
    for name in sorted({*before, *names}):
        old, new = set(before.get(name, ())), set(names.get(name, ()))
        why = {one.address: one.why for one in found if one.name == name}
        parts = [f"{address} out ({why.get(address, 'it is gone')})" for address in sorted(old - new)]
        parts += [f"{address} in ({why[address]})" for address in sorted(new - old)]
        if parts:
            said.append(f"{name}: {', '.join(parts)}")
    return said
