"""Volumes over iSCSI while nodes fail: each kind of failure, seen by clients that never stop.

After every test no client has seen a block lost, torn or stale, and none was served through two paths of a volume at the
same time. INV-1 is checked all the time by the independent watcher. Stalls are printed, not judged.
"""

import time

import pytest
from iscsi_talk import NODES, VOLUMES, Iscsi, nothing_lost

from holdfast.lab import kernel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def others(*nodes: str) -> list[str]:
    return [node for node in NODES if node not in nodes]


def test_each_volume_has_one_path_that_serves_and_they_are_spread(cluster: Iscsi) -> None:
    for name in VOLUMES:
        cluster.wait_active([name], NODES)
        assert cluster.executors(name) == [cluster.active_on(name)]
    assert sorted(cluster.active_on(name) for name in VOLUMES) == sorted(NODES)
    assert all(len(cluster.daemons(node)) == 1 for node in NODES), "standby paths are prepared on every node"
    assert cluster.log_in() == dict.fromkeys(NODES, "in")


def test_power_loss_and_failback(cluster: Iscsi) -> None:
    """A → B → A, and at once everything is read back that was written through either: what A had kept in a cache would
    show."""
    victim = cluster.active_on("one")
    at = cluster.lab.fail(victim, "power")
    cluster.wait_active(["one"], others(victim))
    cluster.wait_all()
    print(f"power loss of {victim}: writes stalled {cluster.stalls(at)}")
    cluster.lab.heal(victim)
    cluster.whole()
    at = kernel.boottime()
    cluster.move("one", victim)
    cluster.wait_active(["one"], [victim])
    cluster.wait_all()
    print(f"moved back to {victim}: writes stalled {cluster.stalls(at)}")
    nothing_lost(cluster.read_back("one"))


def test_a_cut_node_is_fenced(cluster: Iscsi) -> None:
    victim = cluster.active_on("two")
    boots = cluster.boots(victim)
    at = cluster.lab.fail(victim, "network", silent=True)
    cluster.wait_active(["two"], others(victim))
    cluster.wait_all()
    print(f"{victim} cut off: writes stalled {cluster.stalls(at)}")
    assert cluster.incidents(victim)[-1]["proof"] == "P1"
    cluster.until(lambda: cluster.boots(victim) == boots + 1, "what fencing switched off is switched on again")


def test_a_cut_node_ends_its_paths_itself_and_never_shows_a_second_one_when_the_link_heals(cluster: Iscsi) -> None:
    """Its BMC is dead as well: nothing but its own deadline ends its paths. (When the BMC is back the node may still be
    fenced, for nobody has heard of it yet.)"""
    victim = cluster.active_on("three")
    cluster.lab.fail(victim, "bmc", mode="unreachable")
    at = cluster.lab.fail(victim, "network", silent=True)
    cluster.until(lambda: cluster.executors("three") == [], f"{victim} has ended its paths")
    print(f"{victim} cut off: it ended its paths after {kernel.boottime() - at:.1f} s")
    cluster.lab.heal(victim)
    cluster.wait_all()
    cluster.wait_active(list(VOLUMES), NODES)
    print(f"healed: writes stalled {cluster.stalls(at)}")


def test_the_clients_network_is_cut_from_a_node(cluster: Iscsi) -> None:
    """The node is well, and nobody can reach its path."""
    victim = cluster.active_on("one")
    boots = cluster.boots(victim)
    at = cluster.lab.fail(victim, "network", network="public")
    cluster.wait_active(["one"], others(victim))
    cluster.wait_all()
    print(f"{victim} lost the clients' network: writes stalled {cluster.stalls(at)}")
    assert cluster.boots(victim) == boots


def test_a_frozen_node_that_thaws_in_time_and_one_that_does_not(cluster: Iscsi) -> None:
    victim = cluster.active_on("two")
    daemons, boots = cluster.daemons(victim), cluster.boots(victim)
    cluster.lab.fail(victim, "bmc", mode="refuses")  # not unreachable: then it could be told when it is back
    at = cluster.lab.fail(victim, "freeze")
    time.sleep(2.5)
    cluster.lab.heal(victim)
    cluster.wait_active(["two"], [victim])
    cluster.wait_all()
    print(f"{victim} froze for 2.5 s: writes stalled {cluster.stalls(at)}")
    assert (cluster.daemons(victim), cluster.boots(victim)) == (daemons, boots)
    at = cluster.lab.fail(victim, "freeze")
    cluster.wait_active(["two"], others(victim))
    cluster.wait_all()
    print(f"{victim} froze for good: writes stalled {cluster.stalls(at)}")


def test_maintenance_moves_the_paths_off_and_back(cluster: Iscsi) -> None:
    victim = cluster.active_on("three")
    before, at = cluster.on(victim), kernel.boottime()
    cluster.do("node", "maintenance", "enter", victim)
    cluster.wait_active(before, others(victim))
    cluster.wait_all()
    print(f"maintenance of {victim}: writes stalled {cluster.stalls(at)}")
    at = kernel.boottime()
    cluster.do("node", "maintenance", "exit", victim)
    cluster.whole()
    print(f"and back: writes stalled {cluster.stalls(at)}")


def test_an_agent_that_starts_anew_does_not_interrupt_its_paths(cluster: Iscsi) -> None:
    victim = cluster.active_on("one")
    instance = cluster.instance("iscsi/one")
    daemons, agent = cluster.daemons(victim), cluster.pids(victim, "holdfast-agent")
    at = cluster.lab.fail(victim, "agent-kill")
    cluster.until(lambda: cluster.pids(victim, "holdfast-agent") not in ([], agent), "the agent runs again")
    cluster.until(lambda: cluster.node_state(victim) == "up" and cluster.active_on("one") == victim, "it has adopted")
    cluster.wait_all()
    print(f"agent of {victim} killed: writes stalled {cluster.stalls(at)}")
    assert cluster.daemons(victim) == daemons, "adopted, not started anew"
    assert cluster.instance("iscsi/one")["epoch"] == instance["epoch"]
    assert cluster.journals["one"].portal == cluster.portal(victim)


def test_a_killed_daemon_comes_back_in_place(cluster: Iscsi) -> None:
    victim = cluster.active_on("two")
    before = cluster.daemons(victim)
    at = cluster.lab.fail(victim, "kill", unit="iscsi-tgtd")
    cluster.until(lambda: cluster.daemons(victim) not in ([], before), "it runs again")
    cluster.wait_all()
    cluster.wait_active(["two"], NODES)
    print(f"tgtd on {victim} killed: writes stalled {cluster.stalls(at)}")


def test_one_path_left_and_then_none(cluster: Iscsi) -> None:
    """As long as one node of the group lives its clients are served. While none does, their writes wait."""
    first, second = others(cluster.active_on("one"))
    last = cluster.active_on("one")
    at = cluster.lab.fail(first, "power")
    cluster.wait_active(list(VOLUMES), others(first))
    cluster.lab.fail(second, "power")
    cluster.wait_active(list(VOLUMES), [last])
    cluster.wait_all()
    print(f"{first} and then {second} dead: writes stalled {cluster.stalls(at)}")
    at = cluster.lab.fail(last, "power")
    time.sleep(2.0)
    assert not any(journal.wrote_since(at + 1.0) for journal in cluster.journals.values())
    back = cluster.lab.heal(first)
    cluster.wait_up(first)
    cluster.wait_all()
    print(f"all dead, and {first} back after {back - at:.1f} s: writes stalled {cluster.stalls(at)}")
