# ruff: noqa: E501 - one line for each mistake
"""Scenario files: what is understood, how mistakes are named, and that a file survives being read and written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.model import Desired, Exclusivity, Role, ShutdownPolicy
from holdfast.core.policy import RuleKind
from holdfast.errors import InvalidInput
from holdfast.sim.document import MAX_BYTES
from holdfast.sim.expect import Expectation, Pattern
from holdfast.sim.fields import INSTANCE_FIELDS, Field, Kind
from holdfast.sim.scenario import Scenario, Step, dump, load, loads
from holdfast.sim.verbs import VERBS

DESIGN = """
name: network loss of the node that runs vm/102
profile: default                      # timing profile
cluster: {tolerate: 1}
nodes:
  node1: {cpu: 8, memory: 16GiB, roles: [management, compute], power_fencing: true, watchdog: true, labels: {rack: a}}
  node2: {}
  node3: {roles: [compute]}
instances:
  vm/101: {node: node1, state: started, cpu: 1, memory: 1GiB, priority: 500, max_restarts: 1, max_relocations: 1, failback: true}
  vm/102: {}
  vm/103: {}
rules:
  - {kind: node-affinity, instances: [vm/101], nodes: {node1: 2, node2: 1}, strict: true}
  - {kind: affinity, instances: [vm/101, vm/102], strict: true}
  - {kind: anti-affinity, instances: [vm/101, vm/103], strict: true}
start: {node1: on, node2: off}          # power state at t=0, default on
timeline:
  - {at: 120, do: network-off, node: node2}
  - {at: 300, do: migrate, instance: vm/101, to: node2}
