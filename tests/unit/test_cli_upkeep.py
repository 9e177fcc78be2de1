"""The commands for maintenance, quarantine, pause and shutdown policy, against a served cluster."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import place, say
from cli_world import Cluster, served

from holdfast.core.model import Beat, BeatPhase, Exclusivity, InstanceSpec, NodeState, Role
from holdfast.core.policy import Maintenance, NodeFailure, NodeHealth
from holdfast.store import keys

VM = InstanceSpec("vm/a", "vm", "a", Exclusivity.STRICT, Role.COMPUTE)
NODES = ("n1", "n2", "n3", "n4", "n5")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys) as made:
        made.put({keys.instance("vm/a"): VM})
        made.do(place(made.context.store, "vm/a", "n2"))
        yield made


def later(cluster: Cluster, values: dict[str, object]) -> threading.Timer:
    timer = threading.Timer(0.5, lambda: cluster.put(values))
    timer.start()
    return timer


def test_a_maintenance_waits_until_the_node_is_free_and_then_until_all_is_back(cluster: Cluster) -> None:
    late = cluster.run("node", "maintenance", "enter", "n2", "--timeout", "1")
    assert late.status == 1
    assert "vm/a to leave n2" in late.err
    assert "in maintenance already" in cluster.run("node", "maintenance", "enter", "n2").err
    cluster.put({keys.maintenance("n2"): Maintenance("root", True, ("vm/a",))})
    cluster.do(say(cluster.context.store, {"n2": NodeState.MAINTENANCE}, {"vm/a": "no other node can take it"}))
    shown = cluster.run("node", "maintenance", "status", "n2")
    assert all(word in shown.out for word in ("maintenance", "asked for by root", "vm/a", "no other node can take it"))
    as_json = cluster.run("node", "maintenance", "status", "n2", "--json").json
    assert as_json["remaining"] == {"vm/a": "no other node can take it"}
    cluster.do(place(cluster.context.store, "vm/a", "n3", epoch=8))
    assert "Nothing is on the node" in cluster.run("node", "maintenance", "status", "n2").out
    ended = cluster.run("node", "maintenance", "exit", "n2", "--timeout", "1")
    assert (ended.status, "vm/a to return to n2" in ended.err) == (1, True)
    assert "vm/a" in cluster.run("node", "show", "n2").out
    assert "not in maintenance" in cluster.run("node", "maintenance", "exit", "n2").err


def test_a_maintenance_of_an_empty_node_is_done_at_once(cluster: Cluster) -> None:
    entered = cluster.run("node", "maintenance", "enter", "n3", "--no-bring-back", "--json")
    assert (entered.status, entered.json["data"]["instances"]) == (0, [])
    assert cluster.run("node", "maintenance", "exit", "n3", "--no-bring-back").status == 0
    assert "none" in cluster.run("node", "maintenance", "status", "n3").out


def test_a_node_returns_from_quarantine(cluster: Cluster) -> None:
    assert "not in quarantine" in cluster.run("node", "return", "n2").err
    cluster.put({keys.health("n2"): NodeHealth((NodeFailure(1, 1.0),), "it failed 3 times within an hour")})
    assert "it failed 3 times" in cluster.run("node", "show", "n2").out
    assert "out of quarantine" in cluster.run("node", "return", "n2").out


def test_a_pause_waits_for_the_nodes_to_go_along(cluster: Cluster) -> None:
    late = cluster.run("ha", "pause", "--timeout", "1")
    assert late.status == 1
    assert "n1, n2, n3, n4, n5 to acknowledge the pause" in late.err
    assert cluster.run("status", "--json").json["pause"]["mode"] == "freeze"
    beats = {keys.beat(n): Beat(f"s{n[1]}", f"b{n[1]}", f"m{n[1]}", 2, 1, BeatPhase.ACTIVE, paused=True) for n in NODES}
    cluster.put(dict(beats))
    assert "acknowledged by the node" in cluster.run("node", "show", "n2").out
    assert cluster.run("ha", "pause", "--mode", "ignore", "--reason", "switch").status == 0
    unpaused = {key: replace(beat, sequence=3, paused=False) for key, beat in beats.items()}
    timer = later(cluster, dict(unpaused))
    assert cluster.run("ha", "resume").status == 0
    timer.join()
    assert "not paused" in cluster.run("ha", "resume").err
    assert "sleep" in cluster.run("ha", "pause", "--mode", "sleep").err


def test_the_shutdown_policy(cluster: Cluster) -> None:
    assert "freeze" in cluster.run("cluster", "shutdown-policy", "freeze").out
    assert "freeze" in cluster.run("cluster", "show").out
    assert "Choose from migrate" in cluster.run("cluster", "shutdown-policy", "hibernate").err
