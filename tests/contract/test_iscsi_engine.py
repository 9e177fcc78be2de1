"""What an iSCSI engine promises, by a real tgtd to a real initiator (libiscsi). Two nodes: two daemons, two addresses."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from iscsi_nodes import CLIENT, TARGET, Bench, IscsiNode, bench, until, yes

from holdfast.agent.cgroup import Cgroup
from holdfast.clock import SystemClock
from holdfast.errors import Conflict, DriverError
from holdfast.ports import Unit
from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.engine import Account, Engine, PathState, Volume
from holdfast.services.iscsi.initiator import NoSuchUnit, open_path
from holdfast.services.iscsi.initiator import Path as ScsiPath
from holdfast.services.iscsi.scsi import ScsiError
from holdfast.services.iscsi.session import Chap, Login, LoginRefused, PathLost
from holdfast.services.iscsi.tgt import UNIT, TgtEngine

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups, namespaces")]

LOGIN = Login(TARGET, CLIENT)
BLOCK = 512
LOGICAL_UNIT_NOT_SUPPORTED = (5, 0x25, 0)
SECRET, OTHER_SECRET = "a secret of enough characters".replace(" ", "-"), "another-secret-as-long"


@pytest.fixture
async def rig() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


async def ready(node: IscsiNode, *volumes: Volume, **more: Any) -> None:
    await node.engine.configure(node.target(**more))
    for volume in volumes:
        await node.engine.prepare(volume)


async def state(node: IscsiNode, volume: Volume) -> PathState:
    return (await node.engine.status()).path(volume)


async def refuses_everything(path: ScsiPath) -> None:
    for attempt in (
        path.read(0, 1, BLOCK),
        path.write(0, b"x" * BLOCK, BLOCK),
        path.capacity(),
        path.test_unit_ready(),
    ):
        with pytest.raises(ScsiError) as caught:
            await attempt
        assert (caught.value.key, caught.value.asc, caught.value.ascq) == LOGICAL_UNIT_NOT_SUPPORTED


def test_the_engine_fits_the_port(tmp_path: Path) -> None:
    engine: Engine = TgtEngine(tmp_path, None, SystemClock())  # type: ignore[arg-type]
    assert engine.available() == ""
    assert "package tgt" in TgtEngine(tmp_path, None, SystemClock(), program="/nowhere/tgtd").available()  # type: ignore[arg-type]


async def test_standby_refuses_and_promoted_serves(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    async with open_path(node.portal, LOGIN, volume.lun) as path:
        await refuses_everything(path)
        with pytest.raises(NoSuchUnit):
            await path.identify()
        await node.engine.promote(volume, yes)
        assert await state(node, volume) is PathState.ACTIVE
        await path.write(7, b"seven" * 100 + b"." * 12, BLOCK)
        assert await path.read(7, 1, BLOCK) == b"seven" * 100 + b"." * 12
        assert (await path.capacity()).blocks * BLOCK == volume.size_bytes
        await node.engine.demote(volume)
        await refuses_everything(path)
        await node.engine.promote(volume, yes)
        assert (await path.read(7, 1, BLOCK)).startswith(b"seven")
    assert Path(volume.path).read_bytes()[7 * BLOCK :].startswith(b"seven")


async def test_acknowledged_writes_are_on_the_medium(rig: Bench) -> None:
    """No cache, and nobody can switch one on: INV-6 for every write, not only for those with FUA."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    async with open_path(node.portal, LOGIN, volume.lun) as path:
        caching = await path.caching()
        assert not caching.write_back
    (pid,) = Cgroup(rig.group / "n1" / "strict" / UNIT).processes()
    flags = {
        int(line.split()[1], 8)
        for info in Path(f"/proc/{pid}/fdinfo").iterdir()
        if os.path.realpath(f"/proc/{pid}/fd/{info.name}") == volume.path
        for line in info.read_text().splitlines()
        if line.startswith("flags")
    }
    assert len(flags) == 1 and all(flag & os.O_DIRECT and flag & os.O_SYNC == os.O_SYNC for flag in flags)


async def test_a_volume_is_the_same_on_every_node(rig: Bench) -> None:
    first, second, volume, other = rig.node(1), rig.node(2), rig.volume(1), rig.volume(2)
    seen = []
    for node in (first, second):
        await ready(node, volume, other)
        await node.engine.promote(volume, yes)
        async with open_path(node.portal, LOGIN, volume.lun) as path:
            seen.append(await path.identify())
        await node.engine.demote(volume)
    assert seen[0] == seen[1]
    assert seen[0].wwid.endswith(volume.wwid) and seen[0].serial.strip() == volume.serial
    assert volume.wwid != other.wwid


