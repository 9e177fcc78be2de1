"""A lab leaves nothing behind: on `down`, after a failure of `up`, after its daemon was killed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_talk import PYTHON, until

from holdfast.errors import Conflict, HoldfastError, InvalidInput
from holdfast.lab import LabClient, LabOptions
from holdfast.lab.cgroups import processes

pytestmark = pytest.mark.lab
BARE = LabOptions(nodes=1, cluster=False)


def traces(lab: LabClient) -> list[str]:
    """Everything on the machine that belongs to the lab: groups, namespaces, mounts, processes, files."""
    found = lab.leftovers()
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(lab.state_dir) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(lab.state_dir) in command:
            found.append(command)
    return found + ([str(lab.state_dir)] if lab.state_dir.exists() else [])


def test_down_leaves_nothing_behind(make_lab: Callable[[str], LabClient], tmp_path: Path) -> None:
    lab = make_lab("d")
    lab.up(BARE)
    assert traces(lab)
    lab.exec("n1", ["sh", "-c", "mkdir -p /var/log/holdfast; echo hello > /var/log/holdfast/agent.log"], check=True)
    with pytest.raises(Conflict):
        lab.up(BARE)
    left_running = lab.popen("n1", ["sleep", "1000"])
    lab.fail("n1", "freeze")
    lab.down(save_logs=tmp_path)
    assert left_running.wait(20) != 0
    assert traces(lab) == []
    assert (tmp_path / "n1/agent.log").read_text() == "hello\n"
    lab.down()


def test_up_cleans_after_a_killed_daemon(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("k")
    lab.up(BARE)
    lab.exec("n1", ["touch", "/etc/old-disk"], check=True)
    for pid in processes(lab.cgroup / "labd"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(HoldfastError):
        lab.status()
    steps: list[str] = []
    lab.up(BARE, steps.append)
    assert "left behind" in steps[0]
    assert lab.exec("n1", ["ls", "/etc/old-disk"]).returncode != 0
    assert lab.exec("n1", ["true"]).returncode == 0
    lab.down()
    assert traces(lab) == []


def test_a_failed_up_takes_everything_down(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("f")

    def interrupt(_step: str) -> None:
        if lab.running():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.up(LabOptions(nodes=1), interrupt)
    assert traces(lab) == []


def test_a_refused_cluster_takes_everything_down_and_keeps_the_logs(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("r")
    with pytest.raises(HoldfastError, match="nonsense") as caught:
        lab.up(LabOptions(nodes=1, profile="nonsense"))
    assert traces(lab) == []
    kept = Path(caught.value.advice.split()[-1].rstrip("."))
    assert (kept / "events.jsonl").exists()
    shutil.rmtree(kept)


def test_bad_options_are_refused_before_anything_is_made(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("x")
    for nodes in (0, 65):
        with pytest.raises(InvalidInput):
            lab.up(LabOptions(nodes=nodes))
    with pytest.raises(InvalidInput):
        LabClient("No-Such").up(BARE)
    with pytest.raises(HoldfastError):
        lab.nodes  # noqa: B018
    assert traces(lab) == []


def test_ctrl_c_of_the_command_takes_everything_down(make_lab: Callable[[str], LabClient]) -> None:
    lab = make_lab("i")
    command = [str(Path(PYTHON).with_name("holdfast")), "lab", "--lab", lab.name, "up", "--nodes", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lab.running, "the lab's daemon answers")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert traces(lab) == []
