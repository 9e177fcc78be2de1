"""The real agent session, executor and manager under a virtual clock, with INV-1, INV-3 and INV-5 checked at every step."""

import random
from collections.abc import Awaitable, Callable

import pytest
from sim_node import SimNode
from sim_virtual import NodeClock, VirtualLoop
from sim_world import World

from holdfast.ports import Delete
from holdfast.store import keys

Scenario = Callable[[World], Awaitable[None]]


def simulate(
    scenario: Scenario,
    *,
    nodes: int = 4,
    volumes: int = 2,
    watchdogs: bool = True,
    bmcs: bool = True,
    managers: int = 3,
) -> World:
    loop = VirtualLoop()
    worlds: list[World] = []

    async def run() -> None:
        world = World(loop, nodes=nodes, volumes=volumes, watchdogs=watchdogs, bmcs=bmcs, managers=managers)
        worlds.append(world)
        for node in world.nodes.values():
            node.boot()
        try:
            await world.until(lambda: world.all_run() and world.all_active(), 20, "start")
            await world.run_for(3)
            await scenario(world)
        finally:
            await world.end()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return worlds[0]


def holder(world: World) -> str:
    return world.where("nfs/v1")


def test_power_loss_with_power_fencing_recovers_in_about_a_second() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].power_off()
        assert await world.until(world.all_run, 5, "recovery") < 2.0

    simulate(scenario)


def test_without_power_fencing_strict_instances_wait_for_the_watchdog_and_not_less() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].stays_off = True
        world.nodes[victim].clock.thawed.clear()
        waited = await world.until(lambda: holder(world) not in ("", victim), 60, "recovery")
        assert world.timing.T_wait - world.timing.H - 1 <= waited <= world.timing.T_wait + 2
        assert not world.nodes[victim].alive, "the frozen node was reset by its watchdog before"

    simulate(scenario, bmcs=False)


def test_a_node_that_was_reset_and_returns_before_the_wait_is_over_is_proof_enough() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].clock.thawed.clear()
        waited = await world.until(lambda: holder(world) not in ("", victim), 60, "recovery")
        assert world.nodes[victim].boots == 2
        assert waited < world.timing.T_wait - world.timing.H

    simulate(scenario, bmcs=False)


def test_with_neither_the_panel_moves_and_volumes_do_not() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        lost = [volume for volume in world.volumes if world.where(volume) == victim]
        world.nodes[victim].power_off()
        await world.until(lambda: bool(world.network.owners("10.0.0.99")), 5, "the panel")
        await world.run_for(300)
        assert [volume for volume in world.volumes if not world.where(volume)] == lost

    simulate(scenario, watchdogs=False, bmcs=False)


def test_a_node_cut_off_stops_its_instances_before_they_run_elsewhere_and_returns() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.set_cut(victim, True)
        await world.until(lambda: holder(world) not in ("", victim), 60, "recovery")
        assert world.nodes[victim].boots == 1, "INV-5: it stopped cleanly and was not rebooted"
        world.set_cut(victim, False)
        await world.until(world.all_active, 60, "return of the node")

    simulate(scenario, bmcs=False)


def test_a_store_outage_shorter_than_the_validity_goes_unnoticed() -> None:
    async def scenario(world: World) -> None:
        before = {volume: world.where(volume) for volume in world.volumes}
        for node in world.nodes.values():
            node.faults.unavailable = True
        await world.run_for(world.timing.F - world.timing.H - 1.5)
        for node in world.nodes.values():
            node.faults.unavailable = False
        await world.run_for(30)
        assert {volume: world.where(volume) for volume in world.volumes} == before
        assert all(node.boots == 1 for node in world.nodes.values())

    simulate(scenario)


def test_a_longer_store_outage_stops_everything_cleanly_and_nothing_is_rebooted() -> None:
    async def scenario(world: World) -> None:
        before = {volume: world.where(volume) for volume in world.volumes}
        for node in world.nodes.values():
            node.faults.unavailable = True
        await world.until(lambda: not any(node.live for node in world.nodes.values()), world.timing.F + 2, "stop")
        await world.run_for(60)
        for node in world.nodes.values():
            node.faults.unavailable = False
        await world.until(world.all_run, 20, "return")
        assert {volume: world.where(volume) for volume in world.volumes} == before, "they came back where they were"
        assert all(node.boots == 1 for node in world.nodes.values())

    simulate(scenario)


@pytest.mark.parametrize("managers", [1, 3])
def test_a_manager_that_is_blind_fences_nobody_for_what_it_does_not_see(managers: int) -> None:
    """In a store outage the beats do not grow old all at once: the first to be overdue are no majority to hold for."""

    async def scenario(world: World) -> None:
        for node in reversed(world.nodes.values()):
            assert node.session is not None
            node.session.hurry()
            await world.run_for(0.25)
        for node in world.nodes.values():
            node.faults.unavailable = True
        await world.run_for(25)
        for node in reversed(world.nodes.values()):  # the manager's comes last: it sees the others' new beats at once
            node.faults.unavailable = False
            await world.run_for(0.6)
        await world.until(world.all_run, 20, "return")
        await world.run_for(5)
        assert all(node.alive and node.boots == 1 for node in world.nodes.values())

    simulate(scenario, managers=managers)


def test_a_stop_that_hangs_ends_in_a_reboot_and_not_in_two_copies() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].stops_hang = True
        world.set_cut(victim, True)
        await world.until(lambda: holder(world) not in ("", victim), 60, "recovery")

    simulate(scenario, bmcs=False)


