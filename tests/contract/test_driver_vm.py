"""The contract of the Driver port for virtual machines, with real libvirt daemons and QEMU. Needs root.

A guest boots for some seconds under emulation, so a test boots few and asks much of each.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing
from vm_nodes import HANG_S, Bench, Steps, VmNode, bench, network, until, yes

from holdfast.clock import SystemClock
from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.errors import DriverError
from holdfast.services.vm.probe import VmProbe

pytestmark = [
    pytest.mark.lab,
    pytest.mark.guest,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/sbin/libvirtd").exists(), reason="needs root and libvirt"),
]


@pytest.fixture
def namespace() -> Iterator[None]:
    with network():
        yield


@pytest.fixture
async def world(namespace: None) -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


@pytest.fixture
def n1(world: Bench) -> VmNode:
    return world.nodes["n1"]


async def health(node: VmNode, instance: InstanceSpec) -> str:
    return await VmProbe(str(node.place.run_dir), SystemClock()).check(instance, timeout=1.0)


async def healthy_within(node: VmNode, instance: InstanceSpec, wanted: bool, limit_s: float = HANG_S) -> str:
    """Tick as an agent does until the probe says so; what it said last."""
    said: list[str] = []

    async def looked() -> bool:
        await node.driver.tick(instance)
        said.append(await health(node, instance))
        return (said[-1] == "") is wanted

    await until(looked, limit_s)
    return said[-1]


async def test_start_adopt_and_stop(world: Bench, n1: VmNode) -> None:
    vm = world.machine("a")
    assert await n1.driver.prepare([vm]) == {}
    assert await n1.driver.running() == []
    steps = Steps()
    await n1.driver.start(vm, yes, steps)
    assert steps.names == ["server"]
    assert await n1.driver.running() == ["vm/a"]
    word = await world.answers(vm)
    assert word["name"] == "a"
    assert await healthy_within(n1, vm, True) == ""
    pid = n1.qemu_pid("a")
    # the next run of the agent finds and keeps it, also when libvirt's daemon was killed in between
    os.kill(n1.pid("libvirtd"), signal.SIGKILL)
    later = n1.restart_agent()
    assert await later.running() == ["vm/a"]
    await later.start(vm, yes, Steps())
    assert n1.qemu_pid("a") == pid
    assert "HVM-UP" in n1.place.console("a").read_text()
    orphan = InstanceSpec(vm.id, "vm", "a", Exclusivity.STRICT, Role.COMPUTE)
    await later.stop(orphan, 20.0)
    assert await later.running() == []
    assert not Path(f"/proc/{pid}").exists()
    assert "Power down" in n1.place.console("a").read_text(), "the guest was shut down in order"
    await later.stop(orphan, 1.0)
    assert not await asyncio.wait_for(later.wait_exit(vm), HANG_S)


async def test_a_start_that_is_not_allowed_leaves_nothing(world: Bench, n1: VmNode) -> None:
    vm = world.machine("a")
    assert await n1.driver.prepare([vm]) == {}
    asked = 0
    for refused_at in range(4):
        answers = [True] * refused_at + [False]
        with pytest.raises(DriverError):
            await n1.driver.start(vm, lambda answers=answers: answers.pop(0), Steps())
        asked += 1
        assert answers == []
        assert await n1.driver.running() == []
        assert n1.virsh("list", "--all", "--name").stdout.strip() == ""
    assert asked == 4
    assert not n1.place.console("a").exists() or "HVM-UP" not in n1.place.console("a").read_text()


async def test_nothing_starts_or_opens_its_disk_behind_holdfasts_back(world: Bench, n1: VmNode) -> None:
    n2, vm = world.nodes["n2"], world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    assert await n2.driver.prepare([vm]) == {}
    xml = world.directory / "a.xml"
    xml.write_text(n1.virsh("dumpxml", "--inactive", "a").stdout)
    refused = n2.virsh("create", str(xml))
    assert refused.returncode != 0
    assert "Holdfast does not permit vm/a" in refused.stderr
    # not even past the hook: the emulator is a gate too
    (n2.place.base / "etc/hooks/qemu").unlink()
    refused = n2.virsh("create", str(xml))
    assert refused.returncode != 0
    assert await n2.driver.running() == []
    disk = f"file={world.directory}/shared/a.raw,format=raw,if=virtio"
    argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-accel", "tcg", "-drive", disk]
    by_hand = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=HANG_S)
    assert by_hand.returncode != 0
    assert 'Failed to get "write" lock' in by_hand.stderr
    # even where both nodes believe that they may run it
    with pytest.raises(DriverError, match="lock"):
        await n2.driver.start(vm, yes, Steps())
    assert await n2.driver.running() == []
    assert await n1.driver.running() == ["vm/a"]
    await n1.driver.stop(vm, 0.0)


async def test_a_machine_holds_a_lease_on_the_shared_storage_while_it_runs(world: Bench, n1: VmNode) -> None:
    vm = world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    leases = list(n1.place.leases.iterdir())
    assert len(leases) == 1
    held = await asyncio.to_thread(subprocess.run, ["lslocks", "-n", "-o", "PATH"], capture_output=True, text=True)
    assert str(leases[0]) in held.stdout
    await n1.driver.stop(vm, 0.0)
    held = await asyncio.to_thread(subprocess.run, ["lslocks", "-n", "-o", "PATH"], capture_output=True, text=True)
    assert str(leases[0]) not in held.stdout


async def test_how_it_ended(world: Bench, n1: VmNode) -> None:
    """A killed QEMU is a failure; a guest that powers itself off is none, unless its owner says so."""
    vm = world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    waiting = asyncio.create_task(n1.driver.wait_exit(vm))
    os.kill(n1.qemu_pid("a"), signal.SIGKILL)
    assert await asyncio.wait_for(waiting, HANG_S) is False
    await n1.driver.start(vm, yes, Steps())
    await world.answers(vm)
    waiting = asyncio.create_task(n1.driver.wait_exit(vm))
    word = await world.tell(vm, "/off")
    assert word["split"] == word["werr"] == 0
    assert await asyncio.wait_for(waiting, HANG_S) is True
    assert await n1.driver.running() == []
    insists = replace(vm, config={**vm.config, "on_power_off": "restart"})
    assert await n1.driver.wait_exit(insists) is False
    # the next run of the agent hears of it too, until somebody has ended or started the machine
    assert await n1.restart_agent().wait_exit(vm) is True
    await n1.driver.stop(vm, 0.0)
    assert await n1.driver.wait_exit(vm) is False


async def test_a_hung_guest_is_found_and_reset(world: Bench, n1: VmNode) -> None:
    vm = world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    first = await world.answers(vm)
    await asyncio.sleep(2.0)  # its heart beats each second: that it was heard cannot be seen from here
    assert await healthy_within(n1, vm, True) == ""
    await world.tell(vm, "/hang")
    await asyncio.sleep(1.5)
    await n1.driver.reconfigure(replace(vm, priority=7))  # its owner does something else meanwhile
    assert "silent" in await healthy_within(n1, vm, False)
    pid = n1.qemu_pid("a")
    await n1.driver.restart_hung(vm)
    second = await world.answers(vm)
    assert second["boot"] != first["boot"]
    assert second["split"] == 0
    assert n1.qemu_pid("a") == pid
    os.kill(pid, signal.SIGSTOP)  # now QEMU itself
    stopping = asyncio.create_task(n1.driver.stop(vm, 1.0))
    await asyncio.wait_for(stopping, HANG_S)
    assert await n1.driver.running() == []


@pytest.mark.long  # a guest that hangs is found the same way, in the test above
async def test_a_guest_whose_agent_falls_silent_is_found_and_reset(world: Bench, n1: VmNode) -> None:
    """Debian's QEMU guest agent. Silence counts only after an answer, so to be found silent proves that it was heard."""
    vm = world.machine("a", heartbeat="agent", hang_s=2.5)
    await n1.driver.start(vm, yes, Steps())
    first = await world.answers(vm)

    async def connected() -> bool:
        return "name='org.qemu.guest_agent.0' state='connected'" in n1.virsh("dumpxml", "a").stdout

    await until(connected)
    for _ in range(6):  # longer than it may be silent
        assert await healthy_within(n1, vm, True) == ""
        await asyncio.sleep(0.5)
    await world.tell(vm, "/hang")
    daemon, pid = n1.pid("libvirtd"), n1.qemu_pid("a")
    assert "silent" in await healthy_within(n1, vm, False)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await n1.driver.tick(vm)
    assert len(logs) < 2, "a silent agent is not taken for a libvirt that hangs"
    await n1.driver.restart_hung(vm)
    assert await healthy_within(n1, vm, True) == ""
    second = await world.answers(vm)
    assert second["boot"] != first["boot"]
    assert (n1.pid("libvirtd"), n1.qemu_pid("a")) == (daemon, pid)
    await n1.driver.stop(vm, 0.0)


