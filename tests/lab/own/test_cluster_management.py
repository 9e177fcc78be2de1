"""Management HA changed on a living cluster of five nodes, while a client polls the panel and another one writes by NFS.

What runs where is read from the machine's process table, and INV-1 is checked all the time by the independent watcher.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from cluster_talk import NFS_FIRST, PANEL, Background, Cluster, longest_gap, nothing_lost, serve_volumes
from management_talk import DAEMONS, as_wanted, bring_ca, ha, holders, presented, up, verified

from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT, PANEL_PORT
from holdfast.lab import LabClient, LabOptions
from holdfast.lab.watcher import Watcher

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

FIRST = ["n1", "n2", "n3"]
OTHER_ADDRESS = "10.77.0.110"


@pytest.fixture(scope="module")
def five(make_lab: Callable[[str], LabClient]) -> Iterator[Cluster]:
    """Five nodes, management on n1, n2 and n3; an NFS volume on n5, which never is a management node but once."""
    lab = make_lab("m")
    lab.up(LabOptions(nodes=5, profile="fast"))
    cluster = Cluster(lab)
    bring_ca(cluster)
    serve_volumes(cluster)
    cluster.place("nfs/vol1", "n5")
    watcher = Watcher(lab)
    watcher.start()
    yield cluster
    report = watcher.stop()
    assert report.samples > 100
    assert report.violations == []
    lab.down()


@pytest.fixture
def cluster(five: Cluster) -> Iterator[Cluster]:
    """With a client that writes and holds a lock all the time, and which must not notice anything."""
    writer = five.journal("vol1", NFS_FIRST, opens_s=0.5)
    yield five
    summary = writer.stop()
    five.end()
    up(five)
    nothing_lost(summary)
    print(f"nfs meanwhile: writes stalled {summary['max_stall_s']} s, new opens {summary['max_open_s']} s")


def polled(cluster: Cluster) -> Background:
    client = cluster.poll_panel()
    cluster.until(lambda: len(client.lines()) > 5, "the panel answers")
    return client


def told(panel: Background, began: float) -> str:
    """How long nobody answered at the panel's address since then."""
    panel.stop()
    return f"panel: {longest_gap(panel, began):.2f} s without an answer"


def daemons(cluster: Cluster) -> dict[str, list[int]]:
    """Process ids of the management nodes' daemons."""
    return {f"{name} on {node}": cluster.pids(node, name) for node in FIRST for name in DAEMONS}


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_certificates_name_the_virtual_ip_and_every_reader_took_them(cluster: Cluster) -> None:
    """They were issued before anybody knew the address. Clients that check the name get through to it."""
    for node in FIRST:
        for port in (PANEL_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT):
            shows = partial(presented, cluster, node, port)
            cluster.until(lambda shows=shows: PANEL in shows(), f"{node} shows it at port {port}")  # type: ignore[misc]
    cluster.until(lambda: verified(cluster, PANEL).startswith("200 "), "a client that verifies reaches the panel")
    as_wanted(cluster, FIRST, PANEL)


def test_the_node_that_leads_everything_is_replaced_by_a_command_on_itself(cluster: Cluster) -> None:
    leader = cluster.status()["manager"]["node"]
    cluster.place("panel/admin", leader)
    panel, began = polled(cluster), now()
    rest = [node for node in FIRST if node != leader]
    said = cluster.do("ha", "update", "--nodes", ",".join([*rest, "n4"]), node=leader)
    took = now() - began
    assert "moves to" in said
    as_wanted(cluster, [*rest, "n4"], PANEL)
    cluster.until(lambda: panel.lines()[-1]["node"] in [*rest, "n4"], "another node answers at the same address")
    assert holders(cluster, PANEL) == [cluster.where("panel/admin")]
    refused = cluster.ask(leader, "status")
    assert (refused.returncode, f"({', '.join([*rest, 'n4'])})" in refused.stderr) == (1, True), refused.stderr
    print(f"leader replaced in {took:.1f} s; {told(panel, began)}")
    cluster.until(lambda: "10.77.0.100" in presented(cluster, "n4", PANEL_PORT), "n4 shows the address")

    cluster.do("ha", "update", "--nodes", ",".join(FIRST), node=rest[0])
    as_wanted(cluster, FIRST, PANEL)


