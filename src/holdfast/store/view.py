"""From the store's records to the View that the core decides and plans with.

What records cannot tell (what observers report, how old things are) is added by who observes it: the manager
(`manager/observe.py`). People's questions are answered from the same records and the leading manager's word (`people_view`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from holdfast.core.history import ManagerView
from holdfast.core.model import (
    Beat,
    ClusterSpec,
    DeathConfirmation,
    Fence,
    InstanceSpec,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    ServiceSpec,
)
from holdfast.core.observers import MANAGEMENT, Suspicion
from holdfast.core.policy import (
    BringBack,
    ComputeSpec,
    HaPause,
    InstanceLock,
    Maintenance,
    NodeHealth,
    RuleSpec,
    SwitchedOff,
)
from holdfast.core.restored import Restored
from holdfast.core.timing import Timing, profile
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.errors import StoreError
from holdfast.ports import Entry
from holdfast.store import keys
from holdfast.store.codec import decode

T = TypeVar("T")


class Source(Protocol):
    """Records of the store at one moment."""

    def read(self, key: str, kind: type[T]) -> T | None:
        """The decoded value; None if there is none."""
        ...

    def revision_of(self, key: str) -> int:
        """The key's mod_revision; 0 if there is none."""
        ...

    def keys_below(self, prefix: str) -> Iterable[str]:
        """Keys under a prefix, sorted."""
        ...


class Listing:
    """Entries as they were listed."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    def read(self, key: str, kind: type[T]) -> T | None:
        entry = self._entries.get(key)
        return None if entry is None else decode(entry.value, kind, key)

    def revision_of(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.mod_revision if entry else 0

    def keys_below(self, prefix: str) -> Iterable[str]:
        return sorted(key for key in self._entries if key.startswith(prefix))


def said(source: Source, key: str, kind: type[T]) -> T | None:
    """What an agent wrote. A word that cannot be read (by an agent of another version) counts as not said: then one node or
    instance is not judged, and all others are. What managers and operators wrote must be readable: to decide without it
    could place an instance twice."""
    try:
        return source.read(key, kind)
    except StoreError:
        return None


def all_said(source: Source, prefix: str, kind: type[T]) -> dict[str, T]:
    """Last part of the key → value, of everything below a prefix that can be read: for what nothing is decided by."""
    found = {keys.last_part(key): said(source, key, kind) for key in source.keys_below(prefix)}
    return {name: value for name, value in found.items() if value is not None}


def timing_of(source: Source) -> Timing:
    cluster = source.read(keys.CLUSTER, ClusterSpec)
    return profile(cluster.profile if cluster else "default")


def node_view(source: Source, name: str) -> NodeView | None:
    """A node by its records alone; None if it is no member."""
    spec, fence = source.read(keys.node_spec(name), NodeSpec), source.read(keys.fence(name), Fence)
    if spec is None or fence is None:
        return None
    compute = source.read(keys.COMPUTE, ComputeSpec)
    reserving = compute if compute is not None and name in compute.nodes else ComputeSpec((), reserve_memory_mib=0)
    return NodeView(
        spec=spec,
        fence=fence,
        fence_revision=source.revision_of(keys.fence(name)),
        beat=said(source, keys.beat(name), Beat),
        beat_revision=source.revision_of(keys.beat(name)),
        confirmation=source.read(keys.death_confirmation(name), DeathConfirmation),
        maintenance=source.read(keys.maintenance(name), Maintenance),
        maintenance_revision=source.revision_of(keys.maintenance(name)),
        bring_back=source.read(keys.bring_back(name), BringBack),
        bring_back_revision=source.revision_of(keys.bring_back(name)),
        health=source.read(keys.health(name), NodeHealth),
        health_revision=source.revision_of(keys.health(name)),
        switched_off=source.read(keys.switched_off(name), SwitchedOff),
        reserve_cpu=reserving.reserve_cpu,
        reserve_memory_mib=reserving.reserve_memory_mib,
    )


def to_be_removed(service: ServiceSpec, instance: str) -> bool:
    """Its operator has deleted the whole service (`deleting`), or taken this part from it (`leaving`): it is stopped and
    then forgotten."""
    return bool(service.config.get("deleting")) or instance in service.config.get("leaving", ())


def instance_view(source: Source, key: str, *, placed_at: float = float("-inf")) -> InstanceView:
    """An instance by its records alone; `placed_at` is the observer's."""
    spec = source.read(key, InstanceSpec)
    assert spec is not None
    service = source.read(keys.service(spec.kind, spec.service), ServiceSpec)
    placement = source.read(keys.placement(spec.id), Placement)
    return InstanceView(
        spec=spec,
        spec_revision=source.revision_of(key),
        deleting=service is not None and to_be_removed(service, spec.id),
        placement=placement,
        placement_revision=source.revision_of(keys.placement(spec.id)),
        status=_status(source, spec.id, placement),
        move=source.read(keys.move(spec.id), MoveRequest),
        move_revision=source.revision_of(keys.move(spec.id)),
        status_revision=source.revision_of(keys.status(spec.id)),
        placed_at=placed_at,
        lock=source.read(keys.lock(spec.id), InstanceLock),
    )


def _status(source: Source, instance: str, placement: Placement | None) -> InstanceStatus | None:
    """What the agent said, if it is the word of its present run: an earlier one says nothing about now."""
    status = said(source, keys.status(instance), InstanceStatus)
    beat = said(source, keys.beat(placement.node), Beat) if placement else None
    return status if status and beat and status.session == beat.session else None


def rules(source: Source) -> tuple[RuleSpec, ...]:
    """In the order of their ids."""
    read = (source.read(key, RuleSpec) for key in source.keys_below(keys.RULES))
    return tuple(sorted((rule for rule in read if rule is not None), key=lambda rule: rule.id))


def view_of(
    source: Source, revision: int, nodes: Mapping[str, NodeView], instances: Mapping[str, InstanceView]
) -> View:
    """These nodes and instances with what the store says of the whole cluster."""
    restored = source.read(keys.RESTORED, Restored)
    return View(
        timing_of(source),
        revision,
        nodes,
        instances,
        pause=source.read(keys.PAUSE, HaPause),
        rules=rules(source),
        compute=source.read(keys.COMPUTE, ComputeSpec),
        epoch_floor=restored.epoch_floor if restored else 0,
    )


def people_view(source: Source, revision: int, now: float) -> View:
    """The View of somebody who observes nothing: every beat counts as fresh at `now`, unless the leading manager says that
    the node is suspect. For plans and explanations, never for a decision."""
    said = source.read(keys.MANAGER_VIEW, ManagerView)
    nodes = {}
    for key in source.keys_below(keys.NODE_SPECS):
        node = node_view(source, keys.last_part(key))
        if node is not None:
            nodes[node.id] = _as_said(replace(node, beat_seen_at=now), said, now)
    instances = {}
    for key in source.keys_below(keys.INSTANCES):
        instance = instance_view(source, key)
        instances[instance.id] = instance
    return view_of(source, revision, nodes, instances)


def _as_said(node: NodeView, said: ManagerView | None, now: float) -> NodeView:
    if said is None:
        return node
    missed = said.nodes.get(node.id) is NodeState.SUSPECT
    return replace(
        node,
        suspicion=Suspicion(now, (), MANAGEMENT) if missed else None,
        lost_networks=said.lost_networks.get(node.id, ()),
    )
