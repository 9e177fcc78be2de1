"""One turn's decisions about instances: who may be where, and what is free, changes with each of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from holdfast.core.intents import Place
from holdfast.core.model import Desired, Goal, InstanceSpec, Placement
from holdfast.core.placement import EMPTY, Choice, Load, choose, load_of, placement_order, rules_of
from holdfast.core.rules import NO_RULES, Rules
from holdfast.core.view import InstanceView, NodeView, View


@dataclass(slots=True)
class Batch:
    """Makes the intents of one turn and remembers what they change. One per call of `decide`."""

    view: View
    now: float
    claimed: Collection[str] = ()
    """Nodes that are being claimed in this turn: nothing of them is touched before that is committed."""
    rules: Rules = NO_RULES
    where: dict[str, frozenset[str]] = field(default_factory=dict)
    """Instance → every node that may execute it; instances that are nowhere are left out."""
    loads: dict[str, Load] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """Instances that are to run and whose placement says stop, so that they can be placed anew."""
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Instance → how its starts failed; those whose restarts in place are used up."""

    @staticmethod
    def of(view: View, now: float, claimed: Collection[str]) -> "Batch":
        executors = {name: instance.executors(view.nodes) for name, instance in view.instances.items()}
        where = {name: nodes for name, nodes in executors.items() if nodes}
        leaving = {name for name in where if _is_leaving(view.instances[name])}
        return Batch(view, now, claimed, rules_of(view), where, load_of(view.instances.values(), where), leaving)

    def ordered(self) -> list[InstanceView]:
        specs = placement_order((instance.spec for instance in self.view.instances.values()), self.rules)
        return [self.view.instances[spec.id] for spec in specs]

    def executors(self, instance: InstanceView) -> frozenset[str]:
        return self.where.get(instance.id, frozenset())

    def mates(self, instance: InstanceView) -> list[InstanceView]:
        """The others of its group of strict affinity that are to run."""
        names = self.rules.group(instance.id).members
        known = (self.view.instances.get(name) for name in names if name != instance.id)
        return [mate for mate in known if mate is not None and mate.spec.desired is Desired.STARTED]

    def choose(
        self,
        spec: InstanceSpec,
        nodes: Mapping[str, NodeView],
        *,
        wanted: str = "",
        avoid: str = "",
        tried: Collection[str] = (),
        moving: bool = False,
    ) -> Choice:
        return choose(
            spec,
            nodes,
            self.loads,
            self.view.timing,
            self.now,
            wanted=wanted,
            avoid=avoid,
            tried=tried,
            rules=self.rules,
            where=self.where,
            leaving=self.leaving,
            moving=moving,
        )

    def others(self, node: str) -> dict[str, NodeView]:
        """Every node but this one."""
        return {name: value for name, value in self.view.nodes.items() if name != node}

    # --- intents --------------------------------------------------------------------------------------------------------

    def put(
        self,
        instance: InstanceView,
        node: str,
        goal: Goal,
        reason: str,
        *,
        event: str = "",
        counters: tuple[int, tuple[str, ...]] = (0, ()),
        migrate_failed: int = 0,
        finishes_move: bool = False,
    ) -> Place:
        """Place it on this node alone."""
        target = self.view.nodes[node]
        placement = Placement(
            node,
            self._next_epoch(instance),
            target.fence.epoch,
            goal,
            reason,
            *counters,
            migrate_failed=migrate_failed,
            next_node=node if goal is Goal.STOP else "",
        )
        self._account(instance, node)
        return self._place(instance, placement, target.fence_revision, event, finishes_move)

    def stop(
        self,
        instance: InstanceView,
        reason: str,
        next_node: str,
        *,
        event: str = "",
        counters: tuple[int, tuple[str, ...]] | None = None,
    ) -> Place:
        """Stop it where it is. A migration that is under way stays part of the placement until its source confirms."""
        assert instance.placement is not None
        relocations, tried = counters_of(instance) if counters is None else counters
        placement = replace(
            instance.placement,
            epoch=self._next_epoch(instance),
            goal=Goal.STOP,
            reason=reason,
            relocations=relocations,
            tried=tried,
            next_node=next_node,
        )
        self.leaving.add(instance.id)
        return self._place(instance, placement, 0, event, False)

    def migrate(self, instance: InstanceView, to: str, reason: str, *, event: str) -> Place:
        """Ask the node it runs on to hand it over."""
        assert instance.placement is not None and not instance.placement.migrate_to
        target = self.view.nodes[to]
        placement = replace(
            instance.placement,
            epoch=self._next_epoch(instance),
            reason=reason,
            migrate_to=to,
            migrate_fence_epoch=target.fence.epoch,
        )
        self._account(instance, to)
        return self._place(instance, placement, target.fence_revision, event, False)

    def _place(
        self, instance: InstanceView, placement: Placement, fence_revision: int, event: str, finishes_move: bool
    ) -> Place:
        word = instance.word
        rests_on_word = instance.gone_from_its_node() or (word is not None and bool(word.migrate_error))
        return Place(
            instance.id,
            placement,
            instance.placement_revision,
            instance.spec_revision,
            fence_revision,
            finishes_move=finishes_move,
            status_revision=instance.status_revision if rests_on_word else 0,
            event=event,
        )

    def _account(self, instance: InstanceView, node: str) -> None:
        here = self.executors(instance)
        if node not in here:
            self.where[instance.id] = here | {node}
            self.loads[node] = self.loads.get(node, EMPTY).plus(instance.spec)

    def _next_epoch(self, instance: InstanceView) -> int:
        """Larger than every epoch this instance ever had, also in an earlier life under the same name (INV-3)."""
        return max(instance.placement.epoch + 1 if instance.placement else 1, self.view.revision)


def _is_leaving(instance: InstanceView) -> bool:
    placement = instance.placement
    return instance.spec.desired is Desired.STARTED and placement is not None and placement.goal is Goal.STOP


def counters_of(instance: InstanceView) -> tuple[int, tuple[str, ...]]:
    """(relocations, nodes tried) that still count: they begin anew after a stable run, and when an operator has changed the
    instance."""
    placement, word = instance.placement, instance.word
    if placement is None or instance.spec_revision > instance.placement_revision or (word is not None and word.stable):
        return 0, ()
    return placement.relocations, placement.tried
