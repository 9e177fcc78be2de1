"""Which task follows a change: read from what the change writes, so that no operation needs to say it."""

from collections.abc import Iterator, Mapping

from holdfast.api.task_model import Aim, Goal
from holdfast.core.model import (
    Desired,
    InstanceSpec,
    ManagementSpec,
    MoveRequest,
    NodeSpec,
    Placement,
    ServiceSpec,
)
from holdfast.core.policy import BringBack
from holdfast.ports import Op, Put
from holdfast.store import codec, keys
from holdfast.store.view import Listing, to_be_removed

_KINDS: tuple[tuple[Aim, str], ...] = (
    (Aim.FREED, "maintenance"),
    (Aim.RETURNED, "return"),
    (Aim.JOINED, "join"),
    (Aim.CLAIMED, "confirm"),
    (Aim.MANAGED, "ha"),
    (Aim.PAUSED, "pause"),
    (Aim.RESUMED, "resume"),
    (Aim.GONE, "delete"),
    (Aim.MOVED, "move"),
    (Aim.STOPPED, "stop"),
    (Aim.RUNS, "start"),
)
"""The first aim that is among a task's goals names its kind."""


def goals_of(before: Listing, ops: Mapping[str, Op]) -> tuple[Goal, ...]:
    """What is to come true after these writes. `before`: what is known of the records they change, and of the placements of
    what is to move."""
    return tuple(goal for key, op in sorted(ops.items()) for goal in _goals(before, ops, key, op))


def kind_of(before: Listing, goals: tuple[Goal, ...]) -> str:
    """The task's kind; `create` where an instance is to run that was not there."""
    aims = {goal.aim for goal in goals}
    if any(goal.aim is Aim.RUNS and not before.revision_of(keys.instance(goal.subject)) for goal in goals):
        return "create"
    return next(kind for aim, kind in _KINDS if aim in aims)


def _goals(before: Listing, ops: Mapping[str, Op], key: str, op: Op) -> Iterator[Goal]:
    new = op.value if isinstance(op, Put) else None
    if key == keys.PAUSE:
        yield Goal(Aim.RESUMED if new is None else Aim.PAUSED)
    elif new is None:
        return
    elif key == keys.MANAGEMENT:
        old_plane, plane = before.read(key, ManagementSpec), codec.decode(new, ManagementSpec, key)
        if old_plane is None or (old_plane.nodes, old_plane.virtual_ip) != (plane.nodes, plane.virtual_ip):
            yield Goal(Aim.MANAGED)
    elif key.startswith(keys.INSTANCES):
        yield from _instance(before, ops, key, codec.decode(new, InstanceSpec, key))
    elif key.startswith(keys.MOVES):
        yield from _move(before, key.removeprefix(keys.MOVES), codec.decode(new, MoveRequest, key))
    elif key.startswith(keys.MAINTENANCE):
        yield Goal(Aim.FREED, keys.last_part(key))
    elif key.startswith(keys.BRING_BACK):
        node = keys.last_part(key)
        yield from (Goal(Aim.RETURNED, one, node) for one in codec.decode(new, BringBack, key).instances)
    elif key.startswith(keys.NODE_SPECS):
        if before.read(key, NodeSpec) is None:
            yield Goal(Aim.JOINED, keys.last_part(key))
    elif key.startswith(keys.NODES) and key == keys.death_confirmation(keys.node_of(key)):
        yield Goal(Aim.CLAIMED, keys.node_of(key))


def _instance(before: Listing, ops: Mapping[str, Op], key: str, new: InstanceSpec) -> Iterator[Goal]:
    old = before.read(key, InstanceSpec)
    if new.kind == "panel":
        return  # where it is belongs to the management plane
    if _leaves(before, ops, new):
        yield Goal(Aim.GONE, new.id)
    elif new.desired is Desired.STARTED and (old is None or old.desired is not Desired.STARTED):
        yield Goal(Aim.RUNS, new.id)
    elif new.desired in (Desired.STOPPED, Desired.DISABLED) and old is not None and old.desired is Desired.STARTED:
        yield Goal(Aim.STOPPED, new.id)


def _leaves(before: Listing, ops: Mapping[str, Op], spec: InstanceSpec) -> bool:
    key = keys.service(spec.kind, spec.service)
    op = ops.get(key)
    service = codec.decode(op.value, ServiceSpec, key) if isinstance(op, Put) else before.read(key, ServiceSpec)
    return service is not None and to_be_removed(service, spec.id)


def _move(before: Listing, instance: str, request: MoveRequest) -> Iterator[Goal]:
    if before.read(keys.instance(instance), InstanceSpec) is None:
        return  # a wish where a new instance is to start
    placement = before.read(keys.placement(instance), Placement)
    yield Goal(Aim.MOVED, instance, request.node, placement.node if placement else "")
