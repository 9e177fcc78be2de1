"""The guide on fresh machines, from the package to a service that survives its node's death."""

from pathlib import Path

from guide import Block
from machines import Failed, Machines, say

JOIN = "token"
SERVICES = {"nfs": "nfs/vol1", "iscsi": "iscsi/disk1"}
"""Topic of the guide → the instance that its commands make."""


def follow(machines: Machines, blocks: list[Block], topics: tuple[str, ...]) -> None:
    """Type every block of these topics."""
    for block in blocks:
        if block.topic in topics:
            machines.type_on_each(block)


def follow_guide(machines: Machines, blocks: list[Block], package: Path) -> None:
    """On emulated machines without NFS: their shared storage, 9p, cannot export files by handle."""
    services = [topic for topic in SERVICES if not (machines.lab.options.emulated and topic == "nfs")]
    machines.copy(package)
    follow(machines, blocks, ("", JOIN, *services))
    nothing_of_debians_runs(machines)
    for topic in services:
        say(f"{SERVICES[topic]} is healthy on {machines.serves(SERVICES[topic])}")
    node = machines.serves(SERVICES[services[0]])
    say(f"{node} loses its power")
    machines.lab.fail(node, "power")
    for topic in services:
        say(f"{SERVICES[topic]} is healthy on {machines.serves(SERVICES[topic], elsewhere_than=node)}")
    machines.lab.heal(node)
    machines.until(lambda: "yes" * all_up(machines), "every node to be up")
    follow(machines, blocks, ("remove",))


def all_up(machines: Machines) -> bool:
    status = machines.status()
    return bool(status) and all(node["state"] == "up" for node in status["nodes"])


def nothing_of_debians_runs(machines: Machines) -> None:
    """Of etcd and the like only what Holdfast has started itself."""
    for name in machines.lab.nodes:
        for unit in ("etcd", "nfs-ganesha", "tgt"):
            state = machines.shell(name, f"systemctl is-active {unit}").stdout.strip()
            if state not in ("inactive", "unknown"):
                raise Failed(f"Debian's own {unit} is {state} on {name}")
