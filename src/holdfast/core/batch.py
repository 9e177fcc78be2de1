"""One turn's decisions about instances: who may be where, and what is free, changes with each of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from holdfast.core.capacity import Fleet
from holdfast.core.intents import Place
from holdfast.core.model import Desired, Goal, InstanceSpec, Placement
from holdfast.core.placement import Choice, choose, placement_order, rules_of
from holdfast.core.restored import unheard_wait
from holdfast.core.rules import Rules
from holdfast.core.view import InstanceView, NodeView, View


@dataclass(slots=True)
class Batch:
    """Makes the intents of one turn and remembers what they change. One per call of `decide`."""

    view: View
    now: float
    claimed: Collection[str]
    """Nodes that are being claimed in this turn: nothing of them is touched before that is committed."""
    fleet: Fleet
    """Who may be where and what is free, with all that this turn has placed so far."""
    leaving: set[str] = field(default_factory=set)
    """Instances that are to run and whose placement says stop, so that they can be placed anew."""
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Instance → how its starts failed; those whose restarts in place are used up."""
    cramped: list[str] = field(default_factory=list)
    """Instances that no node has the resources for."""
    starts: dict[str, int] | None = None
    """Node → strict instances that start there; counted when somebody first asks (core/start_order.py)."""
    unheard: str = ""
    """Why nothing strict is placed that is nowhere; "" while it may be."""
    freed: dict[str, list[InstanceView]] = field(default_factory=dict)
    """Instance → those that give way to it: stopped, moved, or asked by the planner to move."""

    @staticmethod
    def of(view: View, now: float, claimed: Collection[str]) -> "Batch":
        executors = {name: instance.executors(view.nodes) for name, instance in view.instances.items()}
        where = {name: nodes for name, nodes in executors.items() if nodes}
        leaving = {name for name in where if _is_leaving(view.instances[name])}
        specs = [instance.spec for instance in view.instances.values()]
        fleet = Fleet(view.nodes, specs, where, view.timing, now, rules_of(view))
        return Batch(
            view, now, claimed, fleet, leaving, unheard=unheard_wait(view.unheard, view.fresh(now)), freed=_freed(view)
        )

    @property
    def rules(self) -> Rules:
        return self.fleet.rules

    @property
    def where(self) -> Mapping[str, frozenset[str]]:
        """Instance → every node that may execute it; instances that are nowhere are left out."""
        return self.fleet.where

    def ordered(self) -> list[InstanceView]:
        """In this order they are decided upon. Who is to move out of somebody's way does so before that one's turn."""
        specs = placement_order((instance.spec for instance in self.view.instances.values()), self.rules)
        ordered = [self.view.instances[spec.id] for spec in specs]
        if not self.freed:
            return ordered
        movers = {name: [other for other in others if other.moves_for] for name, others in self.freed.items()}
        early = (one for instance in ordered for one in (*movers.get(instance.id, ()), instance))
        return list({instance.id: instance for instance in early}.values())

    def executors(self, instance: InstanceView) -> frozenset[str]:
        return self.where.get(instance.id, frozenset())

    def mates(self, instance: InstanceView) -> list[InstanceView]:
        """The others of its group of strict affinity that are to run."""
        names = self.rules.group(instance.id).members
        known = (self.view.instances.get(name) for name in names if name != instance.id)
        return [mate for mate in known if mate is not None and mate.spec.desired is Desired.STARTED]

    def candidates(self, instance: InstanceView) -> Mapping[str, NodeView]:
        """The nodes that come into question for an instance that runs nowhere (`View.candidates`). What must share its node
        with others that run goes to them, also without high availability: its former node would never do."""
        joins = any(self.executors(mate) for mate in self.mates(instance))
        return self.view.nodes if joins else self.view.candidates(instance)

    def choose(
        self,
        spec: InstanceSpec,
        nodes: Mapping[str, NodeView],
        *,
        wanted: str = "",
        avoid: str = "",
        tried: Collection[str] = (),
        moving: bool = False,
        weightless: bool = False,
    ) -> Choice:
        among = None if nodes is self.view.nodes else nodes
        return choose(
            spec,
            self.fleet,
            among,
            wanted=wanted,
            avoid=avoid,
            tried=tried,
            leaving=self.leaving,
            moving=moving,
            weightless=weightless,
        )

    def others(self, node: str) -> dict[str, NodeView]:
        """Every node but this one."""
        return {name: value for name, value in self.view.nodes.items() if name != node}

    def keep_room(self, instance: InstanceView, node: str) -> None:
        """It is placed there in a later turn: whatever comes after it in this one counts it in."""
        self.fleet.place(instance.spec, node)

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
        source = instance.placement.node if instance.placement and finishes_move and instance.moves_for else ""
        placement = Placement(
            node,
            self._next_epoch(instance),
            target.fence.epoch,
            goal,
            reason,
            *counters,
            migrate_failed=migrate_failed,
            next_node=node if goal is Goal.STOP else "",
            yields_to=instance.moves_for if source not in ("", node) else "",
            left=source if source != node else "",
        )
        self.fleet.place(instance.spec, node)
        if self.starts is not None and goal is Goal.RUN:
            self.starts[node] = self.starts.get(node, 0) + 1
        return self._place(instance, placement, target.fence_revision, event, finishes_move)

    def stop(
        self,
        instance: InstanceView,
        reason: str,
        next_node: str,
        *,
        event: str = "",
        counters: tuple[int, tuple[str, ...]] | None = None,
        yields_to: str = "",
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
            yields_to=yields_to,
            left="",
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
            yields_to="",
            left="",
        )
        self.fleet.place(instance.spec, to)
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

    def _next_epoch(self, instance: InstanceView) -> int:
        """Larger than every epoch this instance ever had, also in an earlier life under the same name (INV-3)."""
        floor = self.view.revision + self.view.epoch_floor
        return max(instance.placement.epoch + 1 if instance.placement else 1, floor)


def _freed(view: View) -> dict[str, list[InstanceView]]:
    freed: dict[str, list[InstanceView]] = {}
    for instance in view.instances.values():
        if instance.placement is not None and (taker := instance.moves_for or instance.placement.yields_to):
            freed.setdefault(taker, []).append(instance)
    return freed


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