async def test_back_and_forth_nothing_is_stale(rig: Bench) -> None:
    nodes, volume = [rig.node(1), rig.node(2)], rig.volume()
    for node in nodes:
        await ready(node, volume)
    for turn in range(6):
        node = nodes[turn % 2]
        await node.engine.promote(volume, yes)
        async with open_path(node.portal, LOGIN, volume.lun) as path:
            if turn:
                assert await path.read(0, 1, BLOCK) == b"%d" % (turn - 1) * BLOCK
            await path.write(0, b"%d" % turn * BLOCK, BLOCK)
        await node.engine.demote(volume)


async def test_each_volume_moves_alone(rig: Bench) -> None:
    """And the sessions of its target stay: a promotion needs no login."""
    node, volumes = rig.node(1), [rig.volume(1), rig.volume(2)]
    await ready(node, *volumes)
    async with open_path(node.portal, LOGIN, 1) as one, open_path(node.portal, LOGIN, 2) as two:
        await node.engine.promote(volumes[1], yes)
        await refuses_everything(one)
        await two.write(0, b"2" * BLOCK, BLOCK)
        await node.engine.promote(volumes[0], yes)
        await one.write(0, b"1" * BLOCK, BLOCK)
        await node.engine.demote(volumes[1])
        assert await one.read(0, 1, BLOCK) == b"1" * BLOCK
        await refuses_everything(two)


# --- demotion ---------------------------------------------------------------------------------------------------------


async def test_a_demotion_waits_for_what_is_under_way(rig: Bench) -> None:
    """A write that has reached the node is on the medium when the demotion answers, or never gets there."""
    node, slow = rig.node(1), rig.slow_file()
    volume = rig.volume(path=slow.path)
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    async with open_path(node.portal, LOGIN, volume.lun, timeout_s=20) as path:
        await path.test_unit_ready()
        slow.flowing.clear()
        write = asyncio.create_task(path.write(0, b"late" * 128, BLOCK))
        await until(lambda: slow.waiting == 1)
        demotion = asyncio.create_task(node.engine.demote(volume))
        async with open_path(node.portal, LOGIN, volume.lun) as new:
            while True:  # the demotion has begun when a new command is refused
                try:
                    await new.read(0, 1, BLOCK)
                except ScsiError:
                    break
        assert not demotion.done() and await state(node, volume) is PathState.CHANGING
        slow.flowing.set()
        await demotion
        assert slow.waiting == 0 and (rig.directory / "backing").read_bytes().startswith(b"late")
        await write


async def test_a_closed_connection_does_not_hide_its_write(rig: Bench) -> None:
    """Nobody waits for the answer any more, but the command is still at work: the demotion must know."""
    node, slow = rig.node(1, drain_s=0.6), rig.slow_file()
    volume = rig.volume(path=slow.path)
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    async with open_path(node.portal, LOGIN, volume.lun) as path:
        await path.test_unit_ready()
        slow.flowing.clear()
        with pytest.raises(PathLost):
            await path.run(scsi.write(0, b"late" * 128, BLOCK), timeout_s=0.5)
    for _ in range(2):
        with pytest.raises(DriverError, match="still has commands under way"):
            await node.engine.demote(volume)
    assert slow.waiting == 1
    slow.flowing.set()
    await node.engine.demote(volume)
    assert (rig.directory / "backing").read_bytes().startswith(b"late")
    assert await state(node, volume) is PathState.ABSENT


async def test_no_initiator_can_prevent_a_demotion(rig: Bench) -> None:
    """PREVENT ALLOW MEDIUM REMOVAL is a promise tgt keeps until the session ends: so it ends."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    async with open_path(node.portal, LOGIN, volume.lun) as path:
        await path.run(scsi.Command("PREVENT ALLOW MEDIUM REMOVAL", bytes((0x1E, 0, 0, 0, 1, 0))))
        await node.engine.demote(volume)
    assert await state(node, volume) is PathState.ABSENT


async def test_demotion_under_load(rig: Bench) -> None:
    """Clients that never pause cannot keep a path active, and each write they were told of is there."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    acked: dict[int, int] = {}

    async def client(block: int) -> None:
        async with open_path(node.portal, LOGIN, volume.lun) as path:
            count = 0
            while True:
                count += 1
                await path.write(block, count.to_bytes(8) * 64, BLOCK)
                acked[block] = count

    clients = [asyncio.create_task(client(block)) for block in range(8)]
    await until(lambda: len(acked) == 8 and min(acked.values()) > 5)
    await node.engine.demote(volume)
    content = Path(volume.path).read_bytes()
    outcomes = await asyncio.gather(*clients, return_exceptions=True)
    assert all(isinstance(outcome, ScsiError) for outcome in outcomes), outcomes
    assert content == Path(volume.path).read_bytes()
    for block, count in acked.items():
        assert int.from_bytes(content[block * BLOCK :][:8]) >= count


