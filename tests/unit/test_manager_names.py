"""What the leading manager writes for DNS, and how it keeps other servers up to date."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
from decide_world import NOW, T, node

from holdfast.clock import ManualClock
from holdfast.core.dns_model import DnsRecords, TsigKey, UpdateState, UpdateTarget, Zone
from holdfast.core.dns_records import newer
from holdfast.core.history import Event
from holdfast.core.model import (
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementSpec,
    Placement,
    Role,
    ServiceAddress,
)
from holdfast.core.observers import MANAGEMENT, Suspicion
from holdfast.core.view import InstanceView, View
from holdfast.errors import HoldfastError
from holdfast.manager.commit import EventLog
from holdfast.manager.names import AGAIN_S, FIRST_RETRY_S, Job, NameDesk
from holdfast.ports import Compare, Delete, Op, Put, TxnResult
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

NAME = "s3.example.lan"
TARGET = UpdateTarget("office", "192.0.2.53", "example.lan", TsigKey("k", "locked"))


class Clock(ManualClock):
    """Its wall clock goes with it."""

    def wall(self) -> str:
        return (
            f"2026-01-01T{int(self.now()) // 3600 % 24:02}:{int(self.now()) // 60 % 60:02}:{int(self.now()) % 60:02}Z"
        )


class World:
    """A store, one manager's desk, and a server that takes updates or not."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cluster = MemoryCluster(self.clock)
        self.store = MemoryStore(self.cluster, self.clock)
        self.jobs: list[Job] = []
        self.refuses = ""
        self.mirror = Mirror(self.store)
        self.following = asyncio.create_task(self.mirror.run())
        self.desk = NameDesk(self.mirror, self.clock, self, self.push)  # type: ignore[arg-type]

    async def commit(self, compare: Sequence[Compare], ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        """Stands for the election: this manager leads."""
        return await self.store.txn(compare, ops)

    async def push(self, job: Job) -> None:
        self.jobs.append(job)
        if self.refuses:
            raise HoldfastError(self.refuses)

    async def begin(self, *values: tuple[str, object]) -> None:
        await self.put(*values)
        self.desk.begin_term(EventLog(1, self.clock))

    async def put(self, *values: tuple[str, object]) -> None:
        await self.store.txn([], [Put(key, encode(value)) for key, value in values])
        await self.settled()

    async def settled(self) -> None:
        await self.clock.settle()
        await self.until(lambda: self.mirror.revision == self.cluster.list("").revision)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)

    async def publish(self, view: View) -> int:
        revision = await self.desk.publish(view, NOW)
        await self.settled()
        return revision

    def records(self) -> DnsRecords:
        entry = self.cluster.get(keys.DNS_RECORDS)
        return decode(entry.value, DnsRecords) if entry else DnsRecords()

    def state(self) -> UpdateState:
        entry = self.cluster.get(keys.dns_state("office"))
        return decode(entry.value, UpdateState) if entry else UpdateState()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.mirror.ready.wait()
    yield made
    made.desk.stop()
    made.following.cancel()
    await asyncio.gather(made.following, return_exceptions=True)


ZONE = (keys.dns_zone("example.lan"), Zone("example.lan", "a@example.lan", MANAGEMENT))
MANAGED = (keys.MANAGEMENT, ManagementSpec(("n1", "n2")))


def seen(*, suspect: str = "", gateways: int = 2, settled: bool = True) -> View:
    nodes = {name: node(name) for name in ("n1", "n2")}
    if suspect:
        nodes[suspect] = replace(nodes[suspect], suspicion=Suspicion(NOW, ("n8", "n9"), MANAGEMENT))
    instances = {}
    for number in range(1, gateways + 1):
        home = f"n{number}"
        spec = InstanceSpec(
            f"s3/main/gw-{home}", "s3", "main", Exclusivity.EVERYWHERE, Role.S3, home=home,
            address=ServiceAddress(f"10.78.0.6{number}", "public"), names=(NAME,),
        )  # fmt: skip
        word = InstanceStatus(home, f"s-{home}", 7, InstanceState.RUNNING, healthy=True)
        instances[spec.id] = InstanceView(spec, 1, placement=Placement(home, 7, 1), status=word)
    return View(T, 500, nodes, instances, settled=settled)