async def test_a_guest_that_boots_slowly_does_not_hang(world: Bench, n1: VmNode) -> None:
    """Also when it was the guest itself that booted again: silence counts only after the first beat since."""
    vm = world.machine("a", settings="hvm.late_s=5", hang_s=3.0)
    await n1.driver.start(vm, yes, Steps())

    async def is_well_until_up_for(seconds: float, not_boot: str = "") -> str:
        """Never said to hang until then; its boot."""
        while True:
            await n1.driver.tick(vm)
            assert await health(n1, vm) == ""
            await asyncio.sleep(0.2)
            word = await world.ask(vm, timeout=0.5)
            if word and word["boot"] != not_boot and word["up"] > seconds:
                return str(word["boot"])

    async with asyncio.timeout(HANG_S):
        first = await is_well_until_up_for(8.0)
        await world.tell(vm, "/reboot")
        await is_well_until_up_for(10.0, first)  # some beats: that one was heard cannot be seen from here
    await world.tell(vm, "/hang")
    assert "silent" in await healthy_within(n1, vm, False)
    await n1.driver.stop(vm, 0.0)


async def test_a_libvirt_that_hangs_ends_no_machine_and_hides_none(world: Bench, n1: VmNode) -> None:
    vm = world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    await world.answers(vm)
    pid, daemon = n1.qemu_pid("a"), n1.pid("libvirtd")
    os.kill(daemon, signal.SIGSTOP)
    assert await n1.driver.running() == ["vm/a"]

    async def replaced() -> bool:
        await n1.driver.tick(vm)
        assert await health(n1, vm) == ""
        return n1.pid("libvirtd") != daemon and "running" in n1.virsh("domstate", "a").stdout

    await until(replaced)
    assert n1.qemu_pid("a") == pid
    os.kill(n1.pid("libvirtd"), signal.SIGSTOP)
    await n1.driver.stop(vm, 1.0)
    assert not Path(f"/proc/{pid}").exists()
    assert await n1.driver.running() == []


