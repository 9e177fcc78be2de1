"""What operators lay down about nodes at work: maintenance, the return from quarantine, the pause of high availability."""

import asyncio
from collections.abc import Sequence

from holdfast.api.operations import checks, planning
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.clock import SystemClock
from holdfast.core.model import Desired, InstanceSpec, NodeState, Placement
from holdfast.core.policy import BringBack, HaPause, Maintenance, NodeHealth, PauseMode
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import codec, keys
from holdfast.store.view import people_view

MOVABLE = (Desired.STARTED, Desired.STOPPED)


async def enter_maintenance(
    store: Store, actor: Actor, node_id: str, *, bring_back: bool = True, force: bool = False
) -> Outcome:
    """Free a node: its instances are moved off, none is placed there until `exit_maintenance`. `bring_back`: then they
    return. What cannot leave is named in warnings, before anything moves. `force`: also where the rest of the cluster
    survives less than it is to."""

    async def operation(draft: Draft) -> str:
        checks.node(draft, node_id)
        key = keys.maintenance(node_id)
        if await draft.read(key, Maintenance) is not None:
            raise Conflict(
                f"node `{node_id}` is in maintenance already",
                f"See how far it is: holdfast node maintenance status {node_id}.",
            )
        for warning in await _hindrances(draft, node_id):
            draft.warn(warning)
        placed = await _placed(draft, node_id)
        # What a former maintenance has not brought back yet belongs to this one.
        pending = await draft.read(keys.bring_back(node_id), BringBack)
        if pending is not None:
            draft.delete(keys.bring_back(node_id))
        draft.put(key, Maintenance(actor.name, bring_back, pending.instances if pending else ()))
        draft.data["instances"] = [instance.id for instance in placed]
        await admit(draft, force=force)
        return f"node {node_id} is in maintenance; {_counted(placed)} to be moved off"

    return await transact(store, actor, operation)


def _counted(instances: Sequence[InstanceSpec]) -> str:
    return "1 instance is" if len(instances) == 1 else f"{len(instances)} instances are"


async def _placed(draft: Draft, node_id: str) -> list[InstanceSpec]:
    """What the manager will move off the node."""
    found = []
    for entry in (await draft.store.list(keys.PLACEMENTS)).entries:
        placement = codec.decode(entry.value, Placement, entry.key)
        spec = draft.instances.get(entry.key.removeprefix(keys.PLACEMENTS))
        if placement.node == node_id and spec is not None and spec.desired in MOVABLE:
            found.append(spec)
    return found


async def _hindrances(draft: Draft, node_id: str) -> list[str]:
    """Why something will not leave the node."""
    records, _ = await draft.before_and_after()
    view = people_view(records, draft.revision, 0.0)
    found = await asyncio.to_thread(planning.precheck, view, node_id, 0.0)
    texts = [f"`{name}` stays where it is: {why}." for name, why in found.stays.items()]
    if view.pause is not None:
        texts.append(planning.PAUSED)
    return texts


async def exit_maintenance(store: Store, actor: Actor, node_id: str, *, bring_back: bool | None = None) -> Outcome:
    """End it, at any time. `bring_back`: other than what was said at its begin."""

    async def operation(draft: Draft) -> str:
        return await end_maintenance(draft, node_id, bring_back=bring_back)

    return await transact(store, actor, operation)


async def end_maintenance(draft: Draft, node_id: str, *, bring_back: bool | None = None) -> str:
    """The same as a part of an operation."""
    checks.node(draft, node_id)
    key = keys.maintenance(node_id)
    request = await draft.read(key, Maintenance)
    if request is None:
        raise Conflict(f"node `{node_id}` is not in maintenance", "There is nothing to end.")
    draft.delete(key)
    returns = request.bring_back if bring_back is None else bring_back
    if not returns or not request.moved:
        return f"the maintenance of node {node_id} is over"
    await draft.fetch(keys.bring_back(node_id))
    draft.put(keys.bring_back(node_id), BringBack(request.moved))
    draft.data["instances"] = list(request.moved)
    return f"the maintenance of node {node_id} is over; what was moved off returns: {', '.join(request.moved)}"


async def return_node(store: Store, actor: Actor, node_id: str) -> Outcome:
    """End a node's quarantine and forget its failures."""

    async def operation(draft: Draft) -> str:
        checks.node(draft, node_id)
        health = await draft.read(keys.health(node_id), NodeHealth)
        if health is None or not health.quarantined:
            raise Conflict(f"node `{node_id}` is not in quarantine", "It may carry instances as soon as it is up.")
        draft.delete(keys.health(node_id))
        return f"node {node_id} is out of quarantine"

    return await transact(store, actor, operation)


async def pause(store: Store, actor: Actor, *, mode: str = "freeze", reason: str = "") -> Outcome:
    """Fence, claim, place and move nothing until `resume`. Nodes that acknowledge it also go on without the store."""
    if mode not in list(PauseMode):
        raise InvalidInput(f"there is no pause mode `{mode}`", f"Choose from {', '.join(PauseMode)}.")

    async def operation(draft: Draft) -> str:
        old = draft.spec(keys.PAUSE, HaPause)
        if old is not None and old.mode == mode:
            raise Conflict(
                f"high availability is paused already, by {old.operator or 'somebody'}", "End it: holdfast ha resume."
            )
        draft.put(keys.PAUSE, HaPause(PauseMode(mode), actor.name, reason, SystemClock().wall()))
        draft.warn("Nothing is recovered while high availability is paused. End it with `holdfast ha resume`.")
        return f"high availability is paused (mode {mode})"

    return await transact(store, actor, operation)


async def resume(store: Store, actor: Actor) -> Outcome:
    """End the pause."""

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.PAUSE, HaPause) is None:
            raise Conflict("high availability is not paused", "There is nothing to end.")
        draft.delete(keys.PAUSE)
        for name in sorted(draft.nodes):
            if await checks.node_state(draft, name) is NodeState.SUSPECT:
                draft.warn(
                    f"`{name}` is suspect. If it acknowledged the pause, time alone proves nothing about it: without power "
                    f"fencing its instances wait for `holdfast node confirm-dead {name}`."
                )
        return "high availability goes on"

    return await transact(store, actor, operation)
