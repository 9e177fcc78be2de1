"""Why an instance that is to run may rightly not run now (the exceptions of LIVE-1), judged from the machines themselves."""

from typing import TYPE_CHECKING

from holdfast.core.model import BeatPhase, Placement
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
        world, history = self._world, self._world.history
        if history.paused:
            return "high availability is paused"
        if world.store.cluster.full or not any(world.store.serves(name) for name in world.managers):
            return "the store takes no writes"
        if world.trouble.any(instance):
            return "a fault of the scenario still holds it"
        placement = history.placements.get(instance)
        held = self._held(placement) if placement is not None else ""
        return held or self._hold() or self._early(instance) or self._no_room(instance)

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
        at_home = placement is not None and not history.instances[instance].ha
        nodes = [placement.node] if placement is not None and at_home else list(self._world.machines)
        able = [name for name in nodes if self.takes(self._world.machines[name])]
        free = [n for n in able if not why_not(history, instance, n) and not why_not_together(history, instance, n)]
        return "" if free else "no node may carry it"

    def takes(self, machine: "Machine") -> bool:
        """Does the node work, and may instances be placed there?"""
        entries = self._world.store.cluster
        if entries.get(keys.maintenance(machine.name)) is not None:
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
        others = [other.name for other in self._world.machines.values() if other.powered and other is not machine]
        heard = [name for name in others if self._world.network.both(machine.name, name)]
        return 2 * len(heard) >= len(others)
