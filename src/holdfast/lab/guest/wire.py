"""Connects a guest to the network of a host's namespace without touching the host's own interfaces or addresses.

The guest gets a tap device of its own and an address of the host's network; the host answers for it there (proxy ARP and
proxy neighbour discovery) and forwards. So the host's kernel learns the service address's place like any other client.
"""

import contextlib
import ipaddress
import json
import subprocess
from pathlib import Path

from holdfast.lab.guest.debian import GuestError

_TIMEOUT_S = 20


class Wire:
    """A tap device `tap` in the namespace `netns` (a path such as /run/netns/x or /proc/PID/ns/net), routed for `ip`."""

    def __init__(self, netns: Path, ip: str, tap: str) -> None:
        self.netns, self.tap = netns, tap
        self.address = ipaddress.ip_address(ip)
        self.prefix_length = 0
        self._device = ""

    def up(self) -> None:
        """Make it. Raises GuestError."""
        self._device = self._find_device()
        v = "6" if self.address.version == 6 else "4"
        route = f"{self.address}/{self.address.max_prefixlen}"
        self._ip("tuntap", "add", "dev", self.tap, "mode", "tap")
        self._ip("link", "set", self.tap, "up")
        self._ip(f"-{v}", "route", "replace", route, "dev", self.tap)
        if v == "4":
            settings = {"ipv4/ip_forward": "1"}
            for device in (self._device, self.tap):
                settings |= {f"ipv4/conf/{device}/proxy_arp": "1", f"ipv4/neigh/{device}/proxy_delay": "0"}
        else:
            settings = {"ipv6/conf/all/forwarding": "1"}
            for device in (self._device, self.tap):
                settings |= {f"ipv6/conf/{device}/proxy_ndp": "1", f"ipv6/neigh/{device}/proxy_delay": "0"}
        for name, value in settings.items():
            self._run("sysctl", "-q", "-w", f"net/{name}={value}")
        if v == "6":
            self._ip("-6", "neigh", "replace", "proxy", str(self.address), "dev", self._device)

    def answer_for(self, other: str) -> None:
        """IPv6 has no proxy for whole networks: on the guest's side the host answers for `other`."""
        if self.address.version == 6:
            self._ip("-6", "neigh", "replace", "proxy", other, "dev", self.tap)

    def down(self) -> None:
        with contextlib.suppress(GuestError):
            self._ip("link", "del", self.tap)
            if self.address.version == 6:
                self._ip("-6", "neigh", "del", "proxy", str(self.address), "dev", self._device)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in the namespace."""
        return ["nsenter", f"--net={self.netns}", *argv]

    def _find_device(self) -> str:
        for link in json.loads(self._ip("-j", "addr", "show")):
            for entry in link.get("addr_info", []):
                network = ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
                if self.address in network and network.prefixlen < network.max_prefixlen:
                    self.prefix_length = network.prefixlen
                    return str(link["ifname"])
        raise GuestError(
            f"{self.netns} has no interface on the network of {self.address}", "Choose an address of its network."
        )

    def _ip(self, *arguments: str) -> str:
        return self._run("ip", *arguments)

    def _run(self, *argv: str) -> str:
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise GuestError(
                f"`{' '.join(argv)}` failed: {done.stderr.strip()}", "It needs root and an existing namespace."
            )
        return done.stdout
