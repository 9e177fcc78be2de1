"""Drills: begun by an operator, made by one panel process, told in the store while they go on."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.operations.drill_checks import Means, Scope
from holdfast.api.operations.drill_failover import FailOver, refuse
from holdfast.api.operations.drill_sections import SECTIONS
from holdfast.api.operations.terms import ORDINARY
from holdfast.core.drill import Drill, DrillCheck, DrillState, DrillStep, Grade
from holdfast.errors import Conflict, HoldfastError, InvalidInput, StoreError
from holdfast.ports import Compare, Delete, Op, Put, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.view import Source

_log = structlog.get_logger("holdfast.panel")

KEPT = 20
"""Drills that are remembered."""
LEASE_S = 15
"""A process that says nothing for so long has ended, and its drill with it."""
RENEW_S = 4.0
CANCEL_LOOK_S = 0.3


def listed(source: Source) -> list[Drill]:
    """Newest first. What its process did not bring to an end is called so."""
    made = source.read(keys.DRILLING, str) or ""
    found = [source.read(key, Drill) for key in source.keys_below(keys.DRILLS)]
    return [_as_it_is(drill, made) for drill in reversed(found) if drill is not None]


def show(source: Source, drill_id: str) -> Drill:
    """`last` is the newest. Raises NotFound."""
    drills = listed(source)
    if drill_id == "last" and drills:
        return drills[0]
    for drill in drills:
        if drill.id == drill_id:
            return drill
    raise checks.not_found("drill", drill_id, [drill.id for drill in drills])


def _as_it_is(drill: Drill, made: str) -> Drill:
    if drill.state is DrillState.RUNNING and made != drill.id:
        return replace(drill, state=DrillState.INTERRUPTED, doing="")
    return drill


async def cancel(store: Store, actor: Actor, drill_id: str) -> Outcome:
    """The drill ends soon. What it has moved stays where it is then."""

    async def operation(draft: Draft) -> str:
        drill = await draft.read(keys.drill(drill_id), Drill)
        if drill is None:
            raise checks.not_found("drill", drill_id, ())
        if drill.state.over:
            raise Conflict(f"the drill {drill_id} is over already", "There is nothing to cancel.")
        draft.put(keys.drill(drill_id), replace(drill, cancel=True))
        return f"the drill {drill_id} is cancelled"

    return await transact(store, actor, operation)


@dataclass
class Drills:
    """What this process makes: at most one, and one in the whole cluster."""

    means: Means
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def begin(self, actor: Actor, *, nodes: Sequence[str] = (), instance: str = "", kill: bool = False) -> Drill:
        """Raises Conflict (another one is being made, or the instance may not fail over now), NotFound, InvalidInput."""
        if kill and not instance:
            raise InvalidInput("no instance is named whose process is to be ended", "Name it with --instance.")
        status = self.means.status()
        if instance:
            view = status.instance(instance)
            if view is None:
                raise checks.not_found("instance", instance, [one.id for one in status.instances])
            refuse(status, view, kill=kill)
        wall = self.means.clock.wall()
        drill_id = f"{wall[:19].replace('-', '').replace(':', '')}-{secrets.token_hex(2)}".lower()
        total = len(SECTIONS) + bool(instance)
        drill = Drill(
            drill_id, wall, actor.name, self.means.node, nodes=tuple(nodes), instance=instance, kill=kill, total=total
        )
        lease = await self._occupy(drill_id)
        try:
            outcome = await self._write_first(actor, drill)
        except BaseException:
            await self.means.store.revoke(lease)
            raise
        if outcome.revision == 0:  # a trial
            await self.means.store.revoke(lease)
            return drill
        making = _Making(self.means, Scope(drill.id, lease, drill.nodes), replace(actor, terms=ORDINARY), drill)
        self._task = asyncio.create_task(making.run())
        await self.means.seen(outcome.revision)
        return drill

    async def _occupy(self, drill_id: str) -> int:
        lease = await self.means.store.lease(LEASE_S)
        put = Put(keys.DRILLING, encode(drill_id), lease)
        result = await self.means.store.txn([Compare(keys.DRILLING, 0)], [put])
        if not result.succeeded:
            await self.means.store.revoke(lease)
            raise Conflict("another drill is being made", "Wait for it, or cancel it: holdfast drill show last.")
        return lease

    async def _write_first(self, actor: Actor, drill: Drill) -> Outcome:
        async def operation(draft: Draft) -> str:
            checks.nodes(draft, drill.nodes)
            old = [(e.key, decode(e.value, Drill, e.key)) for e in (await draft.store.list(keys.DRILLS)).entries]
            for number, (key, former) in enumerate(sorted(old, reverse=True)):
                await draft.fetch(key)
                if number >= KEPT - 1:
                    draft.delete(key)
                elif not former.state.over:
                    draft.put(key, _as_it_is(former, ""))
            await draft.fetch(keys.drill(drill.id))
            draft.put(keys.drill(drill.id), drill)
            what = f" with a fail-over of {drill.instance}" if drill.instance else ""
            return f"a drill{what} begins"

        return await transact(self.means.store, actor, operation)

    async def close(self) -> None:
        """The process ends: so does its drill, and says so if it still can."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


