"""A real Linux kernel NFS client, in a guest on the client's network, through the death of the volume's node."""

from pathlib import Path

import pytest
from cluster_talk import ADDRESS, VOLUME, Cluster

from holdfast.lab.guest import GuestNfsClient

pytestmark = [pytest.mark.lab, pytest.mark.guest, pytest.mark.timeout(300)]

GUEST_IP = "10.78.0.201"


def test_a_kernel_client_keeps_every_fsynced_record_and_its_locks(cluster: Cluster) -> None:
    victim = cluster.home(VOLUME)
    client_net = Path(f"/proc/{cluster.lab.state('client')['pid']}/ns/net")
    with GuestNfsClient(client_net, GUEST_IP, ADDRESS, "vol1", file="guest") as guest:
        guest.wait_for(lambda event: event.get("n", 0) >= 50, 60, "fifty records")
        cluster.lab.fail(victim, "power")
        cluster.until(lambda: cluster.where(VOLUME) not in ("", victim), "the volume runs elsewhere")
        known = guest.acked()
        guest.wait_for(lambda event: event.get("n", 0) >= known + 50, 60, "fifty more records")
        opens = sum("open" in event for event in guest.events())
        cluster.until(lambda: sum("open" in event for event in guest.events()) > opens, "a new file is opened")
        summary = guest.stop()
    print(f"kernel client: writes stalled {summary['max_stall_s']} s, new opens {summary['max_open_s']} s")
    assert (summary["lost"], summary["torn"], summary["errors"], summary["lock_lost"]) == (0, 0, 0, []), summary
    assert summary["acked"] > 100
