"""The invariants of the design's section 3, checked against the simulated hardware whenever something changes.

Nothing here uses the product's own judgement: placements are compared with the rules by hand, executors are counted on the
machines, and claims are compared with what the machine really does.
"""

from typing import TYPE_CHECKING

from holdfast.core.model import Desired, Exclusivity, Fence, Goal, InstanceSpec, Placement
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.sim.legal import together, why_not

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World


class Checks:
    """Collects violations; each is said once, with the time."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self.begun = False
        """What the scenario sets up before its start is not judged."""
        self._epochs: dict[str, int] = {}

    def violated(self, invariant: str, text: str) -> None:
        self._world.log.say("violation", f"{invariant}: {text}")
        self.violations.append(f"{invariant} at {self._world.log.now():.3f} s: {text}")

    def forget_epochs(self) -> None:
        """The store was restored: what it says now is what counts."""
        self._epochs.clear()

    # --- INV-1, INV-2, INV-3 at the hardware

    def started(self, machine: "Machine", instance: InstanceSpec) -> None:
        """An execution has begun."""
        self.executors(instance.id)
        agent = machine.agent
        # An agent that has not noticed yet that the store is another one acts within the lost one's deadline.
        if instance.exclusivity is Exclusivity.STRICT and agent is not None and agent.store.knows:
            epoch = self._world.history.fence_epoch(machine.name)
            if agent.session.fence_epoch < epoch:
                self.violated("INV-3", f"{instance.id} started on {machine.name} after the claim of epoch {epoch}")

    def executors(self, instance: str) -> None:
        """INV-1: at most one live executor of a strict instance."""
        live = [machine for machine in self._world.everything() if instance in machine.live]
        if len(live) > 1 and any(machine.live[instance].strict for machine in live):
            self.violated("INV-1", f"{instance} lives on {' and '.join(machine.name for machine in live)}")

    def claimed(self, node: str, old: Fence | None, new: Fence) -> None:
        """INV-2: whoever is claimed runs nothing strict. INV-3: epochs grow."""
        machines = self._world.named(node)
        live = sorted(name for machine in machines for name, run in machine.live.items() if run.strict)
        if live and all(machine.bmc != "lie-state" for machine in machines):
            self.violated("INV-2", f"{node} was claimed ({new.proof}) while it ran {', '.join(live)}")
        if old is not None and new.epoch <= old.epoch:
            self.violated("INV-3", f"the fence epoch of {node} went from {old.epoch} to {new.epoch}")

    # --- INV-3, INV-4 in the store

    def placed(self, instance: str, old: Placement | None, new: Placement) -> None:
        """A placement was written."""
        epoch = self._epochs.get(instance, 0)
        if new.epoch <= epoch:
            self.violated("INV-3", f"the epoch of {instance} went from {epoch} to {new.epoch}")
        self._epochs[instance] = max(epoch, new.epoch)
        if (
            self.begun
            and new.goal is Goal.RUN
            and (old is None or old.node != new.node or old.fence_epoch != new.fence_epoch)
            # The word that a live migration is over is a fact and no choice; its group may still be on the way.
            and (old is None or old.migrate_to != new.node)
        ):
            self._legal(instance, new)

    def _legal(self, instance: str, placement: Placement) -> None:
        """INV-4: hard rules hold at every placement."""
        broken = why_not(self._world.history, instance, placement.node)
        if broken:
            self.violated("INV-4", f"{instance} was placed on {placement.node}: {broken}")

    # --- LIVE-1

    def alive(self) -> None:
        """LIVE-1: what is to run and may run somewhere runs. Called when the faults have ended long enough ago."""
        for name in self.missing():
            self.violated("LIVE-1", f"{name} does not run anywhere, though it could")

    def missing(self) -> list[str]:
        """Instances that do not run anywhere though they are to and could."""
        wanted = [name for name, spec in self._world.history.instances.items() if spec.desired.value == "started"]
        return [name for name in wanted if not self._world.executors(name) and not self._world.excuses.of(name)]

    def copies_at_home(self) -> None:
        """HOME: at rest a copy of what runs everywhere is on its own node if that may carry it, and nowhere twice."""
        for name, spec in self._world.history.instances.items():
            placement = self._world.history.running(name)
            if not spec.home or placement is None or spec.desired is not Desired.STARTED:
                continue
            if placement.node != spec.home and not self._world.excuses.away(spec, placement):
                self.violated("HOME", f"{name} is on {placement.node}, though its home {spec.home} may carry it")
            live = [
                node for node in self._world.executors(name) if self._world.excuses.working(self._world.machines[node])
            ]
            if len(live) > 1 and not self._world.excuses.of(name):
                self.violated("HOME", f"{name} lives on {' and '.join(live)}")

    def affinity_kept(self) -> None:
        """INV-4 at rest: no strict rule is broken by where instances run."""
        history = self._world.history
        for rule in history.rules.values():
            if rule.strict and rule.kind is RuleKind.ANTI_AFFINITY:
                places = {name: p.node for name in rule.instances if (p := history.running(name)) is not None}
                if any(self._should_leave(rule, name, places) for name in places):
                    self.violated("INV-4", f"rule {rule.id}: {', '.join(rule.instances)} are not apart")

    def _should_leave(self, rule: RuleSpec, name: str, places: dict[str, str]) -> bool:
        """Somebody it must not share the node (or failure domain) with is there, and another node can take it. Holdfast
        never puts it there (INV-4 at each placement), but a document may, and an operator who ignores an instance: then they
        stay where they are, with a reason, until somebody can go."""
        history, node = self._world.history, places[name]
        others = {other for other, place in places.items() if together(history, rule, node, place)} - {name}
        ignored = (spec := history.instances.get(name)) is not None and spec.desired is Desired.IGNORED
        return bool(others) and not ignored and any(self._takes(name, free) for free in history.nodes if free != node)

    def _takes(self, name: str, node: str) -> bool:
        return self._world.excuses.takes(self._world.machines[node]) and not why_not(self._world.history, name, node)
