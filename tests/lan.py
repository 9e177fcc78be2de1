"""A small real network for tests: network namespaces `hft-…` on one bridge, entered by the test's own thread. Needs root.

Sockets stay in the namespace where they were opened, so servers and clients need no processes of their own; only what must
be killed has one. While an awaited call runs inside a namespace no other task of the test may open sockets.
"""

import asyncio
import ctypes
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from holdfast.core.model import ServiceAddress
from holdfast.net.addresses import KernelAddresses

T = TypeVar("T")
PORT = 7777
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in the namespace while the block runs."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _setns(there)
        yield
    finally:
        _setns(home)
        os.close(there)
        os.close(home)


class HostAddresses:
    """The real KernelAddresses of one host (port Addresses): every call enters the host's namespace."""

    def __init__(self, host: "Host") -> None:
        self.host = host
        self.kernel = KernelAddresses({"public": host.ip4})

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        with inside(self.host.namespace):
            return await call()

    async def probe(self, address: ServiceAddress) -> str:
        return await self._call(lambda: self.kernel.probe(address))

    async def add(self, address: ServiceAddress, valid_s: float) -> None:
        await self._call(lambda: self.kernel.add(address, valid_s))

    async def remove(self, address: ServiceAddress) -> None:
        await self._call(lambda: self.kernel.remove(address))

    async def announce(self, address: ServiceAddress) -> None:
        await self._call(lambda: self.kernel.announce(address))

    async def mute(self, address: ServiceAddress) -> None:
        await self._call(lambda: self.kernel.mute(address))

    async def unmute(self, address: ServiceAddress) -> None:
        await self._call(lambda: self.kernel.unmute(address))

    async def present(self) -> list[str]:
        return await self._call(self.kernel.present)

    async def flush(self) -> None:
        await self._call(self.kernel.flush)

    async def drop_all(self) -> None:
        await self._call(self.kernel.drop_all)


class Host:
    """One namespace with one interface eth0 on the bridge."""

    def __init__(self, lan: "Lan", name: str, number: int) -> None:
        self.lan = lan
        self.name = name
        self.namespace = f"{lan.prefix}-{name}"
        self.ip4 = f"10.78.0.{number}"
        self.ip6 = f"fd78::{number}"
        self.mac = f"02:00:00:78:00:{number:02x}"
        self.agents: list[HostAddresses] = []

    def agent(self) -> HostAddresses:
        """A KernelAddresses that knows nothing yet."""
        self.agents.append(HostAddresses(self))
        return self.agents[-1]

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.namespace, *words)

    def nft(self) -> str:
        return run("ip", "netns", "exec", self.namespace, "nft", "list", "ruleset")

    def spawn(self, program: str) -> "subprocess.Popen[bytes]":
        """A Python process of its own in the namespace; ended with the network."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", program]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.lan.processes.append(process)
        return process

    def echo(self, ip: str) -> None:
        """Answer datagrams to this address (it may come later) with the host's name, until the network is taken down."""
        loop = asyncio.get_running_loop()
        with inside(self.namespace):
            handle = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        handle.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
        handle.setblocking(False)
        handle.bind((ip, PORT))

        def answer() -> None:
            data, source = handle.recvfrom(64)
            try:
                handle.sendto(data + self.name.encode(), source)
            except OSError:
                return  # the address has gone in the meantime

        loop.add_reader(handle, answer)
        self.lan.handles.append(handle)

    def socket(self, family: int, kind: int) -> socket.socket:
        with inside(self.namespace):
            return socket.socket(family, kind)


class Lan:
    """Hosts n1, n2 and client on one bridge."""

    def __init__(self) -> None:
        self.prefix = f"hft-{os.getpid()}-{next(_serial)}"
        self.switch = f"{self.prefix}-sw"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.handles: list[socket.socket] = []
        self.hosts = {name: Host(self, name, number) for name, number in (("n1", 11), ("n2", 12), ("client", 200))}

    async def up(self) -> None:
        for namespace in [self.switch, *(host.namespace for host in self.hosts.values())]:
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for host in self.hosts.values():
            self.plug(host, "eth0", host.mac)
            host.ip("address", "add", f"{host.ip4}/24", "dev", "eth0")
            host.ip("address", "add", f"{host.ip6}/64", "dev", "eth0", "nodad")
        await self._settle()

    async def _settle(self) -> None:
        """The kernel drops what is sent in an interface's first milliseconds, and asks again only after a second."""
        client = Client(self.hosts["client"])
        async with asyncio.timeout(20):
            for host in (self.hosts["n1"], self.hosts["n2"]):
                for ip in (host.ip4, host.ip6):
                    host.echo(ip)
                    while await client.ask(ip, 0.05) != host.name:
                        pass

    def plug(self, host: Host, interface: str, mac: str) -> None:
        """A cable from the host to the bridge."""
        port = f"{host.name}-{interface}"
        run(
            "ip",
            "-n",
            self.switch,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            interface,
            "netns",
            host.namespace,
        )
        run("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        host.ip("link", "set", interface, "address", mac, "up")

    def cable(self, host: Host, state: str) -> None:
        """Pull (`down`) or plug (`up`) the host's cable at the switch."""
        run("ip", "-n", self.switch, "link", "set", f"{host.name}-eth0", state)

    def down(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        loop = asyncio.get_running_loop()
        for handle in self.handles:
            loop.remove_reader(handle)
            handle.close()
        for namespace in [self.switch, *(host.namespace for host in self.hosts.values())]:
            if Path(f"/run/netns/{namespace}").exists():
                run("ip", "netns", "delete", namespace)

    async def close_agents(self) -> None:
        for host in self.hosts.values():
            for agent in host.agents:
                await agent.kernel.close()


class Client:
    """A client with one socket per family in the client's namespace; asks who answers at an address."""

    def __init__(self, host: Host) -> None:
        self._sockets = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            handle = host.socket(family, socket.SOCK_DGRAM)
            handle.setblocking(False)
            host.lan.handles.append(handle)
            self._sockets[family] = handle
        self._serial = itertools.count(1)

    async def finds(self, ip: str, name: str, within_s: float = 4.0) -> bool:
        """Whether that host answers soon. Without an announcement a client asks anew after five seconds at the earliest.
        (For IPv6 the very first question can get lost: the kernel joins an added address's group a moment later.)"""
        end = asyncio.get_running_loop().time() + within_s
        while await self.ask(ip, 0.1) != name:
            if asyncio.get_running_loop().time() > end:
                return False
        return True

    async def ask(self, ip: str, timeout_s: float = 0.2) -> str:
        """Name of the host that answers one datagram, "" if none does in time. Answers to earlier questions are ignored."""
        handle = self._sockets[socket.AF_INET6 if ":" in ip else socket.AF_INET]
        mark = f"{next(self._serial)}:".encode()
        try:
            handle.sendto(mark, (ip, PORT))
        except OSError:
            return ""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    data = await asyncio.get_running_loop().sock_recv(handle, 64)
                    if data.startswith(mark):
                        return data.removeprefix(mark).decode()
        except (TimeoutError, OSError):
            return ""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
