"""explain, what-if, rebalance and the maintenance's precheck and cancel, against a served cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Cluster, served

from holdfast.core.history import GuaranteeWord, ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    Placement,
    Role,
)
from holdfast.core.policy import ComputeSpec, Maintenance
from holdfast.store import keys


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    """n1 to n5 with 8 GiB each; four machines of 1.5 GiB on n2."""
    values: dict[str, object] = {}
    for k in range(1, 6):
        values[keys.beat(f"n{k}")] = Beat(f"s{k}", f"b{k}", f"m{k}", 1, 1, BeatPhase.ACTIVE, cpu=8, memory_mib=8192)
    for name in "abcd":
        spec = InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE, memory_mib=1536)
        values[keys.instance(spec.id)] = spec
        values[keys.placement(spec.id)] = Placement("n2", 7, 1, reason="chosen by free resources")
        values[keys.status(spec.id)] = InstanceStatus("n2", "s2", 7, InstanceState.RUNNING, healthy=True)
    with served(tmp_path, monkeypatch, capsys) as made:
        made.put(values)
        yield made


def test_explain(cluster: Cluster) -> None:
    shown = cluster.run("explain", "vm/a")
    assert shown.status == 0
    assert "chosen by free resources" in shown.out and "it is there now" in shown.out
    found = cluster.run("explain", "vm/a", "--json").json
    assert {verdict["node"] for verdict in found["verdicts"]} == {"n1", "n2", "n3", "n4", "n5"}
    assert "vm/zz" in cluster.run("explain", "vm/zz").err


def test_what_if(cluster: Cluster) -> None:
    shown = cluster.run("what-if", "--fail", "n2,n3")
    assert "If n2 and n3 failed:" in shown.out and "vm/a" in shown.out
    assert "Afterwards, the cluster survives the failure of any one node." in shown.out
    found = cluster.run("what-if", "--fail", "n1", "--json").json
    assert found["unplaced"]["panel/admin"]["n2"] == "does not have the role management"
    assert "n9" in cluster.run("what-if", "--fail", "n9").err


def test_rebalance_shows_and_does(cluster: Cluster) -> None:
    shown = cluster.run("rebalance", "--dry-run", "--live-only")
    assert "live" in shown.out and "above the mean" in shown.out
    moves = cluster.run("rebalance", "--dry-run", "--json").json["moves"]["moves"]
    assert moves and cluster.do(cluster.context.store.get(keys.move(moves[0]["instance"]))) is None
    cluster.managed.set()
    done = cluster.run("rebalance", "--limit", "1")
    assert done.status == 0 and "evens out the load" in done.out


def test_rebalance_of_what_is_counted(cluster: Cluster) -> None:
    values: dict[str, object] = {}
    for name in "xy":
        spec = InstanceSpec(f"iscsi/{name}", "iscsi", name, Exclusivity.STRICT, Role.COMPUTE, ("n1", "n2"))
        values[keys.instance(spec.id)] = spec
        values[keys.placement(spec.id)] = Placement("n1", 7, 1)
        values[keys.status(spec.id)] = InstanceStatus("n1", "s1", 7, InstanceState.RUNNING, healthy=True)
    cluster.put(values)
    shown = cluster.run("rebalance", "--dry-run", "--live-only")
    assert "iscsi/x" in shown.out and "2 and 0 become 1 and 1" in shown.out
    assert cluster.run("rebalance", "--live-only", "--no-wait").status == 0
    asked = cluster.do(cluster.context.store.get(keys.move("iscsi/x")))
    assert asked is not None and cluster.do(cluster.context.store.get(keys.move("iscsi/y"))) is None


def test_a_maintenance_is_checked_beforehand_and_called_off(cluster: Cluster) -> None:
    shown = cluster.run("node", "maintenance", "enter", "n2", "--precheck")
    assert shown.status == 0 and "live" in shown.out and "During the maintenance" in shown.out
    assert cluster.do(cluster.context.store.get(keys.maintenance("n2"))) is None
    assert len(cluster.run("node", "maintenance", "enter", "n2", "--precheck", "--json").json["moves"]) == 4
    assert cluster.run("node", "maintenance", "enter", "n2", "--no-bring-back", "--no-wait").status == 0
    cluster.put({keys.maintenance("n2"): Maintenance("root", False, ("vm/a",))})
    cluster.put({keys.placement("vm/a"): Placement("n3", 9, 1)})
    assert cluster.run("node", "maintenance", "status", "n2", "--json").json["progress"] == {"moved": 1, "of": 4}
    assert "1 of 4 moved off" in cluster.run("node", "maintenance", "status", "n2").out
    assert "vm/a" in cluster.run("node", "maintenance", "cancel", "n2", "--no-wait").out
    assert cluster.do(cluster.context.store.get(keys.bring_back("n2"))) is not None


def test_the_guarantee_is_shown_and_admission_can_be_forced(cluster: Cluster) -> None:
    word = GuaranteeWord(1, False, ("n2",), ("vm/a",), text="if n2 failed, vm/a would find no room")
    cluster.put({keys.MANAGER_TERM: {"node": "n1", "term": 3}, keys.MANAGER_VIEW: ManagerView("n1", 3, guarantee=word)})
    assert "BROKEN: if n2 failed" in cluster.run("status").out
    big = InstanceSpec("vm/big", "vm", "big", Exclusivity.STRICT, Role.COMPUTE, memory_mib=8192, nodes=("n1", "n2"))
    cluster.put(
        {
            keys.COMPUTE: ComputeSpec(("n1", "n2", "n3", "n4", "n5"), reserve_memory_mib=0),
            keys.instance("vm/big"): big,
            keys.placement("vm/big"): Placement("n1", 7, 1),
            keys.status("vm/big"): InstanceStatus("n1", "s1", 7, InstanceState.RUNNING, healthy=True),
        }
    )
    cluster.put(
        {
            keys.instance(f"vm/{name}"): InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE)
            for name in "abcd"
        }
    )
    refused = cluster.run("node", "maintenance", "enter", "n2", "--no-wait")
    assert refused.status == 1 and "no room for vm/big" in refused.err
    assert cluster.run("node", "maintenance", "enter", "n2", "--no-wait", "--force").status == 0
