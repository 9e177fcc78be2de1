"""The system units of a node follow the management record, and so does its certificate."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import config as node_config
from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.agent.system import SystemUnits
from holdfast.agent.trust import TrustKeeper
from holdfast.agent.trust_office import TrustOffice
from holdfast.bootstrap import files, pki
from holdfast.bootstrap.create import CreateOptions, apply_seed, create_cluster
from holdfast.clock import SystemClock
from holdfast.core.dns_model import Zone
from holdfast.core.model import ManagementMember, ManagementSpec, NetworkSpec, Placement
from holdfast.ports import Delete, Put, Unit
from holdfast.store import codec, keys
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

HANG_S = 20.0
OTHER = ManagementMember("n2", "https://10.77.0.12:2380", "https://10.77.0.12:2379", "voter")


class Store(MemoryStore):
    """Remembers which endpoints it was told to use."""

    endpoints: tuple[str, ...] = ()

    def update_endpoints(self, endpoints: Sequence[str]) -> None:
        self.endpoints = tuple(endpoints)


class Node:
    """The first node of a fresh cluster, with its system units in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(MemoryCluster(), SystemClock())
        self.host = MemoryHost()
        self.runner = MemoryRunner(self.host)

    async def create(self) -> None:
        options = CreateOptions(
            cluster="demo",
            node="n1",
            networks=(NetworkSpec("management", ("10.77.0.0/24",)),),
            addresses={"management": "10.77.0.11"},
            password="four random words",
            local={"state_dir": str(self.root / "state")},
        )
        create_cluster(options, self.root)
        # The state directory is given as the node sees it; here both are the same.
        written = files.below(self.root, str(self.root / "state"))
        written.rename(self.root / "state")
        await apply_seed(self.store, self.root / "state/seed.json")
        self.config = node_config.load(files.below(self.root, files.MARKER))
        self.mirror = Mirror(self.store)
        clock = SystemClock()
        keeper = TrustKeeper(self.config, self.store, self.mirror, clock, trusts=lambda: units.trusts(), root=self.root)
        units = SystemUnits(self.config, self.runner, clock, self.store, self.mirror, files=keeper)
        office = TrustOffice("n1", self.store, self.mirror, clock, root=self.root)
        works = (self.mirror.run(), units.run(), keeper.run(), office.run())
        self.tasks = [asyncio.create_task(work) for work in works]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def manage(self, change: Callable[[ManagementSpec], ManagementSpec]) -> None:
        entry = await self.store.get(keys.MANAGEMENT)
        assert entry is not None
        await self.put(keys.MANAGEMENT, change(codec.decode(entry.value, ManagementSpec)))

    async def put(self, key: str, value: object) -> None:
        await self.store.txn([], [Put(key, codec.encode(value))])

    def names(self) -> set[str]:
        return pki.names_of(files.below(self.root, self.config.tls.cert).read_bytes())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANG_S):
            while not condition():  # noqa: ASYNC110 - files cannot be awaited
                await asyncio.sleep(0.02)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.create()
    yield made
    await made.close()


async def test_the_certificate_names_the_virtual_ip_as_soon_as_it_is_known(node: Node) -> None:
    await node.until(lambda: {"etcd", "manager"} <= set(node.host.units))
    before = files.below(node.root, node.config.tls.cert).read_bytes()
    assert "10.77.0.100" not in node.names()
    await node.manage(lambda spec: replace(spec, virtual_ip="10.77.0.100"))
    await node.until(lambda: "10.77.0.100" in node.names())
    assert files.below(node.root, node.config.tls.cert).read_bytes() != before
    await node.manage(lambda spec: replace(spec, virtual_ip="10.77.0.101"))
    await node.until(lambda: {"10.77.0.11", "10.77.0.101"} <= node.names())
    assert [what for what in node.host.history if what[0] != "start"] == [], "no daemon is restarted for it"


