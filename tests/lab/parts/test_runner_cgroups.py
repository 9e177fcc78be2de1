"""What only real control groups and processes can show about the runner. Needs root."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.agent.cgroup import Cgroup, escape
from holdfast.agent.runner import CgroupRunner
from holdfast.config import NodeConfig
from holdfast.core.rights import Rights
from holdfast.errors import DriverError
from holdfast.ports import Unit

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HANG_S = 20.0


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[NodeConfig]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    base = Cgroup(root / f"holdfast-test-runner-{os.getpid()}-lab")
    yield NodeConfig("n1", "t", {"management": "127.0.0.1"}, (), cgroup=str(base.path), log_dir=str(tmp_path / "log"))
    base.kill()
    await asyncio.wait_for(base.wait_empty(), HANG_S)
    base.remove()


@pytest.fixture
async def runner(config: NodeConfig) -> AsyncIterator[CgroupRunner]:
    made = CgroupRunner(config)
    yield made
    everything = Cgroup(Path(config.cgroup))
    everything.kill()
    await asyncio.wait_for(everything.wait_empty(), HANG_S)
    # Let it reap what was killed.
    await asyncio.sleep(0.01)
    made.close()


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.005)


def group_of(config: NodeConfig, name: str) -> Cgroup:
    return Cgroup(Path(config.cgroup) / "strict" / escape(name))


def shell(name: str, script: str, **more: object) -> Unit:
    return Unit(name, ("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]


def log_of(runner: CgroupRunner, name: str) -> str:
    path = Path(runner.log_path(name))
    return path.read_text() if path.exists() else ""


async def test_a_unit_starts_with_a_clean_process(runner: CgroupRunner, config: NodeConfig) -> None:
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    program = (
        "import json,os,resource,signal,sys;"
        "print(json.dumps({'fds': sorted(map(int, os.listdir('/proc/self/fd')))[:-1], 'sid': os.getsid(0) == os.getpid(),"
        "'ignored': [s for s in ('SigIgn','SigBlk') for l in open('/proc/self/status')"
        " if l.startswith(s) and int(l.split()[1],16) & (1<<9|1<<11)],"
        "'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0], 'cwd': os.getcwd(), 'env': dict(os.environ)}), flush=True)"
    )
    unit = Unit("clean/one", (sys.executable, "-S", "-c", program), env={"MINE": "x y"}, cwd="/tmp")
    try:
        await runner.start(unit)
        await asyncio.wait_for(runner.wait_exit("clean/one"), HANG_S)
    finally:
        os.close(leak)
        signal.signal(signal.SIGUSR1, previous)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    seen = json.loads(log_of(runner, "clean/one"))
    assert seen["fds"] == [0, 1, 2]
    assert seen["sid"] and seen["ignored"] == [] and seen["cwd"] == "/tmp"
    assert seen["files"] >= 4096
    assert seen["env"]["MINE"] == "x y" and "HOME" not in seen["env"]


async def test_a_unit_drops_to_its_user(runner: CgroupRunner) -> None:
    nobody = Rights("a test", user="nobody", capabilities=())
    await runner.start(shell("user", "id -un; id -gn; id -Gn", rights=nobody))
    await asyncio.wait_for(runner.wait_exit("user"), HANG_S)
    assert log_of(runner, "user").split() == ["nobody", "nogroup", "nogroup"]


async def test_what_ignores_sigterm_is_killed_with_all_its_children(runner: CgroupRunner, config: NodeConfig) -> None:
    await runner.start(
        shell("stubborn", "trap '' TERM; (trap '' TERM; setsid sleep 1000) & echo up; while :; do sleep 1000; done")
    )
    await until(lambda: "up" in log_of(runner, "stubborn") and len(group_of(config, "stubborn").processes()) >= 3)
    await runner.stop("stubborn", grace_s=0.2)
    assert await runner.running() == []
    assert not group_of(config, "stubborn").path.exists()


async def test_a_unit_that_ends_cleanly_gets_its_grace(runner: CgroupRunner) -> None:
    await runner.start(shell("clean", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"))
    await until(lambda: "up" in log_of(runner, "clean"))
    await runner.stop("clean", grace_s=HANG_S)
    assert "bye" in log_of(runner, "clean")


async def test_a_frozen_unit_is_killed_without_waiting(runner: CgroupRunner, config: NodeConfig) -> None:
    await runner.start(shell("frozen", "while :; do sleep 0.01; done"))
    group = group_of(config, "frozen")
    (group.path / "cgroup.freeze").write_text("1")
    await until(group.frozen)
    async with asyncio.timeout(HANG_S):
        await runner.stop("frozen", grace_s=1000)
    assert not group.path.exists()
    await runner.start(shell("frozen", "echo thawed"))
    await asyncio.wait_for(runner.wait_exit("frozen"), HANG_S)
    assert "thawed" in log_of(runner, "frozen")


async def test_units_in_groups_of_their_own_making_are_seen_and_removed(
    runner: CgroupRunner, config: NodeConfig
) -> None:
    group = group_of(config, "nested")
    below = group.path / "below"
    script = f"mkdir {below}; echo $$ > {below}/cgroup.procs; echo moved; exec sleep 1000"
    await runner.start(shell("nested", script))
    await until(lambda: "moved" in log_of(runner, "nested"))
    assert (group.path / "cgroup.procs").read_text() == ""
    assert await runner.running() == ["nested"]
    await runner.stop("nested", grace_s=5)
    assert not group.path.exists()


async def test_killing_the_strict_group_spares_system_units(runner: CgroupRunner, config: NodeConfig) -> None:
    await runner.start(shell("a", "sleep 1000"))
    await runner.start(shell("b", "sleep 1000", strict=False))
    Cgroup(Path(config.cgroup) / "strict").kill()
    await asyncio.wait_for(runner.wait_exit("a"), HANG_S)
    assert await runner.running() == ["b"]


async def test_no_zombies_are_left(runner: CgroupRunner) -> None:
    def zombies() -> set[str]:
        ps = ["ps", "-o", "stat=,pid=", "--ppid", str(os.getpid())]
        return {
            row for row in subprocess.run(ps, capture_output=True, text=True).stdout.splitlines() if row.startswith("Z")
        }

    before = zombies()
    for n in range(5):
        await runner.start(shell(f"short{n}", "exit 3"))
    await until(lambda: zombies() <= before)


async def test_units_survive_the_agent(config: NodeConfig, runner: CgroupRunner) -> None:
    program = (
        "import asyncio,sys,json\nfrom holdfast.agent.runner import CgroupRunner\nfrom holdfast.config import NodeConfig\n"
        "from holdfast.ports import Unit\n"
        "async def main():\n"
        f"    r=CgroupRunner(NodeConfig('n1','t',{{}},(),cgroup={config.cgroup!r},log_dir={config.log_dir!r}))\n"
        "    await r.start(Unit('vm/kept',('/bin/sh','-c','echo alive; exec sleep 1000')))\n"
        "    print('started',flush=True)\n    await asyncio.sleep(1000)\nasyncio.run(main())\n"
    )
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    try:
        assert agent.stdout is not None
        assert (await asyncio.wait_for(agent.stdout.readline(), HANG_S)).strip() == b"started"
    finally:
        agent.kill()
        await agent.wait()
    assert await runner.running() == ["vm/kept"]
    await until(lambda: "alive" in log_of(runner, "vm/kept"))
    exited = asyncio.create_task(runner.wait_exit("vm/kept"))
    await asyncio.sleep(0.02)
    assert not exited.done()
    await runner.stop("vm/kept", grace_s=5)
    await asyncio.wait_for(exited, HANG_S)


async def test_a_start_cut_off_by_the_guard_runs_nothing(runner: CgroupRunner, config: NodeConfig) -> None:
    """Trap of the design: a kill between the check and the side effect. The launcher is in the group when it is checked."""

    def guard_kills_now() -> bool:
        Cgroup(Path(config.cgroup) / "strict").kill()
        return True

    witness = Path(config.log_dir) / "ran"
    with pytest.raises(DriverError, match="deadline"):
        await runner.start(shell("late", f"touch {witness}", allowed=guard_kills_now))
    await asyncio.wait_for(runner.wait_exit("late"), HANG_S)
    await asyncio.sleep(0.05)
    assert not witness.exists() and await runner.running() == []


async def test_errors_say_what_is_wrong(runner: CgroupRunner, config: NodeConfig, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="not on this node"):
        await runner.start(Unit("a", ("/no/such/program",)))
    elsewhere = CgroupRunner(NodeConfig("n1", "t", {}, (), cgroup=str(tmp_path / "plain"), log_dir=config.log_dir))
    with pytest.raises(DriverError, match="cgroup version 2"):
        await elsewhere.start(shell("a", "true"))
    assert await elsewhere.running() == []


async def test_a_big_log_is_put_aside_at_the_next_start(runner: CgroupRunner) -> None:
    path = Path(runner.log_path("chatty"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    await runner.start(shell("chatty", "echo new"))
    await asyncio.wait_for(runner.wait_exit("chatty"), HANG_S)
    assert path.read_text() == "new\n"
    assert path.with_name(path.name + ".1").stat().st_size > 10 * 1024 * 1024
