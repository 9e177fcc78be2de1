"""From intents to store transactions. Each compares the term and every revision that the intent rests on."""

from dataclasses import dataclass, replace

from holdfast.core.history import Event, Severity
from holdfast.core.intents import AskMove, BringHome, Claim, EndMove, Intent, KeepOff, NoteMoved, Place, Remove
from holdfast.core.model import Desired, Fence, Goal, MoveRequest
from holdfast.core.policy import BringBack
from holdfast.core.view import View
from holdfast.manager.election import Election
from holdfast.ports import Clock, Compare, Delete, Op, Put
from holdfast.store import keys
from holdfast.store.codec import encode

EVENTS_PER_TERM = 10**10
"""Event keys are term x this + a counter: unique and in order without reading anything."""


@dataclass(slots=True)
class EventLog:
    """Makes the keys of new events."""

    term: int
    clock: Clock
    _count: int = 0

    def put(
        self,
        kind: str,
        text: str,
        *,
        severity: Severity = Severity.INFO,
        node: str = "",
        instance: str = "",
        incident: str = "",
    ) -> Put:
        self._count += 1
        event = Event(kind, self.clock.wall(), text, severity, node, instance, incident)
        return Put(keys.event(self.term * EVENTS_PER_TERM + self._count), encode(event))


SEVERITIES = {"migrate-failed": Severity.WARNING, "instance-relocated": Severity.WARNING}
"""Events of placements that are more than information."""


