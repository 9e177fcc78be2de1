"""One cluster for the tests of S3, backup gateways and DNS, and the independent watcher beside it.

How the tests of a kind join in: their own talk file beside gateways_talk.py (as s3_talk.py), which makes their service in
the cluster of `gateways` below; a package fixture like `s3_service`, which begins its clients, yields, and at the end has
them read everything back; and a fixture per test like `s3`, which heals everything before. A kind that must be made while
management is not highly available yet is made in `gateways`, before `make_managed`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from backup_talk import Vault
from gateways_talk import NODES, OPTIONS, Gateways
from s3_talk import NAME, PREFIX, S3, nothing_lost

from holdfast.lab import LabClient
from holdfast.lab.watcher import Watcher


@pytest.fixture(scope="package")
def gateways(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[Gateways]:
    """The cluster, with management highly available and S3 made before that."""
    began = time.monotonic()
    with one_lab("g") as lab:
        lab.up(OPTIONS)
        cluster = Gateways(lab)
        with Watcher(lab) as watcher:
            cluster.serve_zone()
            S3(cluster).create()
            cluster.said_without_ha["s3"] = cluster.do("s3", "show", NAME)
            cluster.make_managed()
            cluster.until(lambda: len(S3(cluster).resolved()) == len(NODES), "clients find every gateway by its name")
            print(f"four nodes with S3 after {time.monotonic() - began:.0f} s")
            yield cluster
            report = watcher.stop()
            cluster.end()
    assert report.violations == []
    executed = {instance for instance in report.timeline if instance.startswith(f"{PREFIX}/")}
    print(
        f"INV-1 watcher: {report.samples} samples, longest gap {report.longest_gap_s:.2f} s, no violation, saw {executed}"
    )
    assert len(executed) >= 6, "the watcher must know the servers to see one that runs twice"


@pytest.fixture(scope="package")
def s3_service(gateways: Gateways) -> Iterator[S3]:
    """What was acknowledged in any of the tests is read back after the last."""
    service = S3(gateways)
    gateways.whole()
    service.wait_home()
    service.make_lanes()
    service.begin_journal()
    yield service
    gateways.whole()
    summary = service.journal.finish()
    print(f"S3: {summary}")
    nothing_lost(summary)


@pytest.fixture
def s3(s3_service: S3) -> Iterator[S3]:
    """At the start of each test nothing is broken; the client has never seen anything wrong."""
    s3_service.cluster.whole()
    s3_service.wait_home()
    s3_service.wait_all()
    yield s3_service
    s3_service.check()


@pytest.fixture(scope="package")
def vault_service(gateways: Gateways) -> Iterator[Vault]:
    """What any of the tests backed up is read back whole after the last."""
    service = Vault(gateways)
    service.create()
    service.make_data("/root/data", 40)
    service.cluster.until(lambda: service.may_log_in("alice"), "the client finds the gateways by their name")
    yield service
    gateways.whole()
    for repository in sorted(service.unchecked):
        service.check(repository)


@pytest.fixture
def vault(vault_service: Vault) -> Vault:
    """At the start of each test nothing is broken, and every gateway is at home."""
    vault_service.cluster.whole()
    vault_service.wait_home()
    return vault_service
