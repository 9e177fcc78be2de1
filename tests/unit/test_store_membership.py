"""The membership reconciler against a model of etcd, interrupted at every point."""

import itertools
from dataclasses import dataclass, field, replace

import pytest

from holdfast.clock import SystemClock
from holdfast.core.model import ManagementMember, ManagementSpec, NodeSpec, Role
from holdfast.errors import Conflict, StoreError, StoreUnavailable, StoreUnknownOutcome
from holdfast.manager.membership import MembershipReconciler, member_urls
from holdfast.ports import Compare, Op, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.etcd import MemberInfo, MemberStatus
from holdfast.store.memory import MemoryCluster, MemoryStore

NAMES = ("n1", "n2", "n3", "n4", "n5", "n6")
SPECS = {
    name: NodeSpec(name, (Role.MANAGEMENT,), {"management": f"10.0.0.{number}"}) for number, name in enumerate(NAMES, 1)
}


@dataclass
class FakeEtcd:
    """Etcd's own rules of membership. `fail_at` interrupts the given call, before or after it took effect."""

    members_: dict[int, MemberInfo] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    leader: int = 1
    calls: int = 0
    fail_at: int = -1
    fail_after: bool = False
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new(self, peer_url: str, learner: bool, name: str = "") -> int:
        number = next(self._ids)
        client = tuple(url for node in SPECS.values() for peer, url in [member_urls(node)] if peer == peer_url and name)
        self.members_[number] = MemberInfo(number, name, (peer_url,), client, learner)
        return number

    def node(self, member: MemberInfo) -> str:
        return next(name for name, spec in SPECS.items() if member_urls(spec)[0] in member.peer_urls)

    def voters(self) -> list[MemberInfo]:
        return [member for member in self.members_.values() if not member.learner]

    def has_quorum(self) -> bool:
        return 2 * sum(self.node(member) not in self.dead for member in self.voters()) > len(self.voters())

    def interrupt(self, after: bool) -> None:
        self.calls += not after
        if self.calls == self.fail_at and after == self.fail_after:
            raise StoreUnknownOutcome("interrupted")

    async def members(self) -> tuple[MemberInfo, ...]:
        assert self.has_quorum(), "the store lost its majority"
        return tuple(self.members_.values())

    async def add_learner(self, peer_url: str) -> int:
        self.interrupt(after=False)
        if any(member.learner for member in self.members_.values()):
            raise Conflict("too many learner members in cluster")
        if any(self.node(member) in self.dead for member in self.voters()):
            raise Conflict("unhealthy cluster")
        number = self.new(peer_url, learner=True)
        self.interrupt(after=True)
        return number

    async def promote(self, member: int) -> None:
        self.interrupt(after=False)
        assert self.members_[member].started
        self.members_[member] = replace(self.members_[member], learner=False)
        self.interrupt(after=True)

    async def remove(self, member: int) -> None:
        self.interrupt(after=False)
        assert member != self.leader, "the leader was to hand over first"
        self.members_.pop(member, None)
        assert self.has_quorum()
        self.interrupt(after=True)

    async def status(self, url: str, *, timeout: float | None = None) -> MemberStatus:
        member = next(member for member in self.members_.values() if url in member.client_urls)
        if self.node(member) in self.dead:
            raise StoreUnavailable("dead")
        return MemberStatus(member.id, self.leader, 1, 1, "3.4", 1, 1, member.learner, ())

    async def move_leader(self, target: int) -> None:
        self.interrupt(after=False)
        assert not self.members_[target].learner
        self.leader = target
        self.interrupt(after=True)


class World:
    """Store, model and agents."""

    def __init__(self, start: tuple[str, ...]) -> None:
        self.store = MemoryStore(MemoryCluster(), SystemClock())
        self.etcd = FakeEtcd()
        self.running: set[str] = set(start)
        self.start = start

    async def prepare(self) -> None:
        members = []
        for name in self.start:
            peer, client = member_urls(SPECS[name])
            self.etcd.new(peer, learner=False, name=name)
            members.append(ManagementMember(name, peer, client, "voter"))
        ops: list[Op] = [Put(keys.node_spec(name), encode(spec)) for name, spec in SPECS.items()]
        ops.append(Put(keys.MANAGEMENT, encode(ManagementSpec(self.start, members=tuple(members)))))
        await self.store.txn([], ops)

    async def spec(self) -> ManagementSpec:
        entry = await self.store.get(keys.MANAGEMENT)
        assert entry is not None
        return decode(entry.value, ManagementSpec)

    async def want(self, *names: str) -> None:
        await self.store.txn([], [Put(keys.MANAGEMENT, encode(replace(await self.spec(), nodes=names)))])

    async def commit(self, compare: list[Compare], ops: list[Op]) -> bool:
        self.etcd.interrupt(after=False)
        result = await self.store.txn(compare, ops)
        self.etcd.interrupt(after=True)
        return result.succeeded

    async def agents(self) -> None:
        """What the agents do when they read the record."""
        spec = await self.spec()
        for member in spec.members:
            if member.state != "joining" and member.node not in self.running and member.node not in self.etcd.dead:
                self._start(spec, member)
        self.running &= {member.node for member in spec.members}

    def _start(self, spec: ManagementSpec, mine: ManagementMember) -> None:
        listed = {member.peer_url for member in spec.members if member.state != "joining"}
        real = {url for member in self.etcd.members_.values() for url in member.peer_urls}
        assert listed == real, "etcd refuses to start with another list of members than the cluster's"
        number = next(m.id for m in self.etcd.members_.values() if mine.peer_url in m.peer_urls)
        started = replace(self.etcd.members_[number], name=mine.node, client_urls=(mine.client_url,))
        self.etcd.members_[number] = started
        self.running.add(mine.node)

    async def settle(self, limit: int = 200) -> list[str]:
        """Steps until nothing is to be done; what each said."""
        said: list[str] = []
        for _ in range(limit):
            reconciler = MembershipReconciler(self.store, self.etcd, self.commit)
            try:
                said.append(await reconciler.step())
            except StoreError as error:
                said.append(f"interrupted: {error}")
            await self.agents()
            if not said[-1]:
                return said
        raise AssertionError(said[-5:])


