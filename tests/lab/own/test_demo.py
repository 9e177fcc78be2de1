"""`holdfast demo`: it shows what it promises, ends as it promises, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_talk import until

from holdfast.lab import LabClient, LabOptions

pytestmark = pytest.mark.lab
HOLDFAST = str(Path(sys.executable).parent / "holdfast")


def demo(lab: LabClient, *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    argv = [HOLDFAST, "demo", "--lab", lab.name, *words]
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def ended(process: "subprocess.Popen[str]", timeout: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            process.terminate()  # it takes its lab down
            process.communicate(timeout=60)


@pytest.mark.timeout(400)
def test_once_everything_comes_back_and_nothing_is_left(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("d")
    process = demo(lab, "--once")
    out, err = ended(process, timeout=350)
    assert process.returncode == 0, f"{out}\n{err}"
    assert "the panel answers its client again" in out
    assert "the volume's client writes again" in out
    assert out.count("✓") == 9
    assert "✗" not in out
    assert not lab.leftovers()


def test_a_lab_that_runs_is_left_alone(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("e")
    lab.up(LabOptions(nodes=1, cluster=False))
    process = demo(lab, "--once")
    _, err = ended(process, timeout=30)
    assert process.returncode == 1
    assert "is up already" in err
    assert "holdfast lab down" in err
    assert lab.running()
    lab.down()


def test_ctrl_c_takes_everything_down(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("f")
    process = demo(lab)
    until(lab.running, "the lab runs")
    os.killpg(process.pid, signal.SIGINT)
    ended(process, timeout=60)
    assert process.returncode == 130
    assert not lab.running()
    assert not lab.leftovers()