@pytest.mark.long  # in the suite machines migrate live in the lab
async def test_live_migration_there_and_back(world: Bench, n1: VmNode) -> None:
    n2, vm = world.nodes["n2"], world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    assert await n2.driver.prepare([vm]) == {}
    before = await world.answers(vm)
    with pytest.raises(DriverError, match="not handed over"):
        await asyncio.wait_for(n1.driver.migrate(vm, "n2"), HANG_S)
    assert await n1.driver.running() == ["vm/a"]
    assert await n2.driver.running() == []
    for source, target in ((n1, n2), (n2, n1)):
        await target.driver.receive(vm, yes)
        await target.driver.receive(vm, yes)
        assert await target.driver.running() == ["vm/a"]
        await source.driver.migrate(vm, target.name)
        assert await source.driver.running() == []
        await target.driver.start(vm, yes, Steps())
        after = await world.answers(vm)
        assert (after["boot"], after["split"], after["werr"]) == (before["boot"], 0, 0)
        assert after["n"] > before["n"]
        before = after
        assert await healthy_within(target, vm, True) == ""
    # ready, and called off
    await n2.driver.receive(vm, yes)
    await n2.driver.stop(vm, 0.0)
    assert await n2.driver.running() == []


async def test_a_migration_that_is_called_off_leaves_it_where_it_was(world: Bench, n1: VmNode) -> None:
    n2, vm = world.nodes["n2"], world.machine("a")
    await n1.driver.start(vm, yes, Steps())
    before = await world.answers(vm)
    await n2.driver.receive(vm, yes)
    n1.virsh("migrate-setspeed", "a", "1")  # MiB/s: it takes a while
    attempt = asyncio.create_task(n1.driver.migrate(vm, "n2"))

    async def under_way() -> bool:
        return n2.has_qemu("a") and "Data remaining" in n1.virsh("domjobinfo", "a").stdout

    async def cleared_away() -> bool:
        return not n2.has_qemu("a")

    await until(under_way)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await n1.driver.start(vm, yes, Steps())
    after = await world.answers(vm)
    assert (after["boot"], after["split"]) == (before["boot"], 0)

    # the other node dies in the middle
    await until(cleared_away)
    attempt = asyncio.create_task(n1.driver.migrate(vm, "n2"))
    await until(under_way)
    os.kill(n2.qemu_pid("a"), signal.SIGKILL)
    with pytest.raises(DriverError, match="runs here as before"):
        await asyncio.wait_for(attempt, HANG_S)
    await n2.driver.stop(vm, 0.0)
    after = await world.answers(vm)
    assert (after["boot"], after["split"]) == (before["boot"], 0)

    # the guest powers itself off in the middle: that is its wish, also for the other node
    await until(cleared_away)
    await n2.driver.receive(vm, yes)
    attempt = asyncio.create_task(n1.driver.migrate(vm, "n2"))
    await until(under_way)
    await world.tell(vm, "/off")
    with pytest.raises(DriverError, match="powered itself off"):
        await asyncio.wait_for(attempt, HANG_S)
    assert await n1.driver.running() == []
    assert await n1.driver.wait_exit(vm) is True


