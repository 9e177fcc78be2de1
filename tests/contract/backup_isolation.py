"""Two gateways before one storage, and a client behind a real network: the one that serves is frozen, or cut off alive, and
the other takes its address, as Holdfast has it done. Needs root.

`python tests/contract/backup_isolation.py local|s3 ROUNDS` prints how long restic stalled.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from backup_gateways import HANG_S, Site, site, tree
from backup_stores import SWIFT, local, make_bucket, program

from holdfast.core.model import ServiceAddress
from holdfast.services.backup_gateway.config import Backend
from holdfast.services.nfs import tcp
from lan import Host, HostAddresses, Lan, inside

ADDRESS = "10.78.0.100"
STORAGE = "10.78.0.1"
PORT = 8000
DETECTED_S = 0.5
"""From the fault to the new owner of the address."""


class Pair:
    """Gateways on n1 and n2, one address, which one of them has."""

    def __init__(self, lan: Lan, made: Site, backend: Backend, directory: Path) -> None:
        self.lan, self.site, self.directory = lan, made, directory
        self.client = lan.hosts["client"]
        self.hosts = [lan.hosts["n1"], lan.hosts["n2"]]
        self.gateways = [made.gateway(backend, address=ADDRESS, port=PORT) for _ in self.hosts]
        self.addresses: list[HostAddresses] = [host.agent() for host in self.hosts]
        self.owner = 0
        for host, gateway in zip(self.hosts, self.gateways, strict=True):
            gateway.start("ip", "netns", "exec", host.namespace)

    @property
    def url(self) -> str:
        return f"https://{ADDRESS}:{PORT}"

    async def take(self, owner: int) -> None:
        """The address is there, and its neighbours know."""
        address = ServiceAddress(ADDRESS, "public")
        await self.addresses[owner].add(address, 3600)
        await self.addresses[owner].announce(address)
        self.owner = owner

    async def hand_over(self) -> None:
        """As Holdfast does it: the new owner has the connections of the old one's clients reset."""
        with inside(self.hosts[self.owner].namespace):
            clients = tcp.clients_of(ADDRESS, PORT)
        await self.take(1 - self.owner)
        for pause_s in (0.02, 0.2, 0.5):
            await asyncio.sleep(pause_s)
            with inside(self.hosts[self.owner].namespace):
                tcp.tickle(ADDRESS, PORT, clients - tcp.clients_of(ADDRESS, PORT))

    async def leave(self, owner: int) -> None:
        await self.addresses[owner].remove(ServiceAddress(ADDRESS, "public"))

    def ask(self, method: str, path: str, client: httpx.Client, content: bytes | None = None) -> httpx.Response:
        with inside(self.client.namespace):
            return client.request(method, f"{self.url}{path}", content=content)

    def wait_healthy(self) -> None:
        with inside(self.client.namespace), self.site.client(None) as client:
            self.gateways[self.owner].wait_healthy(client)

    async def restic(self, *words: str) -> str:
        return await asyncio.to_thread(self.site.run, self.url, *words, before=self._inside(self.client))

    def _inside(self, host: Host) -> tuple[str, ...]:
        return ("ip", "netns", "exec", host.namespace)

    async def backup_through(self, fault: str, seed: int) -> float:
        """One backup that loses its gateway in the middle. Returns for how long (s) nothing reached the storage through the
        survivor after the fault. The isolated gateway is healed while the backup goes on."""
        source = tree(self.directory / "source", files=6, size=4 << 20, seed=seed)
        words = ("--limit-upload", "10000", "backup", "--pack-size", "4", str(source))
        process = self.site.restic(self.url, *words, before=self._inside(self.client))
        victim = self.owner
        try:
            await self._until_publishing(process)
            began = time.monotonic()
            await self._isolate(victim, fault)
            await asyncio.sleep(DETECTED_S)
            await self.hand_over()
            await self._until_publishing(process)
            stalled = time.monotonic() - began
            await self._heal(victim, fault)
            output, _ = await asyncio.to_thread(process.communicate, timeout=HANG_S)
        finally:
            process.kill()
        assert process.returncode == 0, output
        return stalled

    async def _isolate(self, victim: int, fault: str) -> None:
        if fault == "cut":
            self.lan.cable(self.hosts[victim], "down")
        else:
            self.gateways[victim].signal(signal.SIGSTOP)
            await self.leave(victim)  # by the node's agent, when the address is placed elsewhere

    async def _heal(self, victim: int, fault: str) -> None:
        if fault == "cut":
            await self.leave(victim)
            self.lan.cable(self.hosts[victim], "up")
        else:
            self.gateways[victim].signal(signal.SIGCONT)

    def _stored(self) -> int:
        """Files that the present owner of the address has published."""
        with inside(self.hosts[self.owner].namespace), self.site.client(None) as client:
            return int(client.get(f"{self.url}/-/health").json()["stored"])

    async def _until_publishing(self, process: "subprocess.Popen[str]") -> None:
        """A file has been published by the owner since now, and restic still runs."""
        before = self._stored()
        async with asyncio.timeout(HANG_S):
            while self._stored() == before:
                assert process.poll() is None, process.communicate()[0]
                await asyncio.sleep(0.01)


@asynccontextmanager
async def pair(kind: str, directory: Path) -> AsyncIterator[Pair]:
    """`local`: the storage stays with a gateway that is cut off from its clients; `s3`: it loses both."""
    lan = Lan()
    try:
        await lan.up()
        run = ("ip", "-n", lan.switch, "address", "add", f"{STORAGE}/24", "dev", "br0")
        subprocess.run(run, check=True)  # noqa: ASYNC221 - takes a millisecond
        with site(directory, ADDRESS) as made:
            if kind == "local":
                with local(directory) as backend:
                    yield await _ready(Pair(lan, made, backend, directory))
            else:
                words = (SWIFT, STORAGE, str(directory))
                with program(*words, before=("ip", "netns", "exec", lan.switch)) as endpoint:
                    with inside(lan.switch):
                        backend = make_bucket(endpoint)
                    yield await _ready(Pair(lan, made, backend, directory))
    finally:
        await lan.close_agents()
        lan.down()


async def _ready(made: Pair) -> Pair:
    await made.take(0)
    made.wait_healthy()
    await made.restic("init")
    return made


async def main(kind: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="h-backup-") as directory:
        async with pair(kind, Path(directory)) as made:
            for number in range(rounds):
                fault = ("cut", "frozen")[number // 2 % 2]
                print(f"{fault}: restic stalled {await made.backup_through(fault, number):.2f} s", flush=True)
            print((await made.restic("check", "--read-data")).splitlines()[-1])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
