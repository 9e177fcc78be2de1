"""A real cluster with power fencing and watchdogs: each kind of failure, seen from outside.

INV-1 is checked all the time by the independent watcher, which reads the process tables of all nodes.
"""

import time

import pytest
from cluster_talk import ADDRESS, FAST, VOLUME, Cluster, longest_gap, nothing_lost

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def test_power_loss_of_the_panels_node(cluster: Cluster) -> None:
    victim = cluster.home("panel/admin")
    client = cluster.poll_panel()
    cluster.until(lambda: len(client.lines()) > 10, "the panel answers")
    at = cluster.lab.fail(victim, "power")
    cluster.until(lambda: client.lines()[-1]["node"] != victim, "the panel answers elsewhere at the same address")
    cluster.until(lambda: [i["state"] for i in cluster.incidents(victim)][-1:] == ["closed"], "the incident is closed")
    client.stop()
    incident = cluster.incidents(victim)[-1]
    print(f"panel: {longest_gap(client, at):.2f} s without an answer")
    assert incident["proof"] == "P1"
    assert "panel/admin" in incident["recovered"]
    names = [step["name"] for step in incident["steps"]]
    order = ["missed", "suspect", "placed", "started", "recovered", "closed"]
    assert [name for name in names if name in order] == sorted((n for n in names if n in order), key=order.index)
    assert {"fencing", "proven-dead", "claimed"} <= set(names)


def test_power_loss_of_the_volumes_node_loses_no_write_and_no_lock(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    client = cluster.journal("vol1", ADDRESS, opens_s=0.2)
    cluster.lab.fail(victim, "power")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    known = len(client.lines())
    cluster.until(lambda: len(client.lines()) > known + 50, "the client writes on")
    summary = client.stop()
    nothing_lost(summary)
    print(f"nfs: writes stalled {summary['max_stall_s']} s, new opens {summary['max_open_s']} s")


def test_the_node_that_leads_everything_dies(cluster: Cluster) -> None:
    """Panel, volume, manager and very likely the store's leader on one node."""
    victim = cluster.status()["manager"]["node"]
    cluster.place(VOLUME, victim)
    cluster.place("panel/admin", victim)
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(victim, "power")
    cluster.until(
        lambda: not {cluster.where(VOLUME), cluster.where("panel/admin")} & {"", victim}, "both run again, elsewhere"
    )
    nothing_lost(client.stop())


def test_a_planned_move_keeps_the_clients(cluster: Cluster) -> None:
    source = cluster.home(VOLUME)
    target = next(node for node in cluster.lab.nodes if node != source)
    client = cluster.journal("vol1", ADDRESS)
    cluster.place(VOLUME, target)
    summary = client.stop()
    nothing_lost(summary)
    print(f"planned move: writes stalled {summary['max_stall_s']} s")


def test_killed_processes_come_back_in_place(cluster: Cluster) -> None:
    volume_node, panel_node = cluster.home(VOLUME), cluster.home("panel/admin")
    client, panel = cluster.journal("vol1", ADDRESS), cluster.poll_panel()
    cluster.until(lambda: len(panel.lines()) > 10, "the panel answers")
    old = cluster.pids(volume_node, "ganesha.nfsd")
    at = cluster.lab.fail(panel_node, "kill", unit="holdfast-panel")
    cluster.lab.fail(volume_node, "kill", unit="ganesha.nfsd")
    cluster.until(lambda: cluster.pids(volume_node, "ganesha.nfsd") not in ([], old), "ganesha runs again")
    cluster.until(lambda: cluster.where(VOLUME) == volume_node and panel.lines()[-1]["at"] > at + 1, "both answer")
    panel.stop()
    print(f"panel's process killed: {longest_gap(panel, at):.2f} s without an answer")
    nothing_lost(client.stop())


def test_a_hung_panel_moves(cluster: Cluster) -> None:
    victim = cluster.home("panel/admin")
    cluster.lab.fail(victim, "hang", unit="holdfast-panel")
    took = cluster.until(lambda: cluster.where("panel/admin") not in ("", victim), "the panel runs elsewhere")
    print(f"hung panel: {took:.1f} s until it answered elsewhere")


def test_a_killed_agent_is_restarted_and_adopts_what_runs(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    before = cluster.pids(victim, "ganesha.nfsd")
    epoch = cluster.instance(VOLUME)["epoch"]
    agent = cluster.pids(victim, "holdfast-agent")
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(victim, "agent-kill")
    cluster.until(lambda: cluster.pids(victim, "holdfast-agent") not in ([], agent), "the agent is restarted")
    cluster.until(lambda: cluster.where(VOLUME) and cluster.node_state(victim) == "up", "the node is up")
    nothing_lost(client.stop())
    assert (cluster.where(VOLUME), cluster.instance(VOLUME)["epoch"]) == (victim, epoch)
    assert cluster.pids(victim, "ganesha.nfsd") == before, "adopted, not restarted"


def test_a_killed_guard_is_restarted_before_the_watchdog_fires(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    boots, before = cluster.boots(victim), cluster.pids(victim, "ganesha.nfsd")
    guard = cluster.pids(victim, "holdfast-guard")
    cluster.lab.fail(victim, "guard")
    cluster.until(lambda: cluster.pids(victim, "holdfast-guard") not in ([], guard), "the guard is restarted")
    time.sleep(2 * FAST.W + FAST.j)
    cluster.until(lambda: cluster.where(VOLUME) == victim, "the volume never moved")
    assert (cluster.boots(victim), cluster.pids(victim, "ganesha.nfsd")) == (boots, before)


def test_a_graceful_shutdown_is_a_release_and_no_failure(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    known = len(cluster.incidents(victim))
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(victim, "shutdown")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    cluster.lab.wait_power(victim, "off")
    assert cluster.node_state(victim) == "released"
    nothing_lost(client.stop())
    assert len(cluster.incidents(victim)) == known


def test_a_cut_node_with_power_fencing_is_switched_off_and_returns(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    boots = cluster.boots(victim)
    cluster.lab.fail(victim, "network", network="management")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
    assert cluster.incidents(victim)[-1]["proof"] == "P1"
    cluster.until(lambda: cluster.boots(victim) == boots + 1, "what fencing switched off is switched on again")


def test_a_one_way_cut_is_noticed(cluster: Cluster) -> None:
    """The node hears everybody and nobody hears it: its datagrams and its store traffic are lost on the way out."""
    victim = cluster.home(VOLUME)
    for other in cluster.lab.nodes:
        if other != victim:
            cluster.lab.fail(victim, "network", network="management", to=other)
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")


def test_a_lost_public_network_is_not_death(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    boots = cluster.boots(victim)
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(victim, "network", network="public")
    cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume moved to a node that has the network")
    nothing_lost(client.stop())
    assert cluster.boots(victim) == boots
    assert cluster.node_state(victim) == "up"
