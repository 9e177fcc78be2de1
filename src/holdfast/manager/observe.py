"""From the store's mirror and the observers' reports to the View that `decide` takes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

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
from holdfast.core.observers import MANAGEMENT, Report, Suspicion, observers_of, suspicion
from holdfast.core.policy import InstanceLock, RuleSpec
from holdfast.core.timing import Detection, Timing, profile
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View, is_member
from holdfast.ports import Change, Clock
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.mirror import Mirror

T = TypeVar("T")


class Observations:
    """What one manager knows. `begin_term` forgets everything whose age matters (proof P4 counts from this term)."""

    def __init__(self, mirror: Mirror, clock: Clock, detection: Detection) -> None:
        self._mirror = mirror
        self._clock = clock
        self._detection = detection
        self._reports: dict[str, Report] = {}
        self._listening_since = clock.now()
        self._decoded: dict[str, tuple[int, Any]] = {}
        self._beat_seen: dict[str, tuple[int, float]] = {}
        self._beat_arrived: dict[str, float] = {}
        self._was_down: dict[str, int] = {}
        """Node → mod_revision of its beat when it was last down."""
        self._unhealthy: dict[str, float] = {}
        self._placement_seen: dict[str, tuple[int, float]] = {}
        mirror.on_change(self._changed)

    def begin_term(self) -> None:
        """A new term, or a gap in which this manager was blind: ages count from now."""
        self._beat_seen.clear()
        self._unhealthy.clear()
        self._placement_seen.clear()

    def report(self, observer: str, self_suspect: bool, targets: Mapping[str, Mapping[str, int]]) -> None:
        """An observer's report came in."""
        self._reports[observer] = Report(self._clock.now(), self_suspect, targets)

    def cluster(self) -> ClusterSpec | None:
        return self.read(keys.CLUSTER, ClusterSpec)

    def timing(self) -> Timing:
        cluster = self.cluster()
        return profile(cluster.profile if cluster else "default")

    def suspicion(self, node: str, network: str = MANAGEMENT) -> Suspicion | None:
        """Whether a majority of the node's live observers misses it on this network."""
        now = self._clock.now()
        if now - self._listening_since < self._detection.report_valid:
            return None
        observers = observers_of(node, self._domains(), self._detection.observers)
        return suspicion(node, network, observers, self._reports, now, self._detection)

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
        for entry in self._mirror.below(keys.NODE_SPECS):
            node = self._node(keys.last_part(entry.key), power, power_running, now)
            if node is not None:
                nodes[node.id] = node
                self._remember_down(node, timing, now)
        instances = {}
        for entry in self._mirror.below(keys.INSTANCES):
            instance = self._instance(entry.key, now)
            instances[instance.id] = instance
        settled = now - self._listening_since >= self._detection.report_valid
        return View(timing, self._mirror.revision, nodes, instances, settled, rules=self._rules())

    def _rules(self) -> tuple[RuleSpec, ...]:
        read = (self.read(entry.key, RuleSpec) for entry in self._mirror.below(keys.RULES))
        return tuple(sorted((rule for rule in read if rule is not None), key=lambda rule: rule.id))

    def read(self, key: str, kind: type[T]) -> T | None:
        """Decoded value of a key, cached by its revision."""
        entry = self._mirror.entries.get(key)
        if entry is None:
            return None
        cached = self._decoded.get(key)
        if cached is None or cached[0] != entry.mod_revision:
            cached = self._decoded[key] = (entry.mod_revision, decode(entry.value, kind, key))
        return cached[1]

    def _revision(self, key: str) -> int:
        entry = self._mirror.entries.get(key)
        return entry.mod_revision if entry else 0

    def _changed(self, change: Change) -> None:
        if change.entry is None:
            self._decoded.pop(change.key, None)
        elif change.key.startswith(keys.NODES) and change.key.endswith("/beat") and self._mirror.ready.is_set():
            self._beat_arrived[keys.node_of(change.key)] = self._clock.now()

    def _domains(self) -> dict[str, str]:
        """Members and their failure domains: the candidates for observers."""
        domains = {}
        for entry in self._mirror.below(keys.NODE_SPECS):
            name = keys.last_part(entry.key)
            spec, beat, fence = self._records(name)
            if spec and is_member(beat, fence):
                domains[name] = spec.failure_domain
        return domains

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
            lost_networks=() if missed else tuple(net for net in others if self.suspicion(name, net)),
            power=power.get(name),
            power_running=name in power_running,
            confirmation=self.read(keys.death_confirmation(name), DeathConfirmation),
            was_down=name in self._was_down,
        )

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
