"""The guide on fresh machines, from the package to a service that survives its node's death."""

from pathlib import Path

from guide import Block
from machines import Failed, Machines, say

UNITS, JOIN = "units", "token"
SERVICES = {"nfs": "nfs/vol1", "iscsi": "iscsi/disk1"}
"""Topic of the guide → the instance that its commands make."""


def follow(machines: Machines, blocks: list[Block], topics: tuple[str, ...]) -> None:
    """Type every block of these topics."""
    for block in blocks:
        if block.topic in topics:
            machines.type_on_each(block)


def follow_guide(machines: Machines, blocks: list[Block], package: Path) -> None:
    machines.copy(package)
    follow(machines, blocks, ("", UNITS, JOIN, *SERVICES))
    nothing_of_debians_runs(machines)
    for instance in SERVICES.values():
        say(f"{instance} is healthy on {machines.serves(instance)}")
    node = machines.serves(SERVICES["nfs"])
    outlives_the_agent(machines, node)
    say(f"{node} loses its power")
    machines.lab.fail(node, "power")
    for instance in SERVICES.values():
        say(f"{instance} is healthy on {machines.serves(instance, elsewhere_than=node)}")
    machines.lab.heal(node)
    machines.until(lambda: "yes" * all_up(machines), "every node to be up")
    follow(machines, blocks, ("remove",))


def outlives_the_agent(machines: Machines, node: str) -> None:
    """What a node runs are services of systemd: an agent that is killed is started anew, and finds them as they were."""
    kinds = machines.text(node, "systemctl list-units --plain --no-legend 'holdfast-*.service'")
    for unit in ("holdfast-etcd.service", "holdfast-manager.service", "holdfast-panel.service", "holdfast-nfs"):
        if unit not in kinds:
            raise Failed(f"{unit} is no service of systemd on {node}: {kinds}")
    before = machines.text(node, "pidof etcd ganesha.nfsd")
    agent = machines.text(node, "systemctl show --property=MainPID --value holdfast-agent.service").strip()
    machines.text(node, f"kill -9 {agent}")
    again = f"systemctl show --property=MainPID --value holdfast-agent.service | grep -vx -e {agent} -e 0"
    machines.until(lambda: machines.shell(node, again).stdout, "the agent to be started anew")
    machines.until(lambda: "yes" * all_up(machines), "every node to be up")
    machines.serves(SERVICES["nfs"])
    if (after := machines.text(node, "pidof etcd ganesha.nfsd")) != before:
        raise Failed(f"the agent's death was felt on {node}: processes {before.strip()} before, {after.strip()} after")
    say(f"the agent of {node} was killed, and what it had started went on")


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
