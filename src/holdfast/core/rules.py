"""The placement rules of one moment, compiled for deciding."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.feasibility import infeasible
from holdfast.core.groups import Group, grouped
from holdfast.core.model import InstanceSpec, NodeSpec
from holdfast.core.policy import RuleSpec
from holdfast.core.tiers import Before, before, ranks


@dataclass(frozen=True, slots=True)
class Rules:
    """What all rules together say, by instance. Made by `compile_rules`."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    """Instance → its group; only instances that some rule names."""
    specs: Mapping[str, InstanceSpec] = field(default_factory=dict)
    """The instances that exist and that some rule names."""
    infeasible: Mapping[str, str] = field(default_factory=dict)
    """Rule id → why no placement can satisfy it."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Instance → why it is not placed: an infeasible rule touches it or its group. What runs stays."""
    before: Before = field(default_factory=dict)
    """Start order: instance → those to be ready before it."""
    tiers: Mapping[str, int] = field(default_factory=dict)
    """Start order: instance → how many are to be ready one after another before it; left out: none."""

    def group(self, instance: str) -> Group:
        """The group of any instance, also of one that no rule names."""
        return self.groups.get(instance) or Group((instance,))


NO_RULES = Rules()

_Inputs = tuple[tuple[RuleSpec, ...], dict[str, InstanceSpec], dict[str, NodeSpec]]
_compiled: list[tuple[_Inputs, Rules]] = []
"""The last few results. Records that the store did not change are the same objects, so comparing them is cheap."""
_REMEMBERED = 4


def compile_rules(
    rules: tuple[RuleSpec, ...], specs: Mapping[str, InstanceSpec], nodes: Mapping[str, NodeSpec]
) -> Rules:
    """The compiled rules; remembered, so that asking again with the same rules, named instances and nodes costs little."""
    if not rules:
        return NO_RULES
    named = {name: specs[name] for rule in rules for name in (*rule.instances, *rule.after) if name in specs}
    inputs = (rules, named, dict(nodes))
    for known, compiled in _compiled:
        if known == inputs:
            return compiled
    compiled = _compile(inputs)
    _compiled.insert(0, (inputs, compiled))
    del _compiled[_REMEMBERED:]
    return compiled


def _compile(inputs: _Inputs) -> Rules:
    rules, specs, nodes = inputs
    groups = grouped(rules, specs, nodes)
    broken = infeasible(rules, specs, nodes)
    blocked: dict[str, str] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        if rule.id in broken:
            for touched in rule.instances:
                for member in groups[touched].members:
                    blocked.setdefault(member, f"a placement rule cannot be kept: {broken[rule.id]}")
    order = before(rules)
    single = {name: (name,) for name in groups}
    tiers = ranks(order, single, dict.fromkeys(single.values(), 0))
    return Rules(groups, specs, broken, blocked, order, {name: tier for (name,), (_, tier) in tiers.items() if tier})
