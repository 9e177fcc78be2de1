"""What operators do through Holdfast's own operations or through the machine's system, written out for the simulator."""

from typing import TYPE_CHECKING, Any

from holdfast.core.model import DeathConfirmation, MoveRequest
from holdfast.fencing.guard.core import State
from holdfast.sim.loop import spawn
from holdfast.store import keys

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

STOP_TIMEOUT_S = 330.0
"""The service manager waits so long for the agent to end before the machine goes down all the same."""


def ask_move(world: "World", args: dict[str, Any], request: MoveRequest) -> None:
    """`holdfast service move`."""
    world.write({keys.move(args["instance"]): request})


def confirm_dead(world: "World", node: str) -> None:
    """`holdfast node confirm-dead`: good for the node's last beat. Nobody may say it of a node that runs."""
    beat = world.store.cluster.get(keys.beat(node))
    if beat is None:
        return
    live = [name for name, run in world.machines[node].live.items() if run.strict]
    if live:
        world.log.say("operator-wrong", f"{node} is said to be dead and runs {', '.join(live)}", node=node)
        return
    world.write({keys.death_confirmation(node): DeathConfirmation("operator", beat.mod_revision)})


def shut_down(world: "World", node: str, *, again: bool) -> None:
    """The machine goes down in an orderly way; `again`: and boots. Its agent is asked first, and given its time."""
    machine = world.machines[node]
    if not machine.powered:
        return
    world.log.say("shutdown", "reboot" if again else "", node=node)
    cycle = machine.cycles

    def down() -> None:
        if machine.cycles == cycle and machine.powered:
            machine.power_off()
            if again:
                machine.power_on()

    world.loop.hardware(STOP_TIMEOUT_S, down)
    if machine.agent is not None and machine.agent_life is not None:
        spawn(world.loop, machine.agent_life, _release(world, machine, again, down))
    elif not machine.frozen:
        world.loop.hardware(1.0, down)


async def _release(world: "World", machine: "Machine", again: bool, down: Any) -> None:
    agent = machine.agent
    assert agent is not None
    await agent.release("reboot" if again else "shutdown")
    guard = machine.guard
    if guard is not None and guard.life.alive and guard.gate.state not in (State.WAITING, State.IDLE):
        world.checks.violated("INV-5", f"{machine.name} was released, and its guard would still have it reset")
    world.loop.hardware(0.5, down)
