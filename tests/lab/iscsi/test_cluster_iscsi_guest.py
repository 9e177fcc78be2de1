"""Linux's own iSCSI client, with multipathd over the paths to all nodes of a group, through each kind of failure.

One guest, one volume, one writer from begin to end: it writes past every cache, reads back all the time, and everything at
the end. Its settings and commands are those that `client-config` gives. Stalls are printed, not judged.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from iscsi_talk import GROUP, NODES, Iscsi, nothing_lost

from holdfast.lab import kernel
from holdfast.lab.guest import GuestIscsiClient

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.timeout(400)]

GUEST_IP, INITIATOR, VOLUME = "10.78.0.201", "iqn.2026-01.test.holdfast:guest", "linux"
INSTANCE = f"iscsi/{VOLUME}"


@pytest.fixture
def guest(cluster: Iscsi) -> Iterator[GuestIscsiClient]:
    """It writes to a volume of its own, and has seen a disk at each node."""
    cluster.iscsi("target-group", "acl", "add", GROUP, INITIATOR)
    cluster.iscsi("volume", "create", VOLUME, "--size", "16MiB")
    cluster.iscsi("volume", "attach", VOLUME, GROUP)
    wwid = json.loads(cluster.iscsi("volume", "show", VOLUME, "--json"))["wwid"]
    cluster.home(INSTANCE)
    network = Path(f"/proc/{cluster.lab.state('client')['pid']}/ns/net")
    began = time.monotonic()
    with GuestIscsiClient(network, GUEST_IP) as client:
        client.login([cluster.portal(node) for node in NODES], cluster.iqn, INITIATOR, engine="tgt")
        client.write(wwid)
        print(f"the guest writes after {time.monotonic() - began:.0f} s")
        for node in NODES:  # tgt: it finds a unit only where that is active
            cluster.place(INSTANCE, node)
            only_serves(cluster, client, node, f"3{wwid}")
        yield client
    cluster.iscsi("volume", "detach", VOLUME, "--force")
    cluster.iscsi("volume", "delete", VOLUME, "--yes")
    cluster.iscsi("target-group", "acl", "remove", GROUP, INITIATOR)


def only_serves(cluster: Iscsi, client: GuestIscsiClient, node: str, disk: str) -> None:
    """Wait until the guest's path to this node does, and no other."""

    def serving() -> list[str]:
        return [cluster.node_of(path.portal) for path in client.paths() if path.serves and path.wwid == disk]

    cluster.until(lambda: serving() == [node], f"the guest's path to {node} serves")


def goes_on(client: GuestIscsiClient, what: str, began: float) -> None:
    """Wait until it writes; print how long it did not."""
    client.wait_written(50, 90)
    stalls = [f"{stall:.2f} s" for ended, stall in client.stalls(0.3) if ended > began]
    print(f"{what}: writes stalled {', '.join(stalls) or 'less than 0.3 s'}")


def whole(cluster: Iscsi, client: GuestIscsiClient) -> None:
    """Every node serves, and the guest is logged in everywhere."""
    for node in NODES:
        cluster.lab.heal(node)
    cluster.whole()
    cluster.until(
        lambda: [state for _, state in client.sessions().values()] == ["LOGGED_IN"] * len(NODES),
        "the guest is logged in everywhere",
    )


def test_a_linux_client_keeps_every_acknowledged_write(cluster: Iscsi, guest: GuestIscsiClient) -> None:
    def leaves(node: str, what: str, began: float) -> None:
        cluster.until(lambda: cluster.where(INSTANCE) not in ("", node), f"{INSTANCE} is not on {node} any more")
        goes_on(guest, f"{what} of {node}", began)

    for how in ("power", "network", "freeze"):
        victim = cluster.home(INSTANCE)
        began = cluster.lab.fail(victim, how, **({"silent": True} if how == "network" else {}))
        leaves(victim, how, began)
        assert cluster.incidents(victim)[-1]["proof"] == "P1"
        whole(cluster, guest)
        if how == "power":  # what others wrote meanwhile must be what is read on the first node
            began = kernel.boottime()
            cluster.place(INSTANCE, victim)
            goes_on(guest, f"planned move back to {victim}", began)
    victim = cluster.home(INSTANCE)
    began = kernel.boottime()
    cluster.do("node", "maintenance", "enter", victim)
    leaves(victim, "maintenance", began)
    cluster.do("node", "maintenance", "exit", victim)
    whole(cluster, guest)
    victim = cluster.home(INSTANCE)
    cluster.lab.fail(victim, "bmc", mode="refuses")
    began = cluster.lab.fail(victim, "freeze")
    time.sleep(3.0)
    cluster.lab.heal(victim)
    goes_on(guest, f"freeze for 3 s of {victim}", began)
    summary = guest.stop_writing()
    given_up = guest.run("dmesg | grep -c 'ping timeout'", check=False)
    print(f"Linux client: {summary}; silent paths given up: {given_up}")
    nothing_lost(summary)
    assert summary["errors"] == 0
