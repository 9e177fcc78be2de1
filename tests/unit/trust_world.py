"""A cluster's trust for tests: an authority, shared secrets, and what a store and nodes' directories hold of them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from api_world import put

from holdfast import locks
from holdfast.agent.trust import TrustKeeper
from holdfast.agent.trust_office import TrustOffice
from holdfast.bootstrap import certificates, files, pki, ring, secrets, trust
from holdfast.bootstrap.trust import NodeTrust, Trust
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import NodeSpec
from holdfast.ports import Clock, Store
from holdfast.store import codec, keys
from holdfast.store.mirror import Mirror

T = TypeVar("T")
HANG_S = 30.0


class World:
    """`root/<node>` is the root directory of each node."""

    def __init__(self, root: Path, store: Store, clock: Clock | None = None) -> None:
        self.root = root
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self.ca = pki.create_authority("demo")
        self.ring = ring.Ring(1, secrets.new_secret(), b"", secrets.new_secret())
        self.keepers: dict[str, TrustKeeper] = {}
        self.cuts: list[set[str]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def pki(self, node: str) -> Path:
        return files.below(self.root / node, str(files.PKI_DIR))

    async def seed(self, *nodes: str) -> None:
        """The store's records, and the files of these nodes, whose specs are in the store already."""
        first = trust.first_trust(self.ca)
        await put(self.store, {keys.TRUST: first, keys.CA_KEY: locks.lock(self.ca.key_pem, self.ring.cluster)})
        for node in nodes:
            spec = await self.read(keys.node_spec(node), NodeSpec)
            cert, key = pki.issue_node(self.ca, node, spec.addresses.values())
            self.give(node, cert, key)
            issued = trust.with_issued((), cert, self.clock.wall())
            await put(self.store, {keys.trust_node(node): NodeTrust(issued=issued)})

    def give(self, node: str, cert: bytes, key: bytes) -> None:
        where = self.pki(node)
        where.mkdir(parents=True)
        (self.root / node / "state").mkdir()
        ring.write(where, self.ring)
        crl = trust.first_trust(self.ca).crl_file
        written = {files.CA_CERT: self.ca.cert_pem, files.NODE_CERT: cert, files.NODE_KEY: key, files.CRL: crl}
        for name, content in written.items():
            (where / name).write_bytes(content)

    async def start(self, *nodes: str) -> None:
        """The agents' share of it, on these nodes."""
        for node in nodes:
            spec = await self.read(keys.node_spec(node), NodeSpec)
            config = NodeConfig(
                node, "demo", dict(spec.addresses), ("https://x:2379",), state_dir=str(self.root / node / "state")
            )
            mirror = Mirror(self.store)
            keeper = TrustKeeper(config, self.store, mirror, self.clock, cut=self._cut, root=self.root / node)
            keeper.prepare()
            office = TrustOffice(node, self.store, mirror, self.clock, root=self.root / node)
            self.keepers[node] = keeper
            self._tasks += [asyncio.create_task(work) for work in (mirror.run(), keeper.run(), office.run())]

    def _cut(self, members: set[str]) -> int:
        self.cuts.append(members)
        return 0

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def read(self, key: str, kind: type[T]) -> T:
        entry = await self.store.get(key)
        assert entry is not None, key
        return codec.decode(entry.value, kind, key)

    async def trust(self) -> Trust:
        return await self.read(keys.TRUST, Trust)

    def serial(self, node: str) -> str:
        return certificates.facts((self.pki(node) / files.NODE_CERT).read_bytes()).serial

    def facts(self, node: str) -> certificates.Facts:
        return certificates.facts((self.pki(node) / files.NODE_CERT).read_bytes())

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        try:
            async with asyncio.timeout(HANG_S):
                while True:
                    found = condition()
                    if found if isinstance(found, bool) else await found:
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never: {what}") from None
