"""Which nodes may carry an instance by the hard rules, judged anew and slowly from the records alone (INV-4, LIVE-1)."""

from typing import TYPE_CHECKING

from holdfast.core.model import Desired, InstanceSpec
from holdfast.core.policy import RuleKind, RuleSpec, Scope

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
    return _room(history, [spec], node) or next(
        (text for rule in history.rules.values() if rule.strict and (text := _breaks(history, rule, instance, node))),
        "",
    )


def why_not_together(history: "History", instance: str, node: str) -> str:
    """Why the instance's group of strict affinity cannot be on this node; "" if it can. A group that does not run on one
    node already comes to one as a whole or not at all; members that are ignored stay where they are."""
    names = _group(history, instance)
    members = [history.instances[name] for name in sorted(names) if name in history.instances]
    refused = next((text for member in members if (text := _listed(history, names, member, node))), "")
    if refused:
        return refused
    places = {member.id: p.node for member in members if (p := history.running(member.id)) is not None}
    if set(places.values()) == {node}:
        return ""
    stay = [m.id for m in members if m.desired is Desired.IGNORED and places.get(m.id, node) != node]
    if stay:
        return f"{', '.join(stay)} stays elsewhere"
    party = [member for member in members if member.desired is Desired.STARTED]
    role = next((member.role for member in party if member.role not in history.nodes[node].roles), "")
    return f"the node has no role {role}" if role else _room(history, party, node)


def waits_for(history: "History", instance: str) -> set[str]:
    """Whom a strict start order lets it wait for, as far as they are to be started at all."""
    order = [r for r in history.rules.values() if r.strict and r.kind is RuleKind.START_ORDER]
    names = {name for rule in order if instance in rule.instances for name in rule.after}
    return {name for name in names if name in history.instances and _to_start(history, name)}


def _to_start(history: "History", instance: str) -> bool:
    return history.instances[instance].desired is Desired.STARTED


def _listed(history: "History", group: set[str], member: InstanceSpec, node: str) -> str:
    """Is the node closed to the whole group because of this member, which need not be one that is to run?"""
    if member.nodes and node not in member.nodes:
        return f"it is not one of the nodes of {member.id}"
    for rule in history.rules.values():
        if rule.strict and member.id in rule.instances:
            if rule.kind is RuleKind.NODE_AFFINITY and node not in rule.nodes:
                return f"rule {rule.id} names other nodes"
            strangers = [name for name in rule.instances if name not in group]
            if rule.kind is RuleKind.ANTI_AFFINITY and any(_near(history, rule, node, name) for name in strangers):
                return f"rule {rule.id} keeps {member.id} away"
    return ""


def together(history: "History", rule: RuleSpec, one: str, other: str) -> bool:
    """Are these nodes one place to this rule of anti-affinity?"""
    if one == other or rule.by is Scope.NODE:
        return one == other
    domains = [history.nodes[name].failure_domain for name in (one, other) if name in history.nodes]
    return len(domains) == 2 and domains[0] == domains[1] != ""


def _near(history: "History", rule: RuleSpec, node: str, other: str) -> bool:
    return any(together(history, rule, node, place) for place in history.places(other))


def _group(history: "History", instance: str) -> set[str]:
    """Everybody whom rules of strict affinity keep with it, directly or through others."""
    group = {instance}
    rules = [rule for rule in history.rules.values() if rule.strict and rule.kind is RuleKind.AFFINITY]
    while True:
        wider = group.union(*(rule.instances for rule in rules if group & set(rule.instances)))
        if wider == group:
            return group
        group = wider


def _room(history: "History", party: list[InstanceSpec], node: str) -> str:
    """Has the node room for all of them, besides everybody else who is there?"""
    beat = history.beats.get(node)
    if beat is None:
        return "the node never said what it has"
    coming = {spec.id for spec in party}
    there = [
        history.instances[name]
        for name in history.placements
        if name not in coming and name in history.instances and node in history.places(name)
    ]
    memory = sum(other.memory_mib for other in (*there, *party))
    cpu = sum(other.cpu for other in (*there, *party))
    if any(spec.memory_mib for spec in party) and memory > beat.memory_mib:
        return f"{memory} MiB would be used of {beat.memory_mib}"
    if any(spec.cpu for spec in party) and cpu > beat.cpu + 1e-9:
        return f"{cpu:g} cores would be used of {beat.cpu:g}"
    for kind, slots in history.nodes[node].slots.items():
        if any(spec.kind == kind for spec in party):
            count = sum(other.kind == kind for other in (*there, *party))
            if count > slots:
                return f"{count} instances of {kind} would be there, {slots} at most are allowed"
    return ""


def _breaks(history: "History", rule: RuleSpec, instance: str, node: str) -> str:
    if instance not in rule.instances or rule.kind is RuleKind.START_ORDER:
        return ""
    if rule.kind is RuleKind.NODE_AFFINITY:
        return "" if node in rule.nodes else f"rule {rule.id} names other nodes"
    others = {name: places for name in rule.instances if name != instance and (places := history.places(name))}
    if rule.kind is RuleKind.ANTI_AFFINITY:
        clash = sorted(name for name in others if _near(history, rule, node, name))
        return f"rule {rule.id} keeps it apart from {', '.join(clash)}" if clash else ""
    # A group moves live, or is gathered, one after another: it has to be brought nearer to somebody of it.
    together = any(node in places for places in others.values())
    return f"rule {rule.id} keeps it with {', '.join(sorted(others))}" if others and not together else ""
