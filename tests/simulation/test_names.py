"""DNS follows the health of gateways: with the real managers and agents, on simulated machines."""

from dataclasses import replace

import pytest

from holdfast.core.dns_model import DnsRecords, Zone
from holdfast.core.dns_records import newer
from holdfast.core.history import ManagerView
from holdfast.core.model import InstanceSpec, NodeState, ServiceAddress
from holdfast.ports import Put
from holdfast.sim.run import Simulation, simulation
from holdfast.sim.scenario import loads
from holdfast.store import keys
from holdfast.store.codec import decode, encode

CLUSTER = """
profile: fast
nodes: {node1: {}, node2: {}, node3: {}}
instances:
  s3/main/gw-node1: {nodes: [node1, node2, node3], node: node1}
  s3/main/gw-node2: {nodes: [node1, node2, node3], node: node2}
  s3/main/gw-node3: {nodes: [node1, node2, node3], node: node3}
"""
NAME = "s3.example.lan"
ALL = ("10.78.0.61", "10.78.0.62", "10.78.0.63")
OUT_S = 2.0
"""The promise: so soon after it became suspect a dead gateway has left."""


def records(sim: Simulation) -> DnsRecords:
    entry = sim.world.store.cluster.get(keys.DNS_RECORDS)
    return decode(entry.value, DnsRecords) if entry else DnsRecords()


def published(sim: Simulation) -> tuple[str, ...]:
    return records(sim).names.get(NAME, ())


def suspect(sim: Simulation, node: str) -> bool:
    entry = sim.world.store.cluster.get(keys.MANAGER_VIEW)
    return entry is not None and decode(entry.value, ManagerView).nodes.get(node) is NodeState.SUSPECT


def serve(sim: Simulation) -> None:
    """Names for the gateways, and a zone."""
    cluster = sim.world.store.cluster
    for number in (1, 2, 3):
        key = keys.instance(f"s3/main/gw-node{number}")
        entry = cluster.get(key)
        assert entry is not None
        spec = replace(
            decode(entry.value, InstanceSpec), address=ServiceAddress(f"10.78.0.6{number}", "public"), names=(NAME,)
        )
        cluster.txn([], [Put(key, encode(spec))], [])
    zone = Zone("example.lan", "hostmaster@example.lan", "management")
    cluster.txn([], [Put(keys.dns_zone(zone.apex), encode(zone))], [])
    sim.until(lambda: published(sim) == ALL, within=30)


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
def test_a_dead_gateway_leaves_within_two_seconds_of_suspicion_and_returns(node: str) -> None:
    """Also when the leading manager dies with it."""
    with simulation(loads(CLUSTER), seed=3) as sim:
        sim.advance(20)
        serve(sim)
        before, mine = records(sim).serial, f"10.78.0.6{node[-1]}"
        sim.do("power-off", node=node)
        sim.until(lambda: suspect(sim, node) or mine not in published(sim), within=10)
        took_s = sim.until(lambda: mine not in published(sim), within=OUT_S)
        assert took_s <= OUT_S
        assert set(published(sim)) == set(ALL) - {mine}
        sim.advance(20)
        assert set(published(sim)) == set(ALL) - {mine}, (
            "its address is answered by another node, for old connections only"
        )
        sim.do("power-on", node=node)
        sim.until(lambda: published(sim) == ALL, within=90)
        assert newer(records(sim).serial, before)
        assert not sim.violations


def test_a_calm_cluster_writes_nothing() -> None:
    with simulation(loads(CLUSTER), seed=4) as sim:
        sim.advance(20)
        serve(sim)
        sim.advance(5)
        entry = sim.world.store.cluster.get(keys.DNS_RECORDS)
        sim.advance(60)
        assert sim.world.store.cluster.get(keys.DNS_RECORDS) == entry


def test_gateways_that_all_vanish_stay_published() -> None:
    """Two of three nodes: no majority of the store either. What is known last stays, and nobody is told `no such name`."""
    with simulation(loads(CLUSTER), seed=5) as sim:
        sim.advance(20)
        serve(sim)
        for node in ("node1", "node2"):
            sim.do("power-off", node=node)
        for _ in range(40):
            sim.advance(0.5)
            assert published(sim), "never an empty answer"
