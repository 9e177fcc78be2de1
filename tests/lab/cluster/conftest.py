"""One cluster for all tests here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from cluster_talk import VOLUME, Cluster, serve_volumes

from holdfast.lab import LabClient, LabOptions
from holdfast.lab.bringup import wait_nodes_up
from holdfast.lab.watcher import Watcher


@pytest.fixture(scope="package")
def shared_cluster_lab(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[LabClient]:
    """Four nodes with a cluster: three management nodes, power fencing, watchdogs. Use `cluster_lab`."""
    with one_lab("c") as lab:
        lab.up(LabOptions(nodes=4, profile="fast"))
        yield lab


@pytest.fixture
def cluster_lab(shared_cluster_lab: LabClient) -> Iterator[LabClient]:
    """Each test begins with every node up; after each every host is healed."""
    wait_nodes_up(shared_cluster_lab, shared_cluster_lab.nodes)
    yield shared_cluster_lab
    for host in (*shared_cluster_lab.nodes, "client"):
        shared_cluster_lab.heal(host)


@pytest.fixture(scope="package")
def watched(shared_cluster_lab: LabClient) -> Iterator[Cluster]:
    """The cluster with one volume, and with the INV-1 watcher beside it until the last test."""
    cluster = Cluster(shared_cluster_lab)
    serve_volumes(cluster)
    watcher = Watcher(shared_cluster_lab)
    watcher.start()
    yield cluster
    report = watcher.stop()
    assert report.samples > 100
    assert report.violations == []
    print(f"INV-1 watcher: {report.samples} samples, longest gap {report.longest_gap_s:.2f} s, no violation")


@pytest.fixture
def cluster(watched: Cluster, cluster_lab: LabClient) -> Iterator[Cluster]:
    """With everything up and running at the start of each test."""
    watched.until(lambda: watched.where(VOLUME) and watched.where("panel/admin"), "everything runs")
    yield watched
    watched.end()
