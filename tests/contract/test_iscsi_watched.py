"""What the lab's watcher takes for the executor of an active path, beside real tgtd daemons: nobody else, and as long as
something may still be written. Needs root."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from iscsi_nodes import CLIENT, SIZE_BYTES, TARGET, Bench, IscsiNode, bench, until, yes
from slow_file import SlowFile

from holdfast.agent.cgroup import Cgroup
from holdfast.lab.watcher import Sampler
from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.engine import Volume
from holdfast.services.iscsi.initiator import open_path
from holdfast.services.iscsi.session import Login, PathLost
from holdfast.services.iscsi.tgt import TGTD

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0 or not Path(TGTD).exists(), reason="needs root and Debian's package tgt"),
]
LOGIN = Login(TARGET, CLIENT)


@pytest.fixture
async def rig() -> AsyncIterator[Bench]:
    async with bench() as made:
        (made.directory / "iscsi" / "volumes").mkdir(parents=True)
        yield made


def volume(rig: Bench, name: str, lun: int = 1) -> Volume:
    path = rig.directory / "iscsi" / "volumes" / f"{name}.img"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
    return rig.volume(lun, path=path)


async def ready(node: IscsiNode, *volumes: Volume) -> None:
    await node.engine.configure(node.target())
    for one in volumes:
        await node.engine.prepare(one)


class Watch:
    """The watcher's eyes on the nodes of a rig."""

    def __init__(self, rig: Bench) -> None:
        self._sampler = Sampler(rig.group)
        self._now = 0.0

    def look(self) -> dict[str, set[str]]:
        """Instance → the nodes that execute it at the same time."""
        self._now += 0.05
        found = self._sampler.sample(self._now)
        return {instance: {e.host for e in self._sampler.together(executors)} for instance, executors in found.items()}


async def test_an_active_path_is_executed_and_a_standby_one_is_not(rig: Bench) -> None:
    node, one, two = rig.node(1), volume(rig, "one"), volume(rig, "two", 2)
    watch = Watch(rig)
    assert watch.look() == {}
    await ready(node, one, two)
    assert watch.look() == {}
    await node.engine.promote(one, yes)
    assert watch.look() == {"iscsi/one": {"n1"}}
    await node.engine.promote(two, yes)
    assert watch.look() == {"iscsi/one": {"n1"}, "iscsi/two": {"n1"}}, "one process executes both"
    await node.engine.demote(one)
    assert watch.look() == {"iscsi/two": {"n1"}}
    (daemon,) = Cgroup(rig.group).processes()
    os.kill(daemon, signal.SIGSTOP)
    assert watch.look() == {"iscsi/two": {"n1"}}, "it goes on when it is thawed"
    Path(two.path).unlink()
    assert watch.look() == {"iscsi/two": {"n1"}}
    await node.engine.halt()
    assert watch.look() == {}


async def test_a_second_active_path_is_seen_and_moves_are_none(rig: Bench) -> None:
    first, second, moved = rig.node(1), rig.node(2), volume(rig, "one")
    await ready(first, moved)
    await ready(second, moved)
    seen: list[set[str]] = []
    ended = threading.Event()

    def look_all_the_time() -> None:
        watch = Watch(rig)
        while not ended.is_set():
            seen.append(watch.look().get("iscsi/one", set()))

    looking = asyncio.create_task(asyncio.to_thread(look_all_the_time))
    for node in (first, second) * 20:
        await node.engine.promote(moved, yes)
        sight = len(seen) + 2
        await until(lambda sight=sight: len(seen) > sight)  # type: ignore[misc]
        await node.engine.demote(moved)
    assert {frozenset(hosts) for hosts in seen} == {frozenset(), frozenset({"n1"}), frozenset({"n2"})}
    for node in (first, second):
        await node.engine.promote(moved, yes)
    await until(lambda: seen[-1] == {"n1", "n2"})
    ended.set()
    await looking


async def test_a_killed_daemon_executes_until_its_last_write_is_over(rig: Bench) -> None:
    """Its main thread is dead at once; another one waits in the kernel for the storage."""
    node, one = rig.node(1), volume(rig, "one")
    backing = rig.directory / "backing"
    backing.write_bytes(bytes(SIZE_BYTES))
    slow = SlowFile(Path(one.path), backing)
    rig.slow_files.append(slow)
    watch = Watch(rig)
    await ready(node, one)
    await node.engine.promote(one, yes)
    assert watch.look() == {"iscsi/one": {"n1"}}
    async with open_path(node.portal, LOGIN, one.lun) as path:
        await path.test_unit_ready()
        slow.flowing.clear()
        with pytest.raises(PathLost):
            await path.run(scsi.write(0, b"late" * 128, 512), timeout_s=0.5)
    (daemon,) = Cgroup(rig.group).processes()
    halting = asyncio.create_task(node.engine.halt())
    await until(lambda: "zombie" in Path(f"/proc/{daemon}/status").read_text())
    assert watch.look() == {"iscsi/one": {"n1"}}
    assert not halting.done() and not backing.read_bytes().startswith(b"late")
    slow.flowing.set()
    await halting
    assert watch.look() == {}
    assert backing.read_bytes().startswith(b"late"), "written by a process that had been killed"