ROUTES = [
    (("n1",), ("n1", "n2", "n3"), ()),
    (("n1", "n2", "n3"), ("n1", "n2", "n3", "n4", "n5"), ()),
    (("n1", "n2", "n3"), ("n2", "n3", "n4"), ()),  # the leader is replaced
    (("n1", "n2", "n3"), ("n1", "n2", "n4"), ("n3",)),  # a dead one is replaced
    (("n1", "n2", "n3", "n4", "n5"), ("n3",), ()),
    (("n1", "n2", "n3"), ("n4", "n5", "n6"), ()),  # nobody stays
]


@pytest.mark.parametrize(("start", "wanted", "dead"), ROUTES)
async def test_every_route_with_an_interruption_at_every_call(
    start: tuple[str, ...], wanted: tuple[str, ...], dead: tuple[str, ...]
) -> None:
    plain = await go(start, wanted, dead, -1, False)
    assert plain.etcd.calls > 0
    for fail_at, fail_after in itertools.product(range(1, plain.etcd.calls + 1), (False, True)):
        await go(start, wanted, dead, fail_at, fail_after)


async def go(
    start: tuple[str, ...], wanted: tuple[str, ...], dead: tuple[str, ...], fail_at: int, fail_after: bool
) -> World:
    world = World(start)
    await world.prepare()
    world.etcd.dead |= set(dead)
    world.etcd.fail_at, world.etcd.fail_after = fail_at, fail_after
    await world.want(*wanted)
    await world.settle()
    spec = await world.spec()
    assert {member.node: member.state for member in spec.members} == dict.fromkeys(wanted, "voter")
    assert {world.etcd.node(member) for member in world.etcd.voters()} == set(wanted) == world.running
    assert len(world.etcd.members_) == len(wanted)
    return world


async def test_no_step_would_lose_the_majority() -> None:
    world = World(("n1", "n2", "n3"))
    await world.prepare()
    world.etcd.dead |= {"n2"}
    await world.want("n1", "n2")
    with pytest.raises(AssertionError, match="no majority while n2 does not answer"):
        await world.settle(10)


async def test_a_wish_taken_back_half_way() -> None:
    world = World(("n1",))
    await world.prepare()
    await world.want("n1", "n2", "n3")
    for _ in range(3):
        await MembershipReconciler(world.store, world.etcd, world.commit).step()
    assert [member.state for member in (await world.spec()).members] == ["voter", "learner"]
    await world.want("n1")
    await world.settle()
    assert [member.node for member in (await world.spec()).members] == ["n1"]
    assert len(world.etcd.members_) == 1


async def test_an_unknown_node_is_said_and_strangers_are_named() -> None:
    world = World(("n1",))
    await world.prepare()
    await world.want("n1", "n9")
    step = MembershipReconciler(world.store, world.etcd, world.commit).step
    await step()
    assert "n9 shall become a management node but is no node of the cluster" in await step()
    await world.want("n1")
    world.etcd.new("https://10.9.9.9:2380", learner=True)
    assert "does not know: https://10.9.9.9:2380" in await step()


async def test_a_record_that_fits_nothing_is_not_acted_upon() -> None:
    world = World(("n1",))
    await world.prepare()
    wrong = ManagementMember("n9", "https://10.0.0.9:2380", "https://10.0.0.9:2379", "voter")
    await world.store.txn([], [Put(keys.MANAGEMENT, encode(ManagementSpec(("n1",), members=(wrong,))))])
    assert "no voting member in common" in await MembershipReconciler(world.store, world.etcd, world.commit).step()


def test_urls_of_members() -> None:
    assert member_urls(replace(SPECS["n1"], addresses={"management": "fd77::11"})) == (
        "https://[fd77::11]:2380",
        "https://[fd77::11]:2379",
    )
