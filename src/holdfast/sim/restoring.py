"""What an operator does when the store is lost for good: `holdfast cluster restore` on one node (docs/disaster.md).

What the new store holds is made by the command's own code. Played here: the service manager that stops the node's daemons
and starts them again, and the ids of etcd: a process that knew the lost store refuses the new one, and is started anew.
"""

import base64
from typing import TYPE_CHECKING

from holdfast.bootstrap.backup import Backup
from holdfast.bootstrap.restore import RestoreOptions, as_restored, known_here
from holdfast.core.model import Role
from holdfast.errors import NotFound
from holdfast.sim.loop import Life, spawn

if TYPE_CHECKING:
    from holdfast.sim.daemons import AgentRun
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

LOOK_S = 2.0
"""The operator tries again after so long."""
RESTART_S = (0.5, 2.0)
"""What refuses the new store ends, and is started again after so long."""
EPOCH_MS = 1_760_000_000_000
"""The wall clock when a scenario begins, milliseconds since 1970. Operators' machines have the right time."""


class Restore:
    """One restore, from the operator's decision until the new store runs."""

    def __init__(self, world: "World", node: str, before: float, fresh: bool) -> None:
        """`before`: the last backup that was made until then (scenario seconds). `fresh`: on a new machine."""
        self._world = world
        self._node = node
        self._before = before
        self._fresh = fresh
        self._stopped: AgentRun | None = None
        self._loss = world.store.losses

    def begin(self) -> None:
        """Go on until it is done, as soon as it can be: the machine is up, its agent has stopped, and nothing runs there."""
        world = self._world
        if not world.store.lost or world.store.losses != self._loss:
            world.log.say("operator-refused", "the store need not be restored: its members live", node=self._node)
            return
        if self._fresh:
            world.clone(self._node, empty=True)
            self._fresh = False
        machine = world.machines[self._node]
        if not machine.powered:
            machine.power_on()
        if not self._idle(machine):
            world.log.touch()
            world.later(LOOK_S, self.begin)
            return
        self._restore(machine)

    def _idle(self, machine: "Machine") -> bool:
        if machine.booting or machine.frozen:
            return False
        agent = machine.agent
        if agent is not None and not agent.begun:
            machine.stop_agent()
        elif agent is not None and agent is not self._stopped:
            self._stopped = agent
            spawn(self._world.loop, machine.agent_life, self._stop(machine, agent))
        return machine.agent is None and not machine.receiving and not any(run.strict for run in machine.live.values())

    async def _stop(self, machine: "Machine", agent: "AgentRun") -> None:
        """systemctl stop holdfast-agent"""
        await agent.release("shutdown")
        life = machine.agent_life
        self._world.loop.hardware(0.0, lambda: machine.stop_agent() if machine.agent_life is life else None)

    def _restore(self, machine: "Machine") -> None:
        world = self._world
        made_at, saved = world.store.backup_before(self._before)
        found = sorted((entry.key, entry.value) for entry in saved.entries.values() if not entry.lease)
        records = [(key, base64.b64encode(value).decode()) for key, value in found]
        backup = Backup("sim", "sim", f"{made_at:g}", self._node, saved.revision, "", records)
        options = RestoreOptions(f"{world.log.now():.3f}", EPOCH_MS + round(world.log.now() * 1000), self._node)
        try:
            new = as_restored(backup, self._node, options)
        except NotFound as error:
            world.log.say("operator-refused", str(error), node=self._node)
            return
        new |= known_here(machine.known_nodes, new)
        if machine.manager_life is not None and machine.manager_life.alive:
            world.bury(machine.manager_life)
        if Role.MANAGEMENT not in machine.roles:
            machine.roles = (Role.MANAGEMENT, *machine.roles)
        world.managers = (self._node,)
        world.store.begin_anew(self._node, new)
        world.premises.forget_term()
        world.history.reload(world.store.cluster.list("").entries)
        world.log.say("store-restored", f"from the backup of {made_at:g} s", node=self._node)
        machine.start_agent()
        machine.start_manager()
        world.refresh()


def replace_daemon(world: "World", machine: "Machine", life: Life | None) -> None:
    """This process of the machine refuses the store: it ends, and is started anew. A manager only where it is one still."""

    def again() -> None:
        if life is None or not life.alive or machine.frozen:
            return
        if life is machine.agent_life:
            machine.stop_agent()
            world.loop.hardware(world.random.uniform(*RESTART_S), machine.start_agent)
        elif life is machine.manager_life:
            world.bury(life)
            world.loop.hardware(world.random.uniform(*RESTART_S), machine.start_manager)

    world.loop.hardware(0.0, again)
