"""What only systemd can show about its runner. Run by test_runner_systemd.py, inside."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.agent.runner_systemd import SystemdRunner, make_runner
from holdfast.config import NodeConfig
from holdfast.core.rights import Rights
from holdfast.errors import DriverError
from holdfast.fencing.guard.group import StrictGroup
from holdfast.groups import service_name
from holdfast.ports import Unit

HANG_S = 20.0


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[NodeConfig]:
    addresses = {"management": "127.0.0.1"}
    base = f"/sys/fs/cgroup/holdfast-test-{os.getpid()}"
    made = NodeConfig(
        "n1", "t", addresses, (), cgroup=base, log_dir=f"{tmp_path}/log", run_dir=f"{tmp_path}/run", units="systemd"
    )
    yield made
    for place in (*made.groups.all(strict=True), *made.groups.all(strict=False)):
        Cgroup(place).kill()
        await asyncio.wait_for(Cgroup(place).wait_empty(), HANG_S)


def shell(name: str, script: str, **more: object) -> Unit:
    return Unit(name, ("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]


def systemd_run(argv: list[str], properties: tuple[str, ...], script: str) -> None:
    words = [*argv, *(f"-p{text}" for text in properties), "--", "/bin/sh", "-c", script.replace("$", "$$")]
    subprocess.run(words, check=False, timeout=HANG_S)


def show(name: str, what: str) -> str:
    """A property of the unit's service, as systemctl knows it."""
    argv = ["systemctl", "show", "--value", f"--property={what}", service_name(name)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


async def log_of(config: NodeConfig, name: str) -> str:
    """What it wrote, once there is a line."""
    path = Path(CgroupRunner(config).log_path(name))
    async with asyncio.timeout(HANG_S):
        while not (path.exists() and path.read_text().endswith("\n")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return path.read_text()


async def test_a_unit_is_a_service_in_its_slice(config: NodeConfig) -> None:
    runner = make_runner(config)
    assert isinstance(runner, SystemdRunner)
    await runner.start(shell("nfs/vol1", "sleep 1000"))
    await runner.start(shell("etcd", "sleep 1000", strict=False))
    assert (show("nfs/vol1", "ActiveState"), show("nfs/vol1", "Slice")) == ("active", "holdfast-strict.slice")
    assert show("etcd", "Slice") == "holdfast-system.slice"
    assert "holdfast-agent.service" in show("nfs/vol1", "Before")
    assert show("nfs/vol1", "Conflicts") == ""  # a shutdown does not stop it before the agent has
    await runner.stop("nfs/vol1", grace_s=5)
    await runner.start(shell("nfs/vol1", "sleep 1000"))  # at once, though systemd may not have noticed


async def test_environment_directory_and_output_are_as_without_systemd(config: NodeConfig) -> None:
    odd = "a 'b' \"c\" $HOME %h \\x ${d}"
    unit = shell("a", 'echo "$1|$ODD|$PWD|$(env | cut -d= -f1 | sort | tr "\\n" " ")"; sleep 1000', env={"ODD": odd})
    unit = Unit(unit.name, (*unit.argv, "sh", "$PATH%n"), env=unit.env, cwd="/usr")
    await make_runner(config).start(unit)
    argument, value, directory, names = (await log_of(config, "a")).strip().split("|")
    assert (argument, value, directory) == ("$PATH%n", odd, "/usr")
    assert {"LANG", "ODD", "PATH"} <= set(names.split())
    assert not {"INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM"} & set(names.split())


async def test_what_its_rights_forbid_systemd_takes(config: NodeConfig) -> None:
    rights = Rights("a test", user="nobody", capabilities=(), hardening=("NoNewPrivileges=yes", "ProtectSystem=strict"))
    script = 'echo "$(id -un) $(touch /usr/x 2>&1 | grep -c .)"; sleep 1000'
    await make_runner(config).start(shell("a", script, rights=rights))
    assert (await log_of(config, "a")).split() == ["nobody", "1"]
    assert show("a", "ProtectSystem") == "strict"


async def test_the_guard_kills_every_strict_unit_at_once_without_systemd(config: NodeConfig) -> None:
    """Also what an agent without systemd had started before."""
    runner, former = make_runner(config), CgroupRunner(config_without(config))
    await runner.start(shell("a", "trap '' TERM; sleep 1000 & sleep 1000"))
    await former.start(shell("b", "sleep 1000"))
    await runner.start(shell("etcd", "sleep 1000", strict=False))
    assert await runner.running() == ["a", "b", "etcd"]
    guard = StrictGroup(*map(str, config.groups.all(strict=True)))
    assert guard.populated()
    assert guard.kill() == ""
    for name in ("a", "b"):
        await asyncio.wait_for(runner.wait_exit(name), HANG_S)
    assert not guard.populated()
    assert await runner.running() == ["etcd"]
    former.close()


def config_without(config: NodeConfig) -> NodeConfig:
    return NodeConfig("n1", "t", config.addresses, (), cgroup=config.cgroup, log_dir=config.log_dir)


async def test_a_start_that_systemd_executes_late_executes_nothing(config: NodeConfig, tmp_path: Path) -> None:
    """The agent has given the start up, or ended: the launcher is connected to nothing."""
    ran = tmp_path / "ran"
    sockets = Path(config.run_dir) / "launch"
    runner = make_runner(config)
    # What the agent asks systemd for, with a socket that is not there any more.
    properties = ("DefaultDependencies=no", "CollectMode=inactive-or-failed", f"StandardInput=file:{sockets}/gone.sock")
    script = 'echo in >&0; read -r word _ <&0 && [ "$word" = go ] && touch ' + str(ran)
    argv = ["systemd-run", "--quiet", "--unit=holdfast-late.service", "--slice=holdfast-strict.slice"]
    await asyncio.to_thread(systemd_run, argv, properties, script)
    await asyncio.wait_for(runner.wait_exit("late"), HANG_S)
    assert not ran.exists()
    # Connected, but nobody gives the go: the agent ended meanwhile.
    sockets.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{sockets}/mute.sock")
    listener.listen()
    properties = (*properties[:2], f"StandardInput=file:{sockets}/mute.sock")
    argv[2] = "--unit=holdfast-mute.service"
    await asyncio.to_thread(systemd_run, argv, properties, script)
    listener.close()
    await asyncio.wait_for(runner.wait_exit("mute"), HANG_S)
    assert not ran.exists()


async def test_what_may_not_run_any_more_is_asked_when_the_launcher_is_where_the_guard_kills(
    config: NodeConfig, tmp_path: Path
) -> None:
    runner, seen = make_runner(config), []
    guard = StrictGroup(*map(str, config.groups.all(strict=True)))

    def claimed_meanwhile() -> bool:
        seen.append(guard.populated())
        return False

    with pytest.raises(DriverError, match="may not run it"):
        await runner.start(shell("a", f"touch {tmp_path}/ran", allowed=claimed_meanwhile))
    assert seen == [True]
    await asyncio.wait_for(runner.wait_exit("a"), HANG_S)
    assert not (tmp_path / "ran").exists()


async def test_a_group_that_is_killed_before_the_go_executes_nothing(config: NodeConfig, tmp_path: Path) -> None:
    """As at the deadline: the guard kills while the agent is asked."""
    guard = StrictGroup(*map(str, config.groups.all(strict=True)))

    def at_the_deadline() -> bool:
        assert guard.kill() == ""
        return True

    with pytest.raises(DriverError):
        await make_runner(config).start(shell("a", f"touch {tmp_path}/ran; sleep 1000", allowed=at_the_deadline))
    await asyncio.wait_for(make_runner(config).wait_exit("a"), HANG_S)
    assert not (tmp_path / "ran").exists()


async def test_units_outlive_the_agent_and_its_successor_adopts_them(config: NodeConfig) -> None:
    await make_runner(config).start(shell("vm/web-1", "sleep 1000"))
    assert show("vm/web-1", "ActiveState") == "active"
    successor = make_runner(config)
    assert await successor.running() == ["vm/web-1"]
    await successor.stop("vm/web-1", grace_s=5)
    assert await successor.running() == []


async def test_systemd_refuses_what_it_does_not_know(config: NodeConfig) -> None:
    with pytest.raises(DriverError, match="systemd refuses"):
        await make_runner(config).start(shell("a", "sleep 1000", rights=Rights("", hardening=("NoSuchProperty=1",))))
    assert await make_runner(config).running() == []
