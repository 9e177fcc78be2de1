"""From the store to what is answered. Without the store: what was known last, also after a restart of the process."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from holdfast.core.dns_model import DnsRecords, Secondary
from holdfast.errors import HoldfastError, StoreError
from holdfast.net.dns.answer import Desk
from holdfast.net.dns.book import make_book
from holdfast.net.dns.transfer import Notifier, Peer, Unlock, admission, keyring, signer
from holdfast.ports import Clock, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.dns")

CHECK_S = 2.0
"""How often the store is asked whether it is there."""
SERVER_ID = "id.server."
"""RFC 4892."""
STATUS = "status.holdfast."
CURRENT, LAST_KNOWN = "current", "last known"
"""What a TXT query of class CHAOS for STATUS is told, before the serial."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a file keeps for a start without the store."""

    records: DnsRecords = field(default_factory=DnsRecords)
    secondaries: dict[str, Secondary] = field(default_factory=dict)


class Follower:
    """Keeps `desk` up to date, and tells secondaries of changes."""

    def __init__(self, store: Store, clock: Clock, node: str, file: Path, unlock: Unlock, notifier: Notifier) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._file = file
        self._unlock = unlock
        self._notifier = notifier
        self._published, self._wanted = Mirror(store, keys.DNS), Mirror(store, keys.DNS_SPECS)
        self._changed = asyncio.Event()
        for mirror in (self._published, self._wanted):
            mirror.on_change(lambda _change: self._changed.set())
            mirror.on_resync(self._changed.set)
        self._state = LAST_KNOWN
        self._known = Remembered()
        self.desk = Desk()

    async def run(self) -> None:
        """For ever. Raises StoreRejected."""
        self._recall()
        tasks = [
            asyncio.create_task(work)
            for work in (self._published.run(), self._wanted.run(), self._follow(), self._look_for_the_store())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        await asyncio.gather(self._published.ready.wait(), self._wanted.ready.wait())
        while True:
            self._changed.clear()
            try:
                self._take()
            except StoreError as error:  # of another version: what was known goes on being served
                log.warning("not understood", error=str(error))
            await self._changed.wait()

    def _take(self) -> None:
        records = self._published.read(keys.DNS_RECORDS, DnsRecords) or DnsRecords()
        known = Remembered(records, self._wanted.all(keys.DNS_SECONDARIES, Secondary))
        if known == self._known:
            return
        self._known = known
        peers = self._serve()
        self._remember()
        log.info("published", serial=records.serial, names=len(records.names), zones=len(records.zones))
        self._notifier.tell(self.desk.book, peers)

    def _serve(self) -> Mapping[str, Peer]:
        peers = {name: peer for name, spec in self._known.secondaries.items() if (peer := self._peer(spec))}
        book = make_book(self._known.records)
        self.desk = Desk(book, keyring(peers.values()), admission(peers.values()), self._about())
        return peers

    def _peer(self, spec: Secondary) -> Peer | None:
        """None if its key cannot be had: then nothing is transferred to it, rather than without a signature."""
        try:
            return Peer(spec, signer(spec.key, self._unlock) if spec.key else None)
        except (HoldfastError, ValueError) as error:
            log.warning("secondary left out", secondary=spec.name, error=str(error))
            return None

    def _about(self) -> dict[str, str]:
        return {SERVER_ID: self._node, STATUS: f"{self._state}: serial {self._known.records.serial}"}

    # --- without the store ---------------------------------------------------------------------------------------------

    async def _look_for_the_store(self) -> None:
        while True:
            try:
                await self._store.get(keys.DNS_RECORDS, timeout=CHECK_S)
                ready = self._published.ready.is_set() and self._wanted.ready.is_set()
                self._say(CURRENT if ready else LAST_KNOWN)
            except StoreError as error:
                self._say(LAST_KNOWN, str(error))
            await self._clock.sleep(CHECK_S)

    def _say(self, state: str, why: str = "") -> None:
        if state == self._state:
            return
        self._state = state
        self._serve()
        if state == LAST_KNOWN:
            log.warning("the store does not answer: serving what was known last", why=why)
        else:
            log.info("the store answers", serial=self._known.records.serial)

    def _recall(self) -> None:
        try:
            self._known = decode(self._file.read_bytes(), Remembered, str(self._file))
        except FileNotFoundError:
            return
        except (OSError, StoreError) as error:
            log.warning("nothing is remembered", error=str(error))
            return
        self._serve()
        log.info("remembered", serial=self._known.records.serial)

    def _remember(self) -> None:
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(encode(self._known))
            new.chmod(0o600)
            new.replace(self._file)
        except OSError as error:
            log.warning("not remembered", error=str(error))
