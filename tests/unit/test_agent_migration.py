"""Both ends of a live migration, with real executors: exactly one of them executes the instance, whatever happens."""

import asyncio

from agent_world import AgentWorld, agents

from holdfast.core.model import Desired, Goal, InstanceState
from holdfast.store.memory import WriteFault

RUNNING, STOPPED, MIGRATED = InstanceState.RUNNING, InstanceState.STOPPED, InstanceState.MIGRATED


async def started(world: AgentWorld) -> None:
    world.place("n1", 10)
    await world.run_for(1)
    assert world.where == "n1"


async def test_it_is_handed_over_and_adopted() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        assert (world.where, world.says()) == ("n2", (MIGRATED, 11))
        world.place("n2", 12)
        await world.run_for(2)
        assert (world.where, world.says(), world.word.node) == ("n2", (RUNNING, 12), "n2")
        assert world.real.starts == {"n1": 1}, "adopted, not started"


async def test_its_address_moves_along() -> None:
    async with agents("n1", "n2", address="10.0.0.100") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(60)
        assert world.network.owners("10.0.0.100") == ["n1"], "renewed during a long migration"
        world.real.hand_over.set()
        await world.run_for(1)
        assert world.network.owners("10.0.0.100") == []
        world.place("n2", 12)
        await world.run_for(5)
        assert world.network.owners("10.0.0.100") == ["n2"]


async def test_a_hand_over_that_fails_is_said_once_and_it_goes_on() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.failing["migrate"] = 1
        world.place("n1", 11, to="n2")
        await world.run_for(30)
        assert (world.where, world.says()) == ("n1", (RUNNING, 11))
        assert "no route" in world.word.migrate_error, "not tried again under this placement"
        world.place("n1", 12)
        await world.run_for(1)
        assert (world.says(), world.word.migrate_error) == ((RUNNING, 12), "")
        assert (world.real.doors, world.real.starts) == (set(), {"n1": 1})


async def test_the_source_never_starts_it_again_under_that_placement() -> None:
    """A restarted agent finds nothing of it: an earlier run may have handed it over without a word."""
    async with agents("n1", "n2") as world:
        await started(world)
        world.place("n1", 11, to="n2")
        await world.run_for(0.7)
        world.real.hand_over.clear()
        await world.nodes["n1"].end()
        world.real.live["vm/a"] = "n2"  # the hypervisor goes on without its agent
        world.node("n1")
        await world.run_for(30)
        assert (world.where, world.says()) == ("n2", (MIGRATED, 11))


async def test_an_instance_that_ended_before_the_hand_over_is_left_to_the_target() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.failing["migrate"] = 1
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        world.real.end("vm/a")
        await world.run_for(1)
        assert (world.where, world.says()) == ("", (MIGRATED, 11))
        world.place("n2", 12)
        await world.run_for(2)
        assert world.where == "n2"


async def test_the_deadline_of_the_source_breaks_it_off_and_the_target_starts_it() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        stopping = asyncio.create_task(world.nodes["n1"].stop_strict())
        await world.run_for(1)
        assert stopping.result() and world.where == ""
        assert world.says() == (MIGRATED, 11), "whatever the target has got, it may have it now"
        world.place("n2", 12)
        await world.run_for(2)
        world.nodes["n1"].resume()
        await world.run_for(10)
        assert (world.where, world.real.doors) == ("n2", set())


async def test_the_deadline_of_the_target_closes_the_door() -> None:
    """Nothing may come to a node that has stopped everything and said so, however well the two reach each other."""
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        assert world.real.doors == {("vm/a", "n2")}
        stopping = asyncio.create_task(world.nodes["n2"].stop_strict())
        await world.run_for(1)
        assert stopping.result() and world.real.doors == set()
        world.real.hand_over.set()
        await world.run_for(1)
        assert (world.where, world.says()) == ("n1", (RUNNING, 11))
        assert "does not receive" in world.word.migrate_error


async def test_the_deadline_of_the_target_ends_what_it_has_received() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        assert world.where == "n2"
        stopping = asyncio.create_task(world.nodes["n2"].stop_strict())
        await world.run_for(1)
        assert stopping.result() and world.where == ""


async def test_the_target_opens_no_door_for_another_life_of_its_node() -> None:
    async with agents("n1") as world:
        world.node("n2", fence_epoch=2)
        await started(world)
        world.place("n1", 11, to="n2")
        await world.run_for(5)
        assert (world.real.doors, world.where) == (set(), "n1")


async def test_the_target_starts_nothing_before_it_has_the_placement() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        world.real.end("vm/a")
        await world.run_for(30)
        assert world.real.starts["n2"] == 0


async def test_a_restarted_agent_of_the_target_keeps_what_it_received() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        await world.nodes["n2"].end()
        world.node("n2")
        await world.run_for(5)
        assert world.where == "n2"
        world.place("n2", 12)
        await world.run_for(2)
        assert (world.says(), world.real.starts) == ((RUNNING, 12), {"n1": 1})


async def test_the_target_was_claimed_the_source_goes_on_or_starts_it_again() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        await world.nodes.pop("n2").end()
        world.real.doors.clear()
        world.place("n1", 12)
        world.real.hand_over.set()
        await world.run_for(2)
        assert (world.where, world.says(), world.real.starts["n1"]) == ("n1", (RUNNING, 12), 1)
        world.node("n2")
        world.place("n1", 13, to="n2")
        await world.run_for(3)
        assert (world.where, world.says()) == ("n2", (MIGRATED, 13))
        await world.nodes.pop("n2").end()
        world.real.end("vm/a")  # the node died with what it had received
        world.place("n1", 14)
        await world.run_for(2)
        assert (world.where, world.says()) == ("n1", (RUNNING, 14))


async def test_stopping_it_meanwhile_stops_the_source_and_then_the_target() -> None:
    async with agents("n1", "n2") as world:
        await started(world)
        world.real.hand_over.clear()
        world.place("n1", 11, to="n2")
        await world.run_for(2)
        world.want(desired=Desired.STOPPED)
        world.place("n1", 12, Goal.STOP, to="n2")
        await world.run_for(1)
        assert (world.where, world.says(), world.real.doors) == ("", (STOPPED, 12), set())
        world.place("n2", 13, Goal.STOP)
        await world.run_for(1)
        assert world.says() == (STOPPED, 13)


async def test_no_hand_over_before_the_store_has_confirmed_the_placement() -> None:
    """A manager may take it back for an older word of this node, which has not heard of that: then it must stay."""
    async with agents("n1", "n2") as world:
        await started(world)
        world.nodes["n1"].faults.next_writes.extend([WriteFault.REFUSED] * 20)
        world.place("n1", 11, to="n2")
        await world.run_for(3)
        assert world.where == "n1"
        world.place("n1", 12)
        world.nodes["n1"].faults.next_writes.clear()
        await world.run_for(3)
        assert (world.where, world.says(), world.real.doors) == ("n1", (RUNNING, 12), set())
