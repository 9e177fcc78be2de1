"""Alarms of the real managers on simulated machines: raised, kept over a fail-over of the manager, cleared."""

from collections import Counter

import pytest

from holdfast.core.alarm_model import Alarm, AlarmState
from holdfast.core.history import Event
from holdfast.sim.run import Simulation, simulation
from holdfast.sim.scenario import loads
from holdfast.store import keys
from holdfast.store.codec import decode

CLUSTER = """
profile: fast
nodes:
  node1: {power_fencing: true}
  node2: {power_fencing: true}
  node3: {power_fencing: true}
instances:
  vm/1: {node: node1}
  vm/2: {node: node2}
"""


def alarms(sim: Simulation) -> dict[str, Alarm]:
    found = sim.world.store.cluster.list(keys.ALARMS).entries
    return {alarm.id: alarm for alarm in (decode(entry.value, Alarm) for entry in found)}


def raised(sim: Simulation) -> set[str]:
    return {name for name, alarm in alarms(sim).items() if alarm.open}


def said(sim: Simulation) -> Counter[tuple[str, str]]:
    """Events about alarms: how often each was written."""
    entries = sim.world.store.cluster.list(keys.EVENTS).entries
    events = [decode(entry.value, Event) for entry in entries]
    return Counter((one.kind, one.node) for one in events if one.kind.startswith("alarm-"))


def test_a_calm_cluster_has_none() -> None:
    with simulation(loads(CLUSTER), seed=2) as sim:
        sim.advance(120)
        assert not alarms(sim)


@pytest.mark.parametrize("leader", [False, True])
def test_a_dead_node_is_one_alarm_until_it_is_back(leader: bool) -> None:
    """Also when the manager dies that raised it, and when it dies with the node."""
    with simulation(loads(CLUSTER), seed=3) as sim:
        sim.advance(30)
        first = leading(sim)
        dead = first if leader else next(node for node in ("node1", "node2", "node3") if node != first)
        sim.do("power-off", node=dead)
        sim.until(lambda: f"node-dead:{dead}" in raised(sim), within=60)
        sim.advance(5)
        if not leader:
            sim.do("store-off", nodes=(first,))
            sim.until(lambda: leading(sim) != first, within=20)
            sim.do("store-on", nodes=(first,))
        sim.advance(60)
        assert f"node-dead:{dead}" in raised(sim)
        assert said(sim)["alarm-raised", dead] <= 2, "suspect, then dead: each once"
        sim.do("power-on", node=dead)
        sim.until(lambda: f"node-dead:{dead}" not in raised(sim), within=120)
        alarm = alarms(sim)[f"node-dead:{dead}"]
        assert alarm.state is AlarmState.CLEARED and alarm.number == 1
        assert not sim.violations


def leading(sim: Simulation) -> str:
    entry = sim.world.store.cluster.get(keys.MANAGER_TERM)
    assert entry is not None
    return str(decode(entry.value, dict)["node"])


def test_a_wrong_wall_clock_is_told_and_decides_nothing() -> None:
    with simulation(loads(CLUSTER), seed=5) as sim:
        sim.advance(100)
        assert not raised(sim)
        sim.do("clock-step", node="node2", seconds=-30.0)
        sim.until(lambda: raised(sim) == {"clock-skew:node2"}, within=200)
        sim.do("clock-step", node="node2", seconds=30.0)
        sim.until(lambda: not raised(sim), within=120)
        assert not sim.violations


def test_a_broken_fence_device_is_found_before_it_is_needed_and_nothing_is_switched() -> None:
    with simulation(loads(CLUSTER), seed=6) as sim:
        sim.do("lie-fence", node="node3", mode="dead")
        sim.do("lie-fence", node="node2", mode="lie-state")
        broken = {"fence-test-failed:node2:bmc", "fence-test-failed:node3:bmc"}
        sim.until(lambda: raised(sim) >= {"fence-test-failed:node2:bmc"}, within=60)
        sim.until(lambda: raised(sim) == broken, within=120)
        first = leading(sim)
        sim.do("store-off", nodes=(first,))
        sim.until(lambda: leading(sim) != first, within=20)
        sim.do("store-on", nodes=(first,))
        for node in ("node2", "node3"):
            sim.do("lie-fence", node=node, mode="honest")
        sim.until(lambda: not raised(sim) & broken, within=150)
        assert {name: alarm.number for name, alarm in alarms(sim).items() if name in broken} == dict.fromkeys(broken, 1)
        assert not sim.violations
        assert all(machine.powered for machine in sim.world.machines.values())


def test_two_runs_are_the_same() -> None:
    """Whatever the alarms' desk does beside the decisions."""

    def run() -> list[object]:
        with simulation(loads(CLUSTER), seed=7) as sim:
            sim.advance(40)
            sim.do("power-off", node="node1")
            sim.advance(90)
            return list(sim.world.store.cluster.list("").entries)

    assert run() == run()
