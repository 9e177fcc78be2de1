"""A local copy of a part of the store, kept current by a watch."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from holdfast.ports import Change, Entry, Store, WatchBatch
from holdfast.store import keys
from holdfast.store.codec import decode

T = TypeVar("T")

WENT_BACK = (
    "the store went back in time: it was restored from a backup while Holdfast ran. What was decided since the backup is "
    "forgotten, so nothing strict is run and nothing is decided. Stop holdfast-agent and holdfast-guard on all nodes, then "
    "start them (docs/operating.md, Restoring the store)"
)
"""For people: what agents and managers say that saw it."""


class Mirror:
    """Everything below a prefix as it was last delivered. May lag behind the store: decisions that matter compare
    revisions when they commit."""

    def __init__(
        self, store: Store, prefix: str = "", notable: Callable[[Change], bool] = lambda _change: True
    ) -> None:
        """`notable(change)`: is this change, which was just applied, worth a wake-up of who waits for `changed`?"""
        self._store = store
        self._prefix = prefix
        self._notable = notable
        self._listeners: list[Callable[[Change], None]] = []
        self._resync_listeners: list[Callable[[], None]] = []
        self._regress_listeners: list[Callable[[], None]] = []
        self._sorted: dict[str, list[str]] = {}
        self._decoded: dict[str, tuple[int, Any]] = {}
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.ready = asyncio.Event()
        self.changed = asyncio.Event()
        """Set at each notable change and after each fresh listing; whoever waits clears it."""

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Called synchronously for each change after it was applied (also for each one that a fresh listing implies)."""
        self._listeners.append(listener)

    def on_resync(self, listener: Callable[[], None]) -> None:
        """Called when the watch lost continuity and everything was listed anew."""
        self._resync_listeners.append(listener)

    def on_regress(self, listener: Callable[[], None]) -> None:
        """Called when the store turns out to have gone back in time (it was restored from a backup), before anything of its
        older state is applied. Nothing that was decided since is in it any more."""
        self._regress_listeners.append(listener)

    def value(self, key: str) -> bytes | None:
        entry = self.entries.get(key)
        return entry.value if entry else None

    def read(self, key: str, kind: type[T]) -> T | None:
        """The decoded value, remembered until the key changes; None if there is none. Raises StoreError for a bad record."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        known = self._decoded.get(key)
        if known is None or known[0] != entry.mod_revision:
            known = self._decoded[key] = (entry.mod_revision, decode(entry.value, kind, key))
        return known[1]

    def all(self, prefix: str, kind: type[T]) -> dict[str, T]:
        """Last part of the key → decoded value, of everything below a prefix. Raises StoreError for a bad record."""
        found = {key: self.read(key, kind) for key in self.keys_below(prefix)}
        return {keys.last_part(key): value for key, value in found.items() if value is not None}

    def revision_of(self, key: str) -> int:
        """The key's mod_revision; 0 if there is none."""
        entry = self.entries.get(key)
        return entry.mod_revision if entry else 0

    def keys_below(self, prefix: str) -> Sequence[str]:
        """Keys under a prefix, sorted."""
        known = self._sorted.get(prefix)
        if known is None:
            known = self._sorted[prefix] = sorted(key for key in self.entries if key.startswith(prefix))
        return known

    def below(self, prefix: str) -> Iterator[Entry]:
        """Entries under a prefix, in the order of their keys."""
        return (self.entries[key] for key in self.keys_below(prefix))

    async def run(self) -> None:
        """Follow the store for ever. Raises only StoreRejected."""
        async for batch in self._store.watch(self._prefix):
            if batch.snapshot:
                if self._is_older(batch):
                    for regressed in self._regress_listeners:
                        regressed()
                self._replace(batch.changes)
                for resynced in self._resync_listeners:
                    resynced()
                worth = True
            else:
                worth = False
                for change in batch.changes:
                    self._apply(change)
                    worth = self._notable(change) or worth
            self.revision = batch.revision
            self.ready.set()
            if worth:
                self.changed.set()

    def _is_older(self, batch: WatchBatch) -> bool:
        """Revisions, of the store and of each key, only grow in one life of a store."""
        if batch.revision < self.revision:
            return True
        for change in batch.changes:
            known = self.entries.get(change.key)
            if known is not None and change.entry is not None and change.entry.mod_revision < known.mod_revision:
                return True
        return False

    def _replace(self, changes: tuple[Change, ...]) -> None:
        new = {change.key: change for change in changes}
        for key in [key for key in self.entries if key not in new]:
            self._apply(Change(key=key, entry=None, revision=0))
        for key, change in new.items():
            old = self.entries.get(key)
            # Not the revision alone: after a restore the same revision can hold another value.
            if old is None or old != change.entry:
                self._decoded.pop(key, None)
                self._apply(change)

    def _apply(self, change: Change) -> None:
        if (change.entry is None) == (change.key in self.entries):
            self._sorted = {prefix: keys for prefix, keys in self._sorted.items() if not change.key.startswith(prefix)}
        if change.entry is None:
            self.entries.pop(change.key, None)
            self._decoded.pop(change.key, None)
        else:
            self.entries[change.key] = change.entry
        for listener in self._listeners:
            listener(change)
