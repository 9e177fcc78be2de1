"""What an agent keeps warm for instances that could come, and that nothing of it is left where nothing strict may run."""

import asyncio

from agent_world import VM, AgentNode, AgentWorld, agents

from holdfast.core.model import Desired, NodeSpec, Role
from holdfast.store import keys

HERE = {(VM.id, "n1")}


def know(world: AgentWorld) -> AgentNode:
    world.put(keys.node_spec("n1"), NodeSpec("n1", (Role.COMPUTE,), {"management": "10.0.0.1"}))
    return world.nodes["n1"]


async def prepare(world: AgentWorld, node: AgentNode) -> None:
    going = asyncio.create_task(node.executor.prepare())
    await world.run_for(0.5)
    await going


async def test_what_is_wanted_and_could_come_is_kept_warm() -> None:
    async with agents("n1") as world:
        node = know(world)
        await world.run_for(0.1)
        await prepare(world, node)
        assert world.real.warm == HERE


async def test_nothing_is_kept_warm_for_what_is_not_wanted_or_may_not_come() -> None:
    async with agents("n1") as world:
        node = know(world)
        for changes in ({"desired": Desired.STOPPED}, {"desired": Desired.STARTED, "nodes": ("n2",)}):
            world.want(**changes)
            await world.run_for(0.1)
            await prepare(world, node)
            assert world.real.warm == set()


async def test_a_stop_is_confirmed_only_when_nothing_warm_is_left() -> None:
    async with agents("n1") as world:
        node = know(world)
        await world.run_for(0.1)
        await prepare(world, node)
        world.real.failing["put-away"] = 1
        assert not await node.stop_strict()
        assert await node.stop_strict()
        assert world.real.warm == set()


async def test_nothing_gets_warm_again_where_nothing_strict_may_run() -> None:
    async with agents("n1") as world:
        node = know(world)
        await world.run_for(0.1)
        under_way = asyncio.create_task(node.executor.prepare())
        await asyncio.sleep(0)
        assert await node.stop_strict(), "it does not wait for what is under way"
        await world.run_for(1)
        await under_way
        await prepare(world, node)
        node.may_run = True  # its deadline lies ahead again, but it was not told to go on
        await prepare(world, node)
        assert world.real.warm == set()
        node.resume()
        await prepare(world, node)
        assert world.real.warm == HERE


async def test_nothing_is_kept_warm_before_the_node_may_run_something() -> None:
    async with agents("n1") as world:
        node = know(world)
        await world.run_for(0.1)
        node.may_run = False
        await prepare(world, node)
        assert world.real.warm == set()
