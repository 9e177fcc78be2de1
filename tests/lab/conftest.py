"""Labs for the tests: their own names and directories, so that a lab somebody is using is not disturbed."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab_talk import CLOCK_OFFSET_S, SIZE

from holdfast.lab import LabClient, LabOptions, cleanup
from holdfast.lab.bringup import wait_nodes_up
from holdfast.lab.cgroups import mount_point
from holdfast.lab.layout import state_dir_of


def lab_is_possible() -> bool:
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("ip", "nft", "tini"))


@pytest.fixture(scope="session")
def make_lab() -> Iterator[Callable[[str], LabClient]]:
    """Makes lab clients with a name of this test run; all of them are taken down at the end, as are those of dead runs."""
    if not lab_is_possible():
        pytest.skip("the lab needs root, iproute2, nftables and tini")
    _sweep_dead_runs()
    made: list[LabClient] = []

    def make(suffix: str) -> LabClient:
        lab = LabClient(f"t{os.getpid()}{suffix}")
        made.append(lab)
        return lab

    yield make
    logs = os.environ.get("HOLDFAST_LAB_LOGS")  # a directory that keeps the nodes' logs
    for lab in made:
        lab.down(save_logs=Path(logs, lab.name) if logs else None)


def _sweep_dead_runs() -> None:
    for group in mount_point().glob("holdfast-lab-t*"):
        name = group.name.removeprefix("holdfast-lab-")
        match = re.fullmatch(r"t(\d+)[a-z]*", name)
        if match and not Path("/proc", match[1]).exists():
            cleanup.sweep(name, state_dir_of(name))


@pytest.fixture(scope="session")
def shared_bare_lab(make_lab: Callable[[str], LabClient]) -> LabClient:
    """Three nodes without a cluster, n2 with a size and n3 with a clock offset. Use `bare_lab`."""
    lab = make_lab("b")
    odd = LabOptions(clock_offsets={"n3": CLOCK_OFFSET_S}, sizes={"n2": SIZE})
    lab.up(replace(odd, nodes=3, cluster=False, reboot_delay_s=0.1))
    return lab


@pytest.fixture
def bare_lab(shared_bare_lab: LabClient) -> Iterator[LabClient]:
    """One lab for many tests; every host is healed after each."""
    yield shared_bare_lab
    for host in (*shared_bare_lab.nodes, "client"):
        shared_bare_lab.heal(host)


@pytest.fixture(scope="session")
def shared_cluster_lab(make_lab: Callable[[str], LabClient]) -> LabClient:
    """Four nodes with a cluster: three management nodes, power fencing, watchdogs. Use `cluster_lab`."""
    lab = make_lab("c")
    lab.up(LabOptions(nodes=4, profile="fast"))
    return lab


@pytest.fixture
def cluster_lab(shared_cluster_lab: LabClient) -> Iterator[LabClient]:
    """One cluster for many tests; after each every host is healed and every node is up again."""
    yield shared_cluster_lab
    for host in (*shared_cluster_lab.nodes, "client"):
        shared_cluster_lab.heal(host)
    wait_nodes_up(shared_cluster_lab, shared_cluster_lab.nodes)