def test_a_dead_management_node_is_replaced_and_is_no_member_when_it_returns(cluster: Cluster) -> None:
    """The one whose manager leads: its command of the store and of the cluster passes to others first."""
    victim = cluster.status()["manager"]["node"]
    rest = [node for node in FIRST if node != victim]
    cluster.place("panel/admin", victim)
    panel, began = polled(cluster), now()
    cluster.lab.fail(victim, "power")
    cluster.until(lambda: cluster.node_state(victim) == "claimed", f"{victim} is claimed")
    cluster.do("ha", "update", "--nodes", ",".join([*rest, "n4"]))
    as_wanted(cluster, [*rest, "n4"], PANEL)
    said = cluster.refused("ha", "update", "--nodes", ",".join(FIRST))
    assert f"node `{victim}` is claimed, but management HA needs it up" in said
    print(f"dead leader replaced; {told(panel, began)}")
    cluster.lab.heal(victim)
    cluster.until(lambda: cluster.node_state(victim) == "up", f"{victim} is back")
    as_wanted(cluster, [*rest, "n4"], PANEL)
    cluster.do("ha", "update", "--nodes", ",".join(FIRST))
    as_wanted(cluster, FIRST, PANEL)


def test_three_five_three(cluster: Cluster) -> None:
    panel, began = polled(cluster), now()
    everybody = cluster.lab.nodes
    cluster.do("ha", "update", "--nodes", ",".join(everybody))
    as_wanted(cluster, everybody, PANEL)
    grown = now() - began
    cluster.do("ha", "update", "--nodes", ",".join(FIRST))
    as_wanted(cluster, FIRST, PANEL)
    print(f"3 → 5 in {grown:.1f} s, 5 → 3 in {now() - began - grown:.1f} s; {told(panel, began)}")


def test_another_virtual_ip(cluster: Cluster) -> None:
    """New certificates on all management nodes, and no daemon is restarted for them."""
    before = daemons(cluster)
    cluster.do("ha", "update", "--virtual-ip", OTHER_ADDRESS)
    assert holders(cluster, PANEL) == []
    as_wanted(cluster, FIRST, OTHER_ADDRESS)
    cluster.until(lambda: verified(cluster, OTHER_ADDRESS).startswith("200 "), "it answers with a fitting certificate")
    cluster.do("ha", "update", "--virtual-ip", PANEL)
    as_wanted(cluster, FIRST, PANEL)
    cluster.until(lambda: verified(cluster, PANEL).startswith("200 "), "the former one answers again")
    assert holders(cluster, OTHER_ADDRESS) == []
    assert daemons(cluster) == before


def test_disabled_and_enabled_again(cluster: Cluster) -> None:
    cluster.do("ha", "disable", "--keep", "n1", node="n2")
    as_wanted(cluster, ["n1"], "")
    assert holders(cluster, PANEL) == []
    for words, said in (
        (("--virtual-ip", PANEL, "--nodes", "n1,n2"), "needs 3 or 5 nodes, not 2"),
        (("--virtual-ip", PANEL, "--nodes", "n1,n2,n9"), "node `n9` does not exist"),
        (("--virtual-ip", PANEL, "--nodes", "n2,n3,n4"), "the present management node `n1` is not among"),
        (("--virtual-ip", "10.77.0.12", "--nodes", "n1,n2,n3"), "already used by node `n2`"),
        (("--virtual-ip", "10.77.0.200", "--nodes", "n1,n2,n3"), "is answered on the network `management`"),
    ):
        assert said in cluster.refused("ha", "enable", *words)
    as_wanted(cluster, ["n1"], "")
    assert not ha(cluster)["enabled"]
    cluster.do("ha", "enable", "--virtual-ip", PANEL, "--nodes", ",".join(FIRST))
    as_wanted(cluster, FIRST, PANEL)
    cluster.until(lambda: verified(cluster, PANEL).startswith("200 "), "the panel is back at its address")
