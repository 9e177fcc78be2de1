"""From the store's mirror and the observers' reports to the View that `decide` takes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    DeathConfirmation,
    Fence,
    InstanceSpec,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    Placement,
    ServiceSpec,
)
from holdfast.core.observers import MANAGEMENT, Suspicion
from holdfast.core.policy import BringBack, HaPause, InstanceLock, Maintenance, NodeHealth, RuleSpec
from holdfast.core.timing import Timing, profile
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View, is_member
from holdfast.manager.reports import Detector
from holdfast.ports import Change, Clock
from holdfast.store import keys
from holdfast.store.mirror import Mirror

T = TypeVar("T")

UNREAD = (keys.EVENTS, keys.INCIDENTS, keys.SESSIONS, keys.USERS)
"""No decision depends on what is below these."""


def _is_beat(key: str) -> bool:
    return key.startswith(keys.NODES) and key.endswith("/beat")


def _standing(beat: Beat) -> tuple[object, ...]:
    """What a beat says, without what changes each time."""
    return (
        beat.session, beat.boot_id, beat.machine_id, beat.fence_epoch, beat.phase, beat.watchdog, beat.cpu, beat.memory_mib,
        beat.leaving, beat.paused,
    )  # fmt: skip


class Observations:
    """What one manager knows. `begin_term` forgets everything whose age matters (proof P4 counts from this term)."""

    def __init__(self, mirror: Mirror, clock: Clock, detector: Detector) -> None:
        self._mirror = mirror
        self._clock = clock
        self._detector = detector
        self._domains: dict[str, str] | None = None
        self._missed: frozenset[str] = frozenset()
        self._standing: dict[str, tuple[object, ...]] = {}
        """Node → its last beat, without what changes each time."""
        self._beat_seen: dict[str, tuple[int, float]] = {}
        self._beat_arrived: dict[str, float] = {}
        self._was_down: dict[str, int] = {}
        """Node → mod_revision of its beat when it was last down."""
        self._up_since: dict[str, float] = {}
        self._term = 0
        self._term_since = clock.now()
        self._unhealthy: dict[str, float] = {}
        self._placement_seen: dict[str, tuple[int, float]] = {}
        mirror.on_change(self._changed)
        mirror.on_resync(self._resynced)

    def begin_term(self, term: int = 0) -> None:
        """A new term, or (0) a gap in which this manager was blind: ages count from now."""
        if term:
            self._term, self._term_since = term, self._clock.now()
        self._beat_seen.clear()
        self._up_since.clear()
        self._unhealthy.clear()
        self._placement_seen.clear()

    def cluster(self) -> ClusterSpec | None:
        return self.read(keys.CLUSTER, ClusterSpec)

    def timing(self) -> Timing:
        cluster = self.cluster()
        return profile(cluster.profile if cluster else "default")

    def suspicion(self, node: str, network: str = MANAGEMENT) -> Suspicion | None:
        """Whether a majority of the node's live observers misses it on this network."""
        return self._detector.suspicion(node, network, self._members())

    def management_address(self, node: str) -> str:
        """ "" for an unknown node."""
        spec = self.read(keys.node_spec(node), NodeSpec)
        return spec.addresses[MANAGEMENT] if spec else ""

    def beat_revision(self, node: str) -> int:
        """mod_revision of the node's last beat, as far as the watch delivered it."""
        return self._revision(keys.beat(node))

    def gone(self, node: str) -> bool:
        """The node was released, or claimed and has not joined again."""
        _, beat, fence = self._records(node)
        if beat is None or fence is None:
            return False
        return beat.phase is BeatPhase.RELEASED or beat.fence_epoch < fence.epoch

    def view(self, power: Mapping[str, PowerEvidence], power_running: frozenset[str]) -> View:
        """Everything for one decision."""
        now = self._clock.now()
        timing = self.timing()
        nodes = {}
        self._missed = self._detector.missed(self._members())
        for entry in self._mirror.below(keys.NODE_SPECS):
            node = self._node(keys.last_part(entry.key), power, power_running, now)
            if node is not None:
                nodes[node.id] = self._with_age(node, timing, now)
                self._remember_down(node, timing, now)
        instances = {}
        for entry in self._mirror.below(keys.INSTANCES):
            instance = self._instance(entry.key, now)
            instances[instance.id] = instance
        return View(
            timing,
            self._mirror.revision,
            nodes,
            instances,
            self._detector.settled,
            pause=self.read(keys.PAUSE, HaPause),
            term=self._term,
            term_since=self._term_since,
            rules=self._rules(),
        )

    def _rules(self) -> tuple[RuleSpec, ...]:
        read = (self.read(entry.key, RuleSpec) for entry in self._mirror.below(keys.RULES))
        return tuple(sorted((rule for rule in read if rule is not None), key=lambda rule: rule.id))

    def read(self, key: str, kind: type[T]) -> T | None:
        """Decoded value of a key."""
        return self._mirror.read(key, kind)

    def _revision(self, key: str) -> int:
        entry = self._mirror.entries.get(key)
        return entry.mod_revision if entry else 0

    def notable(self, change: Change) -> bool:
        """Can this change alter a decision? A beat that says nothing new of a node that nobody missed cannot."""
        key = change.key
        if key in (keys.MANAGER_ALIVE, keys.MANAGER_VIEW) or key.startswith(UNREAD):
            return False
        if not _is_beat(key):
            return True
        node = keys.node_of(key)
        beat = self.read(key, Beat)
        standing = _standing(beat) if beat else ()
        if self._standing.get(node) == standing:
            return node in self._was_down
        self._standing[node], self._domains = standing, None
        return True

    def _changed(self, change: Change) -> None:
        if _is_beat(change.key) and change.entry is not None and self._mirror.ready.is_set():
            node = keys.node_of(change.key)
            self._beat_arrived[node] = self._clock.now()
            self._beat_seen[node] = (change.entry.mod_revision, self._clock.now())
        elif not _is_beat(change.key) and change.key.startswith((keys.NODES, keys.NODE_SPECS)):
            self._domains = None

    def _resynced(self) -> None:
        self._domains = None
        self._standing.clear()

    def _members(self) -> dict[str, str]:
        """Members and their failure domains: the candidates for observers."""
        if self._domains is None:
            self._domains = {}
            for entry in self._mirror.below(keys.NODE_SPECS):
                name = keys.last_part(entry.key)
                spec, beat, fence = self._records(name)
                if spec and is_member(beat, fence):
                    self._domains[name] = spec.failure_domain
        return self._domains

    def _records(self, name: str) -> tuple[NodeSpec | None, Beat | None, Fence | None]:
        return (
            self.read(keys.node_spec(name), NodeSpec),
            self.read(keys.beat(name), Beat),
            self.read(keys.fence(name), Fence),
        )

    def _node(
        self, name: str, power: Mapping[str, PowerEvidence], power_running: frozenset[str], now: float
    ) -> NodeView | None:
        spec, beat, fence = self._records(name)
        if spec is None or fence is None:
            return None
        revision = self._revision(keys.beat(name))
        seen = self._beat_seen.get(name)
        if seen is None or seen[0] != revision:
            seen = self._beat_seen[name] = (revision, now)
        others = [net for net in spec.addresses if net != MANAGEMENT]
        missed = self.suspicion(name)
        return NodeView(
            spec=spec,
            fence=fence,
            fence_revision=self._revision(keys.fence(name)),
            beat=beat,
            beat_revision=revision,
            beat_seen_at=seen[1],
            beat_arrived_at=self._beat_arrived.get(name, float("-inf")),
            suspicion=missed,
            missed=name in self._missed,
            lost_networks=() if missed else tuple(net for net in others if self.suspicion(name, net)),
            power=power.get(name),
            power_running=name in power_running,
            confirmation=self.read(keys.death_confirmation(name), DeathConfirmation),
            was_down=name in self._was_down,
            up_since=self._up_since.get(name, float("-inf")),
            maintenance=self.read(keys.maintenance(name), Maintenance),
            maintenance_revision=self._revision(keys.maintenance(name)),
            bring_back=self.read(keys.bring_back(name), BringBack),
            bring_back_revision=self._revision(keys.bring_back(name)),
            health=self.read(keys.health(name), NodeHealth),
            health_revision=self._revision(keys.health(name)),
        )

    def _with_age(self, node: NodeView, timing: Timing, now: float) -> NodeView:
        """Since when it has been up without a break, as far as this term has seen."""
        if not node.up(timing, now):
            self._up_since.pop(node.id, None)
        elif node.id not in self._up_since:
            self._up_since[node.id] = now
            return replace(node, up_since=now)
        return node

    def _remember_down(self, node: NodeView, timing: Timing, now: float) -> None:
        """Datagrams alone do not end it: those of the next boot come before its first beat, which is the proof P2."""
        if node.down(timing, now):
            self._was_down[node.id] = node.beat_revision
        elif node.up(timing, now) and self._was_down.get(node.id) != node.beat_revision:
            self._was_down.pop(node.id, None)

    def _status(self, instance: str, placement: Placement | None) -> InstanceStatus | None:
        """What the agent said, if it is the word of its present run: an earlier one says nothing about now."""
        status = self.read(keys.status(instance), InstanceStatus)
        beat = self.read(keys.beat(placement.node), Beat) if placement else None
        return status if status and beat and status.session == beat.session else None

    def _placed_at(self, instance: str, now: float) -> float:
        revision = self._revision(keys.placement(instance))
        seen = self._placement_seen.get(instance)
        if seen is None or seen[0] != revision:
            seen = self._placement_seen[instance] = (revision, now)
        return seen[1]

    def _instance(self, key: str, now: float) -> InstanceView:
        spec = self.read(key, InstanceSpec)
        assert spec is not None
        service = self.read(keys.service(spec.kind, spec.service), ServiceSpec)
        placement = self.read(keys.placement(spec.id), Placement)
        instance = InstanceView(
            spec=spec,
            spec_revision=self._revision(key),
            deleting=bool(service and service.config.get("deleting")),
            placement=placement,
            placement_revision=self._revision(keys.placement(spec.id)),
            status=self._status(spec.id, placement),
            move=self.read(keys.move(spec.id), MoveRequest),
            move_revision=self._revision(keys.move(spec.id)),
            status_revision=self._revision(keys.status(spec.id)),
            placed_at=self._placed_at(spec.id, now),
            lock=self.read(keys.lock(spec.id), InstanceLock),
        )
        status = instance.status
        # Without a detail it only has not been checked yet.
        if instance.running() and status is not None and not status.healthy and status.detail:
            return replace(instance, unhealthy_since=self._unhealthy.setdefault(spec.id, now))
        self._unhealthy.pop(spec.id, None)
        return instance
