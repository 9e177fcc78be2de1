"""Placement rules: which instances run where, together, apart, and in which order they start."""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.api.operations import checks
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.feasibility import notes, validate_rule
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys


async def create(
    store: Store,
    actor: Actor,
    *,
    name: str,
    kind: str,
    instances: Sequence[str],
    nodes: Mapping[str, int] | None = None,
    after: Sequence[str] = (),
    strict: bool = True,
    by: str = Scope.NODE,
    force: bool = False,
) -> Outcome:
    """Lay down a rule. One that cannot be kept together with the others is refused with the reason."""
    checks.name(name, "rule")
    if kind not in list(RuleKind):
        raise InvalidInput(f"there is no kind of rule `{kind}`", f"Choose from {', '.join(RuleKind)}.")

    if by not in list(Scope):
        raise InvalidInput(f"nothing is kept apart by `{by}`", f"Choose from {', '.join(Scope)}.")

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.rule(name), RuleSpec) is not None:
            raise Conflict(f"a rule `{name}` exists already", "Delete it first, or choose another name.")
        rule = RuleSpec(name, RuleKind(kind), tuple(instances), dict(nodes or {}), strict, tuple(after), Scope(by))
        for instance in (*rule.instances, *rule.after):
            if instance not in draft.instances:
                raise checks.not_found("instance", instance, draft.instances)
        for node in rule.nodes:
            checks.node(draft, node)
        refused = validate_rule(rule, draft.specs(keys.RULES, RuleSpec), draft.instances, draft.nodes)
        if refused:
            raise Conflict(
                f"the rule `{name}` cannot be kept: {'; '.join(refused)}", "Change it, or delete what it contradicts."
            )
        draft.put(keys.rule(name), rule)
        await admit(draft, force=force)
        return f"rule {name}: {sentence(rule)}"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, name: str) -> Outcome:
    """Nothing moves because a rule is gone."""

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.rule(name), RuleSpec) is None:
            raise checks.not_found("rule", name, [rule.id for rule in draft.specs(keys.RULES, RuleSpec)])
        draft.delete(keys.rule(name))
        return f"rule {name} is deleted"

    return await transact(store, actor, operation)


async def listed(store: Store) -> list[dict[str, Any]]:
    """Every rule with its sentence, and what is to be known of it."""
    draft = await Draft.open(store)
    rules = draft.specs(keys.RULES, RuleSpec)
    remarks = notes(rules, draft.instances, draft.nodes)
    return [{"rule": rule, "text": sentence(rule), "note": remarks.get(rule.id, "")} for rule in rules]


def sentence(rule: RuleSpec) -> str:
    """What it asks for, in words."""
    who = " and ".join(rule.instances) if len(rule.instances) < 3 else ", ".join(rule.instances)
    must = "must" if rule.strict else "should"
    if rule.kind is RuleKind.NODE_AFFINITY:
        ranked = sorted(rule.nodes.items(), key=lambda pair: (-pair[1], pair[0]))
        same = len(set(rule.nodes.values())) == 1
        where = ", ".join(node if same else f"{node} ({number})" for node, number in ranked)
        return f"{who} {must} run on {where}"
    if rule.kind is RuleKind.AFFINITY:
        return f"{who} {must} share a node"
    if rule.kind is RuleKind.ANTI_AFFINITY:
        return f"{who} {must} not share a {'node' if rule.by is Scope.NODE else 'failure domain'}"
    return f"{who} {must} start after {', '.join(rule.after)}"
