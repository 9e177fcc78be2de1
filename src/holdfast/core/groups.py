"""What the placement rules say of each instance, gathered by group.

Strict affinity is transitive: the instances that it joins form one *group*, which runs on one node, is recovered together
and moved together. So all that is known of an instance here is known of its group; most groups have one member.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.core.model import InstanceSpec, NodeSpec
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.core.tiers import before, ranks

Where = Mapping[str, frozenset[str]]
"""Instance → every node that may execute it now: placed there and neither claimed nor confirmed stopped; both ends of a live
migration. An instance that is nowhere may be left out. Whoever decides a batch adds what is placed."""

Near = Mapping[str, frozenset[str]]
"""Node → all nodes of its failure domain, itself among them. A node that is left out is a domain of its own."""


@dataclass(frozen=True, slots=True)
class Bond:
    """A rule that ties a group to instances outside of it."""

    member: str
    """A member that the rule names."""
    others: Collection[str]
    """Sorted. Shared by all whom the rule names: members of the group itself are among them and do not count."""
    weight: int = 0
    """Of a preference: 1 to be on their node, -1 rather not."""
    near: Near = field(default_factory=dict)
    """Of a rule about failure domains; else empty."""

    def reach(self, places: Collection[str]) -> Collection[str]:
        """Where those who are on these nodes count as being."""
        return {near for node in places for near in self.near.get(node, (node,))} if self.near else places


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that strict affinity keeps on one node, and what the rules say of all of them together."""

    members: tuple[str, ...]
    """Sorted; a single one for an instance without strict affinity."""
    order: tuple[int, int, str] = (0, 0, "")
    """Groups are placed in this order: highest priority of a member, or of whom it keeps waiting, first; then the earlier
    tier of start order; then the name of the first member."""
    permitted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Whose list of nodes (`rule r1`, or an instance with a list of its own) → those nodes. The group keeps to all lists."""
    preferred: tuple[Mapping[str, int], ...] = ()
    """Per rule of node affinity: node → how much it is preferred, from 1 on."""
    apart: tuple[Bond, ...] = ()
    """Whom it must never share a node with, or a failure domain."""
    likes: tuple[Bond, ...] = ()
    """Whom it prefers to be with, or not to be with."""

    def refuses(self, node: str) -> str:
        """Why a list of nodes keeps the group off this node; "" if none does."""
        for whose, nodes in self.permitted.items():
            if node not in nodes:
                return f"is not one of the nodes of {whose}"
        return ""

    def preference(self, node: str) -> int:
        """How much node affinity prefers this node, over all rules; 0 if none names it."""
        return sum(nodes.get(node, 0) for nodes in self.preferred)

    def shunned(self, where: Where) -> dict[str, tuple[str, str]]:
        """Node → (instance that may run there, or in its failure domain; the member that must not share that with it)."""
        nodes: dict[str, tuple[str, str]] = {}
        for bond in self.apart:
            for other in bond.others:
                if other not in self.members:
                    for node in bond.reach(where.get(other, ())):
                        nodes.setdefault(node, (other, bond.member))
        return nodes

    def company(self, where: Where) -> dict[str, int]:
        """Node → how much preferred affinity and anti-affinity speak for it (below 0: against it)."""
        nodes: dict[str, int] = {}
        for bond in self.likes:
            for other in bond.others:
                if other not in self.members:
                    for node in bond.reach(where.get(other, ())):
                        nodes[node] = nodes.get(node, 0) + bond.weight
        return nodes


def by_id(rules: Iterable[RuleSpec]) -> list[RuleSpec]:
    return sorted(rules, key=lambda rule: rule.id)


def joined(rules: Iterable[RuleSpec]) -> dict[str, tuple[str, ...]]:
    """Instance → its group's members, sorted, for every instance that a rule names: the transitive union of the rules of
    strict affinity."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for rule in rules:
        for name in (*rule.instances, *rule.after):
            top = root(name)
            if rule.kind is RuleKind.AFFINITY and rule.strict:
                parent[top] = root(rule.instances[0])
    members: dict[str, list[str]] = {}
    for name in sorted(parent):
        members.setdefault(root(name), []).append(name)
    return {name: group for group in map(tuple, members.values()) for name in group}


def domain_of(node: str, nodes: Mapping[str, NodeSpec]) -> str:
    """The failure domain in words that no other domain and no node has."""
    named = nodes[node].failure_domain if node in nodes else ""
    return f"failure domain {named}" if named else node


def neighbours(nodes: Mapping[str, NodeSpec]) -> Near:
    domains: dict[str, list[str]] = {}
    for name, node in nodes.items():
        if node.failure_domain:
            domains.setdefault(node.failure_domain, []).append(name)
    return {name: near for near in map(frozenset, domains.values()) for name in near}


def grouped(
    rules: Iterable[RuleSpec], specs: Mapping[str, InstanceSpec], nodes: Mapping[str, NodeSpec]
) -> dict[str, Group]:
    """Instance → its group, for every instance that a rule names; also of rules that contradict each other."""
    ordered = by_id(rules)
    near = neighbours(nodes)
    members = joined(ordered)
    drafts = {names: _Draft(names, specs) for names in members.values()}
    for rule in ordered:
        reach = near if rule.by is Scope.DOMAIN else {}
        # Group → a member that the rule names.
        touched: dict[tuple[str, ...], str] = {}
        for name in sorted(rule.instances):
            touched.setdefault(members[name], name)
        if rule.kind is RuleKind.NODE_AFFINITY and rule.nodes:
            least = min(rule.nodes.values())
            preferred = {node: 1 + number - least for node, number in rule.nodes.items()}
            permitted = frozenset(rule.nodes)
            for names in touched:
                drafts[names].preferred.append(preferred)
                if rule.strict:
                    drafts[names].permitted[f"rule {rule.id}"] = permitted
        elif rule.kind is RuleKind.ANTI_AFFINITY and rule.strict:
            others = tuple(sorted(name for names in touched for name in names))
            for names, member in touched.items():
                drafts[names].apart.append(Bond(member, others, near=reach))
        elif rule.kind in (RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY) and not rule.strict:
            liked = tuple(sorted(set(rule.instances)))
            for names, member in touched.items():
                weight = 1 if rule.kind is RuleKind.AFFINITY else -1
                drafts[names].likes.append(Bond(member, liked, weight, reach))
    ranked = ranks(before(ordered), members, {names: draft.priority for names, draft in drafts.items()})
    finished = {names: draft.finish(*ranked[names]) for names, draft in drafts.items()}
    return {name: finished[names] for name, names in members.items()}


class _Draft:
    """A group in the making."""

    def __init__(self, members: tuple[str, ...], specs: Mapping[str, InstanceSpec]) -> None:
        self.members = members
        self.apart: list[Bond] = []
        self.likes: list[Bond] = []
        self.preferred: list[Mapping[str, int]] = []
        known = [specs[name] for name in members if name in specs]
        self.priority = max((spec.priority for spec in known), default=0)
        self.permitted = {spec.id: frozenset(spec.nodes) for spec in known if spec.nodes}

    def finish(self, priority: int, tier: int) -> Group:
        order = (-priority, tier, self.members[0])
        return Group(self.members, order, self.permitted, tuple(self.preferred), tuple(self.apart), tuple(self.likes))
