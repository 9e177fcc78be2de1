"""Expectations of scenario files: what counts as met, and that each difference is one sentence."""

from typing import Any, ClassVar

import pytest

from holdfast.sim.expect import Expectation, check
from holdfast.sim.scenario import loads


class Outcome:
    """What a run left behind."""

    violations: tuple[str, ...] = ()
    events: tuple[dict[str, Any], ...] = (
        {"t": 1.0, "kind": "instance-started", "node": "node1", "instance": "vm/1", "detail": ""},
        {"t": 20.0, "kind": "node-suspect", "node": "node1", "detail": "missed by node2, node3"},
        {"t": 22.0, "kind": "node-claimed", "node": "node1", "detail": "P1"},
        {"t": 23.0, "kind": "instance-started", "node": "node2", "instance": "vm/1", "detail": ""},
    )
    final: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {
        "instances": {"vm/1": {"state": "started", "node": "node2"}, "vm/2": {"state": "waiting", "node": None}},
        "nodes": {"node1": {"state": "claimed", "power": "off", "claims": ["P1"]}},
    }


HOMES = {"vm/1": "node1", "vm/2": "node2"}


def expectation(text: str) -> Expectation:
    body = f"nodes: {{node1: , node2: }}\ninstances: {{vm/1: , vm/2: }}\nexpect: {text}"
    return loads(body).expect


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{instances: {vm/1: {state: started, node: [node2, node1]}, vm/2: {state: waiting, node: }}}",
        "{nodes: {node1: {state: claimed, power: off, claims: [P1]}}}",
        "{events: [{kind: node-suspect, node: node1, detail: missed by}, {kind: instance-started, before: 23, after: 23}]}",
        "{never: [{kind: node-claimed, before: 21.9}, {kind: hold}, {kind: node-claimed, node: node2}]}",
        "{count: [{kind: instance-started, instance: vm/1, times: 2}, {kind: hold, times: 0}]}",
        "{moved: [vm/1]}",
        "{spread: [{instances: [vm/1], nodes: [node1, node2]}]}",
    ],
)
def test_what_is_as_expected(text: str) -> None:
    assert check(expectation(text), HOMES, Outcome()) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{instances: {vm/1: {node: node1}}}", "instance vm/1: node at the end is node2, not node1"),
        (
            "{instances: {vm/2: {node: [node1, node2]}}}",
            "instance vm/2: node at the end is nothing, not node1 or node2",
        ),
        ("{nodes: {node1: {claims: []}}}", "node node1: claims at the end are P1, not none"),
        ("{nodes: {node2: {state: up}}}", "node node2 does not exist at the end"),
        ("{nodes: {node1: {power: on}}}", "node node1: power at the end is off, not on"),
        (
            "{events: [{kind: node-claimed}, {kind: node-suspect, node: node1}]}",
            "events[1]: no node-suspect on node1 after node-claimed (22 s); it happened at 20 s",
        ),
        ("{events: [{kind: hold}]}", "events[0]: no hold after the beginning (0 s); it never happened"),
        ("{never: [{kind: node-claimed, after: 22}]}", "never[0]: node-claimed from 22 s happened at 22 s: P1"),
        ("{count: [{kind: node-claimed, times: 2}]}", "count[0]: node-claimed happened 1 times (22 s), not 2"),
        ("{moved: [vm/2]}", "instance vm/2 should have moved, and is on no node"),
        ("{not_moved: [vm/1]}", "instance vm/1 should have stayed on node1, and was on node2"),
        ("{together: [[vm/1, vm/2]]}", "these should run together at the end: vm/1 on node2, vm/2 on no node"),
        (
            "{spread: [{instances: [vm/1, vm/2], nodes: [node1, node2]}]}",
            "vm/1, vm/2 should be spread at the end, and are 0 on node1, 1 on node2, 2 in all",
        ),
        ("{violations: [INV-1]}", "a violation of INV-1 was expected and did not happen"),
    ],
)
def test_each_difference_is_one_sentence(text: str, sentence: str) -> None:
    assert check(expectation(text), HOMES, Outcome()) == [sentence]


def test_violations_are_never_expected_silently() -> None:
    outcome = Outcome()
    outcome.violations = ("INV-1 at 3.000 s: vm/1 lives on node1 and node2",)
    assert check(Expectation(), {}, outcome) == ["violation: INV-1 at 3.000 s: vm/1 lives on node1 and node2"]
    assert check(expectation("{violations: [INV-1]}"), {}, outcome) == []