class Committer:
    """Commits the intents that are store writes. Gives the store's revision then; 0 if the race was lost: decide anew."""

    def __init__(self, election: Election, events: EventLog) -> None:
        self._election = election
        self._events = events
        self._removed: dict[str, int] = {}
        """Instance → revision of the record that was deleted: a view may still show it."""

    async def commit(self, intent: Intent, view: View) -> int:
        """Raises LostLeadership and StoreError."""
        if isinstance(intent, Claim):
            return await self._claim(intent, view)
        if isinstance(intent, Place):
            return await self._place(intent, view)
        if isinstance(intent, EndMove):
            return await self._end_move(intent)
        if isinstance(intent, AskMove):
            return await self._ask_move(intent)
        if isinstance(intent, Remove):
            return await self._remove(intent, view)
        if isinstance(intent, KeepOff):
            return await self._keep_off(intent, view)
        if isinstance(intent, NoteMoved):
            key = keys.maintenance(intent.node)
            return await self._write([Compare(key, intent.revision)], [Put(key, encode(intent.maintenance))])
        if isinstance(intent, BringHome):
            return await self._bring_home(intent)
        raise AssertionError(f"not a store write: {intent}")

    async def _claim(self, intent: Claim, view: View) -> int:
        """Txn[term = mine and beat.mod_revision = v and fence unchanged] put(fence.epoch + 1), design section 3."""
        node = view.nodes[intent.node]
        assert node.beat is not None
        quarantined = (
            f"; it is quarantined: {intent.health.quarantined}" if intent.health and intent.health.quarantined else ""
        )
        fence = Fence(node.fence.epoch + 1, intent.proof, node.beat.session, self._election.term)
        compare = [
            Compare(keys.beat(intent.node), intent.beat_revision),
            Compare(keys.fence(intent.node), intent.fence_revision),
        ]
        ops: list[Op] = [
            Put(keys.fence(intent.node), encode(fence)),
            Delete(keys.death_confirmation(intent.node)),
            self._events.put(
                "node-claimed",
                f"{intent.node} is proven dead ({intent.proof}): {intent.text}{quarantined}",
                severity=Severity.WARNING,
                node=intent.node,
            ),
        ]
        if intent.health is not None:
            compare.append(Compare(keys.health(intent.node), intent.health_revision))
            ops.append(Put(keys.health(intent.node), encode(intent.health)))
        return await self._write(compare, ops)

    async def _bring_home(self, intent: BringHome) -> int:
        """The moves take over from the record."""
        compare = [Compare(keys.bring_back(intent.node), intent.revision)]
        compare += [Compare(keys.move(instance), 0) for instance in intent.instances]
        request = MoveRequest(intent.node, operator=f"maintenance of {intent.node}", live=True)
        ops: list[Op] = [Put(keys.move(instance), encode(request)) for instance in intent.instances]
        if intent.instances:
            text = f"the maintenance of {intent.node} is over: {', '.join(intent.instances)} return"
            ops.append(self._events.put("bring-back", text, node=intent.node))
        key = keys.bring_back(intent.node)
        ops.append(Put(key, encode(BringBack(intent.rest))) if intent.rest else Delete(key))
        return await self._write(compare, ops)

    async def _place(self, intent: Place, view: View) -> int:
        placement, instance = intent.placement, intent.instance
        compare = [
            Compare(keys.placement(instance), intent.previous_revision),
            Compare(keys.instance(instance), intent.spec_revision),
        ]
        if intent.node_fence_revision:
            compare.append(Compare(keys.fence(placement.migrate_to or placement.node), intent.node_fence_revision))
        if intent.status_revision:
            compare.append(Compare(keys.status(instance), intent.status_revision))
        runs = placement.goal is Goal.RUN
        kind = intent.event or ("instance-placed" if runs else "instance-stopping")
        ops: list[Op] = [
            Put(keys.placement(instance), encode(placement)),
            self._events.put(
                kind,
                f"{instance} {'runs' if runs else 'is to stop'} on {placement.node} ({placement.reason}), "
                f"epoch {placement.epoch}",
                severity=SEVERITIES.get(kind, Severity.INFO),
                node=placement.node,
                instance=instance,
            ),
        ]
        if intent.finishes_move:
            compare.append(Compare(keys.move(instance), view.instances[instance].move_revision))
            ops.append(Delete(keys.move(instance)))
        return await self._write(compare, ops)

    async def _end_move(self, intent: EndMove) -> int:
        event = self._events.put("move-ended", intent.why, instance=intent.instance)
        return await self._write(
            [Compare(keys.move(intent.instance), intent.move_revision)], [Delete(keys.move(intent.instance)), event]
        )

    async def _keep_off(self, intent: KeepOff, view: View) -> int:
        name = intent.instance
        spec = replace(view.instances[name].spec, desired=Desired.STOPPED)
        text = f"{name} powered itself off, and stays off until somebody starts it"
        return await self._write(
            [Compare(keys.instance(name), intent.spec_revision), Compare(keys.status(name), intent.status_revision)],
            [Put(keys.instance(name), encode(spec)), self._events.put("instance-powered-off", text, instance=name)],
        )

    async def _ask_move(self, intent: AskMove) -> int:
        """Where an operator's own wish, or a lock, came first, that counts."""
        instance, request = intent.instance, intent.request
        compare = [
            Compare(keys.placement(instance), intent.placement_revision),
            Compare(keys.instance(instance), intent.spec_revision),
            Compare(keys.move(instance), 0),
            Compare(keys.lock(instance), 0),
        ]
        text = f"{instance} is to move to {request.node} ({request.operator})"
        event = self._events.put("move-asked", text, node=request.node, instance=instance)
        return await self._write(compare, [Put(keys.move(instance), encode(request)), event])

    async def _remove(self, intent: Remove, view: View) -> int:
        spec = view.instances[intent.instance].spec
        compare = [
            Compare(keys.placement(intent.instance), intent.placement_revision),
            Compare(keys.instance(intent.instance), intent.spec_revision),
        ]
        ops: list[Op] = [
            Delete(keys.placement(intent.instance)),
            Delete(keys.status(intent.instance)),
            Delete(keys.move(intent.instance)),
            Delete(keys.instance(intent.instance)),
            self._events.put("instance-removed", f"{intent.instance} is deleted", instance=intent.instance),
        ]
        left = [
            other
            for name, other in view.instances.items()
            if (other.spec.kind, other.spec.service) == (spec.kind, spec.service)
            and name != intent.instance
            and self._removed.get(name) != other.spec_revision
        ]
        if not left:
            ops.append(Delete(keys.service(spec.kind, spec.service)))
        revision = await self._write(compare, ops)
        if revision:
            self._removed[intent.instance] = intent.spec_revision
        return revision

    async def _write(self, compare: list[Compare], ops: list[Op]) -> int:
        # A pause holds from the moment it is written, also for a manager that has not seen it yet.
        result = await self._election.commit([Compare(keys.PAUSE, 0), *compare], ops)
        return result.revision if result.succeeded else 0
