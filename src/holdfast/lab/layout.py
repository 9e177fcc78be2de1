"""Names, addresses and paths of one lab. Everything a lab makes on the machine is named here, so that it can be found
again and cleaned up without any record of it."""

import os
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.errors import InvalidInput

DEFAULT_NAME = "lab"
DEFAULT_STATE_DIR = Path("/var/lib/holdfast-lab")
CLIENT = "client"
PANEL_ADDRESS = "10.77.0.100"
"""The panel's virtual IP in a lab with HA."""
BMC_CA = "/etc/holdfast-lab/bmc/{node}.crt"
"""On every host: the certificate of a node's BMC."""
MAX_NODES = 64
_SHELL_PORTS = 2200


@dataclass(frozen=True, slots=True)
class LabNetwork:
    """One cluster network of the lab: a bridge in the switch namespace."""

    name: str
    letter: str
    """Short form for interface names, which the kernel limits to 15 characters."""
    interface: str
    """Name of the interface inside the nodes."""
    ipv4: str
    """First three octets of the /24."""
    ipv6: str
    """Prefix of the /64, or empty."""
    client: bool
    """The client host outside the cluster is attached too."""
    node_bridge: str = ""
    """Bridge inside the nodes that has the interface as a port and the node's addresses, so that machines can join."""

    @property
    def bridge(self) -> str:
        return f"br-{self.letter}"

    def addresses(self, host_part: int) -> list[str]:
        """Addresses with prefix length of the host with this number. The IPv6 host part repeats the decimal digits."""
        v6 = [f"{self.ipv6}{host_part}/64"] if self.ipv6 else []
        return [f"{self.ipv4}.{host_part}/24", *v6]


NETWORKS = (
    LabNetwork("management", "m", "eth0", "10.77.0", "fd77::", client=True),
    LabNetwork("public", "p", "eth1", "10.78.0", "fd78::", client=True, node_bridge="br-public"),
    LabNetwork("bmc", "b", "eth2", "10.79.0", "", client=False),
)


def network(name: str) -> LabNetwork:
    for candidate in NETWORKS:
        if candidate.name == name:
            return candidate
    raise InvalidInput(f"the lab has no network `{name}`", "Networks: " + ", ".join(n.name for n in NETWORKS))


@dataclass(frozen=True, slots=True)
class Port:
    """Where a host is plugged into one network."""

    network: LabNetwork
    name: str
    """Interface in the switch namespace."""
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostLayout:
    """A node, or the client host: names, addresses and where its disk lies."""

    name: str
    netns: str
    disk: Path
    """Upper directory of its overlay and what belongs to it; survives power-off, deleted by `down`."""
    cgroup: str
    """Below the machine's cgroup-v2 mount point."""
    machine_id: str
    ports: tuple[Port, ...]
    bmc_address: str = ""
    shell_port: int = 0
    """Of an emulated node (see `emulated`): where its commands go in, on 127.0.0.1 of the switch namespace."""

    @property
    def is_node(self) -> bool:
        return self.name != CLIENT

    def address(self, network_name: str) -> str:
        """The IPv4 address on that network, without prefix length."""
        port = next(p for p in self.ports if p.network.name == network_name)
        return port.addresses[0].partition("/")[0]


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that follows from a lab's name, its state directory and the number of nodes."""

    name: str
    state_dir: Path
    node_count: int
    hosts: dict[str, HostLayout] = field(default_factory=dict)

    @property
    def switch_netns(self) -> str:
        return f"{netns_prefix(self.name)}sw"

    @property
    def nodes(self) -> list[str]:
        return [h.name for h in self.hosts.values() if h.is_node]

    @property
    def control_socket(self) -> Path:
        return self.state_dir / "control.sock"

    @property
    def events_file(self) -> Path:
        return self.state_dir / "events.jsonl"

    @property
    def shared_dir(self) -> Path:
        """The shared storage, mounted at /shared in every node. A plain directory: it must not lie on an overlay."""
        return self.state_dir / "shared"

    @property
    def shared_image(self) -> Path:
        """What the shared storage is made of if it has a size of its own."""
        return self.state_dir / "shared.img"

    @property
    def emulated_dir(self) -> Path:
        """What the emulated nodes boot."""
        return self.state_dir / "emulated"

    def shared_disk(self, name: str) -> Path:
        """A disk that every emulated node has, as /dev/disk/by-id/virtio-NAME."""
        return self.state_dir / "disks" / name


def netns_prefix(name: str) -> str:
    return f"hf-{name}-"


def cgroup_name(name: str) -> str:
    return f"holdfast-lab-{name}"


def state_dir_of(name: str) -> Path:
    """Where a lab keeps its state: $HOLDFAST_LAB_DIR, else /var/lib/holdfast-lab, with the name below it unless default."""
    base = Path(os.environ.get("HOLDFAST_LAB_DIR", DEFAULT_STATE_DIR))
    return base if name == DEFAULT_NAME else base.with_name(f"{base.name}-{name}")


def make_layout(name: str, state_dir: Path, node_count: int, emulated: Collection[str] = ()) -> Layout:
    """Raises InvalidInput if the name or the number of nodes cannot be."""
    if not re.fullmatch(r"[a-z0-9]{1,12}", name):
        raise InvalidInput(f"`{name}` cannot be a lab's name", "Use up to 12 lower-case letters and digits.")
    if not 1 <= node_count <= MAX_NODES:
        raise InvalidInput(f"a lab cannot have {node_count} nodes", f"Choose 1 to {MAX_NODES}.")
    for unknown in sorted(set(emulated) - {f"n{index}" for index in range(1, node_count + 1)}):
        raise InvalidInput(f"the lab has no node `{unknown}` to emulate", f"Its nodes are n1 to n{node_count}.")
    layout = Layout(name, state_dir, node_count)
    for index in range(1, node_count + 1):
        shell_port = _SHELL_PORTS + index if f"n{index}" in emulated else 0
        layout.hosts[f"n{index}"] = _host(layout, f"n{index}", 10 + index, f"10.79.0.{100 + index}", shell_port)
    layout.hosts[CLIENT] = _host(layout, CLIENT, 200, "")
    return layout


def _host(layout: Layout, name: str, number: int, bmc_address: str, shell_port: int = 0) -> HostLayout:
    networks = [n for n in NETWORKS if n.client or name != CLIENT]
    ports = tuple(
        Port(n, f"{n.letter}-{name}", f"02:77:{index:02x}:00:00:{number:02x}", tuple(n.addresses(number)))
        for index, n in enumerate(networks)
    )
    return HostLayout(
        name=name,
        netns=f"{netns_prefix(layout.name)}{name}",
        disk=layout.state_dir / "nodes" / name,
        cgroup=f"{cgroup_name(layout.name)}/{name}",
        machine_id=uuid.uuid5(uuid.NAMESPACE_DNS, f"{layout.name}.{name}.lab.holdfast.invalid").hex,
        ports=ports,
        bmc_address=bmc_address,
        shell_port=shell_port,
    )
