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
    machines.copy(package)
    follow(machines, blocks, ("", JOIN, *SERVICES))
    nothing_of_debians_runs(machines)
    for instance in SERVICES.values():
        say(f"{instance} is healthy on {machines.serves(instance)}")
    node = machines.serves(SERVICES["nfs"])
    say(f"{node} loses its power")
    machines.lab.fail(node, "power")
    for instance in SERVICES.values():
        say(f"{instance} is healthy on {machines.serves(instance, elsewhere_than=node)}")
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
