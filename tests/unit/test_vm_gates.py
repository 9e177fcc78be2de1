"""The gates that every start of a machine must pass (services/vm/files.py), and its health."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from holdfast.core.model import InstanceSpec
from holdfast.groups import Groups
from holdfast.services.vm.config import instance_spec, new_config
from holdfast.services.vm.files import Place, files
from holdfast.services.vm.probe import STALE_S, VmProbe


class HandClock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wall(self) -> str:
        return "2026-01-01T00:00:00Z"

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("n1", tmp_path / "run", tmp_path / "log", Groups(tmp_path), str(tmp_path / "shared"), "10.0.0.1")


def run(place: Place, tmp_path: Path, name: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    text, mode = files(place, "/bin/echo", "1")[name]
    program = tmp_path / "gate"
    program.write_text(text)
    program.chmod(mode)
    return subprocess.run([program, *argv], capture_output=True, text=True, timeout=20, check=False)


def group_with(place: Place, *pids: int) -> None:
    """A stand-in for the control group, for whoever only reads it."""
    group = place.group("x").parent / "vm%2Fa"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def test_an_emulator_without_a_guest_runs_freely(place: Place, tmp_path: Path) -> None:
    """libvirt asks it what it can do."""
    assert run(place, tmp_path, "holdfast-qemu", "-machine", "none").stdout == "-machine none\n"


def test_an_emulator_whose_group_is_not_there_is_refused(place: Place, tmp_path: Path) -> None:
    refused = run(place, tmp_path, "holdfast-qemu", "-name", "guest=a,debug-threads=on")
    assert refused.returncode == 1
    assert "does not permit vm/a" in refused.stderr


@pytest.mark.parametrize("action", ["prepare", "start", "migrate", "restore"])
def test_the_hook_asks_for_a_live_process(place: Place, tmp_path: Path, action: str) -> None:
    assert run(place, tmp_path, "hooks/qemu", "a", action, "begin", "-").returncode == 1
    group_with(place, os.getpid())
    assert run(place, tmp_path, "hooks/qemu", "a", action, "begin", "-").returncode == 0
    assert run(place, tmp_path, "hooks/qemu", "b", action, "begin", "-").returncode == 1


def test_the_hook_lets_ends_pass(place: Place, tmp_path: Path) -> None:
    for action in ("stopped", "release", "reconnect"):
        assert run(place, tmp_path, "hooks/qemu", "a", action, "end", "-").returncode == 0


def test_nodes_with_other_directories_have_the_same_domains(place: Place) -> None:
    """A live migration takes the XML as it is."""
    for name, (text, _mode) in files(place, "/usr/bin/qemu", "1").items():
        if name in ("libvirtd.conf", "virtlockd.conf"):
            assert str(place.run_dir) not in text


def machine() -> InstanceSpec:
    return instance_spec("a", new_config("c", "a", []), cpu=1, memory_mib=64)


async def test_the_probe_says_what_the_driver_found(tmp_path: Path) -> None:
    clock, vm = HandClock(), machine()
    probe = VmProbe(str(tmp_path), clock)
    assert await probe.check(vm, timeout=1) == "", "another node knows nothing against it"
    file = tmp_path / "vm" / "health" / "a.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"problem": "", "at": clock.time}))
    assert await probe.check(vm, timeout=1) == ""
    clock.time += STALE_S + 1
    assert "looked after" in await probe.check(vm, timeout=1)
    file.write_text(json.dumps({"problem": "it is ill", "at": clock.time}))
    assert await probe.check(vm, timeout=1) == "it is ill"
    file.write_text("{")
    assert "cannot be read" in await probe.check(vm, timeout=1)
