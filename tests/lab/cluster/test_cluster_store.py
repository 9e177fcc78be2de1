"""The store of a real cluster fails, for shorter and for longer than a beat is valid."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cluster_talk import ADDRESS, FAST, VOLUME, Cluster, nothing_lost

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@contextmanager
def store_stopped(cluster: Cluster, seconds: float) -> Iterator[None]:
    """Every member of the store stands still for so long, and until the body is done."""
    members = cluster.lab.nodes[:3]
    for node in members:
        cluster.lab.fail(node, "hang", unit="etcd")
    time.sleep(seconds)
    try:
        yield
    finally:
        for node in members:
            cluster.lab.heal(node)


def test_an_outage_shorter_than_the_validity_goes_unnoticed(cluster: Cluster) -> None:
    node, epoch = cluster.home(VOLUME), cluster.instance(VOLUME)["epoch"]
    before = cluster.pids(node, "ganesha.nfsd")
    boots = [cluster.boots(name) for name in cluster.lab.nodes]
    client = cluster.journal("vol1", ADDRESS)
    with store_stopped(cluster, FAST.F - FAST.H - FAST.Q - 1):
        pass
    time.sleep(3)
    nothing_lost(client.stop())
    cluster.until(lambda: cluster.where(VOLUME) == node, "the volume runs where it was")
    assert cluster.instance(VOLUME)["epoch"] == epoch
    assert cluster.pids(node, "ganesha.nfsd") == before
    assert [cluster.boots(name) for name in cluster.lab.nodes] == boots


def test_a_longer_outage_stops_cleanly_comes_back_by_itself_and_reboots_nobody(cluster: Cluster) -> None:
    node = cluster.home(VOLUME)
    boots = [cluster.boots(name) for name in cluster.lab.nodes]
    client = cluster.journal("vol1", ADDRESS)
    with store_stopped(cluster, FAST.F + FAST.G + 2 * FAST.W + FAST.j + 4):
        assert cluster.pids(node, "ganesha.nfsd") == [], "stopped at the deadline"
    cluster.until(lambda: cluster.where(VOLUME), "the volume came back by itself")
    cluster.until(lambda: all(n["state"] == "up" for n in cluster.status()["nodes"]), "every node is up")
    nothing_lost(client.stop())
    assert [cluster.boots(name) for name in cluster.lab.nodes] == boots, "INV-5"


def test_the_death_of_the_stores_leader_is_survived(cluster: Cluster) -> None:
    leader = next(node for node in cluster.lab.nodes[:3] if is_leader(cluster, node))
    cluster.place(VOLUME, next(node for node in cluster.lab.nodes if node != leader))
    client = cluster.journal("vol1", ADDRESS)
    cluster.lab.fail(leader, "power")
    cluster.until(lambda: [i["state"] for i in cluster.incidents(leader)][-1:] == ["closed"], "the incident is closed")
    cluster.do("service", "list")
    nothing_lost(client.stop())


def is_leader(cluster: Cluster, node: str) -> bool:
    """Asked from etcd itself, with the node's own certificate."""
    pki = "/etc/holdfast/pki"
    tls = [f"--cacert={pki}/ca.crt", f"--cert={pki}/node.crt", f"--key={pki}/node.key"]
    etcdctl = ["env", "ETCDCTL_API=3", "etcdctl", "--endpoints=https://127.0.0.1:2379", *tls]
    done = cluster.lab.exec(node, [*etcdctl, "endpoint", "status"], 20)
    return ", true, false," in done.stdout or done.stdout.split(", ")[4:5] == ["true"]
