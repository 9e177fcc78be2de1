"""Why an instance that is to run may rightly not run now (the exceptions of LIVE-1), judged from the machines themselves."""

from typing import TYPE_CHECKING

from holdfast.core.model import BeatPhase, Exclusivity, InstanceSpec, Placement
from holdfast.core.observers import MANAGEMENT
from holdfast.sim.legal import waits_for, why_not, why_not_together
from holdfast.store import keys

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World


class Excuses:
    """One sentence for each instance that needs one."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def of(self, instance: str) -> str:
        """Why it may wait; "" if it must run."""
        placement = self._world.history.placements.get(instance)
        held = self._held(placement) if placement is not None else ""
        waits = held or self._hold() or self._unheard(instance)
        if placement is not None and self._needs_no_claim(instance, placement):
            waits = ""
        return self._nothing_works(instance) or waits or self._early(instance) or self._no_room(instance)

    def away(self, spec: InstanceSpec, placement: Placement) -> str:
        """Why a copy of what runs everywhere may rightly be somewhere else than on its own node."""
        home = self._world.machines[spec.home]
        if self._world.store.cluster.get(keys.lock(spec.id)) is not None or not spec.failback:
            return "it is to stay where it is"
        if spec.home in placement.tried:
            return "it did not start there"
        if not self.takes(home) or not self._on_network(home, "public"):
            return "its home takes nothing, or its clients do not reach it there"
        history = self._world.history
        if (beat := history.beats.get(spec.home)) is not None and beat.leaving:
            return "its home is about to go down"
        unfit = why_not(history, spec.id, spec.home) or why_not_together(history, spec.id, spec.home)
        return self._nothing_works(spec.id) or unfit

    def _nothing_works(self, instance: str) -> str:
        """Why nobody does anything about it."""
        world = self._world
        if world.history.paused:
            return "high availability is paused"
        if world.store.cluster.full or not any(world.store.serves(name) for name in world.managers):
            return "the store takes no writes"
        return "a fault of the scenario still holds it" if world.trouble.any(instance) else ""

    def _needs_no_claim(self, instance: str, placement: Placement) -> bool:
        """Its node has no power, and it is of those that are started elsewhere on suspicion alone."""
        spec = self._world.history.instances[instance]
        return (
            spec.ha and spec.exclusivity is not Exclusivity.STRICT and not self._world.machines[placement.node].powered
        )

    def _early(self, instance: str) -> str:
        """Somebody is to be ready before it, and is not; whether rightly is asked of that one."""
        late = [name for name in waits_for(self._world.history, instance) if not self._runs_well(name)]
        return f"it waits for {', '.join(sorted(late))}" if late else ""

    def _runs_well(self, instance: str) -> bool:
        nodes = self._world.executors(instance)
        return bool(nodes) and all(self.working(self._world.machines[node]) for node in nodes)

    def _held(self, placement: Placement) -> str:
        """Is a node that may still execute it neither alive nor provably dead?"""
        for node, epoch in (
            (placement.node, placement.fence_epoch),
            (placement.migrate_to, placement.migrate_fence_epoch),
        ):
            if not node or self._world.history.fence_epoch(node) != epoch:
                continue
            machine = self._world.machines[node]
            if self.working(machine):
                continue
            beat = self._world.history.beats.get(node)
            if beat is not None and beat.phase is BeatPhase.RELEASED and beat.leaving == "freeze":
                return f"{node} was shut down and keeps its instances"
            if not self._provable(machine):
                return f"nothing can prove that {node} is dead"
        return ""

    def _unheard(self, instance: str) -> str:
        """After a restore of the store whatever is strict waits for every node that could still run it."""
        history = self._world.history
        if history.instances[instance].exclusivity is not Exclusivity.STRICT:
            return ""
        for node, beat in history.beats.items():
            machine = self._world.machines[node]
            unheard = not beat.session and beat.fence_epoch == history.fence_epoch(node)
            if unheard and not self.working(machine) and not self._provable(machine):
                return f"{node} has not joined since the store was restored, and nothing can prove that it is dead"
        return ""

    def _provable(self, machine: "Machine") -> bool:
        beat = self._world.history.beats.get(machine.name)
        by_watchdog = beat is not None and beat.watchdog is not None
        by_power = machine.has_bmc and machine.bmc in ("normal", "slow")
        return by_watchdog or by_power or beat is None or beat.phase is not BeatPhase.ACTIVE

    def _hold(self) -> str:
        members = [name for name, beat in self._world.history.beats.items() if beat.phase is BeatPhase.ACTIVE]
        down = [name for name in members if not self.working(self._world.machines[name])]
        return "more than half of the nodes are down" if 2 * len(down) > len(members) else ""

    def _no_room(self, instance: str) -> str:
        """No working node that may carry it, and whom it must share its node with, by the hard rules."""
        history = self._world.history
        placement = history.placements.get(instance)
        spec = history.instances[instance]
        nodes = list(self._world.machines)
        if not spec.ha and (spec.home or placement is not None):
            nodes = list({node for node in (placement.node if placement else "", spec.home) if node})
        able = [name for name in nodes if self.takes(self._world.machines[name])]
        free = [n for n in able if not why_not(history, instance, n) and not why_not_together(history, instance, n)]
        return "" if free else "no node may carry it"

    def takes(self, machine: "Machine") -> bool:
        """Does the node work, and may instances be placed there?"""
        entries = self._world.store.cluster
        if entries.get(keys.maintenance(machine.name)) is not None or machine.name not in self._world.history.nodes:
            return False
        return self.working(machine) and machine.name not in self._world.history.quarantined

    def settled(self, machine: "Machine") -> bool:
        """It works, or everybody knows that it does not: no time-out of the protocol runs against it."""
        if self.working(machine):
            return True
        beat = self._world.history.beats.get(machine.name)
        if beat is None or beat.phase is BeatPhase.RELEASED:
            return True
        return beat.fence_epoch < self._world.history.fence_epoch(machine.name)

    def working(self, machine: "Machine") -> bool:
        """It runs, its agent too, and it reaches the store and most of the others."""
        if not machine.powered or machine.booting or machine.frozen or machine.agent is None or machine.guard is None:
            return False
        if not machine.guard.life.alive or not self._world.store.serves(machine.name):
            return False
        if machine.agent.session.problem:
            return False
        return self._on_network(machine)

    def _on_network(self, machine: "Machine", network: str = MANAGEMENT) -> bool:
        """It reaches most of the others."""
        others = [other.name for other in self._world.machines.values() if other.powered and other is not machine]
        heard = [name for name in others if self._world.network.both(machine.name, name, network)]
        return 2 * len(heard) >= len(others)
