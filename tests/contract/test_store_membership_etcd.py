"""The membership reconciler with real etcd members: 1 → 3 → 5 → one replaced → 1, while clients write all the time."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from etcd_members import Member, Members

from holdfast.core.model import ManagementMember, ManagementSpec, NodeSpec, Role
from holdfast.errors import StoreError, StoreUnavailable, StoreUnknownOutcome
from holdfast.manager.membership import MembershipReconciler
from holdfast.ports import Compare, Op, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.etcd import EtcdAdmin, EtcdStore

HANG_S = 90.0


class World:
    """The members' processes, and agents that start and stop them as the record says."""

    def __init__(self, members: Members) -> None:
        self.members = members
        members.add(6)
        self.store = EtcdStore(members.endpoints[:1], members.tls)
        self.dead: set[str] = set()
        self.acknowledged: list[str] = []

    async def begin(self) -> None:
        first = self.members.members[0]
        first.start([(first.name, first.peer_url)])
        mine = ManagementMember(first.name, first.peer_url, first.client_url, "voter")
        ops: list[Op] = [Put(keys.MANAGEMENT, encode(ManagementSpec((first.name,), members=(mine,))))]
        for member in self.members.members:
            node = NodeSpec(member.name, (Role.MANAGEMENT,), {"management": member.config.management_address})
            ops.append(Put(keys.node_spec(member.name), encode(node)))
        await self.store.txn([], ops, timeout=HANG_S)

    def urls(self, node: NodeSpec) -> tuple[str, str]:
        member = self.members.named(node.id)
        return member.peer_url, member.client_url

    async def spec(self) -> ManagementSpec:
        entry = await self.store.get(keys.MANAGEMENT, timeout=HANG_S)
        assert entry is not None
        return decode(entry.value, ManagementSpec)

    async def change(self, *nodes: str) -> None:
        """What `ha update` does, then steps until all is as wanted."""
        async with asyncio.timeout(HANG_S):
            while (await self.spec()).nodes != nodes:
                try:
                    await self.store.txn([], [Put(keys.MANAGEMENT, encode(replace(await self.spec(), nodes=nodes)))])
                except StoreError:
                    continue
            reconciler = MembershipReconciler(self.store, EtcdAdmin(self.store), self.commit, self.urls)
            said = "?"
            while said:
                try:
                    said = await reconciler.step()
                except StoreError as error:
                    said = str(error)
                print(said)
                await self.agents()
                await asyncio.sleep(0.05 if said else 0)
        assert {member.node: member.state for member in (await self.spec()).members} == dict.fromkeys(nodes, "voter")

    async def commit(self, compare: list[Compare], ops: list[Op]) -> bool:
        return (await self.store.txn(compare, ops)).succeeded

    async def agents(self) -> None:
        try:
            entry = await self.store.get(keys.MANAGEMENT)
        except StoreError:
            return
        assert entry is not None
        spec = decode(entry.value, ManagementSpec)
        for member in self.members.members:
            mine = next((one for one in spec.members if one.node == member.name), None)
            if mine is None and member.process is not None:
                member.kill()
                shutil.rmtree(Path(member.config.state_dir) / "etcd")
            elif (
                mine is not None and mine.state != "joining" and member.process is None and member.name not in self.dead
            ):
                self.start(member, spec)
        voters = [one.client_url for one in spec.members if one.state == "voter"]
        if voters and set(voters) != set(self.store.endpoints):
            self.store.update_endpoints(voters)

    def start(self, member: Member, spec: ManagementSpec) -> None:
        initial = [(one.node, one.peer_url) for one in spec.members if one.state != "joining"]
        member.start(initial, new=False)

    async def write(self, stop: asyncio.Event) -> None:
        """A client that creates one key after the other and never stops."""
        number = 0
        while not stop.is_set():
            number += 1
            key = f"w/{number:06}"
            try:
                if (await self.store.txn([Compare(key, 0)], [Put(key, b"x")])).succeeded:
                    self.acknowledged.append(key)
            except (StoreUnknownOutcome, StoreUnavailable):
                continue
            await asyncio.sleep(0.005)

    async def until_written(self, count: int) -> None:
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(HANG_S):
            while len(self.acknowledged) < goal:  # noqa: ASYNC110 - progress of another process
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    members = Members(tmp_path / "etcd")
    world = World(members)
    try:
        await world.begin()
        yield world
    finally:
        await world.store.close()
        members.stop()


@pytest.mark.timeout(300)
async def test_grow_replace_and_shrink_under_writes(world: World) -> None:
    stop = asyncio.Event()
    writing = asyncio.create_task(world.write(stop))
    await world.until_written(10)
    await world.change("n1", "n2", "n3")
    await world.until_written(10)
    await world.change("n1", "n2", "n3", "n4", "n5")
    await world.until_written(10)
    world.dead.add("n1")  # the node that everything began with, and most likely the leader
    world.members.named("n1").kill()
    await world.change("n2", "n3", "n4", "n5", "n6")
    await world.until_written(10)
    await world.change("n6")
    await world.until_written(10)
    stop.set()
    await writing
    there = {entry.key for entry in (await world.store.list("w/", timeout=HANG_S)).entries}
    assert there >= set(world.acknowledged)
    assert [info.name for info in await EtcdAdmin(world.store).members()] == ["n6"]
