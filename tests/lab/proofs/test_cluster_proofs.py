"""Clusters without power fencing: with watchdogs, and with neither. Real processes, judged from outside."""

import time
from collections.abc import Callable, Iterator

import pytest
from cluster_talk import ADDRESS, FAST, VOLUME, Cluster, nothing_lost, serve_volumes

from holdfast.lab import LabClient, LabOptions
from holdfast.lab.watcher import Watcher

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def watched_cluster(lab: LabClient) -> Iterator[Cluster]:
    cluster = Cluster(lab)
    serve_volumes(cluster)
    cluster.until(lambda: cluster.where(VOLUME) and cluster.where("panel/admin"), "everything runs")
    watcher = Watcher(lab)
    watcher.start()
    yield cluster
    cluster.end()
    report = watcher.stop()
    assert report.samples > 100
    assert report.violations == []


@pytest.fixture(scope="module")
def watchdogs_only(make_lab: Callable[[str], LabClient]) -> Iterator[Cluster]:
    lab = make_lab("w")
    lab.up(LabOptions(nodes=4, profile="fast", power_fencing=False, watchdog_reset="off"))
    yield from watched_cluster(lab)
    lab.down()


@pytest.fixture
def cluster(watchdogs_only: Cluster) -> Iterator[Cluster]:
    yield watchdogs_only
    for host in watchdogs_only.lab.nodes:
        watchdogs_only.lab.heal(host)
    watchdogs_only.until(lambda: all(n["state"] == "up" for n in watchdogs_only.status()["nodes"]), "every node is up")
    watchdogs_only.until(lambda: watchdogs_only.where(VOLUME), "the volume runs")


def claimed_after(cluster: Cluster, node: str) -> float:
    """Seconds from the last beat that the manager saw to the claim, from the incident."""
    steps = {step["name"]: step["at"] for step in cluster.incidents(node)[-1]["steps"]}
    return float(steps["claimed"])


def test_a_frozen_node_is_dead_before_its_volume_runs_elsewhere(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    frozen_at = cluster.lab.fail(victim, "freeze")
    took = cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    fired = [e for e in cluster.lab.events() if e["kind"] == "watchdog-fired" and e["boottime"] > frozen_at]
    assert [e["node"] for e in fired] == [victim], "the watchdog ended the frozen node"
    assert cluster.lab.state(victim)["power"] == "off"
    incident = cluster.incidents(victim)[-1]
    assert incident["proof"] == "P4"
    # The wait counts from the sight of the last beat, which came at most one period before the freeze.
    assert claimed_after(cluster, victim) >= FAST.T_wait - FAST.H - 1
    print(f"frozen: watchdog after {fired[0]['boottime'] - frozen_at:.1f} s, volume back after {took:.1f} s")


def test_a_cut_node_stops_in_time_and_is_not_rebooted(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    boots = cluster.boots(victim)
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(victim, "network", network="management")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    assert cluster.pids(victim, "ganesha.nfsd") == []
    assert cluster.incidents(victim)[-1]["proof"] == "P4"
    assert (cluster.boots(victim), cluster.lab.state(victim)["power"]) == (boots, "on"), "INV-5"
    cluster.lab.heal(victim)
    cluster.until(lambda: cluster.node_state(victim) == "up", "the node joins again")
    assert cluster.boots(victim) == boots
    nothing_lost(client.stop())


def test_a_hung_agent_ends_in_a_reset_by_the_watchdog(cluster: Cluster) -> None:
    """The agent is stopped alone: its guard lives, sees the deadline pass, kills what is strict and stops feeding."""
    victim = cluster.home(VOLUME)
    cluster.lab.fail(victim, "agent")
    cluster.until(lambda: cluster.pids(victim, "ganesha.nfsd") == [], "the guard killed the volume's server")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    assert cluster.lab.state(victim)["power"] == "off"


def test_a_node_that_crashed_and_returns_is_its_own_proof(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    cluster.lab.fail(victim, "power")
    cluster.until(lambda: cluster.node_state(victim) == "suspect", "the node is missed")
    cluster.lab.heal(victim)
    cluster.until(lambda: cluster.incidents(victim)[-1]["proof"], "the node is claimed")
    took = cluster.until(lambda: cluster.where(VOLUME), "the volume runs again")
    assert cluster.incidents(victim)[-1]["proof"] == "P2"
    print(f"returned node: volume back after {took:.1f} s, T_wait is {FAST.T_wait:.0f} s")


def test_with_neither_the_panel_moves_and_the_volume_waits_for_an_operator(
    make_lab: Callable[[str], LabClient],
) -> None:
    lab = make_lab("n")
    lab.up(LabOptions(nodes=3, profile="fast", power_fencing=False, watchdog=False))
    for cluster in watched_cluster(lab):
        victim = cluster.home(VOLUME)
        cluster.place("panel/admin", victim)
        refusal = cluster.refused("node", "confirm-dead", victim, "--yes")
        assert victim in refusal and "up" in refusal
        cluster.lab.fail(victim, "power")
        cluster.until(lambda c=cluster, v=victim: c.where("panel/admin") not in ("", v), "the panel moves")
        # Longer than every wait of the protocol: time alone proves nothing without a watchdog.
        time.sleep(FAST.T_wait + 5)
        assert cluster.pids(victim, "ganesha.nfsd") == []
        assert cluster.where(VOLUME) == ""
        waiting = cluster.incidents(victim)[-1]["waiting"][VOLUME]
        assert f"holdfast node confirm-dead {victim}" in waiting
        cluster.do("node", "confirm-dead", victim, "--yes")
        cluster.until(lambda c=cluster, v=victim: c.where(VOLUME) not in ("", v), "the volume runs elsewhere")
        assert cluster.incidents(victim)[-1]["proof"] == "P5"
    lab.down()
