"""Which nodes may carry an instance by the hard rules, judged anew and slowly from the records alone (INV-4, LIVE-1)."""

from typing import TYPE_CHECKING

from holdfast.core.policy import RuleKind, RuleSpec

if TYPE_CHECKING:
    from holdfast.sim.history import History


def why_not(history: "History", instance: str, node: str) -> str:
    """Which hard rule forbids the instance on this node, given where the others are placed; "" if none does."""
    spec, target = history.instances.get(instance), history.nodes.get(node)
    if spec is None or target is None:
        return "there is no such instance or node"
    if spec.role not in target.roles:
        return f"the node has no role {spec.role}"
    if spec.nodes and node not in spec.nodes:
        return "it is not one of its nodes"
    return _room(history, instance, node) or next(
        (text for rule in history.rules.values() if rule.strict and (text := _breaks(history, rule, instance, node))),
        "",
    )


def _room(history: "History", instance: str, node: str) -> str:
    spec, beat = history.instances[instance], history.beats.get(node)
    if beat is None:
        return "the node never said what it has"
    there = [
        history.instances[name]
        for name in history.placements
        if name != instance
        and name in history.instances
        and (p := history.running(name)) is not None
        and p.node == node
    ]
    memory = sum(other.memory_mib for other in there) + spec.memory_mib
    cpu = sum(other.cpu for other in there) + spec.cpu
    if spec.memory_mib and memory > beat.memory_mib:
        return f"{memory} MiB would be used of {beat.memory_mib}"
    if spec.cpu and cpu > beat.cpu + 1e-9:
        return f"{cpu:g} cores would be used of {beat.cpu:g}"
    return ""


def _breaks(history: "History", rule: RuleSpec, instance: str, node: str) -> str:
    if instance not in rule.instances:
        return ""
    if rule.kind is RuleKind.NODE_AFFINITY:
        return "" if node in rule.nodes else f"rule {rule.id} names other nodes"
    others = {name: p for name in rule.instances if name != instance and (p := history.running(name)) is not None}
    if rule.kind is RuleKind.ANTI_AFFINITY:
        clash = sorted(name for name, p in others.items() if node in (p.node, p.migrate_to))
        return f"rule {rule.id} keeps it apart from {', '.join(clash)}" if clash else ""
    # A group moves live, or is gathered, one after another: it has to be brought nearer to somebody of it.
    together = any(node in (p.node, p.migrate_to) for p in others.values())
    return f"rule {rule.id} keeps it with {', '.join(sorted(others))}" if others and not together else ""
