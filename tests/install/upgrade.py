"""The guide's upgrade, and the way back: while clients write, nothing is lost, nothing restarted, nothing moved."""

import time
from pathlib import Path
from typing import Any

from follow import SERVICES, all_up, follow
from guide import Block
from machines import Failed, Machines, say

from holdfast.lab.demo.clients import VolumeClient, Writer, longest_stall
from holdfast.lab.kernel import boottime

INITIATOR = "iqn.2026-01.com.example:client1"
TARGET = "iqn.2026-01.org.holdfast:demo:disks"
PATIENCE_S = 60
MOST_STALL_S = 10.0
"""A fail-over by watchdog alone takes 30 s: this bound tells an upgrade in place from one."""
_DAEMONS = ("ganesha.nfsd", "tgtd")


class DiskWriter(Writer):
    """Stamped blocks over all paths of the iSCSI volume (services.iscsi.journal)."""

    def __init__(self, machines: Machines) -> None:
        portals = [f"{machines.lab.host(node).address('public')}:3260" for node in machines.lab.nodes]
        argv = ["-m", "holdfast.services.iscsi.journal", "--target", TARGET, "--initiator", INITIATOR, "--lun", "1"]
        argv += [word for portal in portals for word in ("--portal", portal)]
        super().__init__(machines.lab, [*argv, "--patience", str(PATIENCE_S), "--out", "/proc/self/fd/1"])


def upgrade(machines: Machines, blocks: list[Block], former: Path, package: Path, topic: str) -> None:
    machines.copy(former)
    follow(machines, blocks, ("", "bundle", *SERVICES))
    for instance in SERVICES.values():
        machines.serves(instance)
    clients: dict[str, Writer] = {
        SERVICES["nfs"]: VolumeClient(machines.lab, "10.78.0.101", "vol1", patience_s=PATIENCE_S),
        SERVICES["iscsi"]: DiskWriter(machines),
    }
    try:
        machines.until(lambda: "yes" * all(client.began for client in clients.values()), "the clients to write")
        before, began = _as_it_is(machines), boottime()
        machines.copy(package)
        for block in (block for block in blocks if block.topic == topic):
            for machine in block.machines:
                machines.type(block, machine)
        _settled(machines, package)
        ended = boottime()
        after = _as_it_is(machines)
        time.sleep(3)  # writes after the last change, too
    finally:
        for client in clients.values():
            client.stop()
    if after != before:
        raise Failed(f"the upgrade was felt: before {before}, after {after}")
    for instance, client in clients.items():
        _judge(instance, client, began, ended)


def _as_it_is(machines: Machines) -> dict[str, Any]:
    """What an upgrade in place must not change: processes, placements with their epochs, boots, incidents."""
    status = machines.status()
    assert status, "nobody answers"
    found: dict[str, Any] = {
        f"{daemon} on {node}": machines.shell(node, f"pidof {daemon}").stdout.split()
        for node in machines.lab.nodes
        for daemon in _DAEMONS
    }
    found |= {each["id"]: (each["node"], each["epoch"]) for each in status["instances"]}
    found |= {f"boots of {host['name']}": host["boots"] for host in machines.lab.status()}
    found["incidents"] = [incident["id"] for incident in (*status["open_incidents"], *status["recent_incidents"])]
    return found


def _settled(machines: Machines, package: Path) -> None:
    """Every node is up with the new version, and says so."""
    wanted = package.name.split("_")[1]

    def there() -> str:
        status = machines.status()
        running = {node.get("version") for node in (status or {}).get("nodes", ())}
        return "yes" * (running == {wanted} and all_up(machines))

    machines.until(there, f"every node to run {wanted}")


def _judge(instance: str, client: Writer, began: float, ended: float) -> None:
    said = client.summary
    stall = longest_stall(client.writes, began, ended).seconds
    say(f"{instance}: {len(client.writes)} writes acknowledged, the longest gap {stall:.2f} s; {said}")
    if said.get("acked") != len(client.writes):
        raise Failed(f"the client of {instance} did not read back what it wrote: {said} {client.complaint()}")
    if said["lost"] or said["torn"] or said.get("stale") or not said.get("lock_kept", True):
        raise Failed(f"{instance} lost acknowledged writes: {said}")
    if stall > MOST_STALL_S:
        raise Failed(f"{instance} did not answer for {stall:.1f} s")
