"""What a node tells of itself for people: its wall clock, its certificate, who else answers for its addresses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.agent.report import PERIOD_S, RETRY_S, Reporter
from holdfast.agent.telemetry import certificate_ends
from holdfast.bootstrap.pki import create_authority, issue_node
from holdfast.clock import ManualClock
from holdfast.config import Tls
from holdfast.core.alarm_model import NodeReport
from holdfast.core.model import ServiceAddress
from holdfast.net.memory import MemoryAddresses, MemoryNetwork
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster

ADDRESS = ServiceAddress("10.78.0.101", "public")


class World:
    """One node's reporter."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = MemoryCluster(self.clock)
        self.faults = Faults()
        self.network = MemoryNetwork(self.clock, {"public": ("10.78.0.0/24",)})
        self.active = True
        self.wanted = [ADDRESS]
        self.reporter = Reporter(
            "n1",
            "s1",
            MemoryStore(self.cluster, self.clock, faults=self.faults),
            self.clock,
            MemoryAddresses(self.network, "n1", {"public": "10.78.0.11"}),
            active=lambda: self.active,
            wanted=lambda: self.wanted,
            certificates=lambda: ("2030-01-01T00:00:00Z", "2036-01-01T00:00:00Z"),
        )

    @property
    def report(self) -> NodeReport | None:
        entry = self.cluster.get(keys.report("n1"))
        return decode(entry.value, NodeReport) if entry else None


@asynccontextmanager
async def reporting() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.reporter.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_report_each_minute_once_the_node_is_a_member() -> None:
    async with reporting() as world:
        world.active = False
        await world.clock.advance(10)
        assert world.report is None
        world.active = True
        await world.clock.advance(RETRY_S)
        first = world.report
        assert first is not None
        assert first.certificate_ends == "2030-01-01T00:00:00Z" and first.authority_ends == "2036-01-01T00:00:00Z"
        assert not first.conflicts
        await world.clock.advance(PERIOD_S - 6)
        assert world.report == first, "rarely"
        await world.clock.advance(6)
        assert world.report is not None and world.report.wall > first.wall


async def test_somebody_else_who_answers_twice_is_told_and_who_is_on_his_way_out_is_not() -> None:
    async with reporting() as world:
        await world.clock.advance(1)
        world.network.strangers[ADDRESS.ip] = "02:00:00:00:00:09"
        await world.clock.advance(PERIOD_S + RETRY_S)
        assert world.report is not None and world.report.conflicts == {ADDRESS.ip: "02:00:00:00:00:09"}
        await world.clock.advance(PERIOD_S - RETRY_S)
        world.network.strangers.clear()
        await world.clock.advance(RETRY_S)
        assert world.report.conflicts == {}
        world.network.strangers[ADDRESS.ip] = "02:00:00:00:00:09"
        await world.clock.advance(PERIOD_S - 1)
        world.wanted = []
        await world.clock.advance(2 * PERIOD_S)
        assert world.report.conflicts == {}, "it belongs to another node by now"


async def test_a_network_that_cannot_be_asked_and_a_store_that_is_away_end_nothing() -> None:
    async with reporting() as world:
        world.network.cut.add(("n1", "public"))
        await world.clock.advance(1)
        before = world.report
        assert before is not None
        world.faults.unavailable = True
        await world.clock.advance(PERIOD_S)
        assert world.report == before
        world.faults.unavailable = False
        await world.clock.advance(RETRY_S)
        assert world.report.wall > before.wall


def test_when_certificates_end(tmp_path: Path) -> None:
    authority = create_authority("c")
    cert, _ = issue_node(authority, "n1", ["10.0.0.1"])
    (tmp_path / "ca").write_bytes(authority.cert_pem)
    (tmp_path / "cert").write_bytes(cert)
    own, ca = certificate_ends(Tls(str(tmp_path / "ca"), str(tmp_path / "cert"), str(tmp_path / "key")))
    assert own and own <= ca and own.endswith("Z")
    (tmp_path / "cert").write_text("damaged")
    assert certificate_ends(Tls(str(tmp_path / "nothing"), str(tmp_path / "cert"), "")) == ("", "")
