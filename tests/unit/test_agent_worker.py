"""Workers of real executors: what an agent does with one instance, order by order, and what it says of it."""

import asyncio

import pytest
from agent_world import agents

from holdfast.agent.duties import STABLE_S
from holdfast.agent.worker import SLOW_RETRY_S
from holdfast.core.model import Desired, Exclusivity, Goal, InstanceState
from holdfast.core.policy import HaPause, PauseMode
from holdfast.store import keys
from holdfast.store.memory import WriteFault

RUNNING, STOPPED = InstanceState.RUNNING, InstanceState.STOPPED
FAILED, IGNORED = InstanceState.FAILED, InstanceState.IGNORED


# --- starts that fail ---------------------------------------------------------------------------------------------------


async def test_it_is_restarted_in_place_as_often_as_it_may_and_then_slowly() -> None:
    async with agents("n1") as world:
        world.want(max_restarts=2)
        world.real.failing["start"] = 4
        world.place("n1", 10)
        await world.run_for(SLOW_RETRY_S / 2)
        assert world.real.failing["start"] == 1, "three tries at once"
        assert (world.word.state, world.word.failures) == (FAILED, 3)
        assert "no disk" in world.word.detail
        await world.run_for(SLOW_RETRY_S)
        assert (world.real.failing["start"], world.word.failures) == (0, 3), "one more, and nothing new to say"
        await world.run_for(SLOW_RETRY_S)
        assert (world.says(), world.where) == ((RUNNING, 10), "n1")
        assert (world.word.failures, world.word.stable) == (3, False), "not forgotten yet"
        await world.run_for(STABLE_S + 2)
        assert (world.word.failures, world.word.stable) == (0, True)


async def test_a_relocation_finds_a_worker_that_confirms_the_stop_at_once() -> None:
    async with agents("n1") as world:
        world.real.failing["start"] = 99
        world.place("n1", 10)
        await world.run_for(5)
        world.place("n1", 11, Goal.STOP)
        await world.run_for(0.5)
        assert world.says() == (STOPPED, 11)


async def test_a_stop_is_believed_only_when_nothing_of_it_runs_any_more() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(2)
        world.real.failing["stop-unsaid"] = 99
        world.place("n1", 11, Goal.STOP)
        await world.run_for(3)
        assert (world.word.state, world.where) == (FAILED, "n1")
        assert "still runs here" in world.word.detail
        world.real.failing["stop-unsaid"] = 0
        await world.run_for(10)
        assert (world.says(), world.where) == ((STOPPED, 11), "")
        assert (world.says(), world.where) == ((STOPPED, 11), "")


async def test_a_change_by_its_operator_is_tried_at_once() -> None:
    async with agents("n1") as world:
        world.real.failing["start"] = 2
        world.place("n1", 10)
        await world.run_for(3)
        assert (world.word.state, world.word.failures) == (FAILED, 2)
        world.want(config={"disk": "another"})
        await world.run_for(0.5)
        assert (world.word.state, world.word.failures) == (RUNNING, 0)


async def test_a_process_that_ends_soon_did_not_start_and_one_that_ends_late_is_just_started_again() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(5)
        world.real.end("vm/a")
        await world.run_for(1)
        assert (world.where, world.word.failures) == ("n1", 1)
        await world.run_for(STABLE_S)
        for _ in range(3):
            await world.run_for(20)
            world.real.end("vm/a")
            await world.run_for(1)
            assert (world.where, world.word.failures, world.word.stable) == ("n1", 0, True)


async def test_later_failures_are_counted_anew_after_each_stable_run() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        for _ in range(3):
            await world.run_for(STABLE_S + 5)
            world.real.failing["start"] = 1
            world.real.end("vm/a")
            await world.run_for(2)
            assert (world.where, world.word.failures) == ("n1", 1)


async def test_a_node_that_may_start_nothing_is_not_the_instances_fault() -> None:
    async with agents("n1") as world:
        world.nodes["n1"].may_run = False
        world.place("n1", 10)
        await world.run_for(30)
        assert (world.where, world.word.failures) == ("", 0)
        world.nodes["n1"].may_run = True
        await world.run_for(2)
        assert world.where == "n1"


async def test_a_guard_that_restarts_is_not_the_instances_fault() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(20)
        world.nodes["n1"].guard_away = True
        world.real.end("vm/a")
        await world.run_for(10)
        assert (world.where, world.word.failures) == ("", 0)
        world.nodes["n1"].guard_away = False
        await world.run_for(2)
        assert world.where == "n1"


async def test_a_start_that_was_abandoned_counts_as_no_failure() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(0.05)
        world.place("n1", 11)
        await world.run_for(1)
        assert (world.says(), world.word.failures, world.real.starts["n1"]) == ((RUNNING, 11), 0, 1)


async def test_a_stop_that_fails_is_said_tried_again_and_counts_as_no_failed_start() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(1)
        world.real.failing["stop"] = 3
        world.place("n1", 11, Goal.STOP)
        await world.run_for(0.5)
        assert (world.says(), world.word.failures, world.where) == ((FAILED, 11), 0, "n1")
        assert "in state D" in world.word.detail
        await world.run_for(10)
        assert (world.says(), world.where) == ((STOPPED, 11), "")


