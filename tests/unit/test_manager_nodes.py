"""The real manager over a memory store: what it reads and writes about the life of nodes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from holdfast.clock import ManualClock
from holdfast.core.history import ManagerView
from holdfast.core.intents import EndMove
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Proof,
    Role,
    ServiceSpec,
)
from holdfast.core.observers import Suspicion
from holdfast.core.policy import BringBack, HaPause, Maintenance, NodeFailure, NodeHealth, PauseMode
from holdfast.core.view import HEALTHY_S
from holdfast.manager.commit import Committer, EventLog
from holdfast.manager.loop import Manager
from holdfast.ports import Delete, PowerFence, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory import MemoryCluster, MemoryStore

VOLUME = "nfs/v"
NODES = ("n1", "n2", "n3")
T = TypeVar("T")


class Eyes:
    """Port Detector: misses whom the test says."""

    settled = True

    def __init__(self) -> None:
        self.silent: set[str] = set()

    def suspicion(self, node: str, network: str, domains: Mapping[str, str]) -> Suspicion | None:
        return Suspicion(0.0, ("x", "y"), network) if node in self.silent else None

    def missed(self, domains: Mapping[str, str]) -> frozenset[str]:
        return frozenset(self.silent & domains.keys())

    def next_look(self) -> float:
        return float("inf")


class NoDevices:
    def open(self, device: FenceDeviceSpec) -> PowerFence:
        raise AssertionError("there is no fence device")


class Cluster:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = MemoryCluster(self.clock)
        self.eyes = Eyes()
        self.manager = Manager(
            MemoryStore(self.cluster, self.clock), self.clock, "n1", "m1", NoDevices(), {}, detector=self.eyes
        )
        self.put(keys.CLUSTER, ClusterSpec("c", "c", "fast"))
        self.put(keys.instance(VOLUME), InstanceSpec(VOLUME, "nfs", "v", Exclusivity.STRICT, Role.STORAGE))
        self.put(keys.service("nfs", "v"), ServiceSpec("nfs", "v"))
        for name in NODES:
            self.put(keys.node_spec(name), NodeSpec(name, (Role.STORAGE,), {"management": "10.0.0.1"}))
            self.put(keys.fence(name), Fence(1))
        self._sequence = 0
        self.beat()

    def put(self, key: str, value: object) -> int:
        return self.cluster.txn([], [Put(key, encode(value))], ()).revision

    def delete(self, key: str) -> None:
        self.cluster.txn([], [Delete(key)], ())

    def beat(self) -> None:
        self._sequence += 1
        for name in NODES:
            fence = self.read(keys.fence(name), Fence)
            assert fence is not None
            self.put(keys.beat(name), Beat(f"s-{name}", "b", name, self._sequence, fence.epoch, BeatPhase.ACTIVE))

    def read(self, key: str, kind: type[T]) -> T | None:
        entry = self.cluster.get(key)
        return decode(entry.value, kind, key) if entry else None

    def placed(self) -> Placement:
        placement = self.read(keys.placement(VOLUME), Placement)
        assert placement is not None
        return placement

    def says(self, state: InstanceState) -> None:
        """The agent's word about the present placement."""
        at = self.placed()
        self.put(keys.status(VOLUME), InstanceStatus(at.node, f"s-{at.node}", at.epoch, state, healthy=True))

    def state(self, node: str) -> NodeState:
        view = self.read(keys.MANAGER_VIEW, ManagerView)
        assert view is not None
        return view.nodes[node]

    async def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.beat()
            await self.clock.advance(0.5)


@asynccontextmanager
async def managed() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    running = asyncio.create_task(cluster.manager.run())
    try:
        await cluster.run_for(1)
        cluster.says(InstanceState.RUNNING)
        await cluster.run_for(0.5)
        yield cluster
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_maintenance_from_its_begin_to_the_return_of_what_was_moved_off() -> None:
    async with managed() as cluster:
        home = cluster.placed().node
        cluster.put(keys.maintenance(home), Maintenance("ann"))
        await cluster.run_for(1)
        assert cluster.state(home) is NodeState.MAINTENANCE
        noted = cluster.read(keys.maintenance(home), Maintenance)
        assert noted == Maintenance("ann", moved=(VOLUME,)), "written down before it is gone"
        cluster.says(InstanceState.STOPPED)
        await cluster.run_for(1)
        assert cluster.placed().node != home
        cluster.says(InstanceState.RUNNING)
        await cluster.run_for(HEALTHY_S)
        cluster.delete(keys.maintenance(home))
        cluster.put(keys.bring_back(home), BringBack(noted.moved))
        await cluster.run_for(1)
        assert cluster.read(keys.bring_back(home), BringBack) is None
        move = cluster.read(keys.move(VOLUME), MoveRequest)
        assert move is not None
        assert (move.node, move.live) == (home, True)
        cluster.says(InstanceState.STOPPED)
        await cluster.run_for(1)
        assert cluster.placed().node == home


