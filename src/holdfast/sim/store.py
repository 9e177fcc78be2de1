"""The simulated store: one cluster of members on the management nodes, and one client per daemon (port Store).

The data is the memory store's, which passes the contract tests. Here stands what an etcd cluster adds: quorum, leader
changes, requests that are under way while something breaks, and the anomalies of the design's section 3.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from holdfast.errors import StoreError, StoreRejected, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Change, Compare, Entry, Op, Snapshot, TxnResult, WatchBatch
from holdfast.sim.loop import VirtualLoop
from holdfast.sim.network import Network
from holdfast.store.checks import writes
from holdfast.store.memory_cluster import Backup, MemoryCluster

T = TypeVar("T")

ELECTION_S = (1.0, 2.0)
"""How long the members are without a leader after they lost one: etcd's election time-out and its random part."""
LATENCY_S = (0.0005, 0.003)
DEFAULT_TIMEOUT_S = 2.0


class StoreService:
    """The members, their leader, and what is wrong with them."""

    def __init__(self, loop: VirtualLoop, random: Random, network: Network, members: Sequence[str]) -> None:
        self.cluster = MemoryCluster(history_limit=4000)
        self.members = tuple(members)
        self.refused: set[str] = set()
        """Nodes whose requests nobody answers."""
        self.slow_s = 0.0
        """Seconds each request takes longer (a slow disk)."""
        self.unknown: dict[str, float] = {}
        """Node → share of its writes whose answer gets lost."""
        self.lose_events: set[str] = set()
        """Nodes whose watches deliver nothing; a snapshot follows once it ends."""
        self.stale_s: dict[str, float] = {}
        """Node → seconds by which its watches lag behind."""
        self.asked_at = 0.0
        """When the transaction that takes effect was sent (true time)."""
        self.lost = False
        """All members have lost their disks: it never answers again (`begin_anew`)."""
        self.losses = 0
        self._backups: list[tuple[float, Backup]] = []
        """(scenario time, state)"""
        self._loop = loop
        self.random = random
        self._network = network
        self._waiters: list[asyncio.Future[None]] = []
        self._watchers: dict[asyncio.Event, bool] = {}
        """Waiting watch → whether it may wait for changes that are mere signs of life."""
        self._served: dict[str, bool] = {}
        self.leader = ""
        self._voters: frozenset[str] = frozenset()
        self._electing = False

    # --- who may be asked

    def refresh(self) -> None:
        """Something in the network or of the machines has changed."""
        voters = self._majority()
        self._served.clear()
        if self.leader not in voters:
            self.leader = ""
        self._voters = voters
        if not self.leader and voters and not self._electing:
            self._electing = True
            self._loop.hardware(self.random.uniform(*ELECTION_S), self._elect)
        self.wake()

    def save_backup(self, at: float) -> None:
        """What an operator's timer does."""
        if not self.lost:
            self._backups.append((at, self.cluster.backup()))

    def restore_backup(self) -> None:
        """The last backup but two is restored over the running cluster."""
        if self._backups:
            self.cluster.restore(self._backups[-3:][0][1])

    def backup_before(self, at: float) -> tuple[float, Backup]:
        """The last one that was made until then, and when; else the first there is."""
        return next((saved for saved in reversed(self._backups) if saved[0] <= at), self._backups[0])

    def lose(self) -> None:
        """All members lose their disks. What was under way to them is lost, too."""
        self.lost = True
        self.losses += 1
        self.refresh()

    def begin_anew(self, member: str, content: Mapping[str, bytes]) -> None:
        """Another store, of one member: to etcd it is another cluster, and its revisions begin anew."""
        first = 2
        entries = {key: Entry(key, value, first, first) for key, value in content.items()}
        self.cluster.restore(Backup(entries, first, {}), foreign=True)
        self.lost = False
        self.members = (member,)
        self.refresh()

    def change_leader(self) -> None:
        """The leader steps down; another one is elected."""
        self.leader = ""
        self.refresh()

    def start(self) -> None:
        """The members have long been up when a scenario begins."""
        self._voters = self._majority()
        self.leader = min(self._voters, default="")

    def _elect(self) -> None:
        self._electing = False
        self._served.clear()
        self.leader = self.random.choice(sorted(self._voters)) if self._voters else ""
        self.wake()

    def _majority(self) -> frozenset[str]:
        """The largest group of members that all reach one of them, if it is a majority."""
        living = [member for member in self.members if self._network.up(member) and not self.lost]
        for centre in living:
            group = frozenset(member for member in living if self._network.both(centre, member))
            if 2 * len(group) > len(self.members):
                return group
        return frozenset()

    def serves(self, node: str) -> bool:
        """Can a client on this node have a request answered now?"""
        if not self.leader or node in self.refused:
            return False
        if node not in self._served:
            self._served[node] = any(self._network.both(node, member) for member in self._voters)
        return self._served[node]

    def delay_s(self, node: str) -> float:
        """Seconds that a request of this node takes to get there, and its answer back, beyond what is usual."""
        return self._network.extra_delay.get(node, 0.0)

    def wake(self) -> None:
        """Let all who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.notify(news=True)

    def subscribe(self, patient: bool) -> asyncio.Event:
        event = asyncio.Event()
        self._watchers[event] = patient
        return event

    def notify(self, *, news: bool) -> None:
        """A transaction took effect. Without news (signs of life only) patient watches get it with the next one."""
        for event, patient in self._watchers.items():
            if news or not patient:
                event.set()

    async def until_served(self, node: str, end: float) -> bool:
        """Wait until the node is served, at most until the true time `end`."""
        while not self.serves(node):
            left = end - self._loop.time()
            if left <= 0:
                return False
            await self._changed(left)
        return True

    async def _changed(self, left_s: float) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(left_s, _settle, waiter)
        try:
            await waiter
        finally:
            timer.cancel()


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class SimStore:
    """One daemon's client. A `patient` one hears of mere signs of life (beats that say nothing new) only together with other
    changes: a slow watch, which costs the simulation little. For daemons that do not judge by them."""

    def __init__(self, service: StoreService, loop: VirtualLoop, node: str, *, patient: bool = False) -> None:
        self._patient = patient
        self._service = service
        self._cluster = service.cluster
        self._loop = loop
        self._node = node
        self._cluster_id = 0
        """Of the store that it spoke to first."""

    @property
    def knows(self) -> bool:
        """The store it knows is the one there is."""
        return self._cluster_id in (0, self._cluster.cluster_id)

    def _check_cluster(self) -> None:
        """As with etcd, whose answers name it. Raises StoreRejected."""
        if not self.knows:
            raise StoreRejected("the store belongs to another cluster", "It was restored: this daemon begins anew.")
        self._cluster_id = self._cluster.cluster_id

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        return await self._call(lambda: self._cluster.get(key), f"read {key}", timeout, write=False)

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        return await self._call(lambda: self._cluster.list(prefix), f"list {prefix}", timeout, write=False)

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        sent_at = self._loop.time()

        def action() -> TxnResult:
            self._service.asked_at = sent_at
            return self._cluster.txn(compare, then, otherwise)

        return await self._call(action, "write", timeout, write=writes(then, otherwise))

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        return await self._call(lambda: self._cluster.grant(ttl_s), "grant a lease", timeout, write=True)

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        return await self._call(lambda: self._cluster.keep_alive(lease), "renew a lease", timeout, write=True)

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None:
        await self._call(lambda: self._cluster.expire(lease), "revoke a lease", timeout, write=True)

    async def close(self) -> None: ...

    async def _call(self, action: Callable[[], T], what: str, timeout: float | None, *, write: bool) -> T:
        """Carry one request to the cluster and its answer back, through whatever is wrong."""
        service, loop = self._service, self._loop
        end = loop.time() + (DEFAULT_TIMEOUT_S if timeout is None else timeout)
        if not service.serves(self._node) and not await service.until_served(self._node, end):
            raise StoreUnavailable(f"the store cannot be reached to {what}", "It is asked again by itself.")
        way_s = service.delay_s(self._node)
        latency = service.random.uniform(*LATENCY_S) + service.slow_s + way_s
        await asyncio.sleep(min(latency, max(0.0, end - loop.time())))
        if loop.time() >= end and latency > 0:
            raise await self._lost(action, what, write, end)
        if not service.serves(self._node):
            raise await self._lost(action, what, write, end)
        unknown = write and service.random.random() < service.unknown.get(self._node, 0.0)
        if unknown and service.random.random() < 0.5:
            raise await self._lost(action, what, write, end)
        self._check_cluster()
        result = action()
        if unknown:
            await asyncio.sleep(max(0.0, end - loop.time()))
            raise self._silence(what, write)
        if way_s:  # it has taken effect, and nobody knows yet
            await asyncio.sleep(min(way_s, max(0.0, end - loop.time())))
            if loop.time() >= end or not service.serves(self._node):
                await asyncio.sleep(max(0.0, end - loop.time()))
                raise self._silence(what, write)
        return result

    async def _lost(self, action: Callable[[], object], what: str, write: bool, end: float) -> Exception:
        """It broke while the request was under way: it may be applied late, by the next leader, or never."""
        if write and self._service.random.random() < 0.4:
            # Outside of the asking process: its death stops nothing that is on its way.
            self._loop.hardware(self._service.random.uniform(0.05, 4.0), self._late, action, self._cluster.cluster_id)
        await asyncio.sleep(max(0.0, end - self._loop.time()))
        return self._silence(what, write)

    def _late(self, action: Callable[[], object], cluster_id: int) -> None:
        if self._service.leader and self._cluster.cluster_id == cluster_id and self.knows:
            try:
                action()
            except StoreError:
                return  # refused (full); nobody is there to be told

    def _silence(self, what: str, write: bool) -> Exception:
        text = f"the store did not answer in time when asked to {what}"
        return StoreUnknownOutcome(text, "Read again.") if write else StoreUnavailable(text, "It is asked again.")

    async def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        """Resumes where it was after each interruption, or lists anew where the history does not reach back."""
        service, cluster = self._service, self._cluster
        event = service.subscribe(self._patient)
        seen: tuple[int, int] | None = None
        while True:
            event.clear()
            if self._node in service.lose_events:
                seen = None
            elif service.serves(self._node):
                lag = service.stale_s.get(self._node, 0.0)
                target = (cluster.incarnation, cluster.revision)
                if target != seen:
                    await asyncio.sleep(lag + service.random.uniform(*LATENCY_S))
                    if not service.serves(self._node) or self._node in service.lose_events:
                        continue
                    self._check_cluster()
                    batch = self._batch(prefix, seen, target)
                    seen = (cluster.incarnation, batch.revision)
                    yield batch
                    if event.is_set():
                        continue
            await event.wait()

    def _batch(self, prefix: str, seen: tuple[int, int] | None, target: tuple[int, int]) -> WatchBatch:
        """What is new since `seen`, up to `target`; a snapshot where the history does not reach back."""
        cluster = self._cluster
        fresh = seen is not None and seen[0] == cluster.incarnation == target[0] and seen[1] >= cluster.compacted
        if not fresh or seen is None:
            listing = cluster.list(prefix)
            changes = tuple(Change(entry.key, entry, entry.mod_revision) for entry in listing.entries)
            return WatchBatch(changes, listing.revision, snapshot=True)
        found = cluster.changes_after(seen[1], target[1])
        return WatchBatch(tuple(c for c in found if c.key.startswith(prefix)) if prefix else found, target[1])