async def test_a_daemon_that_hangs_has_not_demoted(rig: Bench) -> None:
    node, volume = rig.node(1, answer_s=0.5), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    (pid,) = Cgroup(rig.group / "n1" / "strict" / UNIT).processes()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DriverError):
        await node.engine.demote(volume)
    with pytest.raises(DriverError):
        await node.engine.status()
    await node.engine.halt()
    assert (await node.engine.status()).paths == {}
    await node.engine.demote(volume)


# --- permission -------------------------------------------------------------------------------------------------------


async def test_nothing_is_promoted_without_permission(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    with pytest.raises(DriverError, match="may not"):
        await node.engine.promote(volume, lambda: False)
    answers = iter([True, False])
    with pytest.raises(DriverError, match="may not"):
        await node.engine.promote(volume, lambda: next(answers))
    assert await state(node, volume) is PathState.ABSENT


async def test_a_late_promotion_does_not_reach_the_next_daemon(rig: Bench) -> None:
    """Trap: a pause between the check and its effect. The guard has killed the daemon meanwhile, and another runs."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    asked = 0

    def paused() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:  # what would let it serve is connected, and asks
            group = Cgroup(rig.group / "n1" / "strict" / UNIT)
            os.kill(group.processes()[0], signal.SIGKILL)
            while group.populated():
                pass
            (node.base / "iscsi" / "tgtd.0").unlink()
            argv = ("/usr/sbin/tgtd", "-f", "-C", "0", "--iscsi", f"portal={node.portal}")
            env = {**os.environ, "TGT_IPC_SOCKET": str(node.base / "iscsi" / "tgtd")}
            pid = os.posix_spawn(argv[0], argv, env)
            (rig.group / "n1" / "strict" / UNIT / "cgroup.procs").write_text(str(pid))
            while not (node.base / "iscsi" / "tgtd.0").exists():
                pass
        return True

    with pytest.raises(DriverError):
        await node.engine.promote(volume, paused)
    assert asked == 2
    status = await node.engine.status()
    assert status.paths == {} and status.targets == frozenset()


async def test_the_daemon_dies_with_the_strict_units(rig: Bench) -> None:
    """What the guard does at the deadline; and what is started after that serves nothing."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    Cgroup(rig.group / "n1" / "strict").kill()
    await node.runner.wait_exit(UNIT)
    await node.engine.demote(volume)
    with pytest.raises(DriverError, match="not configured"):
        await node.engine.promote(volume, yes)
    await ready(node, volume)
    assert await state(node, volume) is PathState.ABSENT


# --- adoption and idempotence -----------------------------------------------------------------------------------------


async def test_the_next_agent_adopts_what_serves(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    await node.engine.promote(volume, yes)
    async with open_path(node.portal, LOGIN, volume.lun) as path:
        await path.write(0, b"a" * BLOCK, BLOCK)
        engine = node.restart_agent()
        await engine.configure(node.target())
        await engine.prepare(volume, standby=False)
        assert (await engine.status()).path(volume) is PathState.ACTIVE
        await engine.promote(volume, lambda: pytest.fail("it serves already"))
        assert await path.read(0, 1, BLOCK) == b"a" * BLOCK
        await engine.prepare(volume)
        await refuses_everything(path)


async def test_everything_can_be_said_twice(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    for _ in range(2):
        await ready(node, volume, chap=Account("joe", SECRET), mutual=Account("target", OTHER_SECRET))
        await node.engine.promote(volume, yes)
        await node.engine.promote(volume, yes)
    with pytest.raises(Conflict):
        await node.engine.withdraw(TARGET)
    for _ in range(2):
        await node.engine.demote(volume)
        await node.engine.remove(volume)
        await node.engine.withdraw(TARGET)
        assert (await node.engine.status()).targets == frozenset()
    for _ in range(2):
        await node.engine.halt()
        await node.engine.remove(volume)
        await node.engine.withdraw(TARGET)


@pytest.mark.parametrize("what", ["missing", "shorter", "directory"])
async def test_storage_that_is_not_right_is_refused_beforehand(rig: Bench, what: str) -> None:
    node, volume = rig.node(1), rig.volume()
    await node.engine.configure(node.target())
    path = Path(volume.path)
    if what == "shorter":
        os.truncate(path, 512)
    else:
        path.unlink()
    if what == "directory":
        path.mkdir()
    for attempt in (node.engine.prepare(volume), node.engine.promote(volume, yes)):
        with pytest.raises(DriverError, match=volume.path):
            await attempt
    assert await state(node, volume) is PathState.ABSENT


async def test_a_port_that_is_taken(rig: Bench) -> None:
    first, second = rig.node(1), rig.node(2)
    await ready(first)
    with pytest.raises(DriverError, match=r"did not start|refused"):
        await second.engine.configure(first.target())


# --- who may log in ---------------------------------------------------------------------------------------------------


async def refused(node: IscsiNode, login: Login) -> tuple[int, int]:
    with pytest.raises(LoginRefused) as caught:
        async with open_path(node.portal, login, 1):
            pass
    return caught.value.status_class, caught.value.status_detail


async def test_only_who_is_in_the_list_gets_in(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    stranger = Login(TARGET, f"{CLIENT}2")
    await ready(node, volume, initiators=())
    assert (await refused(node, LOGIN))[0] == 2
    await node.engine.configure(node.target())
    assert (await refused(node, stranger))[0] == 2
    async with open_path(node.portal, LOGIN, 1) as path:
        await node.engine.configure(node.target(initiators=(CLIENT, stranger.initiator)))
        async with open_path(node.portal, stranger, 1) as welcome:
            await refuses_everything(welcome)
            assert {c.initiator for c in (await node.engine.status()).connections} == {CLIENT, stranger.initiator}
        await refuses_everything(path)
        await node.engine.configure(node.target(initiators=(stranger.initiator,)))
        with pytest.raises(PathLost):
            await path.test_unit_ready()
    assert (await refused(node, LOGIN))[0] == 2
    assert (await refused(node, Login(f"{TARGET}-other", CLIENT)))[0] == 2


async def test_an_address_lets_nobody_in(rig: Bench) -> None:
    """tgt admits whoever comes from a bound address, under any name: what was bound by hand is taken away again."""
    node, volume = rig.node(1), rig.volume()
    await ready(node, volume)
    env = {**os.environ, "TGT_IPC_SOCKET": str(node.base / "iscsi" / "tgtd")}
    report = (await tgtadm(env, "--op", "show", "--mode", "target")).splitlines()
    tid = report[0].removeprefix("Target ").partition(":")[0]
    await tgtadm(env, "--op", "bind", "--mode", "target", "--tid", tid, "-I", "ALL")
    stranger = Login(TARGET, f"{CLIENT}2")
    async with open_path(node.portal, stranger, 1):
        pass
    await node.engine.configure(node.target())
    assert (await refused(node, stranger))[0] == 2


async def tgtadm(env: dict[str, str], *argv: str) -> str:
    process = await asyncio.create_subprocess_exec("tgtadm", "--lld", "iscsi", *argv, env=env, stdout=-1)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return out.decode()


async def test_chap(rig: Bench) -> None:
    node, volume = rig.node(1), rig.volume()
    account, mutual = Account("joe", SECRET), Account("target", OTHER_SECRET)
    await ready(node, volume, chap=account, mutual=mutual)
    ours, theirs = Chap(account.user, account.secret), Chap(mutual.user, mutual.secret)
    for chap, target_chap in ((ours, None), (ours, theirs)):
        async with open_path(node.portal, Login(TARGET, CLIENT, chap, target_chap), 1) as path:
            await refuses_everything(path)
    for wrong in (Chap("joe", SECRET[:-1]), Chap("jim", SECRET), theirs):
        assert (await refused(node, Login(TARGET, CLIENT, wrong)))[0] == 2
    assert (await refused(node, LOGIN))[0] == 2
    await refused(node, Login(TARGET, CLIENT, ours, Chap(mutual.user, SECRET[:-1])))
    # A new secret counts at once, and after the agent has been restarted too.
    await node.restart_agent().configure(node.target(chap=Account("joe", OTHER_SECRET)))
    assert (await refused(node, Login(TARGET, CLIENT, ours)))[0] == 2
    async with open_path(node.portal, Login(TARGET, CLIENT, Chap("joe", OTHER_SECRET)), 1):
        pass
    await node.engine.configure(node.target())
    async with open_path(node.portal, LOGIN, 1):
        pass


async def test_one_users_secret_is_not_that_of_two_groups(rig: Bench) -> None:
    node = rig.node(1)
    await ready(node, chap=Account("joe", SECRET))
    with pytest.raises(Conflict, match="joe"):
        await node.engine.configure(node.target(name=f"{TARGET}-2", chap=Account("joe", OTHER_SECRET)))
    with pytest.raises(LoginRefused):
        async with open_path(node.portal, Login(f"{TARGET}-2", CLIENT), 1):
            pass
    async with open_path(node.portal, Login(TARGET, CLIENT, Chap("joe", SECRET)), 1):
        pass


async def test_secrets_are_in_no_command_line_and_no_log(rig: Bench) -> None:
    node = rig.node(1)
    await ready(node, chap=Account("joe", SECRET))
    assert SECRET not in Path(node.runner.log_path(UNIT)).read_text()
    assert SECRET not in repr(node.target(chap=Account("joe", SECRET)))


async def test_the_unit_is_strict(rig: Bench) -> None:
    await ready(rig.node(1))
    assert Cgroup(rig.group / "n1" / "strict" / UNIT).populated()
    assert Unit(UNIT, ()).strict