# --- states -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("desired", [Desired.STOPPED, Desired.DISABLED])
async def test_what_is_not_wanted_stops_before_the_manager_says_so_and_is_confirmed_after(desired: Desired) -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(1)
        world.want(desired=desired)
        await world.run_for(1)
        assert (world.where, world.says()) == ("", (STOPPED, 10))
        world.place("n1", 11, Goal.STOP)
        await world.run_for(0.5)
        assert world.says() == (STOPPED, 11)


async def test_ignored_is_neither_started_nor_stopped_nor_restarted() -> None:
    async with agents("n1") as world:
        world.want(desired=Desired.IGNORED)
        world.place("n1", 10)
        await world.run_for(5)
        assert world.where == ""
        world.want(desired=Desired.STARTED)
        await world.run_for(1)
        world.want(desired=Desired.IGNORED)
        world.place("n1", 11, Goal.STOP)
        await world.run_for(5)
        assert (world.where, world.says()) == ("n1", (IGNORED, 11))
        world.real.end("vm/a")
        await world.run_for(30)
        assert world.where == ""


async def test_ignored_takes_a_confirmed_stop_back_and_what_was_started_by_hand_is_stopped_anew() -> None:
    async with agents("n1") as world:
        world.place("n1", 10, Goal.STOP)
        await world.run_for(1)
        assert world.says() == (STOPPED, 10)
        world.want(desired=Desired.IGNORED)
        await world.run_for(0.5)
        assert world.says() == (IGNORED, 10)
        world.real.execute("vm/a", "n1")
        world.want(desired=Desired.STOPPED)
        await world.run_for(1)
        assert (world.where, world.says()) == ("", (STOPPED, 10))


async def test_the_deadline_ends_what_is_ignored_and_strict() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(1)
        world.want(desired=Desired.IGNORED)
        await world.run_for(1)
        stopping = asyncio.create_task(world.nodes["n1"].stop_strict())
        await world.run_for(1)
        assert stopping.result() and world.where == ""
        world.nodes["n1"].resume()
        await world.run_for(5)
        assert world.where == "", "as it is: nobody starts it"


async def test_the_address_of_what_is_ignored_is_kept() -> None:
    async with agents("n1", address="10.0.0.100") as world:
        world.place("n1", 10)
        await world.run_for(2)
        world.want(desired=Desired.IGNORED)
        await world.run_for(60)
        assert world.network.owners("10.0.0.100") == ["n1"]


async def test_a_pause_that_asks_for_it_leaves_every_instance_alone() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(1)
        world.put(keys.PAUSE, HaPause(PauseMode.FREEZE))
        world.real.end("vm/a")
        await world.run_for(1)
        assert world.where == "n1", "in this mode it is restarted in place"
        world.put(keys.PAUSE, HaPause(PauseMode.IGNORE))
        await world.run_for(1)
        world.real.end("vm/a")
        await world.run_for(30)
        assert world.where == ""
        world.delete(keys.PAUSE)
        await world.run_for(1)
        assert (world.where, world.says()) == ("n1", (RUNNING, 10))


# --- what the store hears -----------------------------------------------------------------------------------------------


async def test_a_write_that_comes_through_late_does_not_replace_a_newer_word() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(1)
        world.nodes["n1"].faults.next_writes.append(WriteFault.LATE)
        world.place("n1", 11, Goal.STOP)
        await world.run_for(30)
        assert world.says() == (STOPPED, 11)
        world.cluster.deliver_late()
        assert world.says() == (STOPPED, 11)


async def test_an_advisory_instance_needs_no_permission() -> None:
    async with agents("n1") as world:
        world.want(exclusivity=Exclusivity.ADVISORY)
        world.nodes["n1"].may_run = False
        world.place("n1", 10)
        await world.run_for(1)
        assert world.where == "n1"


# --- a guest that powers itself off -------------------------------------------------------------------------------------


async def test_what_powered_itself_off_is_no_failure_and_stays_off_under_this_placement() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(5)
        world.real.end("vm/a", powered_off=True)
        await world.run_for(30)
        assert (world.says(), world.where) == ((STOPPED, 10), "")
        assert (world.word.powered_off, world.word.failures, world.real.starts["n1"]) == (True, 0, 1)
        world.want(priority=700)
        await world.run_for(5)
        assert world.where == "", "whoever changes it does not start it"
        world.place("n1", 11)
        await world.run_for(5)
        assert (world.says(), world.where, world.word.powered_off) == ((RUNNING, 11), "n1", False)


async def test_what_powered_itself_off_is_said_to_be_off_only_once_it_is() -> None:
    async with agents("n1") as world:
        world.place("n1", 10)
        await world.run_for(5)
        world.real.failing["stop"] = 1
        world.real.end("vm/a", powered_off=True)
        await world.run_for(0.15)
        assert world.word.state is FAILED, "its remains could not be cleared away"
        await world.run_for(5)
        assert (world.says(), world.word.powered_off) == ((STOPPED, 10), True)
