"""From the store's mirror and the observers' reports to the View that `decide` takes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from holdfast.core.model import Beat, BeatPhase, ClusterSpec, Fence, NodeSpec
from holdfast.core.observers import MANAGEMENT, Suspicion
from holdfast.core.timing import Timing
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View, is_member
from holdfast.manager.reports import Detector
from holdfast.ports import Change, Clock
from holdfast.store import keys
from holdfast.store.mirror import Mirror
from holdfast.store.view import instance_view, node_view, said, timing_of, view_of

T = TypeVar("T")

UNREAD = (
    keys.EVENTS, keys.INCIDENTS, keys.SESSIONS, keys.USERS, keys.DNS, keys.ALARMS, keys.RECEIVERS, keys.DELIVERIES,
    keys.REPORTS, keys.TOKENS, keys.TOKEN_USES, keys.LOGIN_FAILURES, keys.AUDIT, keys.ANSWERS,
)  # fmt: skip
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
        return timing_of(self._mirror)

    def suspicion(self, node: str, network: str = MANAGEMENT) -> Suspicion | None:
        """Whether a majority of the node's live observers misses it on this network."""
        return self._detector.suspicion(node, network, self._members())

    def management_address(self, node: str) -> str:
        """ "" for an unknown node."""
        spec = self.read(keys.node_spec(node), NodeSpec)
        return spec.addresses[MANAGEMENT] if spec else ""

    def beat_revision(self, node: str) -> int:
        """mod_revision of the node's last beat, as far as the watch delivered it."""
        return self._mirror.revision_of(keys.beat(node))

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
        for key in self._mirror.keys_below(keys.INSTANCES):
            instance = self._instance(key, now)
            instances[instance.id] = instance
        return replace(
            view_of(self._mirror, self._mirror.revision, nodes, instances),
            settled=self._detector.settled,
            term=self._term,
            term_since=self._term_since,
        )

    def read(self, key: str, kind: type[T]) -> T | None:
        """Decoded value of a key."""
        return self._mirror.read(key, kind)

    def notable(self, change: Change) -> bool:
        """Can this change alter a decision? A beat that says nothing new of a node that nobody missed cannot."""
        key = change.key
        if key in (keys.MANAGER_ALIVE, keys.MANAGER_VIEW, keys.MANAGER_HEALTH) or key.startswith(UNREAD):
            return False
        if not _is_beat(key):
            return True
        node = keys.node_of(key)
        beat = said(self._mirror, key, Beat)
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
            said(self._mirror, keys.beat(name), Beat),
            self.read(keys.fence(name), Fence),
        )

    def _node(
        self, name: str, power: Mapping[str, PowerEvidence], power_running: frozenset[str], now: float
    ) -> NodeView | None:
        node = node_view(self._mirror, name)
        if node is None:
            return None
        seen = self._beat_seen.get(name)
        if seen is None or seen[0] != node.beat_revision:
            seen = self._beat_seen[name] = (node.beat_revision, now)
        others = [net for net in node.spec.addresses if net != MANAGEMENT]
        missed = self.suspicion(name)
        return replace(
            node,
            beat_seen_at=seen[1],
            beat_arrived_at=self._beat_arrived.get(name, float("-inf")),
            suspicion=missed,
            missed=name in self._missed,
            lost_networks=() if missed else tuple(net for net in others if self.suspicion(name, net)),
            power=power.get(name),
            power_running=name in power_running,
            was_down=name in self._was_down,
            up_since=self._up_since.get(name, float("-inf")),
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

    def _placed_at(self, instance: str, now: float) -> float:
        revision = self._mirror.revision_of(keys.placement(instance))
        seen = self._placement_seen.get(instance)
        if seen is None or seen[0] != revision:
            seen = self._placement_seen[instance] = (revision, now)
        return seen[1]

    def _instance(self, key: str, now: float) -> InstanceView:
        placed_at = self._placed_at(key.removeprefix(keys.INSTANCES), now)
        instance = instance_view(self._mirror, key, placed_at=placed_at)
        status = instance.status
        # Without a detail it only has not been checked yet.
        if instance.running() and status is not None and not status.healthy and status.detail:
            return replace(instance, unhealthy_since=self._unhealthy.setdefault(instance.id, now))
        self._unhealthy.pop(instance.id, None)
        return instance
