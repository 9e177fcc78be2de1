"""One cluster with a dozen virtual machines for all tests here, and the independent watcher beside it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from vm_world import MACHINES, Machines, bring_up

from holdfast.lab import LabClient
from holdfast.lab.watcher import Watcher


@pytest.fixture(scope="package")
def watched(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[Machines]:
    began = time.monotonic()
    with one_lab("v") as lab:
        cluster = bring_up(lab)
        print(f"five nodes and {len(MACHINES)} machines run after {time.monotonic() - began:.0f} s: {cluster.load()}")
        watcher = Watcher(lab)
        watcher.start()
        yield cluster
        report = watcher.stop()
        cluster.asking.check_disks()
        cluster.end()
    assert report.samples > 100
    assert report.violations == []
    records = {name: lines[-1]["n"] for name, lines in cluster.asking.heard.items() if lines}
    print(f"INV-1 watcher: {report.samples} samples, longest gap {report.longest_gap_s:.2f} s, no violation")
    print(f"records on disk: {records}")


@pytest.fixture
def cluster(watched: Machines) -> Iterator[Machines]:
    """At the start of each test nothing is broken, though nodes may still boot: see `Machines.settled`."""
    watched.heal()
    watched.wait_all()
    yield watched
    watched.asking.check_disks()
