"""What will come of it: the view after `decide` has had its way, if everything that it asks for succeeds at once.

Planned work (a maintenance, a new instance, a changed rule) is foreseen by the code that will do it, step by step, so that
what is said beforehand is what happens.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from holdfast.core.decide import decide
from holdfast.core.intents import BringHome, Claim, EndMove, Intent, KeepOff, NoteMoved, Place, Remove
from holdfast.core.model import Desired, Goal, InstanceState, InstanceStatus, MoveRequest, Placement
from holdfast.core.policy import BringBack
from holdfast.core.view import InstanceView, NodeView, View

TURNS = 300
"""So many decisions are followed; what is not at rest by then waits for something that a preview does not know."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the cluster comes to."""

    view: View
    waiting: Mapping[str, str]
    """Instance → why it does not run, or does not leave, in the end."""
    live: frozenset[str]
    """Instances that were handed over without an interruption on the way."""


def settle(view: View, now: float) -> Preview:
    """Follow `decide` until nothing changes any more. A pause of high availability is looked through: it will end."""
    scene = _Scene(replace(view, pause=None, settled=True), now)
    for _ in range(TURNS):
        decision = decide(scene.view(), now)
        changed = [scene.apply(intent) for intent in decision.intents]
        if not any(changed):
            break
    return Preview(scene.view(), decision.waiting, frozenset(scene.live))


def with_failures(view: View, nodes: Collection[str]) -> View:
    """These nodes have failed and are claimed."""
    dead = {
        name: replace(node, fence=replace(node.fence, epoch=node.fence.epoch + 1), suspicion=None)
        for name in nodes
        if (node := view.nodes.get(name)) is not None
    }
    return replace(view, nodes={**view.nodes, **dead})


def with_placements(view: View, placements: Mapping[str, str]) -> View:
    """These instances run where a plan puts them."""
    instances = dict(view.instances)
    for name, node in placements.items():
        old = instances[name]
        epoch = max(old.placement.epoch + 1 if old.placement else 1, view.revision + view.epoch_floor)
        placement = Placement(node, epoch, view.nodes[node].fence.epoch)
        instances[name] = _obeyed(replace(old, placement=placement, move=None))
    return replace(view, instances=instances)


def _obeyed(instance: InstanceView) -> InstanceView:
    """Its agents have done what the placement asks for."""
    placement = instance.placement
    assert placement is not None
    state = InstanceState.RUNNING
    if placement.goal is Goal.STOP:
        state = InstanceState.STOPPED
    elif placement.migrate_to:
        state = InstanceState.MIGRATED
    word = InstanceStatus(
        placement.node, "", placement.epoch, state, healthy=state is InstanceState.RUNNING, stable=True
    )
    revision = instance.status_revision + 1
    return replace(instance, status=word, status_revision=revision, unhealthy_since=None)


@dataclass
class _Scene:
    """A view that obeys."""

    start: View
    now: float
    nodes: dict[str, NodeView] = field(init=False)
    instances: dict[str, InstanceView] = field(init=False)
    live: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.nodes = dict(self.start.nodes)
        self.instances = {name: self._at_rest(instance) for name, instance in self.start.instances.items()}

    def _at_rest(self, instance: InstanceView) -> InstanceView:
        """What is under way has arrived; a failure stays one."""
        placement, word = instance.placement, instance.word
        if placement is None or instance.spec.desired in (Desired.DISABLED, Desired.IGNORED):
            return instance
        node = self.nodes.get(placement.node)
        if node is None or not node.up(self.start.timing, self.now) or node.fence.epoch != placement.fence_epoch:
            return instance
        failed = word is not None and (
            word.state is InstanceState.FAILED or word.powered_off or bool(word.migrate_error)
        )
        return instance if failed or instance.gone_from_its_node() else _obeyed(instance)

    def view(self) -> View:
        return replace(self.start, nodes=dict(self.nodes), instances=dict(self.instances))

    def apply(self, intent: Intent) -> bool:
        """False if it changes nothing here."""
        if isinstance(intent, Place):
            old = self.instances[intent.instance]
            if intent.placement.migrate_to:
                self.live.add(intent.instance)
            placed = replace(
                old,
                placement=intent.placement,
                placement_revision=old.placement_revision + 1,
                move=None if intent.finishes_move else old.move,
            )
            self.instances[intent.instance] = _obeyed(placed)
        elif isinstance(intent, EndMove):
            self.instances[intent.instance] = replace(self.instances[intent.instance], move=None)
        elif isinstance(intent, KeepOff):
            old = self.instances[intent.instance]
            self.instances[old.id] = replace(old, spec=replace(old.spec, desired=Desired.STOPPED))
        elif isinstance(intent, Remove):
            del self.instances[intent.instance]
        elif isinstance(intent, Claim):
            node = self.nodes[intent.node]
            self.nodes[node.id] = replace(
                node, fence=replace(node.fence, epoch=node.fence.epoch + 1, proof=intent.proof)
            )
        elif isinstance(intent, NoteMoved):
            self.nodes[intent.node] = replace(self.nodes[intent.node], maintenance=intent.maintenance)
        elif isinstance(intent, BringHome):
            self._bring_home(intent)
        else:
            return False
        return True

    def _bring_home(self, intent: BringHome) -> None:
        for name in intent.instances:
            self.instances[name] = replace(self.instances[name], move=MoveRequest(intent.node, live=True))
        rest = BringBack(intent.rest) if intent.rest else None
        self.nodes[intent.node] = replace(self.nodes[intent.node], bring_back=rest)
