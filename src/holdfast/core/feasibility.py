"""Which placement rules contradict each other so that no placement whatsoever could satisfy them.

Exact for contradictions within a group and for each rule of anti-affinity by itself; not for what several rules of
anti-affinity together demand of few nodes (that is graph colouring): there the last instance simply finds no node.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from holdfast.core.groups import Group, by_id, domain_of, grouped
from holdfast.core.model import InstanceSpec, NodeSpec
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.core.tiers import before, cycle

Specs = Mapping[str, InstanceSpec]
Nodes = Mapping[str, NodeSpec]

_SHOWN = 6
"""So many names are listed in a sentence; the others are counted."""


def infeasible(rules: Iterable[RuleSpec], specs: Specs, nodes: Nodes) -> dict[str, str]:
    """Rule id → one sentence: why no placement could satisfy it together with the others. Names of instances and nodes that
    do not exist make no rule infeasible (see `notes`)."""
    ordered = by_id(rules)
    groups = grouped(ordered, specs, nodes)
    found: dict[str, str] = {}
    for ids, sentence in (
        *_without_nodes(ordered),
        *_joined_and_apart(ordered, groups),
        *_disjoint(ordered, groups, specs),
        *_crowded(ordered, groups, specs, nodes),
        *_circular(ordered, strict=True),
    ):
        for rule_id in ids:
            found.setdefault(rule_id, sentence)
    return found


def notes(rules: Iterable[RuleSpec], specs: Specs, nodes: Nodes) -> dict[str, str]:
    """Rule id → one sentence for people: it names instances or nodes that do not exist (any more, or yet)."""
    found = {}
    for rule in by_id(rules):
        unknown = [name for name in dict.fromkeys((*rule.instances, *rule.after)) if name not in specs]
        unknown += [name for name in rule.nodes if name not in nodes]
        if unknown:
            found[rule.id] = f"names {_names(unknown)}, which {'do' if len(unknown) > 1 else 'does'} not exist"
    return found


def validate_rule(new: RuleSpec, existing: Iterable[RuleSpec], specs: Specs, nodes: Nodes) -> tuple[str, ...]:
    """Why this rule must be refused, one sentence each; empty: it may be stored, in the place of one with the same id. Rules
    that were infeasible before are not held against it."""
    malformed = tuple(_malformed(new))
    if malformed:
        return malformed
    others = [rule for rule in existing if rule.id != new.id]
    old = infeasible(others, specs, nodes)
    found = infeasible([*others, new], specs, nodes)
    sentences = [sentence for rule_id, sentence in found.items() if rule_id not in old]
    if not sentences and new.kind is RuleKind.START_ORDER and not cycle(before(others), strict=False):
        sentences += [sentence for _, sentence in _circular([*others, new], strict=False)]
    return tuple(dict.fromkeys(sentences))


_Finding = tuple[tuple[str, ...], str]
"""Ids of the rules that contradict each other, and how."""


def _malformed(rule: RuleSpec) -> Iterable[str]:
    if not rule.id:
        yield "a rule needs an id"
    for name in dict.fromkeys(rule.instances):
        if rule.instances.count(name) > 1:
            yield f"rule {rule.id} names {name} twice"
    if rule.after and rule.kind is not RuleKind.START_ORDER:
        yield f"rule {rule.id} of kind {rule.kind} has no `after`: use {RuleKind.START_ORDER} for it"
    if rule.by is not Scope.NODE and rule.kind is not RuleKind.ANTI_AFFINITY:
        yield f"rule {rule.id} of kind {rule.kind} has no `by`: only {RuleKind.ANTI_AFFINITY} is about failure domains"
    if rule.kind in (RuleKind.NODE_AFFINITY, RuleKind.START_ORDER) and not rule.instances:
        yield f"rule {rule.id} names no instance"
    if rule.kind is RuleKind.START_ORDER:
        if not rule.after:
            yield f"rule {rule.id} names nobody after whom to start"
        if rule.nodes:
            yield f"rule {rule.id} of kind {rule.kind} cannot name nodes: use {RuleKind.NODE_AFFINITY} for them"
    elif rule.kind is RuleKind.NODE_AFFINITY:
        if not rule.nodes:
            yield f"rule {rule.id} names no node"
    else:
        if len(set(rule.instances)) < 2:
            yield f"rule {rule.id} needs two instances or more"
        if rule.nodes:
            yield f"rule {rule.id} of kind {rule.kind} cannot name nodes: use {RuleKind.NODE_AFFINITY} for them"


def _without_nodes(rules: list[RuleSpec]) -> Iterable[_Finding]:
    for rule in rules:
        if rule.kind is RuleKind.NODE_AFFINITY and rule.strict and not rule.nodes:
            yield (rule.id,), f"rule {rule.id} names no node, so {_names(sorted(rule.instances))} could run nowhere"


def _joined_and_apart(rules: list[RuleSpec], groups: Mapping[str, Group]) -> Iterable[_Finding]:
    for rule in rules:
        if rule.kind is not RuleKind.ANTI_AFFINITY or not rule.strict:
            continue
        first: dict[tuple[str, ...], str] = {}
        for name in sorted(set(rule.instances)):
            members = groups[name].members
            other = first.setdefault(members, name)
            if other != name:
                joining = _joining(rules, members)
                yield (
                    (rule.id, *joining),
                    f"{_names((other, name))} must share a node ({_rules(joining)}) and must not ({_rules((rule.id,))})",
                )


def _disjoint(rules: list[RuleSpec], groups: Mapping[str, Group], specs: Specs) -> Iterable[_Finding]:
    """Lists of permitted nodes without a common one: of one instance, else within its group."""
    naming: dict[str, list[RuleSpec]] = {}
    for rule in rules:
        if rule.kind is RuleKind.NODE_AFFINITY and rule.strict and rule.nodes:
            for name in sorted(set(rule.instances)):
                naming.setdefault(name, []).append(rule)
    for group in dict.fromkeys(group.members for group in groups.values()):
        lists = groups[group[0]].permitted
        if not lists or frozenset.intersection(*lists.values()):
            continue
        for name in group:
            own = {rule.id: frozenset(rule.nodes) for rule in naming.get(name, [])}
            spec = specs.get(name)
            listed = (frozenset(spec.nodes),) if spec and spec.nodes else ()
            if own and not frozenset.intersection(*own.values(), *listed):
                yield tuple(own), f"{name} may run on no node: {_lists(lists, (*(f'rule {i}' for i in own), name))}"
                break
        else:
            joining = _joining(rules, group)
            binding = dict.fromkeys(rule.id for name in group for rule in naming.get(name, []))
            yield (
                (*joining, *binding),
                f"{_names(group)} must share a node ({_rules(joining)}), but no node is permitted to all of them: "
                f"{_lists(lists, lists)}",
            )


def _crowded(rules: list[RuleSpec], groups: Mapping[str, Group], specs: Specs, nodes: Nodes) -> Iterable[_Finding]:
    """More instances to be kept apart than there are nodes, or failure domains, for them."""
    eligible = _Eligible(specs, nodes)
    for rule in rules:
        if rule.kind is not RuleKind.ANTI_AFFINITY or not rule.strict:
            continue
        # One instance per group: two of one group are another contradiction.
        named = {groups[name].members: name for name in sorted(rule.instances, reverse=True) if name in specs}
        by_domain = rule.by is Scope.DOMAIN
        choices: dict[str, Collection[str]] = {name: eligible.nodes_of(groups[name]) for name in named.values()}
        if by_domain:
            choices = {name: {domain_of(node, nodes) for node in able} for name, able in choices.items()}
        crowd = crowded(choices)
        if crowd is not None:
            instances, places = crowd
            where = f"only {'in' if by_domain else 'on'} {_names(places)}" if places else "nowhere"
            what = "in different failure domains" if by_domain else "on different nodes"
            yield (
                (rule.id,),
                f"{_names(instances)} must run {what} ({_rules((rule.id,))}), but may run {where}",
            )


def _circular(rules: list[RuleSpec], *, strict: bool) -> Iterable[_Finding]:
    """Instances that wait for each other."""
    left = [rule for rule in rules if rule.kind is RuleKind.START_ORDER and (rule.strict or not strict)]
    while circle := cycle(before(left), strict=strict):
        pairs = list(pairwise(circle))
        ids = [rule.id for rule in left if any(a in rule.instances and b in rule.after for a, b in pairs)]
        yield tuple(ids), f"{_names(circle[:-1])} would wait for each other ({_rules(ids)})"
        left = [rule for rule in left if rule.id not in ids]


class _Eligible:
    """Nodes that a group may use as far as lists and roles say, including listed ones that do not exist yet."""

    def __init__(self, specs: Specs, nodes: Nodes) -> None:
        self._specs = specs
        self._nodes = nodes
        self._by_roles: dict[frozenset[str], frozenset[str]] = {}

    def nodes_of(self, group: Group) -> frozenset[str]:
        capable = self._capable(frozenset(self._specs[name].role for name in group.members if name in self._specs))
        if not group.permitted:
            return capable
        listed = frozenset.intersection(*group.permitted.values())
        return frozenset(node for node in listed if node in capable or node not in self._nodes)

    def _capable(self, roles: frozenset[str]) -> frozenset[str]:
        if roles not in self._by_roles:
            self._by_roles[roles] = frozenset(name for name, node in self._nodes.items() if roles <= set(node.roles))
        return self._by_roles[roles]


def crowded(choices: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Instances that have fewer nodes to choose from than there are of them, and those nodes; None if all can have a node of
    their own (maximum bipartite matching by augmenting paths)."""
    # Whoever has as many choices as there are instances finds one in any case.
    narrow = {name: sorted(nodes) for name, nodes in sorted(choices.items()) if len(nodes) < len(choices)}
    taken: dict[str, str] = {}
    has: dict[str, str] = {}
    for start in narrow:
        asked_by: dict[str, str] = {}
        asking = [start]
        free = ""
        for name in asking:
            for node in narrow[name]:
                if node not in asked_by:
                    asked_by[node] = name
                    if node not in taken:
                        free = node
                        break
                    asking.append(taken[node])
            if free:
                break
        if not free:
            return tuple(sorted(asking)), tuple(sorted(asked_by))
        while free:
            name = asked_by[free]
            taken[free] = name
            has[name], free = free, has.get(name, "")
    return None


def _joining(rules: list[RuleSpec], members: Collection[str]) -> tuple[str, ...]:
    return tuple(
        rule.id
        for rule in rules
        if rule.kind is RuleKind.AFFINITY and rule.strict and not set(members).isdisjoint(rule.instances)
    )


def _lists(lists: Mapping[str, frozenset[str]], whose: Iterable[str]) -> str:
    return ", ".join(f"{_names(sorted(lists[name]))} by {_list_name(name)}" for name in whose if name in lists)


def _list_name(whose: str) -> str:
    return whose if whose.startswith("rule ") else f"the list of {whose}"


def _rules(ids: Collection[str]) -> str:
    return f"rule {next(iter(ids))}" if len(ids) == 1 else f"rules {_names(ids)}"


def _names(names: Collection[str]) -> str:
    shown = list(names)[:_SHOWN]
    if len(names) > _SHOWN:
        shown.append(f"{len(names) - _SHOWN} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
