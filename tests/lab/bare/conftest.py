"""One lab without a cluster for all tests here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from lab_talk import CLOCK_OFFSET_S, SIZE

from holdfast.lab import LabClient, LabOptions


@pytest.fixture(scope="package")
def shared_bare_lab(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[LabClient]:
    """Three nodes without a cluster, n2 with a size and n3 with a clock offset. Use `bare_lab`."""
    odd = LabOptions(clock_offsets={"n3": CLOCK_OFFSET_S}, sizes={"n2": SIZE})
    with one_lab("b") as lab:
        lab.up(replace(odd, nodes=3, cluster=False, reboot_delay_s=0.1))
        yield lab


@pytest.fixture
def bare_lab(shared_bare_lab: LabClient) -> Iterator[LabClient]:
    """Every host is healed after each test."""
    yield shared_bare_lab
    for host in (*shared_bare_lab.nodes, "client"):
        shared_bare_lab.heal(host)
