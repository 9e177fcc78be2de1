"""What every Runner promises; the same tests run on real control groups (root) and in memory."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.agent.runner_systemd import make_runner
from holdfast.config import NodeConfig
from holdfast.errors import DriverError
from holdfast.ports import Runner, Unit

HANG_S = 90.0


class Machine:
    """A machine that carries units, as a test sees it."""

    def runner(self) -> Runner:
        """A runner that knows nothing yet: an agent that has just started."""
        raise NotImplementedError

    def crash(self, name: str) -> None:
        """End the unit from outside, as a crash would."""
        raise NotImplementedError

    async def close(self) -> None:
        return


class MemoryMachine(Machine):
    def __init__(self) -> None:
        self.host = MemoryHost()

    def runner(self) -> Runner:
        return MemoryRunner(self.host)

    def crash(self, name: str) -> None:
        self.host.crash(name)


class RealMachine(Machine):
    def __init__(self, logs: Path, units: str) -> None:
        mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        root = Path([left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")][-1])
        self.base = root / f"holdfast-test-runner-{os.getpid()}"
        self.config = NodeConfig(
            "n1",
            "test",
            {"management": "127.0.0.1"},
            (),
            cgroup=str(self.base),
            log_dir=str(logs),
            run_dir=str(logs / "run"),
            units=units,
        )
        self.runners: list[CgroupRunner] = []

    def runner(self) -> Runner:
        self.runners.append(make_runner(self.config))
        return self.runners[-1]

    def crash(self, name: str) -> None:
        for group in self.config.groups.anywhere(name):
            for pid in Cgroup(group).processes():
                os.kill(pid, signal.SIGKILL)

    async def close(self) -> None:
        for place in (*self.config.groups.all(strict=True), *self.config.groups.all(strict=False), self.base):
            group = Cgroup(place)
            group.kill()
            await asyncio.wait_for(group.wait_empty(), HANG_S)
        Cgroup(self.base).remove()
        await asyncio.sleep(0)
        for runner in self.runners:
            runner.close()


# tests/lab/parts/test_runner_systemd.py runs these tests under a systemd of its own.
KINDS = ["systemd"] if os.environ.get("HOLDFAST_TEST_SYSTEMD") else ["memory", "cgroups"]


@pytest.fixture(params=[pytest.param(kind, marks=[] if kind == "memory" else pytest.mark.lab) for kind in KINDS])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    if request.param != "memory" and os.geteuid() != 0:
        pytest.skip("needs root")
    made: Machine = MemoryMachine() if request.param == "memory" else RealMachine(tmp_path, request.param)
    try:
        yield made
    finally:
        await made.close()


def sleeper(name: str, **more: object) -> Unit:
    return Unit(name, (str(shutil.which("sleep")), "1000"), **more)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)


async def test_a_started_unit_runs_until_it_is_stopped(machine: Machine) -> None:
    runner = machine.runner()
    assert await runner.running() == []
    await runner.start(sleeper("nfs/vol1"))
    await runner.start(sleeper("etcd", strict=False))
    assert await runner.running() == ["etcd", "nfs/vol1"]
    await runner.stop("nfs/vol1", grace_s=5)
    assert await runner.running() == ["etcd"]
    await runner.stop("etcd", grace_s=5)
    assert await runner.running() == []


async def test_starting_twice_and_stopping_twice_changes_nothing(machine: Machine) -> None:
    runner = machine.runner()
    await asyncio.gather(runner.start(sleeper("a")), runner.start(sleeper("a")))
    exited = asyncio.create_task(runner.wait_exit("a"))
    await runner.start(sleeper("a"))
    assert not exited.done()
    await runner.stop("a", grace_s=5)
    await asyncio.wait_for(exited, HANG_S)
    await runner.stop("a", grace_s=5)
    await runner.stop("never there", grace_s=5)
    assert await runner.running() == []


async def test_a_stopped_unit_can_be_started_again(machine: Machine) -> None:
    runner = machine.runner()
    for _ in range(3):
        await runner.start(sleeper("a"))
        await runner.stop("a", grace_s=5)
    await runner.start(sleeper("a"))
    assert await runner.running() == ["a"]


async def test_the_next_agent_finds_adopts_and_stops_what_runs(machine: Machine) -> None:
    await machine.runner().start(sleeper("vm/web.1"))
    successor = machine.runner()
    assert await successor.running() == ["vm/web.1"]
    await successor.start(sleeper("vm/web.1"))
    exited = asyncio.create_task(successor.wait_exit("vm/web.1"))
    await successor.stop("vm/web.1", grace_s=5)
    await asyncio.wait_for(exited, HANG_S)
    assert await successor.running() == []


async def test_a_crash_is_noticed_by_an_agent_that_adopted_the_unit(machine: Machine) -> None:
    await machine.runner().start(sleeper("a"))
    successor = machine.runner()
    exited = [asyncio.create_task(successor.wait_exit("a")) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in exited)
    machine.crash("a")
    await asyncio.wait_for(asyncio.gather(*exited), HANG_S)
    assert await successor.running() == []
    await successor.start(sleeper("a"))
    assert await successor.running() == ["a"]


async def test_waiting_for_a_unit_that_does_not_run_ends_at_once(machine: Machine) -> None:
    await asyncio.wait_for(machine.runner().wait_exit("nobody"), HANG_S)


async def test_a_start_that_is_no_longer_allowed_runs_nothing(machine: Machine) -> None:
    runner = machine.runner()
    with pytest.raises(DriverError):
        await runner.start(sleeper("a", allowed=lambda: False))
    await asyncio.wait_for(runner.wait_exit("a"), HANG_S)
    assert await runner.running() == []


async def test_names_keep_their_odd_characters(machine: Machine) -> None:
    runner = machine.runner()
    names = sorted(["nfs/vol1", "..", "cgroup.kill", "a b%2F", "vm/größe", "x:y+z-w_~"])
    for name in names:
        await runner.start(sleeper(name))
    assert await runner.running() == names
    paths = {runner.log_path(name) for name in names}
    assert len(paths) == len(names)
    await asyncio.gather(*(runner.stop(name, grace_s=5) for name in names))
    assert await runner.running() == []


async def test_a_unit_without_a_program_is_refused(machine: Machine) -> None:
    with pytest.raises(Exception, match="no program"):
        await machine.runner().start(Unit("a", ()))