async def test_it_writes_what_changed_and_nothing_else(world: World) -> None:
    await world.begin(ZONE, MANAGED)
    assert await world.publish(seen())
    first = world.records()
    assert first.names == {NAME: ("10.78.0.61", "10.78.0.62")}
    assert first.zones[0].servers == {"ns-n1.example.lan": ("10.0.0.1",), "ns-n2.example.lan": ("10.0.0.1",)}
    assert await world.publish(seen()) == 0
    assert await world.publish(seen(suspect="n1"))
    second = world.records()
    assert second.names == {NAME: ("10.78.0.62",)} and newer(second.serial, first.serial)
    said = [decode(entry.value, Event).text for entry in world.cluster.list(keys.EVENTS).entries]
    assert said[-1] == f"{NAME}: 10.78.0.61 out (n1 is suspect)"
    await world.put((keys.dns_zone("example.lan"), replace(ZONE[1], ttl_s=30)))
    assert await world.publish(seen(suspect="n1")) and world.records().zones[0].ttl_s == 30


async def test_without_zone_and_target_nothing_is_written(world: World) -> None:
    await world.begin(MANAGED)
    assert await world.publish(seen()) == 0 and not world.cluster.get(keys.DNS_RECORDS)
    await world.put(ZONE)
    assert await world.publish(seen())
    await world.store.txn([], [Delete(ZONE[0])])
    await world.settled()
    assert await world.publish(seen()) and not world.cluster.get(keys.DNS_RECORDS)


async def test_a_new_leader_waits_for_the_observers(world: World) -> None:
    """Else it would publish again what its predecessor has just taken out."""
    await world.begin(ZONE, MANAGED)
    await world.publish(seen(suspect="n1"))
    await world.begin()
    assert await world.publish(seen(settled=False)) == 0
    assert world.records().names == {NAME: ("10.78.0.62",)}


async def test_each_term_begins_with_a_newer_serial_also_after_a_restore(world: World) -> None:
    await world.begin(ZONE, MANAGED)
    await world.publish(seen())
    old = world.cluster.get(keys.DNS_RECORDS)
    assert old is not None
    await world.clock.advance(100)
    await world.publish(seen(suspect="n1"))
    lost = world.records().serial
    await world.store.txn([], [Put(keys.DNS_RECORDS, old.value)])  # restored
    await world.settled()
    await world.clock.advance(10)
    await world.begin()
    assert await world.publish(seen())
    assert newer(world.records().serial, lost)


async def test_a_write_that_lost_a_race_is_repeated(world: World) -> None:
    await world.begin(ZONE, MANAGED)
    await world.publish(seen())
    world.cluster.txn([], [Put(keys.DNS_RECORDS, encode(DnsRecords(serial=1)))], [])
    assert await world.desk.publish(seen(suspect="n1"), NOW) == 0
    assert world.desk.behind
    await world.settled()
    assert await world.publish(seen(suspect="n1")) and not world.desk.behind


# --- updates of other servers --------------------------------------------------------------------------------------


async def test_a_target_gets_each_state_and_is_told_what_to_forget(world: World) -> None:
    await world.begin((keys.dns_target("office"), TARGET), MANAGED)
    await world.publish(seen())
    await world.until(lambda: world.state().serial == world.records().serial)
    assert world.state().names == (NAME,)
    await world.settled()
    await world.publish(seen(gateways=0))
    await world.until(lambda: world.state().serial == world.records().serial and world.state().names == ())
    assert [job.forget for job in world.jobs] == [frozenset(), {NAME}]


async def test_what_failed_is_told_and_repeated(world: World) -> None:
    world.refuses = "the server refuses"
    await world.begin((keys.dns_target("office"), TARGET), MANAGED)
    await world.publish(seen())
    await world.until(lambda: world.state().error == "the server refuses")
    assert world.state().names == (NAME,), "it may be there in spite of the error"
    world.refuses = ""
    await world.settled()
    await world.clock.advance(FIRST_RETRY_S + 0.1)
    await world.until(lambda: world.state().error == "" and world.state().serial == world.records().serial)


async def test_the_next_leader_forgets_what_the_last_one_wrote(world: World) -> None:
    await world.begin((keys.dns_target("office"), TARGET), MANAGED)
    await world.publish(seen())
    await world.until(lambda: world.state().serial == world.records().serial)
    await world.settled()
    await world.begin()
    await world.publish(seen(gateways=0))
    await world.until(lambda: world.state().names == ())
    assert world.jobs[-1].forget == {NAME}


async def test_all_is_written_again_now_and_then_and_not_after_the_target_is_gone(world: World) -> None:
    await world.begin((keys.dns_target("office"), TARGET), ZONE, MANAGED)
    await world.publish(seen())
    await world.until(lambda: world.state().serial == world.records().serial)
    await world.settled()
    await world.clock.advance(AGAIN_S + 1)
    await world.until(lambda: len(world.jobs) == 2)
    await world.store.txn([], [Delete(keys.dns_target("office"))])
    await world.settled()
    await world.publish(seen())
    await world.clock.advance(AGAIN_S + 1)
    await world.settled()
    assert len(world.jobs) == 2
