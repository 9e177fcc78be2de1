"""Traps that a scenario file cannot tell: what the daemons say of themselves, and faults at every moment of something short.

The others are files below tests/scenarios/traps; docs/verification.md lists all of them.
"""

import pytest

from holdfast.core.validity import SessionState
from holdfast.ports import Delete
from holdfast.sim.run import Simulation, run, simulation
from holdfast.sim.scenario import loads
from holdfast.store import keys

CLUSTER = """
profile: fast
nodes: {node1: {}, node2: {}, node3: {power_fencing: false}}
instances: {vm/101: {node: node3}}
"""


def settle(sim: Simulation) -> None:
    """The cluster has long been up."""
    sim.until(lambda: sim.world.executors("vm/101") == ["node3"], within=5)
    sim.advance(5)


def problem(sim: Simulation, machine: int = 0) -> str:
    """What the agent of node3 says why it cannot join; `machine`: 1 for its clone. Empty once it has joined."""
    agent = sim.world.named("node3")[machine].agent
    assert agent is not None
    assert (agent.session.state is SessionState.JOINING) == bool(agent.session.problem)
    return agent.session.problem


def test_a_cloned_machine_is_told_why_it_is_refused() -> None:
    with simulation(loads(CLUSTER), seed=1) as sim:
        settle(sim)
        sim.do("clone", node="node3")
        sim.advance(60)
        assert "another machine uses the identity of node3" in problem(sim, 1)
        assert problem(sim) == ""
        assert sim.world.run_numbers["vm/101"] == 1, "neither stopped nor started again"
        assert not sim.violations


def test_a_removed_node_does_not_join_again() -> None:
    with simulation(loads(CLUSTER), seed=1) as sim:
        settle(sim)
        sim.do("shutdown", node="node3")
        sim.until(lambda: not sim.world.machines["node3"].powered, within=10)
        sim.until(lambda: bool(sim.world.executors("vm/101")), within=10)
        sim.world.store.cluster.txn([], [Delete(keys.node_spec("node3"))], [])  # holdfast node remove
        sim.do("power-on", node="node3")
        sim.advance(40)
        assert "not a node of this cluster" in problem(sim)
        assert not sim.world.machines["node3"].live
        assert not sim.violations


@pytest.mark.parametrize("frozen_at", [round(20 + 0.1 * tenth, 1) for tenth in range(12)])
def test_a_pause_at_any_moment_of_a_start(frozen_at: float) -> None:
    """From the crash of a VM to its restart in place on a node that was cut off, and beyond its deadline."""
    scenario = loads(f"""
profile: fast
nodes: {{node1: {{}}, node2: {{}}, node3: {{power_fencing: false}}}}
instances: {{vm/101: {{node: node3}}}}
timeline:
  - {{at: 15, do: network-off, node: node3}}
  - {{at: 20, do: late-start, instance: vm/101, seconds: 0.3}}
  - {{at: 20, do: crash, instance: vm/101}}
  - {{at: {frozen_at}, do: freeze, node: node3, for: 3.8}}
until: 60
""")
    result = run(scenario, seed=1)
    assert not result.violations
    assert result.final["instances"]["vm/101"]["node"] != "node3"
