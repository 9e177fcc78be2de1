"""A drill of a real cluster: real management controllers, watchdogs, addresses and storage; a volume really moves, and its
server is really killed, while INV-1 is watched."""

import json
from typing import Any

import pytest
from cluster_talk import VOLUME, Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def drilled(cluster: Cluster, *words: str) -> dict[str, Any]:
    """What a drill has found; none of its checks failed."""
    done = cluster.ask(cluster.speaker(), "drill", *words, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, [check for check in found["drill"]["checks"] if check["grade"] == "failed"]
    assert found["drill"]["state"] == "done"
    return found["drill"]


def of(found: dict[str, Any], section: str) -> list[dict[str, Any]]:
    return [check for check in found["checks"] if check["section"] == section]


def test_a_drill_finds_a_cluster_in_order_and_a_volume_fails_over_and_back(cluster: Cluster) -> None:
    home = cluster.home(VOLUME)
    quiet = drilled(cluster)
    nodes = sorted(cluster.lab.nodes)
    for section in ("nodes", "fencing", "watchdogs", "storage"):
        assert sorted(check["about"] for check in of(quiet, section)) == nodes, section
    assert [check["grade"] for check in of(quiet, "addresses")] == ["ok", "ok"]
    assert cluster.where(VOLUME) == home

    moved = drilled(cluster, "--node", "n1", "--instance", VOLUME)
    assert cluster.where(VOLUME) == home
    assert [step["name"] for step in moved["steps"]].count("answers") == 2

    before = cluster.pids(home, "ganesha.nfsd")
    killed = drilled(cluster, "--node", "n1", "--instance", VOLUME, "--kill")
    cluster.until(lambda: cluster.where(VOLUME) == home, "it runs where it was")
    assert not set(before) & set(cluster.pids(home, "ganesha.nfsd"))
    for found in (moved, killed):
        print(of(found, "failover")[0]["text"])