def test_a_graceful_shutdown_is_a_release() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].release()
        assert await world.until(lambda: not world.nodes[victim].alive and world.all_run(), 10, "release") < 2

    world = simulate(scenario, watchdogs=False, bmcs=False)
    assert any("is released" in line for line in world.log)


def test_a_restarted_agent_adopts_what_runs_and_restarts_nothing() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        before = world.starts["nfs/v1"]
        world.nodes[victim].restart_daemons(0.3)
        await world.run_for(30)
        assert holder(world) == victim
        assert world.starts["nfs/v1"] == before, "adopted, not started anew"

    simulate(scenario)


def test_an_agent_that_stays_away_ends_in_a_kill_by_the_guard() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].stays_off = True
        world.nodes[victim].restart_daemons(1000)
        await world.until(lambda: holder(world) not in ("", victim), 60, "recovery")

    simulate(scenario, bmcs=False)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.05, 0.5, 1.0, 1.003, 1.01])
def test_a_shutdown_while_the_node_still_joins(delay: float) -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        world.nodes[victim].power_off()
        await world.until(world.all_run, 60, "recovery")
        node = world.nodes[victim]
        node.boot()
        await world.run_for(delay)
        node.release()
        await world.until(lambda: not node.alive, 60, "release")

    simulate(scenario, bmcs=False)


@pytest.mark.parametrize("delay_s", [0.01, 0.3, 0.7])
def test_a_shutdown_while_a_beat_is_under_way(delay_s: float) -> None:
    async def scenario(world: World) -> None:
        node = world.nodes[holder(world)]
        node.faults.reply_delay_s = delay_s
        await world.run_for(3)
        node.release()
        await world.until(lambda: not node.alive, 20, "release")

    simulate(scenario)


def test_a_cloned_machine_is_refused_and_disturbs_nobody() -> None:
    async def scenario(world: World) -> None:
        victim = holder(world)
        before = world.starts["nfs/v1"]
        clone = SimNode(world, victim, "10.0.0.77", True, NodeClock(world.loop), machine="clone")
        clone.boot()
        await world.run_for(30)
        assert clone.session is not None and "another machine" in clone.session.problem
        assert not clone.live
        assert (holder(world), world.starts["nfs/v1"]) == (victim, before)
        clone.power_off()

    simulate(scenario)


def test_a_removed_node_does_not_join_again() -> None:
    async def scenario(world: World) -> None:
        node = world.nodes["n4"]
        node.release()
        await world.until(lambda: not node.alive, 20, "release")
        world.cluster.txn([], [Delete(keys.node_spec("n4"))], ())
        node.boot()
        await world.run_for(20)
        assert node.session is not None and "not a node of this cluster" in node.session.problem
        assert not node.live

    simulate(scenario)


def test_a_manager_whose_own_node_is_missed_lets_another_one_judge() -> None:
    """Its agent hangs while the manager goes on: it must not switch itself off, and the node is switched on again."""

    async def scenario(world: World) -> None:
        victim = "n1"
        assert world.leader() == victim
        node = world.nodes[victim]
        node.mute_beats = True
        await world.until(lambda: world.leader() not in ("", victim), 10, "another leader")
        await world.until(lambda: not node.alive, 20, "fencing")
        node.mute_beats = False
        await world.until(lambda: node.alive and world.all_run(), 60, "the node is switched on again")

    simulate(scenario)


def test_a_manager_without_another_never_switches_its_own_node_off() -> None:
    async def scenario(world: World) -> None:
        world.nodes["n1"].mute_beats = True
        await world.run_for(30)
        assert world.nodes["n1"].alive

    simulate(scenario, managers=1)


FAULTS = ("agent", "power", "freeze", "cut", "store", "hang", "bmc", "one-way", "release")


@pytest.mark.parametrize("seed", range(16))
def test_random_faults(seed: int) -> None:
    """INV-1, INV-3, INV-5 during, LIVE-1 after."""
    rng = random.Random(seed)

    async def scenario(world: World) -> None:
        names = list(world.nodes)
        for _ in range(6):
            inject(world, rng.choice(FAULTS), rng.choice(names), rng)
            await world.run_for(rng.uniform(0.2, 30))
            if rng.random() < 0.7:
                heal(world)
                await world.run_for(rng.uniform(0.2, 15))
        heal(world)
        await world.until(world.all_run, 90, f"LIVE-1 (seed {seed})")

    simulate(scenario, nodes=rng.choice((3, 4, 5)), volumes=3, watchdogs=True, bmcs=rng.random() < 0.6)


def inject(world: World, fault: str, name: str, rng: random.Random) -> None:
    node = world.nodes[name]
    world.say(f"{fault} {name}")
    if fault == "power" and node.alive:
        node.power_off()
    elif fault == "freeze":
        node.clock.thawed.clear()
    elif fault == "cut":
        world.set_cut(name, True)
    elif fault == "store":
        for each in world.nodes.values():
            each.faults.unavailable = True
    elif fault == "agent" and node.alive:
        node.restart_daemons(rng.uniform(0.2, 12))
    elif fault == "hang":
        node.stops_hang = True
    elif fault == "bmc":
        node.bmc_dead = True
    elif fault == "one-way":
        world.one_way.add((name, rng.choice(list(world.nodes))))
    elif fault == "release" and node.alive and node.clock.thawed.is_set():
        node.release()


def heal(world: World) -> None:
    world.say("heal")
    world.one_way.clear()
    for name, node in world.nodes.items():
        world.set_cut(name, False)
        node.faults.unavailable = node.stops_hang = node.bmc_dead = False
        node.clock.thawed.set()
        if not node.alive:
            node.boot()
