"""The lab's cables: a switch namespace with one bridge per network, veth pairs to the hosts, cuts and losses by nftables.

Nothing of it is in the machine's own network namespace: the pairs are made inside the switch and pushed from there.
"""

import subprocess
import threading
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab.layout import NETWORKS, HostLayout, Layout, Port

_BRIDGE_OPTIONS = "stp_state 0 forward_delay 0 mcast_snooping 0"
"""Snooping is off because it delays neighbour discovery until a querier was heard."""


class SwitchError(HoldfastError):
    """A network tool failed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Frames dropped at the switch, in one direction between two ports."""

    source: str
    """Port of the switch the frame comes in by; empty: any."""
    target: str
    """Port it would leave by; empty: any."""
    percent: int = 100

    def render(self) -> str:
        match = f'iifname "{self.source}" ' if self.source else ""
        match += f'oifname "{self.target}" ' if self.target else ""
        share = "" if self.percent >= 100 else f"numgen random mod 100 < {self.percent} "
        return f"    {match}{share}drop\n"


def _run(argv: list[str], text: str) -> None:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False, timeout=30)
    if done.returncode:
        raise SwitchError(
            f"`{' '.join(argv)}` failed: {done.stderr.strip()}", "Run `holdfast lab down`, then `lab up`."
        )


def ip(netns: str, lines: Iterable[str], *, force: bool = False) -> None:
    """Run `ip` commands inside a named namespace; the first failure ends it (with `force` the others are tried too).
    Raises SwitchError."""
    _run(["ip", "-n", netns, *(["-force"] if force else []), "-batch", "-"], "\n".join(lines) + "\n")


def namespaces(prefix: str) -> list[str]:
    """Named network namespaces whose names begin so."""
    directory = Path("/run/netns")
    return sorted(p.name for p in directory.iterdir() if p.name.startswith(prefix)) if directory.is_dir() else []


def add_namespace(name: str) -> None:
    _run(["ip", "netns", "add", name], "")


def delete_namespace(name: str) -> None:
    """Idempotent. Its interfaces go when the last process in it has gone."""
    if Path("/run/netns", name).exists():
        _run(["ip", "netns", "del", name], "")


def _connect(port: Port, cut: Container[str]) -> str:
    network = port.network
    return f"link set {port.name} master {network.bridge} {'down' if network.name in cut else 'up'}"


class Switch:
    """The switch namespace. Safe for threads: each method is one kernel transaction or belongs to one host only."""

    def __init__(self, layout: Layout) -> None:
        self._netns = layout.switch_netns
        self._lock = threading.Lock()
        self._rules: dict[str, list[Rule]] = {}
        """Owner of the fault → its rules."""

    def build(self, bmc_addresses: Iterable[str]) -> None:
        """Make the namespace, the bridges and the BMCs' addresses on the bmc bridge."""
        add_namespace(self._netns)
        lines = ["link set lo up"]
        for index, net in enumerate(NETWORKS):
            # Its own address is fixed, else it would change with the ports and the BMCs behind it be lost for a while.
            mac = f"02:77:{index:02x}:00:01:00"
            lines.append(f"link add {net.bridge} address {mac} type bridge {_BRIDGE_OPTIONS}")
            lines.append(f"link set {net.bridge} up")
        ip(self._netns, [*lines, *(f"addr add {a}/24 dev br-b" for a in bmc_addresses)])

    def plug(self, host: HostLayout, cut: Container[str] = ()) -> None:
        """Make the host's network namespace anew, with its interfaces and addresses, and connect it, except to the
        networks in `cut`. An emulated node has taps in the switch namespace instead."""
        if host.shell_port:
            taps = [f"tuntap add dev {p.name} mode tap" for p in host.ports]
            ip(self._netns, [*taps, *(_connect(p, cut) for p in host.ports)])
            return
        add_namespace(host.netns)
        pairs: list[str] = []
        inside = ["link set lo up"]
        for port in host.ports:
            eth, net = port.network.interface, port.network
            pairs.append(f"link add {port.name} type veth peer name {eth} address {port.mac} netns {host.netns}")
            pairs.append(_connect(port, cut))
            inside.append(f"link set {eth} up")
            holder = net.node_bridge if host.is_node and net.node_bridge else eth
            if holder != eth:
                inside.append(f"link add {holder} address {port.mac} type bridge {_BRIDGE_OPTIONS}")
                inside.append(f"link set {eth} master {holder}")
                inside.append(f"link set {holder} up")
            for address in port.addresses:
                inside.append(f"addr add {address} dev {holder} {'nodad' if ':' in address else 'brd +'}")
        ip(self._netns, pairs)
        ip(host.netns, inside)

    def unplug(self, host: HostLayout) -> None:
        """Take the cables and the network namespace away. Idempotent."""
        with suppress(SwitchError):  # they are not there
            ip(self._netns, [f"link del {port.name}" for port in host.ports], force=True)
        delete_namespace(host.netns)

    def set_ports(self, host: HostLayout, networks: Iterable[str], up: bool) -> None:
        """Carrier of the host's cables: without it nothing passes, in either direction."""
        wanted = set(networks)
        lines = [f"link set {p.name} {'up' if up else 'down'}" for p in host.ports if p.network.name in wanted]
        if lines:
            ip(self._netns, lines)

    def set_bmc(self, address: str, reachable: bool) -> None:
        with suppress(SwitchError):  # it has, or has not, the address already
            ip(self._netns, [f"addr {'add' if reachable else 'del'} {address}/24 dev br-b"])

    def set_rules(self, owner: str, rules: list[Rule]) -> None:
        """Replace all rules of one owner (an empty list takes them away), in one step for the kernel."""
        with self._lock:
            self._rules.pop(owner, None)
            if rules:
                self._rules[owner] = rules
            body = "".join(rule.render() for owned in self._rules.values() for rule in owned)
            chain = f"  chain cuts {{\n    type filter hook forward priority 0; policy accept;\n{body}  }}\n"
            text = f"table bridge holdfast {{ }}\ndelete table bridge holdfast\ntable bridge holdfast {{\n{chain}}}\n"
            _run(["ip", "netns", "exec", self._netns, "nft", "-f", "-"], text)

    def owners(self) -> list[str]:
        """Those who have rules in force."""
        return list(self._rules)

    def rules(self, owner: str) -> list[Rule]:
        return list(self._rules.get(owner, []))

    def destroy(self) -> None:
        delete_namespace(self._netns)
