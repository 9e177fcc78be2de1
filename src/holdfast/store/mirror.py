"""A local copy of a part of the store, kept current by a watch."""

import asyncio
from collections.abc import Callable, Iterator

from holdfast.ports import Change, Entry, Store


class Mirror:
    """Everything below a prefix as it was last delivered. May lag behind the store: decisions that matter compare
    revisions when they commit."""

    def __init__(self, store: Store, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix
        self._listeners: list[Callable[[Change], None]] = []
        self._resync_listeners: list[Callable[[], None]] = []
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.ready = asyncio.Event()
        self.changed = asyncio.Event()
        """Set at each change; whoever waits clears it."""

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Called synchronously for each change after it was applied (also for each one that a fresh listing implies)."""
        self._listeners.append(listener)

    def on_resync(self, listener: Callable[[], None]) -> None:
        """Called when the watch lost continuity and everything was listed anew."""
        self._resync_listeners.append(listener)

    def value(self, key: str) -> bytes | None:
        entry = self.entries.get(key)
        return entry.value if entry else None

    def below(self, prefix: str) -> Iterator[Entry]:
        """Entries under a prefix, in the order of their keys."""
        return (self.entries[key] for key in sorted(self.entries) if key.startswith(prefix))

    async def run(self) -> None:
        """Follow the store for ever. Raises only StoreRejected."""
        async for batch in self._store.watch(self._prefix):
            if batch.snapshot:
                self._replace(batch.changes)
                for resynced in self._resync_listeners:
                    resynced()
            else:
                for change in batch.changes:
                    self._apply(change)
            self.revision = batch.revision
            self.ready.set()
            if batch.changes or batch.snapshot:
                self.changed.set()

    def _replace(self, changes: tuple[Change, ...]) -> None:
        new = {change.key: change for change in changes}
        for key in [key for key in self.entries if key not in new]:
            self._apply(Change(key=key, entry=None, revision=0))
        for key, change in new.items():
            old = self.entries.get(key)
            # Not the revision alone: after a restore the same revision can hold another value.
            if old is None or old != change.entry:
                self._apply(change)

    def _apply(self, change: Change) -> None:
        if change.entry is None:
            self.entries.pop(change.key, None)
        else:
            self.entries[change.key] = change.entry
        for listener in self._listeners:
            listener(change)
