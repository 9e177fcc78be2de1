"""Fence agents as programs: what is passed, what is believed, and that nothing of them is left behind."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError, InvalidInput
from holdfast.fencing.power.registry import PowerFenceRegistry

HANG_S = 30.0


@pytest.fixture
def make(tmp_path):
    """make(script, **options): a fence agent of that shell script; $O is what it read from standard input."""

    def build(script: str, **options: str):
        program = tmp_path / "fence_fake"
        program.write_text(f"#!/bin/sh\nO=$(cat)\n{script}\n")
        program.chmod(0o755)
        spec = FenceDeviceSpec("d", "fence-agent", {"agent": "fence_fake", **options})
        return PowerFenceRegistry((str(tmp_path),)).open(spec)

    return build


async def test_options_come_by_standard_input_and_not_by_arguments(make, tmp_path):
    fence = make(
        f'echo "$O" >{tmp_path}/seen; echo "$# $(tr "\\0" " " </proc/$$/cmdline)" >{tmp_path}/arguments; echo Status: ON',
        ip="192.0.2.7",
        password="s3cret word",
    )
    assert (await fence.read(timeout=HANG_S)).state == "on"
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[0] == "action=status", "first: a cut input must not mean the default action, reboot"
    assert {"ip=192.0.2.7", "password=s3cret word", "power_wait=0"} <= set(seen)
    assert not any(line.startswith("agent=") for line in seen)
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith("0 ") and "s3cret" not in arguments


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("echo Status: ON; exit 0", "on"),
        ("echo Status: OFF; exit 2", "off"),
        ("exit 0", "on"),
        ("exit 2", "unknown"),
        ("echo usage: fence_fake 1>&2; exit 2", "unknown"),
        ("exec python3 /nonexistent.py", "unknown"),
        ("if then", "unknown"),
    ],
)
async def test_off_is_believed_only_when_said_in_words(make, script, state):
    """Status 2 is also how interpreters and option parsers fail."""
    assert (await make(script).read(timeout=HANG_S)).state == state


async def test_failure_names_the_last_line_and_never_the_password(make):
    fence = make('echo "login failed for s3cret" >&2; exit 1', password="s3cret")
    with pytest.raises(FenceError, match=r"login failed for \*\*\*") as caught:
        await fence.read(timeout=HANG_S)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(FenceError, match="action off, exit status 1"):
        await fence.off(timeout=HANG_S)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, "it hangs"
        await asyncio.sleep(0.01)


async def started(path: Path) -> int:
    await until(lambda: path.exists() and bool(path.read_text().strip()))
    return int(path.read_text())


SLOW = "sleep 1000 & echo $! >{0}/child; wait; echo switched >{0}/late"


async def test_time_out_kills_the_agent_with_its_children(make, tmp_path):
    fence = make(SLOW.format(tmp_path))
    with pytest.raises(FenceError, match="did not end within"):
        await fence.off(timeout=1.0)
    child = await started(tmp_path / "child")
    await until(lambda: not alive(child))
    assert not (tmp_path / "late").exists()


async def test_cancellation_returns_only_when_the_agent_is_dead(make, tmp_path):
    """Late power-off: the action must not hit a node that was rebooted meanwhile."""
    task = asyncio.create_task(make(f"echo $$ >{tmp_path}/agent; " + SLOW.format(tmp_path)).off(timeout=HANG_S))
    agent = await started(tmp_path / "agent")
    child = await started(tmp_path / "child")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(agent)
    await until(lambda: not alive(child))
    assert not (tmp_path / "late").exists()


async def test_children_left_behind_by_an_agent_that_ended_are_killed(make, tmp_path):
    fence = make(f"sleep 1000 >/dev/null 2>&1 & echo $! >{tmp_path}/child; echo Status: ON")
    assert (await fence.read(timeout=HANG_S)).state == "on"
    child = await started(tmp_path / "child")
    await until(lambda: not alive(child))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "has no `agent`"),
        ({"agent": "ipmitool"}, "not the name of a fence agent"),
        ({"agent": "fence_../../bin/sh"}, "not the name of a fence agent"),
        ({"agent": "fence_"}, "not the name of a fence agent"),
        ({"agent": "fence_there_is_none"}, "there is no fence agent fence_there_is_none"),
        ({"agent": "fence_scsi"}, "cuts storage, not power"),
        ({"agent": "fence_fake", "action": "on"}, "`action` cannot be set"),
        ({"agent": "fence_fake", "debug_file": "/tmp/x"}, "cannot be set"),
        ({"agent": "fence_fake", "password_script": "/tmp/x"}, "as root"),
        ({"agent": "fence_fake", "ip": "a\naction=on"}, "line break"),
        ({"agent": "fence_fake", "ip addr": "a"}, "not an option's name"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(tmp_path, options, says):
    program = tmp_path / "fence_fake"
    program.touch()
    program.chmod(0o755)
    with pytest.raises(InvalidInput, match=says):
        PowerFenceRegistry((str(tmp_path),)).open(FenceDeviceSpec("d", "fence-agent", options))
