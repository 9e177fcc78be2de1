"""Where an instance may run and where it should: hard rules first, then the most free resources.

The small planner of the spine; issue 4 replaces `choose` by the whole one behind the same two functions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.core.model import Exclusivity, InstanceSpec
from holdfast.core.timing import Timing
from holdfast.core.view import InstanceView, NodeView


@dataclass(frozen=True, slots=True)
class Load:
    """What is already placed on a node."""

    instances: int = 0
    cpu: float = 0.0
    memory_mib: int = 0


def load_of(instances: Iterable[InstanceView]) -> dict[str, Load]:
    """Node → sum over the instances whose placement names it."""
    loads: dict[str, Load] = {}
    for instance in instances:
        if instance.placement is not None:
            old = loads.get(instance.placement.node, Load())
            loads[instance.placement.node] = Load(
                old.instances + 1, old.cpu + instance.spec.cpu, old.memory_mib + instance.spec.memory_mib
            )
    return loads


def refusal(spec: InstanceSpec, node: NodeView, load: Load, timing: Timing, now: float) -> str:
    """Why this node may not carry the instance; "" if it may. Hard rules (INV-4)."""
    if not node.up(timing, now):
        return f"is {node.state(timing, now)}"
    if spec.role not in node.spec.roles:
        return f"does not have the role {spec.role}"
    if spec.nodes and node.id not in spec.nodes:
        return "is not one of its nodes"
    if spec.address is not None and spec.address.network not in node.spec.addresses:
        return f"is not on the network {spec.address.network}"
    if spec.address is not None and spec.address.network in node.lost_networks:
        return f"lost the network {spec.address.network}"
    assert node.beat is not None
    if spec.memory_mib and load.memory_mib + spec.memory_mib > node.beat.memory_mib:
        return f"has only {node.beat.memory_mib - load.memory_mib} MiB of memory left, {spec.memory_mib} MiB are needed"
    if spec.cpu and load.cpu + spec.cpu > node.beat.cpu:
        return f"has only {node.beat.cpu - load.cpu:g} cores left, {spec.cpu:g} are needed"
    return ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A node, or for each node why not."""

    node: str
    reasons: Mapping[str, str]

    def why_not(self) -> str:
        return "; ".join(f"{node} {reason}" for node, reason in sorted(self.reasons.items())) or "there is no node"


def choose(
    spec: InstanceSpec,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    wanted: str = "",
    avoid: str = "",
) -> Choice:
    """The eligible node with the most free memory, then the fewest instances, then the lowest name. `wanted` wins if it is
    eligible; `avoid` is taken only if it is the only one."""
    reasons: dict[str, str] = {}
    best: tuple[tuple[bool, bool, int, int, str], str] | None = None
    for node in nodes.values():
        load = loads.get(node.id, Load())
        reason = refusal(spec, node, load, timing, now)
        if reason:
            reasons[node.id] = reason
            continue
        assert node.beat is not None
        free = node.beat.memory_mib - load.memory_mib if spec.memory_mib else 0
        rank = (node.id != wanted, node.id == avoid, -free, load.instances, node.id)
        if best is None or rank < best[0]:
            best = (rank, node.id)
    return Choice(best[1] if best else "", reasons)


def moves_without_claim(spec: InstanceSpec) -> bool:
    """Two copies are only a nuisance: a quorum of observers is enough to move it."""
    return spec.exclusivity is not Exclusivity.STRICT
