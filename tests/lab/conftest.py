"""Labs for the tests: their own names and directories, so that a lab somebody is using is not disturbed."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.lab import LabClient, cleanup
from holdfast.lab.cgroups import mount_point
from holdfast.lab.layout import state_dir_of


def lab_is_possible() -> bool:
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("ip", "nft", "tini"))


@pytest.fixture(scope="session")
def one_lab() -> Callable[[str], AbstractContextManager[LabClient]]:
    """A lab client with a name of this test run and this ending (letters); its lab is taken down at the end of the block."""
    if not lab_is_possible():
        pytest.skip("the lab needs root, iproute2, nftables and tini")
    _sweep_dead_runs()
    logs = os.environ.get("HOLDFAST_LAB_LOGS")  # a directory that keeps the nodes' logs

    @contextmanager
    def use(ending: str) -> Iterator[LabClient]:
        lab = LabClient(f"t{os.getpid()}{ending}")
        try:
            yield lab
        finally:
            lab.down(save_logs=Path(logs, lab.name) if logs else None)

    return use


@pytest.fixture(scope="module")
def make_lab(one_lab: Callable[[str], AbstractContextManager[LabClient]]) -> Iterator[Callable[[str], LabClient]]:
    """For tests with labs of their own, which are taken down at the end of the file at the latest."""
    with ExitStack() as labs:
        yield lambda ending: labs.enter_context(one_lab(ending))


def _sweep_dead_runs() -> None:
    for group in mount_point().glob("holdfast-lab-t*"):
        name = group.name.removeprefix("holdfast-lab-")
        match = re.fullmatch(r"t(\d+)[a-z]*", name)
        if match and not Path("/proc", match[1]).exists():
            cleanup.sweep(name, state_dir_of(name))