@dataclass
class _Making:
    """One drill while it is made."""

    means: Means
    scope: Scope
    actor: Actor
    drill: Drill
    _told_last: Drill | None = field(default=None, init=False)

    async def run(self) -> None:
        began = self.means.clock.now()
        keeping = asyncio.create_task(self._keep())
        state, why = DrillState.INTERRUPTED, ""
        try:
            state = await self._look()
        except asyncio.CancelledError:
            why = "the panel process that made it was stopped"
            raise
        except HoldfastError as error:
            why = f"{error.message}. {error.advice}".strip()
            _log.warning("drill-interrupted", drill=self.drill.id, error=str(error))
        except Exception:
            why = "Holdfast made a mistake; see panel.log"
            _log.exception("drill-failed", drill=self.drill.id)
        finally:
            keeping.cancel()
            self.drill = replace(self.drill, state=state, doing=why, elapsed_s=self.means.clock.now() - began)
            with contextlib.suppress(StoreError):
                await self._write(Delete(keys.DRILLING))
                await self.means.store.revoke(self.scope.lease)

    async def _keep(self) -> None:
        """The lease is what tells others that this process lives."""
        while True:
            await self.means.clock.sleep(RENEW_S)
            with contextlib.suppress(StoreError):
                await self.means.store.keep_alive(self.scope.lease)

    async def _look(self) -> DrillState:
        for section, look in SECTIONS.items():
            if not await self._part(section, lambda look=look: look(self.means, self.scope)):  # type: ignore[misc]
                return DrillState.CANCELLED
        if self.drill.instance and not await self._part("failover", self._fail_over):
            return DrillState.CANCELLED
        return DrillState.DONE

    async def _part(self, section: str, look: Callable[[], Awaitable[list[DrillCheck]]]) -> bool:
        """False: it was cancelled meanwhile."""
        self.drill = replace(self.drill, doing=section)
        await self._write()
        working = asyncio.ensure_future(look())
        try:
            while not working.done():
                await asyncio.wait([working], timeout=CANCEL_LOOK_S)
                if self._cancelled():
                    return False
                if self.drill != self._told_last:
                    await self._write()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        try:
            found = working.result()
        except StoreError:
            raise
        except HoldfastError as error:
            found = [DrillCheck(section, "", Grade.FAILED, error.message, error.advice)]
        self.drill = replace(self.drill, checks=(*self.drill.checks, *found), done=self.drill.done + 1)
        return True

    async def _fail_over(self) -> list[DrillCheck]:
        status = self.means.status()
        view = status.instance(self.drill.instance)
        if view is None:
            raise Conflict(f"`{self.drill.instance}` was deleted meanwhile", "Choose another one.")
        refuse(status, view, kill=self.drill.kill)  # again: it is later now
        failing = FailOver(self.means, self.scope, self.actor, self.drill.instance, self._told)
        found = await (failing.kill() if self.drill.kill else failing.move_away_and_back())
        self._told("", tuple(failing.steps))
        return found

    def _told(self, doing: str, steps: tuple[DrillStep, ...]) -> None:
        self.drill = replace(self.drill, doing=f"waiting for {doing}" if doing else "", steps=steps)

    def _cancelled(self) -> bool:
        known = self.means.source().read(keys.drill(self.drill.id), Drill)
        return known is not None and known.cancel

    async def _write(self, *besides: Op) -> None:
        """How far it is. An operator's wish to cancel it is never overwritten."""
        key, self._told_last = keys.drill(self.drill.id), self.drill
        for _ in range(5):
            entry = await self.means.store.get(key)
            if entry is None:
                return
            known = decode(entry.value, Drill, key)
            new = replace(self.drill, cancel=known.cancel)
            result = await self.means.store.txn([Compare(key, entry.mod_revision)], [Put(key, encode(new)), *besides])
            if result.succeeded:
                return
