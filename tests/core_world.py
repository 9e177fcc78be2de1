"""A small abstract cluster around `decide`: what nodes do in truth, what the store holds, what managers know of both.

Time is one number for all; errors of clock rates are the model checker's and the simulator's matter. A node is as bad as the
protocol allows: what hangs is ended by its watchdog at the last moment of the bound B, and never without one.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from holdfast.core.decide import decide
from holdfast.core.intents import CancelPower, Claim, FencePower, Intent, Place, Remove
from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Desired,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    Placement,
    Role,
    WatchdogAttestation,
)
from holdfast.core.observers import Suspicion
from holdfast.core.timing import profile
from holdfast.core.validity import Validity
from holdfast.core.view import InstanceView, NodeView, PowerEvidence, View

TIMING = profile("fast")
WITH_WATCHDOG = ("n1", "n2", "n3")
WITH_DEVICE = ("n1", "n4")
NODES = ("n1", "n2", "n3", "n4")
WATCHDOG = WatchdogAttestation("/dev/watchdog", "abstract", int(TIMING.W))


def _spec(name: str, *nodes: str, exclusivity: Exclusivity = Exclusivity.STRICT) -> InstanceSpec:
    return InstanceSpec(f"nfs/{name}", "nfs", name, exclusivity, Role.STORAGE, nodes=nodes)


SPECS = {
    spec.id: spec
    for spec in (_spec("a"), _spec("b"), _spec("c", "n1", "n2"), _spec("d", exclusivity=Exclusivity.ADVISORY))
}
INSTANCES = tuple(SPECS)
STRICT = tuple(name for name, spec in SPECS.items() if spec.exclusivity is Exclusivity.STRICT)


@dataclass
class Records:
    """The store: each record with the revision at which it was written. The key is (kind, name)."""

    revision: int = 1
    data: dict[tuple[str, str], tuple[object, int]] = field(default_factory=dict)

    def copy(self) -> "Records":
        return Records(self.revision, dict(self.data))

    def read(self, kind: str, name: str) -> object | None:
        return self.data.get((kind, name), (None, 0))[0]

    def mod(self, kind: str, name: str) -> int:
        return self.data.get((kind, name), (None, 0))[1]

    def write(self, **changes: dict[str, object | None]) -> int:
        """One transaction: kind → name → record, None deletes."""
        self.revision += 1
        for kind, records in changes.items():
            for name, record in records.items():
                if record is None:
                    self.data.pop((kind, name), None)
                else:
                    self.data[kind, name] = (record, self.revision)
        return self.revision


@dataclass
class Node:
    """One machine, in truth."""

    name: str
    power: bool = True
    cut: bool = False
    """Reaches neither store nor observers."""
    hangs: bool = False
    """Neither agent nor guard act any more: what runs goes on until the hardware ends it."""
    phase: BeatPhase | None = None
    """Of its session; None: not registered since its boot, or idle after its deadline."""
    idle: bool = False
    epoch: int = 0
    """The fence epoch it acknowledges."""
    fence_revision: int = 0
    beat_revision: int = 0
    boots: int = 1
    last_sent: float = float("-inf")
    validity: Validity = field(default_factory=lambda: Validity(TIMING))
    view: dict[str, tuple[Placement, int]] = field(default_factory=dict)
    """Placements as it last saw them."""
    running: set[str] = field(default_factory=set)

    @property
    def watchdog(self) -> bool:
        return self.name in WITH_WATCHDOG

    @property
    def acts(self) -> bool:
        return self.power and not self.hangs

    def may_start(self, instance: str, now: float) -> bool:
        placement = self.view[instance][0] if instance in self.view else None
        return (
            self.acts
            and self.phase is BeatPhase.ACTIVE
            and placement is not None
            and (placement.node, placement.fence_epoch, placement.goal) == (self.name, self.epoch, Goal.RUN)
            and self.validity.may_run(now)
        )

    def go_off(self) -> None:
        self.power = self.hangs = self.idle = False
        self.phase = None
        self.running.clear()


@dataclass
class Manager:
    """One manager: its term, its copy of the store, and when it first saw each beat."""

    term: int = 0
    records: Records = field(default_factory=Records)
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    was_down: set[str] = field(default_factory=set)
    power: dict[str, PowerEvidence] = field(default_factory=dict)
    power_running: dict[str, int] = field(default_factory=dict)
    """Node → revision of the beat the attempt is made against."""


class World:
    """See the module's text."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.records = Records()
        self.nodes = {name: Node(name) for name in NODES}
        self.managers = [Manager(), Manager()]
        self.term = 0
        self.suspects: dict[str, float] = {}
        """Since when, rightly or not."""
        self.happened: Counter[str] = Counter()
        self._epochs: dict[tuple[str, str], int] = {}
        self.records.write(
            fence={name: Fence(1) for name in NODES},
            spec=dict(SPECS),
        )

    # --- nodes

    def advance(self, seconds: float) -> None:
        """Time passes; deadlines and watchdogs do what they are for."""
        self.now += seconds
        for node in self.nodes.values():
            if node.running and node.hangs and node.watchdog and self.now >= node.last_sent + TIMING.B:
                self.happened["reset by the watchdog"] += 1
                node.go_off()
            if node.acts and node.phase is BeatPhase.ACTIVE and not node.validity.may_run(self.now):
                self._clear_strict(node)
                node.idle = True

    def _clear_strict(self, node: Node) -> None:
        node.running -= set(STRICT)

    def boot(self, node: Node) -> None:
        node.power, node.boots = True, node.boots + 1
        node.phase, node.validity = None, Validity(TIMING)
        node.view.clear()

    def beat(self, node: Node, phase: BeatPhase, *, known: bool = True) -> bool:
        """Write the beat with the session's comparisons. `known` False: the agent does not learn that it was committed."""
        if node.cut or not node.acts:
            return False
        if self.records.mod("fence", node.name) != node.fence_revision:
            self._claimed(node)
            return False
        sent_at = self.now
        beat = Beat(
            session=f"{node.name}-{node.boots}",
            boot_id=str(node.boots),
            machine_id=node.name,
            sequence=self.records.revision,
            fence_epoch=node.epoch,
            phase=phase,
            watchdog=WATCHDOG if node.watchdog and phase is BeatPhase.ACTIVE else None,
            cpu=4.0,
            memory_mib=4096,
        )
        node.beat_revision = self.records.write(beat={node.name: beat})
        node.phase = phase
        node.last_sent = sent_at
        if known and phase is BeatPhase.ACTIVE:
            node.validity.committed(sent_at)
            node.idle = False
        return True

    def _claimed(self, node: Node) -> None:
        self._clear_strict(node)
        node.validity.revoke(self.now)
        node.phase, node.idle = None, False

    def register(self, node: Node) -> bool:
        """A new session, or one after a claim: nothing strict runs, and it says so."""
        if node.cut or not node.acts or node.running & set(STRICT):
            return False
        fence = self.records.read("fence", node.name)
        assert isinstance(fence, Fence)
        node.epoch, node.fence_revision = fence.epoch, self.records.mod("fence", node.name)
        return self.beat(node, BeatPhase.JOINING)

    def work(self, node: Node, instance: str, *, word_arrives: bool) -> None:
        """The agent acts on the placement it knows."""
        known = node.view.get(instance)
        strict = instance in STRICT
        if not node.acts:
            return
        if node.may_start(instance, self.now) or (not strict and known and known[0].node == node.name):
            node.running.add(instance)
            state = InstanceState.RUNNING
        else:
            node.running.discard(instance)
            state = InstanceState.STOPPED
        if known and word_arrives and not node.cut and (known[0].node, known[0].fence_epoch) == (node.name, node.epoch):
            placement, revision = known
            if self.records.mod("placement", instance) == revision:
                status = InstanceStatus(node.name, f"{node.name}-{node.boots}", placement.epoch, state)
                self.records.write(status={instance: status})

    def look(self, node: Node) -> None:
        """The agent's watch delivers everything."""
        if not node.cut and node.acts:
            node.view = {
                name: (record, self.records.mod("placement", name))
                for name in INSTANCES
                if isinstance(record := self.records.read("placement", name), Placement)
            }

    # --- managers

    def lead(self, manager: Manager) -> None:
        self.term += 1
        manager.term = self.term
        manager.seen.clear()
        manager.power.clear()
        manager.power_running.clear()

    def catch_up(self, manager: Manager) -> None:
        manager.records = self.records.copy()
        for name in NODES:
            revision = manager.records.mod("beat", name)
            if manager.seen.get(name, (-1, 0.0))[0] != revision:
                manager.seen[name] = (revision, self.now)

    def view(self, manager: Manager) -> View:
        nodes = {name: self._node_view(manager, name) for name in NODES}
        for name, node in nodes.items():
            if node.down(TIMING, self.now):
                manager.was_down.add(name)
            elif node.up(TIMING, self.now):
                manager.was_down.discard(name)
        instances = {name: self._instance_view(manager, name) for name in INSTANCES}
        return View(TIMING, manager.records.revision, nodes, instances)

    def _node_view(self, manager: Manager, name: str) -> NodeView:
        records = manager.records
        devices = (FenceDeviceSpec("bmc", "abstract"),) if name in WITH_DEVICE else ()
        fence, beat = records.read("fence", name), records.read("beat", name)
        confirmation = records.read("confirmed", name)
        since = self.suspects.get(name)
        suspicion = Suspicion(since, ("n1", "n2"), "management") if since is not None else None
        assert isinstance(fence, Fence) and isinstance(beat, Beat | None)
        return NodeView(
            spec=NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"}, fence_devices=devices),
            fence=fence,
            fence_revision=records.mod("fence", name),
            beat=beat,
            beat_revision=records.mod("beat", name),
            beat_seen_at=manager.seen.get(name, (0, self.now))[1],
            suspicion=suspicion,
            power=manager.power.get(name),
            power_running=name in manager.power_running,
            confirmation=confirmation if isinstance(confirmation, DeathConfirmation) else None,
            was_down=name in manager.was_down,
        )

    def _instance_view(self, manager: Manager, name: str) -> InstanceView:
        records = manager.records
        spec, placement, status = (records.read(kind, name) for kind in ("spec", "placement", "status"))
        move = records.read("move", name)
        assert isinstance(spec, InstanceSpec)
        return InstanceView(
            spec=spec,
            spec_revision=records.mod("spec", name),
            placement=placement if isinstance(placement, Placement) else None,
            placement_revision=records.mod("placement", name),
            status=status if isinstance(status, InstanceStatus) else None,
            status_revision=records.mod("status", name),
            move=move if isinstance(move, MoveRequest) else None,
            move_revision=records.mod("move", name),
        )

    def turn(self, manager: Manager, lost: Iterable[bool]) -> None:
        """Decide from what this manager knows and commit; some writes are lost."""
        if not manager.term or not manager.seen:
            return
        view = self.view(manager)
        for intent, dropped in zip(decide(view, self.now).intents, lost, strict=False):
            if not dropped:
                self._act(manager, view, intent)

    def _act(self, manager: Manager, view: View, intent: Intent) -> None:
        if isinstance(intent, FencePower):
            manager.power_running.setdefault(intent.node, intent.beat_revision)
        elif isinstance(intent, CancelPower):
            manager.power_running.pop(intent.node, None)
        elif manager.term != self.term:
            self.happened["stale manager"] += 1
        elif isinstance(intent, Claim):
            self._claim(view, intent)
        elif isinstance(intent, Place):
            self._place(intent)
        else:
            assert not isinstance(intent, Remove)

    def _claim(self, view: View, intent: Claim) -> None:
        mod = self.records.mod
        if (mod("beat", intent.node), mod("fence", intent.node)) != (intent.beat_revision, intent.fence_revision):
            self.happened["claim lost its race"] += 1
            return
        self.happened[f"claim {intent.proof}"] += 1
        fence = Fence(view.nodes[intent.node].fence.epoch + 1, intent.proof)
        self.records.write(fence={intent.node: fence}, confirmed={intent.node: None})

    def _place(self, intent: Place) -> None:
        mod, name, placement = self.records.mod, intent.instance, intent.placement
        expected = (intent.previous_revision, intent.spec_revision)
        fence_stands = intent.node_fence_revision in (0, mod("fence", placement.node))
        word_stands = intent.status_revision in (0, mod("status", name))
        if (mod("placement", name), mod("spec", name)) != expected or not fence_stands or not word_stands:
            self.happened["placement lost its race"] += 1
            return
        self.check_placement(name, placement)
        moved: dict[str, object | None] = {name: None} if intent.finishes_move else {}
        self.records.write(placement={name: placement}, move=moved)

    # --- invariants

    def check_placement(self, name: str, new: Placement) -> None:
        """At the moment a placement is committed."""
        spec, old = SPECS[name], self.records.read("placement", name)
        assert new.epoch > self._epochs.get(("placement", name), 0), f"INV-3: {name} {old} → {new}"
        self._epochs["placement", name] = new.epoch
        if new.goal is not Goal.RUN:
            return
        assert not spec.nodes or new.node in spec.nodes, f"INV-4: {name} on {new.node}"
        assert new.fence_epoch > 0
        if spec.exclusivity is not Exclusivity.STRICT:
            return
        others = [node for node in self.nodes.values() if node.name != new.node]
        still = [n.name for n in others if name in n.running]
        assert not still, f"{name} placed on {new.node} while it runs on {still}"
        able = [n.name for n in others if n.may_start(name, self.now)]
        assert not able, f"{name} placed on {new.node} while {able} may start it"
        source = old.node if isinstance(old, Placement) else new.node
        self.happened["moved" if source != new.node else "placed"] += 1

    def check(self) -> None:
        """After every step."""
        for name in STRICT:
            live = [node.name for node in self.nodes.values() if name in node.running]
            assert len(live) <= 1, f"INV-1: {name} lives on {live}"
        for node in self.nodes.values():
            fence = self.records.read("fence", node.name)
            assert isinstance(fence, Fence)
            assert fence.epoch >= self._epochs.get(("fence", node.name), 0), f"INV-3: fence of {node.name}"
            self._epochs["fence", node.name] = fence.epoch
            strict = node.running & set(STRICT)
            assert not strict or node.epoch == fence.epoch, f"INV-2: {node.name} is claimed and runs {strict}"

    def ask(self, name: str, desired: Desired) -> None:
        """An operator changes what is wanted."""
        spec = self.records.read("spec", name)
        assert isinstance(spec, InstanceSpec)
        self.records.write(spec={name: replace(spec, desired=desired)})