until: 720
"""
SMALL = "nodes: {node1: {}, node2: {}, node3: {}}\ninstances: {vm/101: {node: node1}}\n"


def steps(*lines: str) -> str:
    return SMALL + "timeline:\n" + "".join(f"  - {line}\n" for line in lines)


# --- what is understood -------------------------------------------------------------------------------------------------


def test_the_example_of_the_design() -> None:
    scenario = loads(DESIGN)
    node1 = scenario.nodes["node1"]
    assert (node1.cpu, node1.memory_mib, node1.labels) == (8, 16 * 1024, {"rack": "a"})
    assert node1.roles == (Role.MANAGEMENT, Role.COMPUTE)
    assert (node1.on, scenario.nodes["node2"].on) == (True, False)
    assert scenario.instances["vm/101"].spec.memory_mib == 1024
    assert [rule.kind for rule in scenario.rules] == [RuleKind.NODE_AFFINITY, RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY]
    assert scenario.rules[0].nodes == {"node1": 2, "node2": 1}
    assert scenario.timeline[0] == Step(120, "network-off", {"node": "node2", "network": "all"})
    assert (scenario.until, scenario.timing.name, scenario.cluster.tolerate) == (720, "default", 1)


def test_everything_but_nodes_is_optional() -> None:
    scenario = loads("nodes: {a: , b: , c: , d: }", "quiet-night")
    assert scenario.name == "quiet-night"
    assert scenario.cluster.shutdown_policy is ShutdownPolicy.FAILOVER
    assert scenario.management == ("a", "b", "c")
    assert set(scenario.nodes["a"].roles) == set(Role)
    assert set(scenario.nodes["d"].roles) == set(Role) - {Role.MANAGEMENT}
    assert scenario.nodes["d"].power_fencing and scenario.nodes["d"].watchdog
    assert scenario.until == 300


@pytest.mark.parametrize(
    ("nodes", "management", "expected"), [(1, 3, 1), (2, 3, 1), (3, 3, 3), (4, 5, 3), (5, 5, 5), (9, 5, 5), (5, 1, 1)]
)
def test_store_and_manager_are_on_an_odd_number_of_nodes(nodes: int, management: int, expected: int) -> None:
    names = ", ".join(f"node{i}: {{}}" for i in range(nodes))
    assert len(loads(f"nodes: {{{names}}}\ncluster: {{management: {management}}}").management) == expected


def test_exclusivity_and_role_follow_from_the_kind() -> None:
    scenario = loads(SMALL.replace("vm/101: {node: node1}", "panel/main: , nfs/v: , iscsi/l: , s3/main/os-3: , vm/1: "))
    specs = {name: setup.spec for name, setup in scenario.instances.items()}
    assert {name: spec.role.value for name, spec in specs.items()} == {
        "panel/main": "management", "nfs/v": "storage", "iscsi/l": "storage", "s3/main/os-3": "s3", "vm/1": "compute",
    }  # fmt: skip
    advisory = [name for name, spec in specs.items() if spec.exclusivity is Exclusivity.ADVISORY]
    assert advisory == ["panel/main"]


def test_steps_are_sorted_by_time_and_keep_their_order_within_a_moment() -> None:
    scenario = loads(
        steps(
            "{at: 30, do: power-on, node: node1}",
            "{at: 10, do: freeze, node: node2}",
            "{at: 10, do: thaw, node: node2}",
        )
    )
    assert [step.verb for step in scenario.timeline] == ["freeze", "thaw", "power-on"]
    assert scenario.until == 330


def test_an_instance_exists_from_its_creation_to_its_removal() -> None:
    scenario = loads(
        steps(
            "{at: 30, do: set-state, instance: vm/9, state: stopped}",
            "{at: 20, do: add, instance: vm/9, memory: 2GiB, node: node2}",
            "{at: 40, do: remove, instance: vm/9}",
            "{at: 50, do: add, instance: vm/9}",
        )
    )
    created = scenario.timeline[0].instance
    assert (created.node, created.spec.memory_mib, created.spec.desired) == ("node2", 2048, Desired.STARTED)
    with pytest.raises(InvalidInput, match=r"timeline\[0\].instance: there is no instance 'vm/9'"):
        loads(steps("{at: 10, do: remove, instance: vm/9}", "{at: 20, do: add, instance: vm/9}"))
    with pytest.raises(InvalidInput, match="is there already"):
        loads(steps("{at: 10, do: add, instance: vm/101}"))


def test_spellings_that_are_understood() -> None:
    scenario = loads(
        steps("{at: 1, do: link-off, from: node1, to: node2, one_way: true}", "{at: 2, do: store-off, node: node3}")
    )
    assert scenario.timeline[0].args["one-way"] is True
    assert scenario.timeline[1].args["nodes"] == ("node3",)


def test_anchors_and_merging_work() -> None:
    scenario = loads("nodes:\n  a: &big {cpu: 16, memory: 64GiB}\n  b: *big\n  c: {<<: *big, cpu: 2}\n")
    assert [node.cpu for node in scenario.nodes.values()] == [16, 16, 2]


# --- mistakes -----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("", "is empty"),
    ("nodes: {}", "nodes: is missing or empty"),
    ("[1, 2]", "must be a mapping, not a list"),
    ("nodes: {node1: {}", "is not valid YAML in line"),
    ("nodes: {a: {}}\nnodes: {b: {}}", "the key 'nodes' stands twice"),
    ("nodes: {a: {cpu: 1, cpu: 2}}", "the key 'cpu' stands twice"),
    ("nodes: {a: {}}\nnodez: 1", "nodez: there is no key 'nodez'. Did you mean nodes?"),
    ("nodes: {a: {cpus: 1}}", "nodes.a.cpus: there is no field 'cpus'. Did you mean cpu?"),
    ("nodes: {a: {cpu: many}}", "nodes.a.cpu: must be a number, not 'many'"),
    ("nodes: {a: {cpu: true}}", "nodes.a.cpu: must be a number, not true"),
    ("nodes: {a: {cpu: .nan}}", "nodes.a.cpu: is nan"),
    ("nodes: {a: {cpu: -1}}", "nodes.a.cpu: is -1. Allowed: 0 to 1e+06."),
    ("nodes: {a: {cpu: 0}}", "nodes.a.cpu: is 0"),
    ("nodes: {a: {memory: 16}}", "nodes.a.memory: must be an amount of memory, not 16. Write it as 16GiB or 512MiB."),
    ("nodes: {a: {memory: 16GB}}", "nodes.a.memory: must be an amount of memory, not '16GB'"),
    ("nodes: {a: {memory: 0.3MiB}}", "nodes.a.memory: 0.3MiB is no whole number of MiB"),
    ("nodes: {a: {watchdog: yes please}}", "nodes.a.watchdog: must be true or false"),
    ("nodes: {a: {roles: [computer]}}", "nodes.a.roles[0]: there is no role 'computer'. Did you mean compute?"),
    ("nodes: {a: {roles: [compute]}}", "nodes: none has the role management"),
    ("nodes: {no: {}}", "nodes: a key is false, not text. Put it in quotes."),
    ("nodes: {a b: {}}", "nodes.a b: is no name for a node"),
    ("nodes: {a: {}}\nprofile: quick", "profile: there is no timing profile 'quick'"),
    ("nodes: {a: {}}\ncluster: {shutdown_policy: freez}", "cluster.shutdown_policy: there is no shutdown_policy 'freez'. "
     "Did you mean freeze?"),
    ("nodes: {a: {}}\ncluster: {management: 2}", "cluster.management: is 2. Allowed: 1, 3, 5."),
    ("nodes: {a: {}}\nstart: {b: on}", "start.b: there is no node 'b'"),
    ("nodes: {a: {}}\nstart: {a: maybe}", "start.a: must be on or off, not 'maybe'"),
    ("nodes: {a: {}}\nname: |\n  two\n  lines", "name: must be one line"),
    ("nodes: {a: {}}\ninstances: {web: {}}", "instances.web: is no id of an instance"),
    ("nodes: {a: {}}\ninstances: {wm/1: {}}", "instances.wm/1: there is no kind of instance 'wm'. Did you mean vm?"),
    ("nodes: {a: {}}\ninstances: {backup/b: {}}", "instances.backup/b: is the copy of no node. What runs everywhere has"),
    ("nodes: {a: {}}\ninstances: {s3/main/gw-1: {}}", "instances.s3/main/gw-1: is the copy of 1, which does not exist"),
    ("nodes: {a: {}}\ninstances: {s3/main/os-1: {home: a}}", "instances.s3/main/os-1.home: belongs to exclusivity everywhere"),
    ("nodes: {a: {}, b: {roles: [s3]}}\ninstances: {backup/x/gw-b: {}}",
     "instances.backup/x/gw-b.home: b does not have the role backup. These have: a."),
    ("nodes: {a: {}}\ninstances: {vm/1: {exclusivity: nowhere}}", "instances.vm/1.exclusivity: there is no exclusivity 'nowhere'"),
    ("nodes: {a: {}}\ninstances: {vm/1: {node: b}}", "instances.vm/1.node: there is no node 'b'"),
    ("nodes: {a: {}}\ninstances: {vm/1: {priority: 2000}}", "instances.vm/1.priority: is 2000. Allowed: 0 to 1000."),
    ("nodes: {a: {}}\ninstances: {vm/1: {max_restarts: 1.5}}", "instances.vm/1.max_restarts: must be a whole number"),
    ("nodes: {a: {}}\ninstances: {vm/1: {state: off}}", "instances.vm/1.state: there is no state 'off'"),
    ("nodes: {a: {}, b: {roles: [s3]}}\ninstances: {vm/1: {node: b}}", "instances.vm/1.node: b does not have the role compute"),
    ("nodes: {a: {}, b: {}}\ninstances: {vm/1: {node: b, nodes: [a]}}", "instances.vm/1.node: b is not one of its nodes"),
    (SMALL + "rules: [{kind: affinity, instances: [vm/101]}]", "rules[0].instances: are too few"),
    (SMALL + "rules: [{kind: afinity, instances: [vm/101]}]", "rules[0].kind: there is no kind of rule 'afinity'. Did you mean"),
    (SMALL + "rules: [{kind: node-affinity, instances: [vm/11], nodes: [node1]}]", "rules[0].instances: there is no instance"),
    (SMALL + "rules: [{kind: node-affinity, instances: [vm/101], nodes: {nod1: 1}}]", "rules[0].nodes: there is no node 'nod1'"),
    (SMALL + "rules: [{kind: node-affinity}]", "rules[0]: instances is missing"),
    (SMALL + "until: -1", "until: is -1. Allowed: 0 to"),
    (SMALL + "until: .inf", "until: is inf"),
    (SMALL + f"until: 1{'0' * 400}", "until: is a very large number"),
    (SMALL + "simulation: {detection: sonar}", "simulation.detection: there is no kind of detection 'sonar'"),
    (steps("{at: 5, node: node1}"), "timeline[0]: do is missing"),
    (steps("{do: freeze, node: node1}"), "timeline[0]: at is missing"),
    (steps("{at: -5, do: freeze, node: node1}"), "timeline[0].at: is -5"),
    (steps("{at: 5, do: power-of, node: node1}"), "timeline[0].do: there is no verb 'power-of'. Did you mean power-off?"),
    (steps("{at: 5, do: freeze, node: node1}", "{at: 5, do: thaw, node: nod1}"), "timeline[1].node: there is no node 'nod1'. "
     "Did you mean node1? Allowed: node1, node2, node3."),
    (steps("{at: 5, do: freeze}"), "timeline[0]: node is missing"),
    (steps("{at: 5, do: thaw, node: node1, for: 3}"), "timeline[0].for: there is no field 'for'"),
    (steps("{at: 5, do: set-state, instance: vm/101}"), "timeline[0]: state is missing"),
    (steps("{at: 5, do: set-resources, cpu: 1}"), "timeline[0]: needs exactly one of node and instance"),
    (steps("{at: 5, do: set-resources, node: node1}"), "timeline[0]: needs at least one of cpu, memory, slots"),
    (steps("{at: 5, do: set-resources, instance: vm/101, slots: {vm: 1}}"), "slots: belongs to a node"),
    (steps("{at: 5, do: clock-rate, node: node1, rate: 1.2}"), "timeline[0].rate: is 1.2: the profile default allows 0.99 to 1.01"),
    (steps("{at: 5, do: link-off, from: node1, to: node1}"), "timeline[0].to: is the same node as from"),
    (steps("{at: 5, do: store-off, nodes: []}"), "timeline[0].nodes: is empty"),
    (steps("{at: 5, do: store-off, nodes: [node1], node: node2}"), "stands twice, as nodes and node"),
    (steps("{at: 5, do: freeze, node: node1}") + "until: 4", "until: is 4, before the last step at 5"),
    (SMALL + "expect: {events: [{kind: node-clamed}]}", "expect.events[0].kind: there is no kind 'node-clamed'. Did you mean"),
    (SMALL + "expect: {moved: [vm/1]}", "expect.moved: there is no instance 'vm/1'"),
    (SMALL + "expect: {nodes: {node1: {claims: [P9]}}}", "expect.nodes.node1.claims[0]: there is no proof 'P9'"),
    (SMALL + "expect: {count: [{kind: hold}]}", "expect.count[0]: times is missing"),
    (SMALL + "expect: {instances: {vm/101: {wher: node1}}}", "expect.instances.vm/101.wher: there is no key 'wher'"),
    ("nodes: &n {a: *n}", "nodes.a"),
    ("[" * 3000, "is nested too deeply"),
    ("nodes: \x00", "is not valid YAML"),
    ("--- 1\n--- 2", "is not valid YAML"),
    ("a: !!python/object:os.system {}", "is not valid YAML"),
    ("a: 2024-99-99", "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_one_error_that_names_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        loads(text, "night.yaml")
    assert str(caught.value).startswith("night.yaml: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_merging_does_not_explode() -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40)
    )
    with pytest.raises(InvalidInput, match="there is no key 'a0'"):
        loads(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, content in ((tmp_path / "missing", None), (tmp_path, None), (tmp_path / "binary", b"\xff\xfe\x00\xd8")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidInput):
            load(path)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidInput, match="larger than 4 MiB"):
        load(large)


@given(st.text(st.sampled_from("nodesavm/1{}[]:,-&*!|>'\"#% \n\t~.0"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_rubbish_never_ends_in_a_traceback(text: str) -> None:
    try:
        loads(text)
    except InvalidInput as error:
        assert "\n" not in error.message


# --- round trip ---------------------------------------------------------------------------------------------------------

_SAMPLES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.NODE: st.sampled_from(["node1", "node2", "node3"]),
    Kind.NODES: st.lists(st.sampled_from(["node1", "node2", "node3"]), min_size=1, max_size=3, unique=True),
    Kind.INSTANCE: st.just("vm/101"),
    Kind.SECONDS: st.floats(0, 1e6),
    Kind.SIGNED_SECONDS: st.floats(-1e6, 1e6),
    Kind.NUMBER: st.floats(0, 1e3) | st.integers(0, 5),
    Kind.PERCENT: st.floats(0, 100),
    Kind.WHOLE: st.integers(0, 1000),
    Kind.FLAG: st.booleans(),
    Kind.MEMORY: st.integers(0, 9000).map(lambda mib: f"{mib}MiB"),
    Kind.SLOTS: st.dictionaries(st.sampled_from(["vm", "nfs"]), st.integers(0, 50)),
}


def _values(field: Field) -> st.SearchStrategy[Any]:
    if field.name == "rate":
        return st.floats(0.99, 1.01)
    return st.sampled_from(field.choices) if field.choices else _SAMPLES[field.kind]


@st.composite
def _steps(draw: st.DrawFn) -> dict[str, Any]:
    verb = VERBS[draw(st.sampled_from(sorted(VERBS.keys() - {"add", "remove"})))]
    step: dict[str, Any] = {"at": draw(st.floats(0, 1e5)), "do": verb.name}
    for field in verb.fields:
        if field.required or field.name in verb.any_of or draw(st.booleans()):
            step[field.name] = draw(_values(field))
    for group in verb.one_of:
        for name in group:
            step.pop(name, None)
        chosen = draw(st.sampled_from(group))
        step[chosen] = draw(_values(next(field for field in verb.fields if field.name == chosen)))
    if "instance" in step:
        step.pop("slots", None)
    if step.get("from") and step["from"] == step["to"]:
        step["to"] = "node2" if step["from"] == "node1" else "node1"
    return step


@given(st.lists(_steps(), max_size=8), st.sampled_from(["fast", "default"]))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_as_the_same(timeline: list[dict[str, Any]], profile: str) -> None:
    document = {
        "nodes": {f"node{i}": {"labels": {"rack": "no"}} for i in (1, 2, 3)},
        "instances": {"vm/101": {"node": "node1"}},
        "profile": profile,
        "timeline": timeline,
    }
    scenario = loads(json.dumps(document))  # JSON is YAML
    assert loads(dump(scenario), "scenario") == scenario


def test_nothing_is_lost() -> None:
    scenario = loads(DESIGN + "why: one reason\ngroup: network\nsimulation: {detection: model, seed: 3, loud: true}\n")
    full = replace(
        scenario,
        expect=Expectation(
            {"vm/101": {"state": ("started",), "node": ("node1", "node2")}, "vm/102": {"node": ("",)}},
            {"node2": {"power": ("off",), "claims": ("P1", "P4")}, "node3": {"claims": ()}},
            (Pattern("hold", detail="more than half", after=1.5),),
            (Pattern("node-claimed", node="node1", before=20),),
            (Pattern("instance-started", instance="vm/101", times=0),),
            ("vm/101",),
            ("vm/102",),
            (("vm/101", "vm/102"),),
            (("vm/101", "vm/103"),),
            ((("vm/101", "vm/102"), ("node1", "node2")),),
            ("INV-1",),
        ),
    )
    text = dump(full)
    assert loads(text) == full
    assert "node2: off" in text, "as people write it"


def test_the_table_of_verbs_covers_the_design() -> None:
    design = """power-on power-off network-off network-on link-off link-on reboot shutdown freeze thaw agent-stop agent-start
        maintenance-on maintenance-off ha-pause ha-resume set-state migrate relocate add remove lock unlock fail-start
        fail-stop fail-migrate set-resources store-off store-on clock-step clock-rate lie-fence"""
    assert set(design.split()) <= set(VERBS)
    for verb in VERBS.values():
        assert verb.sentence.endswith(".")
    assert {field.name for field in INSTANCE_FIELDS} < {field.name for field in VERBS["add"].fields}


def test_copies_of_what_runs_everywhere_have_a_home() -> None:
    scenario = loads("""
nodes: {a: {}, b: {}}
instances:
  s3/main/gw-a: {}
  s3/main/os-1: {}
  backup/x/gw-a: {home: b}
  backup/y: {node: a}
  nfs/v: {exclusivity: everywhere, home: b}
  panel/p: {exclusivity: everywhere, node: b}
""")
    specs = {name: setup.spec for name, setup in scenario.instances.items()}
    homes = {name: spec.home for name, spec in specs.items() if spec.exclusivity is Exclusivity.EVERYWHERE}
    assert homes == {"s3/main/gw-a": "a", "backup/x/gw-a": "b", "backup/y": "a", "nfs/v": "b", "panel/p": "b"}
    assert {name: spec.spread for name, spec in specs.items() if spec.spread} == {
        "s3/main/gw-a": "gw",
        "s3/main/os-1": "os",
    }
    assert loads(dump(scenario)) == scenario


def test_homes_are_where_the_file_says() -> None:
    scenario: Scenario = loads(DESIGN)
    assert scenario.homes == {"vm/101": "node1"}
