"""`holdfast plan`: its two questions, its formats, and what it says to wrong input."""

import json
from pathlib import Path

import pytest
from cli_world import run

CLUSTER = {
    "nodes": {name: {"cpu": 8, "memory": "8GiB"} for name in ("n1", "n2", "n3")},
    "instances": {
        "vm/a": {"node": "n1", "memory": "4GiB", "priority": 900},
        "vm/b": {"node": "n2", "memory": "6GiB"},
        "vm/c": {"memory": "1GiB"},
        "vm/mine": {"node": "n1", "ha": False},
    },
    "rules": [{"kind": "anti-affinity", "instances": ["vm/a", "vm/b"]}],
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(CLUSTER))
    return path


def test_a_failure_in_json(file: Path, capsys: Capture) -> None:
    answer = run(capsys, "plan", str(file), "--fail", "n1", "--json")
    assert (answer.status, answer.err) == (0, "")
    elapsed_ms = answer.json["elapsed_ms"]
    assert elapsed_ms >= 0
    assert answer.json == {
        "placements": {"vm/a": "n3", "vm/c": "n3"},
        "unplaced": [{"instance": "vm/mine", "reasons": {"n1": "waits for its node by its owner's wish"}}],
        "moved": {},
        "stopped": [],
        "elapsed_ms": elapsed_ms,
    }


def test_a_failure_for_people(file: Path, capsys: Capture) -> None:
    shown = run(capsys, "plan", str(file), "--fail", "n1,n3")
    assert shown.status == 0
    for words in ("These would wait", "runs vm/b, with which vm/a must not share a node", "n3", "has failed"):
        assert words in shown.out


def test_room_is_made_where_it_can_be(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "tight.yaml"
    path.write_text(
        "nodes: {n1: {memory: 8GiB}, n2: {memory: 8GiB}, n3: {memory: 8GiB}}\n"
        "instances:\n"
        "  vm/a: {node: n1, memory: 6GiB, priority: 700}\n"
        "  vm/b: {node: n2, memory: 4GiB}\n"
        "  vm/c: {node: n3, memory: 4GiB}\n"
    )
    answer = run(capsys, "plan", str(path), "--fail", "n1", "--json").json
    (moved,) = answer["moved"].items()
    assert answer["placements"] == {"vm/a": moved[1]["from"]}
    assert moved[0] in ("vm/b", "vm/c")
    assert not answer["unplaced"]
    assert run(capsys, "plan", str(path), "--tolerate", "1", "--json").json["survivable"]


def test_slots_and_failure_domains_in_a_file(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "racks.yaml"
    path.write_text(
        "nodes:\n"
        "  n1: {labels: {rack: a}}\n  n2: {labels: {rack: a}}\n"
        "  n3: {labels: {rack: b}, slots: {vm: 1}}\n  n4: {slots: {vm: 0}}\n"
        "instances: {vm/a: {node: n1}, vm/b: {node: n3}}\n"
        "rules:\n"
        "  - {kind: anti-affinity, instances: [vm/a, vm/b], by: domain}\n"
        "  - {kind: node-affinity, instances: [vm/a], nodes: [n1]}\n"
    )
    (waits,) = run(capsys, "plan", str(path), "--fail", "n3", "--json").json["unplaced"]
    assert waits["instance"] == "vm/b"
    assert waits["reasons"] == {
        "n1": "runs vm/a, with which vm/b must not share a node",
        "n2": "is in the failure domain of vm/a, with which vm/b must not share one",
        "n3": "has failed",
        "n4": "has no slot for vm",
    }


def test_any_failure_in_json_and_for_people(file: Path, capsys: Capture) -> None:
    answer = run(capsys, "plan", str(file), "--tolerate", "1", "--json").json
    assert (answer["survivable"], answer["worst"], answer["unplaced"], answer["checked"]) == (True, [], [], 3)
    answer = run(capsys, "plan", str(file), "--tolerate", "2", "--json").json
    assert not answer["survivable"]
    assert len(answer["worst"]) == 2
    assert [one["instance"] for one in answer["unplaced"]] == ["vm/a"]
    assert set(answer["unplaced"][0]["reasons"]) == {"n1", "n2", "n3"}
    assert "Worst: " in run(capsys, "plan", str(file), "--tolerate", "2").out
    assert "There is room for everything" in run(capsys, "plan", str(file), "--tolerate", "1").out


def test_what_has_no_room_even_now_is_not_survivable(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("nodes: {n1: {}, n2: {}}\ninstances: {vm/big: {memory: 99GiB}}\n")
    answer = run(capsys, "plan", str(path), "--tolerate", "0", "--json").json
    assert not answer["survivable"]
    assert answer["unplaced"][0]["instance"] == "vm/big"


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("nodes: {n1: {}}", ["--fail", "n9"], "there is no node 'n9'"),
        ("nodes: {n1: {}}", ["--fail", ","], "there is no node ''"),
        ("nodes: {n1: {}}", [], "either --fail or --tolerate"),
        ("nodes: {n1: {}}", ["--fail", "n1", "--tolerate", "1"], "either --fail or --tolerate"),
        ("nodes: {n1: {}}", ["--tolerate", "-1"], "Allowed: 0 or more"),
        ("", ["--fail", "n1"], "is empty"),
        ("{}", ["--fail", "n1"], "nodes: is missing or empty"),
        ("{nodes: [}", ["--fail", "n1"], "is not valid YAML in line 1"),
        ('{"nodes": {"n1": {}, "n1": {}}}', ["--fail", "n1"], "the key 'n1' stands twice"),
        ("nodes: {n1: {memory: 5}}", ["--fail", "n1"], "nodes.n1.memory: must be an amount of memory"),
        ("nodes: {n1: {}}\nvms: {}", ["--fail", "n1"], "there is no key 'vms'"),
        ("[" * 100_000, ["--fail", "n1"], "nested too deeply"),
        ('{"a":' * 100_000, ["--fail", "n1"], "nested too deeply"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    tmp_path: Path, capsys: Capture, text: str, arguments: list[str], said: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    answer = run(capsys, "plan", str(path), *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert said in answer.err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    answer = run(capsys, "plan", str(tmp_path / "nothing"), "--fail", "n1")
    assert answer.status == 2
    assert "cannot be read" in answer.err
