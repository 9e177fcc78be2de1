"""What the store says, followed commit by commit: events for people, and the records that the checks need."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.core.history import Event, Incident
from holdfast.core.model import Beat, Fence, Goal, InstanceSpec, InstanceState, InstanceStatus, NodeSpec, Placement
from holdfast.core.policy import HaPause, NodeHealth, RuleSpec
from holdfast.manager.election import Alive, Term
from holdfast.ports import Change, Entry
from holdfast.store import keys
from holdfast.store.codec import decode

if TYPE_CHECKING:
    from holdfast.sim.world import World

T = TypeVar("T")


class History:
    """A decoded copy of the records the checks look at; hands each change of one to them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.instances: dict[str, InstanceSpec] = {}
        self.placements: dict[str, Placement] = {}
        self.fences: dict[str, Fence] = {}
        self.beats: dict[str, Beat] = {}
        self.nodes: dict[str, NodeSpec] = {}
        self.rules: dict[str, RuleSpec] = {}
        self.claims: dict[str, list[str]] = {}
        """Node → proofs of its claims, in order."""
        self.paused = False
        self.quarantined: set[str] = set()
        self._recovered: set[tuple[str, str]] = set()

    def fence_epoch(self, node: str) -> int:
        fence = self.fences.get(node)
        return fence.epoch if fence else 1

    def committed(self, changes: tuple[Change, ...]) -> bool:
        """One transaction of anybody took effect. True if it says anything besides `I am still here`."""
        news = False
        for change in changes:
            news = self._follow(change) or news
        return news

    def reload(self, entries: Iterable[Entry]) -> None:
        """The store was restored: begin anew with what is in it, without telling any of it."""
        readers: dict[str, tuple[dict[str, Any], type[Any]]] = {
            keys.INSTANCES: (self.instances, InstanceSpec),
            keys.PLACEMENTS: (self.placements, Placement),
            keys.NODE_SPECS: (self.nodes, NodeSpec),
            keys.RULES: (self.rules, RuleSpec),
        }
        for records in (*(records for records, _ in readers.values()), self.fences, self.beats):
            records.clear()
        self.paused = False
        self.quarantined.clear()
        for entry in entries:
            if entry.key == keys.PAUSE:
                self.paused = True
            if entry.key.startswith(keys.NODES) and entry.key.endswith("/health"):
                health = decode(entry.value, NodeHealth, entry.key)
                self.quarantined |= {keys.node_of(entry.key)} if health.quarantined else set()
            for prefix, (records, kind) in readers.items():
                if entry.key.startswith(prefix):
                    records[entry.key.removeprefix(prefix)] = decode(entry.value, kind, entry.key)
            if entry.key.startswith(keys.NODES) and entry.key.endswith("/fence"):
                self.fences[keys.node_of(entry.key)] = decode(entry.value, Fence, entry.key)
            if entry.key.startswith(keys.NODES) and entry.key.endswith("/beat"):
                self.beats[keys.node_of(entry.key)] = decode(entry.value, Beat, entry.key)
        self._world.hearing.members_changed()
        self._world.log.touch()

    def _follow(self, change: Change) -> bool:
        key = change.key
        if key == keys.MANAGER_ALIVE:
            self._world.premises.manager_lives(_read(change, Alive))
            return False
        if key.startswith(keys.NODES) and key.endswith("/beat"):
            return self._beat(keys.node_of(key), _read(change, Beat))
        self._world.log.touch()
        if key.startswith((keys.NODES, keys.NODE_SPECS)):
            self._world.hearing.members_changed()
        if key.startswith(keys.NODES):
            self._node(change)
        elif key.startswith(keys.PLACEMENTS):
            self._placement(key.removeprefix(keys.PLACEMENTS), _read(change, Placement))
        elif key.startswith(keys.EVENTS):
            self._event(_read(change, Event))
        elif key.startswith(keys.INCIDENTS):
            self._incident(_read(change, Incident))
        elif key.startswith(keys.INSTANCES):
            _keep(self.instances, key.removeprefix(keys.INSTANCES), _read(change, InstanceSpec))
        elif key.startswith(keys.NODE_SPECS):
            _keep(self.nodes, keys.last_part(key), _read(change, NodeSpec))
        elif key.startswith(keys.RULES):
            _keep(self.rules, keys.last_part(key), _read(change, RuleSpec))
        elif key == keys.MANAGER_TERM:
            self._world.premises.leads(_read(change, Term))
        elif key == keys.PAUSE:
            pause = _read(change, HaPause)
            self.paused = pause is not None
            self._world.log.say("paused" if pause else "resumed", pause.mode.value if pause else "")
        return True

    def _beat(self, node: str, beat: Beat | None) -> bool:
        """Only a beat that says something new is an occurrence."""
        old = self.beats.get(node)
        news = old is None or beat is None or _said(old) != _said(beat)
        if news:
            self._world.log.touch()
            self._world.hearing.members_changed()
        _keep(self.beats, node, beat)
        if beat is not None:
            self._world.premises.beaten(node, beat)
        return news

    def _node(self, change: Change) -> None:
        node = keys.node_of(change.key)
        if change.key == keys.health(node):
            health = _read(change, NodeHealth)
            (self.quarantined.add if health and health.quarantined else self.quarantined.discard)(node)
        elif change.key == keys.fence(node):
            fence, old = _read(change, Fence), self.fences.get(node)
            _keep(self.fences, node, fence)
            if fence is not None and fence.proof is not None:
                proof = fence.proof.value
                self.claims.setdefault(node, []).append(proof)
                self._world.log.say("node-proven-dead", proof, node=node)
                self._world.log.say("node-claimed", proof, node=node)
                self._world.checks.claimed(node, old, fence)

    def _placement(self, instance: str, placement: Placement | None) -> None:
        old = self.placements.get(instance)
        _keep(self.placements, instance, placement)
        if placement is not None and placement != old:
            self._world.checks.placed(instance, old, placement)

    def _event(self, event: Event | None) -> None:
        if event is None or event.kind in ("node-claimed", "migrated"):
            return  # trimmed; or said already, from the records themselves and from the hardware
        self._world.log.say(event.kind, event.text, node=event.node, instance=event.instance)

    def _incident(self, incident: Incident | None) -> None:
        if incident is None:
            return
        for step in incident.steps:
            if step.name == "recovered" and (incident.id, step.instance) not in self._recovered:
                self._recovered.add((incident.id, step.instance))
                where = self._world.executors(step.instance)
                self._world.log.say("instance-recovered", step.text, node="".join(where[:1]), instance=step.instance)

    def running(self, instance: str) -> Placement | None:
        """Its placement, if it is to run there and the node was not claimed since."""
        placement = self.placements.get(instance)
        if placement is None or placement.goal is not Goal.RUN:
            return None
        return placement if self.fence_epoch(placement.node) == placement.fence_epoch else None

    def places(self, instance: str) -> frozenset[str]:
        """Where it may be, if it is to run: both ends of a live migration, until the source has handed it over."""
        placement = self.running(instance)
        if placement is None:
            return frozenset()
        if not placement.migrate_to:
            return frozenset((placement.node,))
        entry = self._world.store.cluster.get(keys.status(instance))
        word = decode(entry.value, InstanceStatus, entry.key) if entry else None
        told = word is not None and (word.node, word.epoch) == (placement.node, placement.epoch)
        gone = told and word is not None and word.state is InstanceState.MIGRATED
        return frozenset((placement.migrate_to,) if gone else (placement.node, placement.migrate_to))


def _said(beat: Beat) -> tuple[object, ...]:
    return (beat.session, beat.fence_epoch, beat.phase, beat.watchdog is None, beat.leaving, beat.paused)


def _read(change: Change, kind: type[T]) -> T | None:
    return decode(change.entry.value, kind, change.key) if change.entry is not None else None


def _keep(records: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        records.pop(name, None)
    else:
        records[name] = value
