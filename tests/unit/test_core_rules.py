"""Placement rules: groups, what contradicts what, what the API refuses."""

from dataclasses import replace

import pytest

from holdfast.core.feasibility import crowded, infeasible, notes, validate_rule
from holdfast.core.groups import joined
from holdfast.core.model import Exclusivity, InstanceSpec, NodeSpec, Role
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.core.rules import NO_RULES, compile_rules

NODES = {name: NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1"}) for name in ("n1", "n2", "n3")}


def vm(name: str, *nodes: str, **changes: object) -> InstanceSpec:
    return InstanceSpec(name, "vm", name, Exclusivity.STRICT, Role.COMPUTE, nodes, **changes)  # type: ignore[arg-type]


SPECS = {name: vm(name) for name in "abcdef"}


def on(rule: str, instances: str, strict: bool = True, **nodes: int) -> RuleSpec:
    return RuleSpec(rule, RuleKind.NODE_AFFINITY, tuple(instances), nodes, strict)


def together(rule: str, instances: str, strict: bool = True) -> RuleSpec:
    return RuleSpec(rule, RuleKind.AFFINITY, tuple(instances), strict=strict)


def apart(rule: str, instances: str, strict: bool = True) -> RuleSpec:
    return RuleSpec(rule, RuleKind.ANTI_AFFINITY, tuple(instances), strict=strict)


def test_strict_affinity_is_transitive() -> None:
    rules = (together("1", "ab"), together("2", "cd"), together("3", "bc"), together("4", "ef", strict=False))
    assert joined(rules) == {**dict.fromkeys("abcd", tuple("abcd")), "e": ("e",), "f": ("f",)}


def test_a_group_keeps_to_the_lists_of_all_its_members() -> None:
    specs = {"a": vm("a"), "b": vm("b", "n2", "n3")}
    group = compile_rules((together("t", "ab"), on("r", "a", n1=1, n2=1)), specs, NODES).group("a")
    assert group.refuses("n1") == "is not one of the nodes of b"
    assert group.refuses("n2") == ""
    assert group.refuses("n3") == "is not one of the nodes of rule r"


def test_preferences_of_several_rules_add_up() -> None:
    rules = (on("r", "a", n1=5, n2=4), on("s", "a", strict=False, n2=0, n3=-1))
    group = compile_rules(rules, SPECS, NODES).group("a")
    assert [group.preference(node) for node in ("n1", "n2", "n3", "n4")] == [2, 3, 1, 0]


def test_an_instance_without_rules_is_a_group_of_its_own() -> None:
    group = NO_RULES.group("a")
    assert (group.members, group.refuses("n1"), group.preference("n1"), group.shunned({})) == (("a",), "", 0, {})


def test_compiled_once_for_the_same_input_and_anew_for_another() -> None:
    rules = (together("t", "ab"),)
    compiled = compile_rules(rules, SPECS, NODES)
    assert compile_rules(rules, dict(SPECS), dict(NODES)) is compiled
    assert compile_rules(rules, {**SPECS, "f": vm("f", "n1")}, NODES) is compiled, "no rule names f"
    assert compile_rules(rules, {**SPECS, "a": vm("a", priority=9)}, NODES).specs["a"].priority == 9
    assert compile_rules((together("t", "bc"),), SPECS, NODES).group("c").members == ("b", "c")


INFEASIBLE = {
    "together and apart": (
        (together("t", "ab"), apart("x", "ab")),
        {"t", "x"},
        "a and b must share a node (rule t) and must not (rule x)",
    ),
    "together over others, and apart": (
        (together("t", "ab"), together("u", "bc"), apart("x", "ac")),
        {"t", "u", "x"},
        "a and c must share a node (rules t and u) and must not (rule x)",
    ),
    "two lists of nodes of one instance": (
        (on("r", "ab", n1=1), on("s", "a", n2=1, n3=1)),
        {"r", "s"},
        "a may run on no node: n1 by rule r, n2 and n3 by rule s",
    ),
    "lists of nodes within a group": (
        (on("r", "a", n1=1), on("s", "c", n2=1), together("t", "ab"), together("u", "bc")),
        {"r", "s", "t", "u"},
        "a, b and c must share a node (rules t and u), but no node is permitted to all of them: n1 by rule r, n2 by rule s",
    ),
    "no nodes": ((on("r", "ab"),), {"r"}, "rule r names no node, so a and b could run nowhere"),
    "more apart than there are nodes": (
        (apart("x", "abcd"),),
        {"x"},
        "a, b, c and d must run on different nodes (rule x), but may run only on n1, n2 and n3",
    ),
    "more apart than there are permitted nodes": (
        (apart("x", "abc"), on("r", "bc", n2=1)),
        {"x"},
        "b and c must run on different nodes (rule x), but may run only on n2",
    ),
    "group apart from another that is pinned to its node": (
        (apart("x", "ad"), together("t", "ab"), on("r", "bd", n1=1)),
        {"x"},
        "a and d must run on different nodes (rule x), but may run only on n1",
    ),
}


@pytest.mark.parametrize("name", INFEASIBLE)
def test_contradictions_are_found_and_named(name: str) -> None:
    rules, ids, sentence = INFEASIBLE[name]
    assert infeasible(rules, SPECS, NODES) == dict.fromkeys(ids, sentence)
    assert infeasible(rules[::-1], SPECS, NODES) == dict.fromkeys(ids, sentence), "whatever the order"


@pytest.mark.parametrize(
    "rules",
    [
        (together("t", "ab"), apart("x", "ac")),
        (together("t", "ab", strict=False), apart("x", "ab")),
        (together("t", "ab"), apart("x", "ab", strict=False)),
        (on("r", "a", n1=1, n2=1), on("s", "a", n2=1)),
        (on("r", "a", strict=False),),
        (apart("x", "abcd", strict=False),),
        (apart("x", "abc"), on("r", "ab", n1=1, n2=1)),
    ],
)
def test_what_can_be_kept_is_feasible(rules: tuple[RuleSpec, ...]) -> None:
    assert not infeasible(rules, SPECS, NODES)


def test_an_instances_own_list_of_nodes_counts() -> None:
    specs = {"a": vm("a", "n1"), "b": vm("b", "n2")}
    assert infeasible((on("r", "a", n2=1),), specs, NODES) == {
        "r": "a may run on no node: n2 by rule r, n1 by the list of a"
    }
    assert infeasible((together("t", "ab"),), specs, NODES)["t"].endswith("n1 by the list of a, n2 by the list of b")


def test_nodes_without_the_role_carry_nobody_apart() -> None:
    nodes = {**NODES, "n3": NodeSpec("n3", (Role.STORAGE,), {"management": "10.0.0.1"})}
    assert infeasible((apart("x", "abc"),), SPECS, nodes) == {
        "x": "a, b and c must run on different nodes (rule x), but may run only on n1 and n2"
    }


RACKS = {
    name: NodeSpec(name, (Role.COMPUTE,), {}, rack) for name, rack in zip("jklm", ("a", "a", "b", ""), strict=True)
}


def test_apart_by_failure_domain() -> None:
    by_rack = replace(apart("x", "ab"), by=Scope.DOMAIN)
    group = compile_rules((by_rack,), SPECS, RACKS).group("a")
    assert group.shunned({"b": frozenset("j")}) == {"j": ("b", "a"), "k": ("b", "a")}
    assert group.shunned({"b": frozenset("m")}) == {"m": ("b", "a")}
    rather = compile_rules((replace(by_rack, strict=False),), SPECS, RACKS).group("a")
    assert rather.company({"b": frozenset("kl")}) == {"j": -1, "k": -1, "l": -1}


def test_more_to_be_kept_apart_than_there_are_failure_domains() -> None:
    by_rack = replace(apart("x", "abc"), by=Scope.DOMAIN)
    assert infeasible((by_rack,), SPECS, RACKS) == {}
    three = {name: node for name, node in RACKS.items() if name != "m"}
    assert infeasible((by_rack,), SPECS, three) == {
        "x": "a, b and c must run in different failure domains (rule x), but may run only in "
        "failure domain a and failure domain b"
    }


def test_unknown_names_are_a_note_and_nothing_worse() -> None:
    rules = (on("r", "a", n9=1), apart("x", "abcz"), apart("y", "ab"), on("s", "b", n8=1))
    assert infeasible(rules, SPECS, NODES) == {}
    assert notes(rules, SPECS, NODES) == {
        "r": "names n9, which does not exist",
        "s": "names n8, which does not exist",
        "x": "names z, which does not exist",
    }
    assert notes((on("r", "z", n9=1),), SPECS, NODES) == {"r": "names z and n9, which do not exist"}


def test_an_infeasible_rule_blocks_all_it_touches_and_their_groups_and_nobody_else() -> None:
    rules = (together("t", "ab"), apart("x", "abc"), together("u", "cd"), apart("y", "ef"))
    compiled = compile_rules(rules, SPECS, NODES)
    assert set(compiled.blocked) == set("abcd")
    assert set(compiled.infeasible) == {"t", "x"}
    assert compiled.blocked["d"] == (
        "a placement rule cannot be kept: a and b must share a node (rule t) and must not (rule x)"
    )


@pytest.mark.parametrize(
    ("rule", "sentences"),
    [
        (on("r", "a", n1=1), ()),
        (together("t", "ab"), ()),
        (on("", "a", n1=1), ("a rule needs an id",)),
        (on("r", "", n1=1), ("rule r names no instance",)),
        (on("r", "a", strict=False), ("rule r names no node",)),
        (together("t", "a"), ("rule t needs two instances or more",)),
        (apart("x", "aa"), ("rule x names a twice", "rule x needs two instances or more")),
        (
            RuleSpec("t", RuleKind.AFFINITY, ("a", "b"), {"n1": 1}),
            ("rule t of kind affinity cannot name nodes: use node-affinity for them",),
        ),
    ],
)
def test_a_malformed_rule_is_refused(rule: RuleSpec, sentences: tuple[str, ...]) -> None:
    assert validate_rule(rule, (), SPECS, NODES) == sentences


def test_a_rule_is_judged_together_with_the_stored_ones() -> None:
    stored = (together("t", "ab"), apart("y", "cdef"))
    assert infeasible(stored, SPECS, NODES).keys() == {"y"}
    assert validate_rule(on("r", "a", n1=1), stored, SPECS, NODES) == (), "y was infeasible before"
    assert validate_rule(apart("x", "ab"), stored, SPECS, NODES) == (
        "a and b must share a node (rule t) and must not (rule x)",
    )
    assert validate_rule(apart("t", "ab"), stored, SPECS, NODES) == (), "it replaces the rule of its name"


def test_long_lists_are_counted() -> None:
    nodes = {f"n{i}": NodeSpec(f"n{i}", (Role.COMPUTE,), {}) for i in range(8)}
    specs = {f"v{i}": vm(f"v{i}") for i in range(9)}
    rule = RuleSpec("x", RuleKind.ANTI_AFFINITY, tuple(specs))
    assert infeasible((rule,), specs, nodes)["x"] == (
        "v0, v1, v2, v3, v4, v5 and 3 more must run on different nodes (rule x), "
        "but may run only on n0, n1, n2, n3, n4, n5 and 2 more"
    )


def test_matching_finds_room_by_shifting_others() -> None:
    assert crowded({"a": ["1", "2"], "b": ["1"], "c": ["2", "3"]}) is None
    assert crowded({"a": ["1", "2"], "b": ["1"], "c": ["2"], "d": ["1", "2", "3", "4"]}) == (
        ("a", "b", "c"),
        ("1", "2"),
    )
