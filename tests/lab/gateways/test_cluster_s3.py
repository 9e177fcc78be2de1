"""S3 while nodes fail: each kind of failure, seen by a client that never stops and finds the gateways by DNS.

After every test the client has seen no acknowledged object lost, torn or stale, and no request refused for good. At the end
it reads everything back and looks for it in the listings. INV-1 is checked all the time by the independent watcher. Stalls
are printed, not judged.
"""

import time

import pytest
from gateways_talk import NODES, Gateways
from s3_talk import S3, nothing_lost

from holdfast.lab import kernel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def others(*nodes: str) -> list[str]:
    return [node for node in NODES if node not in nodes]


def test_before_management_is_highly_available_it_works_and_says_what_is_missing(gateways: Gateways) -> None:
    said = gateways.said_without_ha["s3"]
    assert "management high availability is off" in said, said
    assert "management high availability is off" not in gateways.do("s3", "show", "main")


def test_power_loss_and_return(s3: S3) -> None:
    """Everything that was acknowledged so far is read back right after."""
    victim = "n4"
    at = s3.cluster.lab.fail(victim, "power")
    s3.wait_all()
    print(f"power loss of {victim}: {s3.told(victim, at)}")
    s3.wait_spread(others(victim))
    s3.cluster.lab.heal(victim)
    s3.cluster.wait_up(victim)
    back = kernel.boottime()
    s3.wait_home()
    print(f"{victim} is back: spread again after {kernel.boottime() - back:.1f} s; {s3.journal.stalls(back)}")
    nothing_lost(s3.read_back())


def test_a_cut_node_is_fenced(s3: S3) -> None:
    victim = "n3"
    boots = s3.cluster.boots(victim)
    at = s3.cluster.lab.fail(victim, "network", silent=True)
    s3.wait_all()
    print(f"{victim} cut off: {s3.told(victim, at)}")
    s3.wait_spread(others(victim))
    assert s3.cluster.incidents(victim)[-1]["proof"] == "P1"
    s3.cluster.until(lambda: s3.cluster.boots(victim) == boots + 1, "what fencing switched off is switched on again")


@pytest.mark.long
def test_a_frozen_node_that_thaws_in_time_and_one_that_does_not(s3: S3) -> None:
    """What waited in the sockets of a gateway that thaws is older than what clients have written since."""
    victim = "n4"
    carried, boots = s3.servers_on(victim), s3.cluster.boots(victim)
    s3.cluster.lab.fail(victim, "bmc", mode="refuses")
    at = s3.cluster.lab.fail(victim, "freeze")
    time.sleep(2.5)
    s3.cluster.lab.heal(victim)
    s3.wait_all()
    print(f"{victim} froze for 2.5 s: {s3.told(victim, at)}")
    s3.cluster.until(lambda: s3.servers_on(victim) == carried, "it carries what it carried")
    assert s3.cluster.boots(victim) == boots
    s3.cluster.lab.fail(victim, "bmc", mode="refuses")
    at = s3.cluster.lab.fail(victim, "freeze")
    s3.wait_all()
    print(f"{victim} froze for good: {s3.told(victim, at)}")


@pytest.mark.long
def test_maintenance_moves_everything_off_and_back(s3: S3) -> None:
    victim, at = "n3", kernel.boottime()
    s3.cluster.do("node", "maintenance", "enter", victim)
    s3.wait_spread(others(victim))
    s3.wait_all()
    print(f"maintenance of {victim}: {s3.journal.stalls(at)}")
    at = kernel.boottime()
    s3.cluster.do("node", "maintenance", "exit", victim)
    s3.wait_home()
    s3.wait_all()
    print(f"and back: {s3.journal.stalls(at)}")


@pytest.mark.long
def test_two_of_three_nodes_at_once(s3: S3) -> None:
    """The one that is left carries everything, and S3 says that the next failure is one too many."""
    at = s3.cluster.lab.fail("n3", "power")
    s3.cluster.lab.fail("n4", "power")
    s3.wait_all()
    print(f"n3 and n4 dead: {s3.told('n4', at)}")
    s3.cluster.until(lambda: all(s3.places().values()), "everything runs and is healthy")
    print(s3.do("show", "main"))
