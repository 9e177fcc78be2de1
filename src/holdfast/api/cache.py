"""Keeps a ClusterStatus current by watching the store, and wakes those who wait for a change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import cast

import structlog

from holdfast.api import objects
from holdfast.api.history import History, frame
from holdfast.api.people import People
from holdfast.api.records import Records
from holdfast.api.status import ClusterStatus, build_status
from holdfast.core.view import View
from holdfast.errors import HoldfastError, StoreError, StoreUnavailable
from holdfast.ports import Clock, Store, WatchBatch
from holdfast.store import codec, keys
from holdfast.store.view import Source, people_view

_log = structlog.get_logger()

PROBE_PERIOD_S = 2.0
PROBE_TIMEOUT_S = 2.0
FIRST_READ_S = 5.0
"""A process that has just started lets requests wait so long for its first picture."""


class StatusCache:
    """The picture of the cluster, as fresh as the watch. Readers never touch the store, so they work while it is away.

    `run()` must be running; `status` is built on demand from what changed since it was last asked for.
    """

    def __init__(self, store: Store, clock: Clock, *, people: People | None = None) -> None:
        """`people` is kept equal to what the store holds of accounts, sessions and the like."""
        self._people = people or People()
        self._store = store
        self._clock = clock
        self._records = Records()
        self._revision = 0
        self._store_problem = "The store has not been read yet."
        self._status: ClusterStatus | None = None
        self._version = 0
        self._frame: tuple[int, bytes] = (-1, b"")
        self._changed = asyncio.Event()
        self._filled = asyncio.Event()
        self.history = History()
        self.closing = False
        """The process ends: streams are to end with it."""
        self.readers = 0
        """Streams that send what changes (routes/stream.py)."""

    @property
    def status(self) -> ClusterStatus:
        if self._status is None:
            picture = build_status(self._records, self._revision)
            self._status = replace(picture, store_problem=self._store_problem)
        return self._status

    @property
    def frame(self) -> bytes:
        """The picture as a server-sent event, encoded once for all readers."""
        if self._frame[0] != self._version:
            picture = self.status
            self._frame = self._version, frame("status", codec.encode(picture), picture.revision)
        return self._frame[1]

    @property
    def source(self) -> Source:
        """The records themselves, decoded."""
        return self._records

    def tag_at(self, path: str) -> str:
        """The ETag of the object at a path of the API (`objects.tag_at`)."""
        return objects.tag_at(self._records, path)

    def snapshot(self) -> Source:
        """The same as they are now, for another thread."""
        return self._records.copy()

    def view(self) -> View:
        """What the planner takes, from the same memory."""
        return people_view(self._records, self._revision, self._clock.now())

    @property
    def version(self) -> int:
        """Grows with each change that people would see (an ordinary beat is none)."""
        return self._version

    @property
    def revision(self) -> int:
        """Store revision up to which everything is known."""
        return self._revision

    async def filled(self) -> None:
        """Wait until there is a picture at all. Raises StoreUnavailable: an empty one must not pass for a cluster without
        nodes, nor what it does not show for what does not exist."""
        if self._filled.is_set():
            return
        try:
            async with asyncio.timeout(FIRST_READ_S):
                await self._filled.wait()
        except TimeoutError:
            raise StoreUnavailable(
                f"this node's API has just started and knows nothing of the cluster yet. {self._store_problem}",
                "Try again in a moment, or ask another management node.",
            ) from None

    async def wait_newer(self, version: int) -> int:
        """Return the version once it is greater than `version`."""
        while self._version <= version:
            await self._changed.wait()
        return self._version

    async def wait_revision(self, revision: int, timeout: float) -> bool:
        """Wait until the picture includes the store's `revision`; False when it does not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._revision < revision:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """The process ends, and with it all streams."""
        self.closing = True
        self._wake(changed=True)

    async def run(self) -> None:
        """Follow the store for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._probe())

    async def _follow(self) -> None:
        while True:
            try:
                # The port promises an AsyncIterator with aclose().
                watch = cast("AsyncGeneratorLike", self._store.watch(""))
                async with aclosing(watch):
                    async for batch in watch:
                        self._apply(batch)
            except HoldfastError as error:
                self._set_problem(error.message)
                _log.warning("status-watch-ended", error=str(error))
            await self._clock.sleep(1.0)

    def _apply(self, batch: WatchBatch) -> None:
        if batch.snapshot:
            self._records.clear()
            self.history.clear()
            self._people.clear()
        news = batch.snapshot or bool(self._store_problem)
        for change in batch.changes:
            if self._people.take(change):
                continue
            if change.key.startswith(keys.EVENTS):
                self.history.take(change)
            if change.entry is None:
                self._records.delete(change.key)
                news = True
            else:
                news |= self._records.put(change.entry)
        advanced = batch.revision > self._revision
        self._revision = batch.revision if batch.snapshot else max(self._revision, batch.revision)
        self._store_problem = ""
        self._filled.set()
        if batch.changes:
            self._status = None
        if news or advanced:
            self._wake(changed=news)

    async def _probe(self) -> None:
        """A watch is silent both when nothing happens and when the store is away: a read tells the two apart. It also tells
        the watch how far the store has come, so that one that delivers nothing is found out (store/etcd/watch.py)."""
        while True:
            await self._clock.sleep(PROBE_PERIOD_S)
            try:
                await self._store.get(keys.CLUSTER, timeout=PROBE_TIMEOUT_S)
            except StoreError as error:
                self._set_problem(f"The store does not answer, this picture may be old: {error.message}")
            else:
                if self._revision:
                    self._set_problem("")

    def _set_problem(self, text: str) -> None:
        if text != self._store_problem:
            self._store_problem = text
            self._wake(changed=True)

    def _wake(self, *, changed: bool) -> None:
        if changed:
            self._status = None
            self._version += 1
        event, self._changed = self._changed, asyncio.Event()
        event.set()


class AsyncGeneratorLike(AsyncIterator[WatchBatch]):
    """What a watch is: an async iterator that can be closed."""

    async def aclose(self) -> None: ...
