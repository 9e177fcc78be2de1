"""One cluster with a target group of three nodes, its clients, and the independent watcher beside it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from iscsi_talk import OPTIONS, VOLUMES, Iscsi, nothing_lost

from holdfast.lab import LabClient
from holdfast.lab.watcher import Watcher


@pytest.fixture(scope="package")
def watched(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[Iscsi]:
    """What was acknowledged in any of the tests is read back after the last."""
    began = time.monotonic()
    with one_lab("i") as lab:
        lab.up(OPTIONS)
        cluster = Iscsi(lab)
        with Watcher(lab) as watcher:
            cluster.create()
            cluster.begin_clients()
            print(f"four nodes and {len(VOLUMES)} volumes with clients after {time.monotonic() - began:.0f} s")
            yield cluster
            for name, journal in cluster.journals.items():
                summary = journal.finish()
                print(f"{name}: {summary}")
                nothing_lost(summary)
            report = watcher.stop()
            cluster.end()
    assert report.violations == []
    assert {f"iscsi/{name}" for name in VOLUMES} <= set(report.timeline)
    print(f"INV-1 watcher: {report.samples} samples, longest gap {report.longest_gap_s:.2f} s, no violation")


@pytest.fixture
def cluster(watched: Iscsi) -> Iterator[Iscsi]:
    """At the start of each test nothing is broken; no client has ever seen anything wrong."""
    for node in watched.lab.nodes:
        watched.lab.heal(node)
    watched.whole()
    watched.spread()
    yield watched
    watched.check()