async def test_a_claim_writes_the_nodes_health_and_the_third_one_quarantines() -> None:
    async with managed() as cluster:
        for failures in (1, 2, 3):
            fence = cluster.read(keys.fence("n2"), Fence)
            entry = cluster.cluster.get(keys.beat("n2"))
            assert fence is not None
            assert entry is not None
            cluster.put(keys.death_confirmation("n2"), DeathConfirmation("ann", entry.mod_revision))
            await cluster.clock.advance(0.5)
            claimed, health = cluster.read(keys.fence("n2"), Fence), cluster.read(keys.health("n2"), NodeHealth)
            assert claimed == Fence(fence.epoch + 1, Proof.OPERATOR, "s-n2", 1)
            assert health is not None
            assert (len(health.failures), bool(health.quarantined)) == (failures, failures == 3)
            assert health.failures[-1].term == 1
            await cluster.run_for(1)
        assert cluster.state("n2") is NodeState.QUARANTINED
        cluster.delete(keys.health("n2"))
        await cluster.run_for(1)
        assert cluster.state("n2") is NodeState.UP


async def test_failures_of_a_former_term_are_not_older_than_this_one() -> None:
    async with managed() as cluster:
        cluster.put(keys.health("n2"), NodeHealth((NodeFailure(0, -1e9), NodeFailure(0, 1e9))))
        entry = cluster.cluster.get(keys.beat("n2"))
        assert entry is not None
        cluster.put(keys.death_confirmation("n2"), DeathConfirmation("ann", entry.mod_revision))
        await cluster.clock.advance(0.5)
        health = cluster.read(keys.health("n2"), NodeHealth)
        assert health is not None
        assert health.quarantined


async def test_a_pause_keeps_everything_as_it_is_until_it_ends() -> None:
    async with managed() as cluster:
        home = cluster.placed().node
        cluster.put(keys.PAUSE, HaPause(PauseMode.FREEZE, "ann"))
        await cluster.run_for(1)
        view = cluster.read(keys.MANAGER_VIEW, ManagerView)
        assert view is not None
        assert "paused by ann" in view.hold
        cluster.put(keys.maintenance(home), Maintenance("ann"))
        cluster.put(keys.move(VOLUME), MoveRequest("n3" if home != "n3" else "n2"))
        before = cluster.placed()
        await cluster.run_for(5)
        assert cluster.placed() == before
        cluster.delete(keys.PAUSE)
        await cluster.run_for(1)
        assert cluster.placed() != before


async def test_a_manager_that_has_not_seen_the_pause_decides_in_vain() -> None:
    async with managed() as cluster:
        revision = cluster.put(keys.move(VOLUME), MoveRequest(cluster.placed().node))
        intent = EndMove(VOLUME, revision, "it is there")
        view = cluster.manager.observations.view({}, frozenset())
        cluster.put(keys.PAUSE, HaPause(PauseMode.FREEZE))
        committer = Committer(cluster.manager.election, EventLog(1, cluster.clock))
        assert await committer.commit(intent, view) == 0
        cluster.delete(keys.PAUSE)
        assert await committer.commit(intent, view) > 0


async def test_a_node_that_was_missed_counts_as_well_only_after_a_while() -> None:
    async with managed() as cluster:
        await cluster.run_for(HEALTHY_S)
        cluster.eyes.silent = {"n2"}
        await cluster.run_for(1)
        assert cluster.state("n2") is NodeState.SUSPECT
        cluster.eyes.silent = set()
        await cluster.run_for(1)
        view = cluster.manager.observations.view({}, frozenset())
        now = cluster.clock.now()
        well = {name: node.well(view.timing, now) for name, node in view.nodes.items()}
        assert well == {"n1": True, "n2": False, "n3": True}
        await cluster.run_for(HEALTHY_S)
        view = cluster.manager.observations.view({}, frozenset())
        assert view.nodes["n2"].well(view.timing, cluster.clock.now())


async def test_a_word_of_an_agent_that_cannot_be_read_stops_the_judgement_of_nobody_else() -> None:
    """As of an agent of another version: the manager had ended, and each after it, so nothing was recovered any more."""
    async with managed() as cluster:
        before = cluster.placed()
        other = next(name for name in NODES if name != before.node)
        cluster.put(keys.status(VOLUME), {"node": before.node, "state": "running", "healthy": "yes"})
        for name in set(NODES) - {other}:
            cluster.put(keys.beat(name), {"session": f"s-{name}", "phase": "of another version"})
        entry = cluster.cluster.get(keys.beat(other))
        assert entry is not None
        cluster.put(keys.death_confirmation(other), DeathConfirmation("ann", entry.mod_revision))
        cluster.put(keys.move(VOLUME), MoveRequest(other))
        await cluster.clock.advance(0.5)
        fence = cluster.read(keys.fence(other), Fence)
        assert fence is not None
        assert fence.proof is Proof.OPERATOR
        await cluster.clock.advance(0.5)
        assert (cluster.placed().node, cluster.placed().fence_epoch) == (before.node, before.fence_epoch)
        await cluster.run_for(HEALTHY_S)
        assert cluster.placed().goal is Goal.STOP, "silence is no confirmed stop"
        cluster.says(InstanceState.STOPPED)
        await cluster.run_for(1)
        assert cluster.placed().node == other