async def test_a_certificate_that_cannot_be_renewed_keeps_nothing_from_running(node: Node) -> None:
    secret = files.below(node.root, str(files.PKI_DIR)) / files.CLUSTER_SECRET
    kept = secret.read_bytes()
    secret.unlink()
    await node.manage(lambda spec: replace(spec, virtual_ip="10.77.0.100"))
    await node.until(lambda: {"etcd", "manager"} <= set(node.host.units))
    secret.write_bytes(kept)
    await node.until(lambda: "10.77.0.100" in node.names())


async def test_a_bad_record_of_trust_keeps_no_member_from_running(node: Node) -> None:
    """It would be read on every node at once."""
    await node.until(lambda: {"etcd", "manager"} <= set(node.host.units))
    for bad in ({"signing": "garbage"}, {"signing": "garbage", "phase": "x", "crls": {"y": "z"}}, ["no", "record"]):
        await node.put(keys.TRUST, bad)
        await node.runner.stop("etcd", grace_s=0.0)
        await node.until(lambda: "etcd" in node.host.units)
        assert not [task for task in node.tasks if task.done()]
    assert node.names(), "its own certificate is left alone"


async def test_a_node_that_leaves_keeps_its_panel_until_nobody_needs_it(node: Node) -> None:
    """Its address has moved and the store can do without the node: whoever waits at it sees the change completed."""
    await node.runner.start(Unit("panel", ("holdfast-panel",), strict=False))
    await node.until(lambda: {"etcd", "manager"} <= set(node.host.units))
    await node.put(keys.placement("panel/admin"), Placement("n1", 1, 1))
    await node.manage(lambda spec: replace(spec, nodes=("n2",), members=(*spec.members, OTHER)))
    await node.until(lambda: "manager" not in node.host.units)
    await node.manage(lambda spec: replace(spec, members=(OTHER,)))
    await node.until(lambda: "etcd" not in node.host.units)
    assert node.store.endpoints == (OTHER.client_url,)
    assert "panel" in node.host.units, "its address is still here"
    await node.put(keys.placement("panel/admin"), Placement("n2", 2, 1))
    await node.until(lambda: not node.host.units)


async def test_the_name_server_runs_while_there_is_a_zone(node: Node) -> None:
    remembered = node.config.dns_file
    await node.until(lambda: "manager" in node.host.units)
    assert "nameserver" not in node.host.units
    await node.put(keys.dns_zone("a.lan"), Zone("a.lan", "x@a.lan", "management"))
    await node.until(lambda: "nameserver" in node.host.units)
    remembered.write_text("{}")
    await node.store.txn([], [Delete(keys.dns_zone("a.lan"))])
    await node.until(lambda: "nameserver" not in node.host.units and not remembered.exists())
    await node.put(keys.dns_zone("a.lan"), Zone("a.lan", "x@a.lan", "management"))
    await node.until(lambda: "nameserver" in node.host.units)
    await node.manage(lambda spec: replace(spec, nodes=("n2",), members=(*spec.members, OTHER)))
    await node.until(lambda: "nameserver" not in node.host.units)


async def test_without_the_store_the_name_server_starts_if_it_remembers_something(tmp_path: Path) -> None:
    made = Node(tmp_path)
    await made.create()
    try:
        await made.until(lambda: "manager" in made.host.units)  # by now the node remembers that it manages
        await made.put(keys.dns_zone("a.lan"), Zone("a.lan", "x@a.lan", "management"))
        await made.until(lambda: "nameserver" in made.host.units)
        made.config.dns_file.write_text("{}")
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        host = MemoryHost()
        away = Store(MemoryCluster(), SystemClock(), faults=Faults(unavailable=True))
        units = SystemUnits(made.config, MemoryRunner(host), SystemClock(), away, Mirror(away))
        made.tasks = [asyncio.create_task(units.run())]
        await made.until(lambda: "nameserver" in host.units)
    finally:
        await made.close()
