"""What operators and the manager ask of this node as a whole, as the store's mirror has it. May be old: nothing here is a
reason to believe that the node may run something."""

from collections.abc import Callable, Iterator
from typing import Protocol

from holdfast.core.model import (
    Beat,
    ClusterSpec,
    Desired,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    ShutdownPolicy,
)
from holdfast.core.view import is_member
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.mirror import Mirror


class Orders(Protocol):
    def paused(self) -> bool:
        """High availability is paused."""
        ...

    def shutdown_policy(self) -> ShutdownPolicy:
        """What is to become of the instances of a node that is shut down."""
        ...

    def to_be_moved(self) -> bool:
        """Something that is placed here has not stopped yet, and another node could take it."""
        ...


class NoOrders:
    """Nothing is asked."""

    def paused(self) -> bool:
        return False

    def shutdown_policy(self) -> ShutdownPolicy:
        return ShutdownPolicy.FAILOVER

    def to_be_moved(self) -> bool:
        return False


class MirrorOrders:
    """`fence_epoch()`: the epoch this node acknowledges."""

    def __init__(self, mirror: Mirror, node: str, fence_epoch: Callable[[], int]) -> None:
        self._mirror = mirror
        self._node = node
        self._fence_epoch = fence_epoch

    def paused(self) -> bool:
        return keys.PAUSE in self._mirror.entries

    def shutdown_policy(self) -> ShutdownPolicy:
        value = self._mirror.value(keys.CLUSTER)
        return decode(value, ClusterSpec, keys.CLUSTER).shutdown_policy if value else ShutdownPolicy.FAILOVER

    def to_be_moved(self) -> bool:
        takers = list(self._takers())
        return any(
            spec.role in taker.roles and (not spec.nodes or taker.id in spec.nodes)
            for spec in self._placed_here()
            for taker in takers
        )

    def _placed_here(self) -> Iterator[InstanceSpec]:
        for entry in self._mirror.below(keys.PLACEMENTS):
            placement = decode(entry.value, Placement, entry.key)
            if placement.node != self._node or placement.fence_epoch != self._fence_epoch():
                continue
            instance_id = entry.key.removeprefix(keys.PLACEMENTS)
            value = self._mirror.value(keys.instance(instance_id))
            spec = decode(value, InstanceSpec, keys.instance(instance_id)) if value else None
            if spec and spec.desired == Desired.STARTED and not self._stopped(instance_id, placement):
                yield spec

    def _stopped(self, instance_id: str, placement: Placement) -> bool:
        value = self._mirror.value(keys.status(instance_id))
        if placement.goal is not Goal.STOP or value is None:
            return False
        status = decode(value, InstanceStatus, keys.status(instance_id))
        return status.epoch == placement.epoch and status.state is InstanceState.STOPPED

    def _takers(self) -> Iterator[NodeSpec]:
        """Other members that stay. While a whole site is shut down there soon is none, and nobody waits for the others."""
        for entry in self._mirror.below(keys.NODE_SPECS):
            name = keys.last_part(entry.key)
            beat_value, fence_value = self._mirror.value(keys.beat(name)), self._mirror.value(keys.fence(name))
            if name == self._node or beat_value is None or fence_value is None:
                continue
            beat = decode(beat_value, Beat, keys.beat(name))
            member = is_member(beat, decode(fence_value, Fence, keys.fence(name)))
            if member and not beat.leaving and keys.maintenance(name) not in self._mirror.entries:
                yield decode(entry.value, NodeSpec, entry.key)
