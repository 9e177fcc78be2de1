"""A management node that was away while the store was restored elsewhere does not bring the old one back."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.agent.system import SystemUnits
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig, Tls
from holdfast.core.model import ManagementMember, ManagementSpec
from holdfast.core.restored import Restored
from holdfast.ports import Clock, Put
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdMember
from holdfast.store.memory import Faults, MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

HANG_S = 20.0
N1 = ManagementMember("n1", "https://10.77.0.11:2380", "https://10.77.0.11:2379", "voter")
N2 = ManagementMember("n2", "https://10.77.0.12:2380", "https://10.77.0.12:2379", "voter")
SECOND = Restored("2026", "2025", 500, "n1", 10**12, times=2)


class Store(MemoryStore):
    endpoints: tuple[str, ...] = ()

    def update_endpoints(self, endpoints: Sequence[str]) -> None:
        self.endpoints = tuple(endpoints)


class Node:
    """n2 at its boot, with the data of its member; `other`: what n1's store says."""

    def __init__(self, tmp_path: Path, other: Restored | None, *, away: bool = True) -> None:
        self.state = tmp_path / "state"
        (self.state / "etcd").mkdir(parents=True)
        self.config = NodeConfig(
            "n2", "demo", {"management": "10.77.0.12"}, (N2.client_url,), state_dir=str(self.state)
        )
        member = EtcdMember("n2", N2.peer_url, N2.client_url, (("n2", N2.peer_url),), new=False, member_id="7")
        (self.state / "etcd.json").write_bytes(codec.encode(member))
        management = codec.encode(ManagementSpec(("n1", "n2"), members=(N1, N2)))
        (self.state / "management.json").write_bytes(management)
        self.store = Store(MemoryCluster(), SystemClock(), faults=Faults(unavailable=away))
        self.mirror = Mirror(self.store)
        self.host = MemoryHost()
        self.asked = 0

        async def asked(url: str, _tls: Tls, _clock: Clock) -> Restored | None:
            self.asked += 1
            return other if url == N1.client_url else None

        runner = MemoryRunner(self.host)
        self.replaced = asyncio.Event()
        self.units = SystemUnits(
            self.config, runner, SystemClock(), self.store, self.mirror, asked=asked, replaced=self.replaced.set
        )

    async def runs_until_it_manages(self) -> None:
        tasks = [asyncio.create_task(self.mirror.run()), asyncio.create_task(self.units.run())]
        try:
            async with asyncio.timeout(HANG_S):
                while "manager" not in self.host.units:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_member_of_a_former_life_is_removed_before_it_starts(tmp_path: Path) -> None:
    node = Node(tmp_path, SECOND)
    await node.runs_until_it_manages()
    assert ("start", "etcd") not in node.host.history
    assert not (node.state / "etcd").exists()
    assert not (node.state / "etcd.json").exists()
    assert node.store.endpoints == (N1.client_url,)


@pytest.mark.parametrize("other", [None, SECOND])
async def test_a_member_of_the_present_life_starts(tmp_path: Path, other: Restored | None) -> None:
    node = Node(tmp_path, other)
    (node.state / "restored.json").write_bytes(codec.encode(SECOND))
    await node.runs_until_it_manages()
    assert "etcd" in node.host.units
    assert (node.state / "etcd").exists()


async def test_which_life_it_is_in_is_known_before_a_member_joins(tmp_path: Path) -> None:
    """Else the next boot would take the others for a newer life."""
    node = Node(tmp_path, SECOND, away=False)
    (node.state / "etcd.json").unlink()
    management = ManagementSpec(
        ("n1", "n2"), members=(N1, ManagementMember("n2", N2.peer_url, N2.client_url, "learner"))
    )
    puts = [Put(keys.RESTORED, codec.encode(SECOND)), Put(keys.MANAGEMENT, codec.encode(management))]
    await node.store.txn([], puts)
    await node.runs_until_it_manages()
    assert codec.decode((node.state / "restored.json").read_bytes(), Restored, "") == SECOND


async def test_a_member_of_an_earlier_restore_of_the_same_backup_is_removed(tmp_path: Path) -> None:
    """Both lives are the first one after the backup: what tells them apart is their floor."""
    node = Node(tmp_path, SECOND)
    former = replace(SECOND, epoch_floor=SECOND.epoch_floor - 1)
    (node.state / "restored.json").write_bytes(codec.encode(former))
    await node.runs_until_it_manages()
    assert ("start", "etcd") not in node.host.history
    assert not (node.state / "etcd").exists()


@pytest.mark.parametrize("known", [None, SECOND])
async def test_an_agent_that_knew_the_lost_store_starts_anew(tmp_path: Path, known: Restored | None) -> None:
    """Its process refuses the new one: that is another cluster. Where nothing was restored it goes on waiting."""
    node = Node(tmp_path, SECOND)
    if known is not None:
        (node.state / "restored.json").write_bytes(codec.encode(known))
    looking = asyncio.create_task(node.units.look_for_a_new_store())
    try:
        async with asyncio.timeout(HANG_S):
            while node.asked < 2 and not node.replaced.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert node.replaced.is_set() is (known is None)
