"""Where an instance may run and where it should: hard rules first, then the most free resources.

The small planner of the spine; issue 4 replaces `choose` by the whole one behind the same two functions.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from holdfast.core.groups import Where
from holdfast.core.model import Exclusivity, InstanceSpec
from holdfast.core.rules import NO_RULES, Rules, compile_rules
from holdfast.core.timing import Timing
from holdfast.core.view import InstanceView, NodeView, View

NOWHERE: Where = {}


@dataclass(frozen=True, slots=True)
class Load:
    """What is already placed on a node."""

    instances: int = 0
    cpu: float = 0.0
    memory_mib: int = 0


def load_of(instances: Iterable[InstanceView], where: Where | None = None) -> dict[str, Load]:
    """Node → sum over the instances that may run there, or, without `where`, whose placement names it."""
    loads: dict[str, Load] = {}
    for instance in instances:
        if instance.placement is not None:
            old = loads.get(instance.placement.node, Load())
            loads[instance.placement.node] = Load(
                old.instances + 1, old.cpu + instance.spec.cpu, old.memory_mib + instance.spec.memory_mib
            )
    return loads


def refusal(
    spec: InstanceSpec, node: NodeView, load: Load, timing: Timing, now: float, *, staying: bool = False
) -> str:
    """Why this node may not carry the instance; "" if it may. Hard rules (INV-4). `staying`: it runs there already."""
    if not node.up(timing, now):
        return f"is {node.state(timing, now)}"
    closed = node.drain_reason if staying else node.closed_reason
    if closed:
        return closed
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
    tried: Collection[str] = (),
    rules: Rules = NO_RULES,
    where: Where = NOWHERE,
    leaving: Collection[str] = (),
    moving: bool = False,
) -> Choice:
    """The best of the nodes that hard rules permit, in this order: `wanted`; not `avoid` and not `tried` (only if there is
    no other); preferred by node affinity; preferred by (anti-)affinity; most memory free, then cpu; fewest instances;
    lowest name.

    A group of strict affinity that runs nowhere goes only where all its members that are to run fit together. If members
    run, the instance joins them or waits. Members in `leaving` (their placement says stop, so that they can be placed anew)
    are waited for. `moving` asks for the whole group instead, wherever its members are: may it move, and where to? Leave
    out of `nodes` what it is to leave.
    """
    reasons: dict[str, str] = {}
    best: tuple[tuple[bool, bool, bool, int, int, str], str] | None = None
    for node in nodes.values():
        load = loads.get(node.id, Load())
        reason = refusal(spec, node, load, timing, now)
        if reason:
            reasons[node.id] = reason
            continue
        assert node.beat is not None
        free = node.beat.memory_mib - load.memory_mib if spec.memory_mib else 0
        rank = (node.id != wanted, node.id == avoid, not node.well(timing, now), -free, load.instances, node.id)
        if best is None or rank < best[0]:
            best = (rank, node.id)
    return Choice(best[1] if best else "", reasons)


def rules_of(view: View) -> Rules:
    """The view's rules, compiled (once for as long as rules, instances named by them, and nodes stay the same)."""
    if not view.rules:
        return NO_RULES
    return compile_rules(
        view.rules,
        {name: instance.spec for name, instance in view.instances.items()},
        {name: node.spec for name, node in view.nodes.items()},
    )


def placement_order(specs: Iterable[InstanceSpec], rules: Rules) -> list[InstanceSpec]:
    """Highest priority first; a group of strict affinity stands together, at its highest priority, so that nobody takes the
    room between its members that the choice for the first of them counted on."""
    return sorted(specs, key=lambda spec: (-spec.priority, spec.id))


def misplaced(
    spec: InstanceSpec,
    node: str,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    rules: Rules,
    where: Where,
) -> str:
    """Why an instance that runs on `node` must leave it because of a strict rule (laid down after it was placed); "" to
    stay. Ask `choose(moving=True)` without `node` where to. Of two that must not share a node only one is told to leave."""
    return ""


def better_node(
    spec: InstanceSpec,
    node: str,
    nodes: Mapping[str, NodeView],
    loads: Mapping[str, Load],
    timing: Timing,
    now: float,
    *,
    tried: Collection[str] = (),
    rules: Rules,
    where: Where,
) -> str:
    """Failback: a node that the rules rank strictly higher than `node`, where it runs, and that takes it (and its whole
    group) now; "" to stay. All members of a group get the same answer; none is moved unless all have `failback`."""
    return ""


def moves_without_claim(spec: InstanceSpec) -> bool:
    """Two copies are only a nuisance: a quorum of observers is enough to move it."""
    return spec.exclusivity is not Exclusivity.STRICT
