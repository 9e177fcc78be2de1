"""The iSCSI driver and its health probe on two nodes, with real tgtd and real logins."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from iscsi_nodes import CLIENT, HANG_S, TARGET, Bench, IscsiNode, bench, yes

from holdfast.clock import SystemClock
from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.errors import DriverError
from holdfast.services.iscsi import report
from holdfast.services.iscsi.config import ChapAccount, TargetGroup, VolumeRecord, instance_spec, parse_portal
from holdfast.services.iscsi.driver import IscsiDriver
from holdfast.services.iscsi.engine import PathState
from holdfast.services.iscsi.initiator import NoSuchUnit, open_path
from holdfast.services.iscsi.initiator import Path as IscsiPath
from holdfast.services.iscsi.probe import IscsiProbe
from holdfast.services.iscsi.reporter import Reporter
from holdfast.services.iscsi.scsi import ReservationType, Reserve
from holdfast.services.iscsi.session import Chap, Login, LoginRefused
from holdfast.services.iscsi.tgt import UNIT
from holdfast.services.storage import MARKER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

LOGIN = Login(TARGET, CLIENT)
BLOCK = b"x" * 512


class Steps:
    def step(self, name: str) -> None: ...


@dataclass
class Node:
    name: str
    real: IscsiNode
    driver: IscsiDriver
    probe: IscsiProbe

    async def start(self, instance: InstanceSpec) -> None:
        await self.driver.start(instance, yes, Steps())

    @asynccontextmanager
    async def path(self, login: Login = LOGIN, lun: int = 1) -> AsyncIterator[IscsiPath]:
        async with open_path(self.real.portal, login, lun) as path:
            yield path


@dataclass
class World:
    bench: Bench
    shared: Path
    groups: dict[str, TargetGroup] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def node(self, number: int) -> Node:
        return self.agent(f"n{number}", self.bench.node(number))

    def agent(self, name: str, real: IscsiNode) -> Node:
        """A run of the node's agent."""
        engine, clock = real.restart_agent(), SystemClock()
        reporter = Reporter(name, str(self.shared), clock)
        driver = IscsiDriver(name, {"tgt": engine}, lambda: self.groups, str(real.base), reporter, clock)
        self.nodes[name] = Node(name, real, driver, IscsiProbe(name, lambda: self.groups))
        return self.nodes[name]

    def signal(self, node: Node, number: signal.Signals) -> None:
        """To its tgtd."""
        [procs] = (self.bench.group / node.name).rglob(f"{UNIT}/cgroup.procs")
        for pid in procs.read_text().split():
            os.kill(int(pid), number)

    def volume(self, lun: int = 1) -> InstanceSpec:
        made = self.bench.volume(lun)
        record = VolumeRecord(f"v{lun}", made.uuid, made.path, made.size_bytes, group="g", lun=lun)
        return instance_spec(record, self.groups["g"])


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with bench() as made:
        shared = made.directory / "shared"
        shared.mkdir()
        (shared / MARKER).touch()
        found = World(made, shared)
        for number in (1, 2):
            found.node(number)
        portals = {name: (node.real.portal,) for name, node in found.nodes.items()}
        found.groups["g"] = TargetGroup("g", TARGET, "tgt", portals, {"n1": 1, "n2": 2}, f"{TARGET}.probe", (CLIENT,))
        yield found


async def test_a_path_is_standby_until_it_is_started_and_after_it_was_stopped() -> None:
    async with world() as w:
        volume, (n1, n2) = w.volume(), w.nodes.values()
        for node in (n1, n2):
            assert await node.driver.prepare([volume]) == {}
            assert await node.driver.running() == []
        assert "does not answer" in await n1.probe.check(volume, timeout=2)
        for here, there in ((n1, n2), (n2, n1)):
            await here.start(volume)
            assert await here.driver.running() == [volume.id]
            assert await there.driver.running() == []
            for asked in (here, there, w.agent("elsewhere", n1.real)):
                assert await asked.probe.check(volume, timeout=3) == ""
            async with here.path() as path:
                await path.write(0, BLOCK, 512)
            async with there.path() as path:
                with pytest.raises(NoSuchUnit):
                    await path.identify()
            await here.driver.stop(volume, 5.0)
            assert await here.driver.running() == []


async def test_a_volume_that_an_initiator_has_reserved_is_healthy() -> None:
    """Else a cluster of initiators would make it move, again and again."""
    async with world() as w:
        n1, volume = w.nodes["n1"], w.volume()
        await n1.start(volume)
        async with n1.path() as path:
            await path.reserve(Reserve.REGISTER, new_key=0xA)
            await path.reserve(Reserve.RESERVE, key=0xA, kind=ReservationType.EXCLUSIVE_ACCESS)
            assert await n1.probe.check(volume, timeout=5) == ""
            await n1.driver.stop(volume, 5.0)
            assert await n1.probe.check(volume, timeout=5)


async def test_keeping_warm_does_not_touch_what_serves() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        async with n1.path() as path:
            for number in range(5):
                assert await n1.driver.prepare([volume]) == {}
                await path.write(number, BLOCK, 512)
            assert not path.session.problem


async def test_a_restarted_agent_finds_and_adopts_its_paths() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        async with n1.path() as path:
            await path.write(0, BLOCK, 512)
            again = w.agent("n1", n1.real)
            assert await again.driver.running() == [volume.id]
            await again.start(volume)
            assert await again.driver.prepare([volume]) == {}
            await path.write(1, BLOCK, 512)
            assert not path.session.problem
        await again.driver.stop(volume, 5.0)
        assert await again.driver.running() == []