@pytest.mark.parametrize("policy", ["restart", "ignore"])
async def test_a_machine_that_lost_its_storage(world: Bench, n1: VmNode, policy: str) -> None:
    """A disk that takes no more is an error like any other: QEMU pauses the machine, and its owner's policy decides."""
    small = world.directory / "shared" / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(small)], check=True, timeout=20)  # noqa: ASYNC221
    try:
        (small / "filler").write_bytes(bytes(1 << 20))
        vm = world.machine("a", on_storage_loss=policy, hang_s=2.5)
        (small / "a.raw").touch()
        os.truncate(small / "a.raw", 8 << 20)
        vm = replace(vm, config={**vm.config, "disks": [{"path": str(small / "a.raw"), "format": "raw"}]})
        await n1.driver.start(vm, yes, Steps())
        assert "disk" in await healthy_within(n1, vm, False)
        await asyncio.sleep(4.0)  # it stands for longer than a guest may be silent
        assert "disk" in await healthy_within(n1, vm, False)
        (small / "filler").unlink()
        await n1.driver.restart_hung(vm)

        async def goes_on() -> bool:
            await n1.driver.tick(vm)
            problem = await health(n1, vm)
            assert "silent" not in problem
            return problem == ""

        await until(goes_on)
        word = await world.answers(vm)
        assert word["split"] == 0
        assert n1.place.console("a").read_text().count("HVM-UP") == {"restart": 2, "ignore": 1}[policy]
        await n1.driver.stop(vm, 0.0)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(small)], check=True, timeout=20)


async def test_a_lost_lock_daemon_comes_back_with_the_next_start(world: Bench, n1: VmNode) -> None:
    a, b = world.machine("a"), world.machine("b")
    await n1.driver.start(a, yes, Steps())
    os.kill(n1.pid("virtlockd"), signal.SIGKILL)

    async def gone() -> bool:
        return "vm-virtlockd" not in await n1.runner.running()

    await until(gone)
    await n1.driver.start(b, yes, Steps())
    assert await n1.driver.running() == ["vm/a", "vm/b"]
    for vm in (a, b):
        await n1.driver.stop(vm, 0.0)
    assert await n1.driver.running() == []
