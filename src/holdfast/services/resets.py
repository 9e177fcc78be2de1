"""Clients of a server whose address moves: remembered on the shared storage, so that the address's next owner resets their
connections at once. Without that a client that waits for an answer of a dead node finds out after half a minute or never."""

import asyncio
import contextlib
from pathlib import Path

import structlog

from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.services.nfs import clients, tcp
from holdfast.services.nfs.clients import ClientMemory
from holdfast.services.storage import MARKER, SharedStorage

log = structlog.get_logger("holdfast.resets")

TICKLE_AT_S = (0.02, 0.1, 0.3, 0.7, 1.5, 3.0)
"""Repetitions after the first tickle: it is lost while the client still has the dead node's hardware address."""
STORAGE_TIMEOUT_S = 1.0
DIRECTORY = "clients"
"""Below the shared root."""


class Resets:
    """Of all instances of one kind on one node. Nothing here raises: it only makes a failover quicker."""

    def __init__(self, storage: SharedStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._memory: dict[str, ClientMemory] = {}
        self._tickling: dict[str, asyncio.Task[None]] = {}

    async def before_start(self, instance: str) -> None:
        """Read who was connected to the address's former owner."""
        memory = self._memory[instance] = ClientMemory()
        with contextlib.suppress(HoldfastError):
            file = self._file(instance)
            former = await self._storage.run(
                lambda: clients.load(file), timeout=STORAGE_TIMEOUT_S, what=f"reading {file}"
            )
            memory.adopt_former(former, self._clock.now())

    def address_up(self, instance: str, ip: str, port: int) -> None:
        """The address is here: reset who still believes in its former owner."""
        self.forget(instance, memory=False)
        if instance in self._memory:
            with contextlib.suppress(OSError):
                self._tickle(instance, ip, port)
            self._tickling[instance] = asyncio.create_task(self._tickle_again(instance, ip, port))

    def _tickle(self, instance: str, ip: str, port: int) -> bool:
        """One round; False when there was nobody left to tell. By connection and not by client: of several that one client
        has it may wait for an answer on each."""
        former = self._memory[instance].former - tcp.clients_of(ip, port)
        if former:
            tcp.tickle(ip, port, former)
        return bool(former)

    async def _tickle_again(self, instance: str, ip: str, port: int) -> None:
        began = self._clock.now()
        for at in TICKLE_AT_S:
            await self._clock.sleep(began + at - self._clock.now())
            try:
                if not self._tickle(instance, ip, port):
                    return
            except OSError as error:
                log.warning("clients not reset", instance=instance, error=str(error))

    async def tick(self, instance: str, ip: str, port: int) -> None:
        """Remember who is connected now."""
        memory = self._memory.setdefault(instance, ClientMemory())
        wanted = tcp.clients_of(ip, port)
        if wanted == memory.saved:
            return
        file = self._file(instance)

        def save() -> None:
            root = self._storage.root
            if root.is_mount() or (root / MARKER).exists():  # never into an empty mount point
                file.parent.mkdir(mode=0o700, exist_ok=True)
                clients.save(file, wanted)

        try:
            await self._storage.run(save, timeout=STORAGE_TIMEOUT_S, what=f"writing {file}")
            memory.saved = wanted
        except HoldfastError as error:
            log.warning("clients not remembered", instance=instance, error=str(error))

    def forget(self, instance: str, *, memory: bool = True) -> None:
        task = self._tickling.pop(instance, None)
        if task is not None:
            task.cancel()
        if memory:
            self._memory.pop(instance, None)

    def _file(self, instance: str) -> Path:
        return self._storage.root / DIRECTORY / f"{instance.replace('/', ':')}.json"