async def test_what_was_put_away_leaves_no_process_and_comes_back() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        await n1.driver.stop(volume, 5.0)
        assert UNIT in await n1.real.runner.running()
        await n1.driver.put_away()
        assert await n1.real.runner.running() == []
        assert await n1.driver.prepare([volume]) == {}
        await n1.start(volume)
        assert await n1.probe.check(volume, timeout=3) == ""


async def test_who_may_log_in_changes_while_it_serves() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        other = Login(TARGET, f"{CLIENT}2", Chap("user", "secret-secret"))
        async with n1.path() as path:
            await path.test_unit_ready()
            w.groups["g"] = replace(
                w.groups["g"], initiators=(other.initiator,), chap=ChapAccount("user", "secret-secret")
            )
            assert await n1.driver.prepare([volume]) == {}
        async with n1.path(other) as path:
            await path.test_unit_ready()
        for wrong in (LOGIN, replace(other, chap=Chap("user", "another-secret"))):
            with pytest.raises(LoginRefused):
                async with n1.path(wrong):
                    pass
        assert await n1.probe.check(volume, timeout=3) == ""
        assert await n1.driver.running() == [volume.id]


async def test_what_is_not_wanted_any_more_is_put_away_but_never_under_a_path_that_serves() -> None:
    async with world() as w:
        volume, second, n1 = w.volume(), w.volume(2), w.nodes["n1"]
        assert await n1.driver.prepare([volume, second]) == {}
        await n1.start(volume)
        w.groups.clear()
        await n1.driver.prepare([])
        assert await n1.driver.running() == [volume.id]
        await n1.driver.stop(volume, 5.0)
        assert await n1.driver.prepare([]) == {}
        assert await n1.real.runner.running() == [], "nothing is left to serve"


async def test_the_end_of_the_daemon_is_noticed_and_mended() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        ended = asyncio.create_task(n1.driver.wait_exit(volume))
        await asyncio.sleep(0)
        assert not ended.done()
        w.signal(n1, signal.SIGKILL)
        assert await asyncio.wait_for(ended, HANG_S) is False
        await n1.start(volume)
        assert await n1.probe.check(volume, timeout=3) == ""


async def test_what_has_just_been_started_has_not_ended() -> None:
    """The agent asks before it starts, too: that look must not count after the start."""
    async with world() as w:
        first, second, n1 = w.volume(1), w.volume(2), w.nodes["n1"]
        await n1.start(first)
        for _ in range(3):
            assert await n1.driver.wait_exit(second) is False
            await n1.start(second)
            ended = asyncio.create_task(n1.driver.wait_exit(second))
            await asyncio.wait([ended], timeout=0.1)
            assert not ended.done()
            await n1.driver.stop(second, 5.0)
            assert await asyncio.wait_for(ended, HANG_S) is False


async def test_a_hung_daemon_counts_as_running_and_is_replaced() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        w.signal(n1, signal.SIGSTOP)
        assert await n1.driver.running() == [volume.id]
        assert "does not answer" in await n1.probe.check(volume, timeout=1)
        await n1.driver.restart_hung(volume)
        assert await n1.probe.check(volume, timeout=3) == ""


async def test_a_volume_grows_while_it_serves() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        size = volume.config["size_bytes"] * 2
        os.truncate(volume.config["path"], size)
        grown = replace(volume, config={**volume.config, "size_bytes": size})
        await n1.driver.reconfigure(grown)
        async with n1.path() as path:
            capacity = await path.capacity()
        assert capacity.blocks * capacity.block_bytes == size


async def test_what_may_not_be_started_is_not_active() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        with pytest.raises(DriverError, match="abandoned"):
            await n1.driver.start(volume, lambda: False, Steps())
        assert await n1.driver.running() == []


async def test_a_path_that_nobody_remembers_is_still_seen_and_ended() -> None:
    async with world() as w:
        volume, n1 = w.volume(), w.nodes["n1"]
        await n1.start(volume)
        (n1.real.base / "iscsi" / "known.json").unlink()
        again = w.agent("n1", n1.real)
        [orphan] = await again.driver.running()
        unknown = InstanceSpec(orphan, "iscsi", orphan.partition("/")[2], Exclusivity.STRICT, Role.MANAGEMENT)
        await again.driver.stop(unknown, 1.0)
        assert await again.driver.running() == []


async def test_a_volume_whose_file_is_missing_is_named_and_the_others_serve() -> None:
    async with world() as w:
        volume, second, n1 = w.volume(), w.volume(2), w.nodes["n1"]
        Path(volume.config["path"]).unlink()
        problems = await n1.driver.prepare([volume, second])
        assert set(problems) == {volume.id} and "cannot be opened" in problems[volume.id]
        await n1.start(second)
        assert await n1.probe.check(second, timeout=3) == ""


async def test_the_node_reports_what_people_want_to_know() -> None:
    async with world() as w:
        volume, second, n1 = w.volume(), w.volume(2), w.nodes["n1"]
        await n1.start(volume)
        async with n1.path():
            await n1.probe.check(volume, timeout=3)
            assert await n1.driver.prepare([volume, second]) == {}
        found = report.read_all(str(w.shared))["n1"]
        assert found.engines == {"tgt": ""}
        assert found.paths == {"g": {1: PathState.ACTIVE, 2: PathState.STANDBY}}
        assert [(guest.group, guest.initiator) for guest in found.connections] == [("g", CLIENT)]
        assert parse_portal(n1.real.portal) in w.groups["g"].target("n1").portals
