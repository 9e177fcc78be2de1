"""What each verb of a timeline does to the simulated world, in one table. The verbs themselves are described in `verbs`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.core.model import Desired, MoveRequest, ServiceSpec
from holdfast.core.policy import BringBack, HaPause, InstanceLock, Maintenance, PauseMode
from holdfast.ports import Delete
from holdfast.sim.network import NETWORKS
from holdfast.sim.operators import ask_move, confirm_dead, shut_down
from holdfast.sim.restoring import Restore
from holdfast.sim.scenario import Step
from holdfast.sim.world import World
from holdfast.store import keys
from holdfast.store.codec import decode

STALE_S = 3.0
SLOW_S = 0.5
"""What a slow disk under the store adds to each request."""
UNKNOWN_SHARE = 0.5

Args = dict[str, Any]


def perform(world: World, step: Step) -> None:
    """Do it now."""
    asyncio._set_running_loop(world.loop)
    try:
        named = step.args.get("instance")
        if step.verb == "add":
            world.write(world.instance_records(step.instance))
        elif named and named not in world.history.instances:
            world.log.say("operator-refused", "there is no such instance: it could not be added", instance=named)
        else:
            _ACTIONS[step.verb](world, step.args)
        world.log.touch()
        world.refresh()
    finally:
        asyncio._set_running_loop(None)


# --- machines ---------------------------------------------------------------------------------------------------------


def _freeze(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.freeze()
    _later(world, args, machine.thaw)


def _suspend(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.suspend()
    _later(world, args, machine.thaw)


def _watchdog_taken(world: World, args: Args) -> None:
    world.machines[args["node"]].watchdog_taken = True


def _clock_step(world: World, args: Args) -> None:
    world.machines[args["node"]].clock.wall_offset += args["seconds"]


def _clock_rate(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.rate = args["rate"]
    machine.clock.set_rate(machine.rate)
    world.log.say("clock-rate", f"{machine.rate:g}", node=machine.name)


def _watchdog_off(world: World, args: Args) -> None:
    device = world.machines[args["node"]].device
    if device is not None:
        device.broken = True


def _watchdog_slow(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.watchdog_s = args["seconds"]
    if machine.device is not None:
        machine.device.timeout_s = machine.watchdog_s


def _agent_start(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.start_agent()
    world.log.say("agent-started", "", node=machine.name)


def _lie_fence(world: World, args: Args) -> None:
    machine = world.machines[args["node"]]
    machine.bmc = "normal" if args["mode"] == "honest" else args["mode"]


# --- networks ---------------------------------------------------------------------------------------------------------


def _cut(world: World, args: Args) -> None:
    for network in _networks(args):
        world.network.off.add((args["node"], network))
        world.addresses.cut.add((args["node"], network))


def _join(world: World, args: Args) -> None:
    for network in _networks(args):
        world.network.off.discard((args["node"], network))
        world.addresses.cut.discard((args["node"], network))


def _networks(args: Args) -> list[str]:
    return [network for network in NETWORKS if args["network"] in ("all", network)]


def _link_off(world: World, args: Args) -> None:
    world.network.broken.update(_pairs(args))


def _link_on(world: World, args: Args) -> None:
    world.network.broken.difference_update(_pairs(args))


def _pairs(args: Args) -> list[tuple[str, str, str]]:
    ways = [(args["from"], args["to"])] + ([] if args["one-way"] else [(args["to"], args["from"])])
    return [(one, other, network) for one, other in ways for network in _networks(args)]


def _loss(world: World, args: Args) -> None:
    for node in _nodes(world, args):
        world.network.loss[node] = args["percent"] / 100


def _delay(world: World, args: Args) -> None:
    for node in _nodes(world, args):
        world.network.extra_delay[node] = args["seconds"]


# --- the store --------------------------------------------------------------------------------------------------------


def _store_off(world: World, args: Args) -> None:
    world.store.refused.update(_nodes(world, args))


def _store_on(world: World, args: Args) -> None:
    world.store.refused.difference_update(_nodes(world, args))


def _store_fault(world: World, args: Args) -> None:
    store, nodes = world.store, _nodes(world, args)
    mode = args["mode"]
    if mode == "leader-change":
        store.change_leader()
    elif mode == "compact":
        store.cluster.compact()
    elif mode == "restore":
        world.restore_store()
    elif mode == "nospace":
        store.cluster.full = True
    elif mode == "slow":
        store.slow_s = SLOW_S
    elif mode == "none":
        _store_heals(world, nodes)
    else:
        for node in nodes:
            if mode == "unknown":
                store.unknown[node] = UNKNOWN_SHARE
            elif mode == "lost":
                store.lose_events.add(node)
            else:
                store.stale_s[node] = STALE_S
    _later(world, args, lambda: _store_heals(world, nodes))


def _store_lost(world: World, _args: Args) -> None:
    """With what else was on those disks."""
    for member in world.store.members:
        world.machines[member].known_nodes = None
    world.store.lose()
    world.log.say("store-lost")


def _store_heals(world: World, nodes: list[str]) -> None:
    store = world.store
    store.cluster.full = False
    store.slow_s = 0.0
    for node in nodes:
        store.unknown.pop(node, None)
        store.stale_s.pop(node, None)
        store.lose_events.discard(node)


# --- operators --------------------------------------------------------------------------------------------------------


def _maintenance_off(world: World, args: Args) -> None:
    key = keys.maintenance(args["node"])
    entry = world.store.cluster.get(key)
    if entry is None:
        return
    request = decode(entry.value, Maintenance, key)
    world.store.cluster.txn([], [Delete(key)], [])
    if request.bring_back and request.moved:
        world.write({keys.bring_back(args["node"]): BringBack(request.moved)})


def _set_state(world: World, args: Args) -> None:
    spec = world.history.instances[args["instance"]]
    world.write({keys.instance(spec.id): replace(spec, desired=Desired(args["state"]))})


def _remove(world: World, args: Args) -> None:
    spec = world.history.instances[args["instance"]]
    world.write(
        {
            keys.instance(spec.id): replace(spec, desired=Desired.STOPPED),
            keys.service(spec.kind, spec.service): ServiceSpec(spec.kind, spec.service, {"deleting": True}),
        }
    )


def _set_resources(world: World, args: Args) -> None:
    cpu, memory = args["cpu"], args["memory"]
    if args.get("node"):
        machine = world.machines[args["node"]]
        machine.cpu = cpu if cpu >= 0 else machine.cpu
        machine.memory_mib = memory if memory >= 0 else machine.memory_mib
        if args["slots"]:
            world.write({keys.node_spec(machine.name): replace(world.history.nodes[machine.name], slots=args["slots"])})
        return
    spec = world.history.instances[args["instance"]]
    changed = replace(spec, cpu=cpu if cpu >= 0 else spec.cpu, memory_mib=memory if memory >= 0 else spec.memory_mib)
    world.write({keys.instance(spec.id): changed})


def _delete(world: World, key: str) -> None:
    world.store.cluster.txn([], [Delete(key)], [])


# --- instances --------------------------------------------------------------------------------------------------------


def _crash(world: World, args: Args) -> None:
    for machine in world.everything():
        if not machine.frozen:  # where everything stands still nothing ends
            machine.end(args["instance"], "its process ended by itself")


def _guest_power_off(world: World, args: Args) -> None:
    for machine in world.everything():
        if not machine.frozen:
            machine.end(args["instance"], "it powered itself off", powered_off=True)


def _late_start(world: World, args: Args) -> None:
    world.trouble.late[args["instance"]] = (args["seconds"], args["times"])


def _fail(action: str) -> Callable[[World, Args], None]:
    def arm(world: World, args: Args) -> None:
        world.trouble.times[action, args["instance"], args.get("node") or ""] = args["times"]

    return arm


def _lie(action: str) -> Callable[[World, Args], None]:
    def arm(world: World, args: Args) -> None:
        world.trouble.lying.add((action, args["instance"]))
        _later(world, args, lambda: world.trouble.lying.discard((action, args["instance"])))

    return arm


def _hang(action: str) -> Callable[[World, Args], None]:
    def arm(world: World, args: Args) -> None:
        world.trouble.hanging.add((action, args["instance"]))
        _later(world, args, lambda: world.trouble.hanging.discard((action, args["instance"])))

    return arm


# --- small things -----------------------------------------------------------------------------------------------------


def _nodes(world: World, args: Args) -> list[str]:
    return list(args["nodes"] or world.machines)


def _later(world: World, args: Args, undo: Callable[[], object]) -> None:
    """The fault ends by itself."""
    if args.get("for"):
        world.later(args["for"], undo)


_ACTIONS: dict[str, Callable[[World, Args], None]] = {
    "power-on": lambda world, args: world.machines[args["node"]].power_on(),
    "power-off": lambda world, args: world.machines[args["node"]].power_off(),
    "reboot": lambda world, args: shut_down(world, args["node"], again=True),
    "shutdown": lambda world, args: shut_down(world, args["node"], again=False),
    "freeze": _freeze,
    "thaw": lambda world, args: world.machines[args["node"]].thaw(),
    "suspend": _suspend,
    "clone": lambda world, args: world.clone(args["node"]),
    "agent-stop": lambda world, args: world.machines[args["node"]].stop_agent(),
    "agent-start": _agent_start,
    "guard-stop": lambda world, args: world.machines[args["node"]].stop_guard(),
    "guard-start": lambda world, args: world.machines[args["node"]].restart_guard(),
    "watchdog-taken": _watchdog_taken,
    "watchdog-off": _watchdog_off,
    "watchdog-slow": _watchdog_slow,
    "clock-step": _clock_step,
    "clock-rate": _clock_rate,
    "network-off": _cut,
    "network-on": _join,
    "link-off": _link_off,
    "link-on": _link_on,
    "loss": _loss,
    "delay": _delay,
    "store-off": _store_off,
    "store-on": _store_on,
    "store-fault": _store_fault,
    "store-lost": _store_lost,
    "store-restore": lambda world, args: Restore(world, args["node"], args["backup"], args["fresh"]).begin(),
    "lie-fence": _lie_fence,
    "confirm-dead": lambda world, args: confirm_dead(world, args["node"]),
    "return-node": lambda world, args: _delete(world, keys.health(args["node"])),
    "add-node": lambda world, args: world.write(world.node_records(world.scenario.nodes[args["node"]])),
    "maintenance-on": lambda world, args: world.write({keys.maintenance(args["node"]): Maintenance("operator")}),
    "maintenance-off": _maintenance_off,
    "ha-pause": lambda world, args: world.write({keys.PAUSE: HaPause(PauseMode(args["mode"]), "operator")}),
    "ha-resume": lambda world, _args: _delete(world, keys.PAUSE),
    "set-state": _set_state,
    "migrate": lambda world, args: ask_move(world, args, MoveRequest(args.get("to") or "", "operator", True)),
    "relocate": lambda world, args: ask_move(world, args, MoveRequest(args.get("to") or "", "operator")),
    "remove": _remove,
    "lock": lambda world, args: world.write({keys.lock(args["instance"]): InstanceLock("locked by an operator")}),
    "unlock": lambda world, args: _delete(world, keys.lock(args["instance"])),
    "set-resources": _set_resources,
    "crash": _crash,
    "guest-power-off": _guest_power_off,
    "hang-kill": _hang("kill"),
    "late-start": _late_start,
    "fail-start": _fail("start"),
    "fail-stop": _fail("stop"),
    "fail-migrate": _fail("migrate"),
    "hang-start": _hang("start"),
    "hang-stop": _hang("stop"),
    "lie-start": _lie("start"),
    "lie-stop": _lie("stop"),
}
