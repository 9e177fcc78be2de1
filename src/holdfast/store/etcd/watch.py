"""A watch that never ends: it resumes where it stopped, and lists anew where it cannot.

It knows when it is behind. A stream that says nothing is asked for a sign of life each second, and left when it gives none.
One that gives nothing else is held to the highest revision that this client knows of, by whatever call: daemons write and
read all the time, so that a change which is missing is missed within seconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import grpc

from holdfast.errors import StoreError, StoreRejected
from holdfast.ports import Change, Snapshot, WatchBatch
from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.connection import Connection, Metadata, Stream
from holdfast.store.etcd.engine import Engine, settle
from holdfast.store.etcd.methods import RANGE, WATCH
from holdfast.store.etcd.outcomes import judge
from holdfast.store.etcd.wire import change_of, prefix_end

PROGRESS_S = 1.0
"""Each time this long without a message a sign of life is requested on the stream itself."""
UNANSWERED = 2
"""So many requests in a row without an answer, and the stream is left. Counted, not timed: after this process itself stood
still the answers are there as soon as it looks."""
EMPTY_ANSWERS = 3
"""So many signs of life in a row with no change between them, though a change known before the first of them is missing, and
the stream is left."""
CONNECT_S = 5.0
BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.5)

# Asks the server to end the stream when the member loses its leader, instead of going silent.
_HAS_LEADER = ("hasleader", "true")


_Stream = Stream[pb.WatchRequest, pb.WatchResponse]


class _Resume(Exception):
    """The stream ended, nothing is lost: go on from the last revision at another endpoint."""


class _Relist(Exception):
    """Continuity is lost or in doubt."""


class _Position:
    """What the watcher has delivered."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        """Everything that this client's daemons write is below the watched prefix."""
        self.revision: int | None = None
        self.generation = -1
        self.failures = 0
        self.denied = 0


async def follow(
    engine: Engine, listing: Callable[[], Awaitable[Snapshot]], key: bytes, root: str
) -> AsyncGenerator[WatchBatch, None]:
    """Deliver a snapshot of everything below `key`, then all changes in order, for ever. Ends when the engine is closed;
    raises only StoreRejected."""
    position = _Position(whole=key == root.encode())
    while not engine.pool.closed:
        try:
            if position.revision is None or position.generation != engine.lineage.generation:
                position.generation = engine.lineage.generation
                snapshot = await listing()
                position.revision = snapshot.revision
                changes = tuple(Change(entry.key, entry, entry.mod_revision) for entry in snapshot.entries)
                yield WatchBatch(changes, snapshot.revision, snapshot=True)
            connection = await engine.connection(engine.clock.now() + CONNECT_S, "watch")
            metadata = await engine.metadata(connection, CONNECT_S)
            async with contextlib.aclosing(_stream(engine, connection, key, metadata, position)) as responses:
                async for response in responses:
                    batch = _batch(response, position, root)
                    engine.lineage.delivered(position.revision)
                    if batch is not None:
                        yield batch
        except StoreRejected:
            raise
        except _Relist:
            position.revision = None
        except (_Resume, StoreError):
            pass
        if engine.pool.closed:
            return
        await engine.clock.sleep(BACKOFF_S[min(position.failures, len(BACKOFF_S) - 1)])
        position.failures += 1


def _batch(response: pb.WatchResponse, position: _Position, root: str) -> WatchBatch | None:
    """None if it brings nothing. Events that were delivered already, as after a resume, are dropped."""
    assert position.revision is not None
    seen = position.revision
    if response.created:
        return None
    changes = tuple(change_of(event, root) for event in response.events if event.kv.mod_revision > seen)
    if changes:
        # Not the header's revision: while a watcher catches up that is ahead of the events delivered.
        position.revision = changes[-1].revision
    elif not response.events and response.watch_id >= 0:
        # Progress of this very watch, sent in order with its events. That of the whole stream (watch_id -1) may overtake
        # events in etcd before 3.4.25 and 3.5.8 and is a sign of life only.
        position.revision = max(seen, response.header.revision)
    elif response.events:
        return None
    return WatchBatch(changes, position.revision)


async def _stream(
    engine: Engine, connection: Connection, key: bytes, metadata: Metadata, position: _Position
) -> AsyncGenerator[pb.WatchResponse, None]:
    """The responses of one stream. Ends by _Resume or _Relist."""
    assert position.revision is not None
    stream: _Stream | None = None
    reader: asyncio.Future[pb.WatchResponse | None] | None = None
    try:
        stream = connection.stream(WATCH, (*metadata, _HAS_LEADER))
        create = pb.WatchCreateRequest(
            key=key, range_end=prefix_end(key), start_revision=position.revision + 1, progress_notify=True
        )
        await _send(engine, connection, stream, pb.WatchRequest(create_request=create))
        arrears = _Arrears(engine, position)
        unanswered = 0
        while True:
            reader = reader or asyncio.ensure_future(stream.read())
            news: set[asyncio.Future[Any]] = {reader, connection.lost}
            await asyncio.wait(news, timeout=PROGRESS_S, return_when=asyncio.FIRST_COMPLETED)
            if position.generation != engine.lineage.generation:
                raise _Relist
            if reader.done():
                response, reader = reader.result(), None
                if response is None:
                    raise _Resume
                unanswered = 0
                await _check(engine, key, response, position)
                yield response
                arrears.heard(connection, response)
            elif connection.lost.done():
                raise _Resume
            elif unanswered == UNANSWERED:
                engine.pool.fail(connection, "a watch went silent")
                raise _Resume
            else:
                unanswered += 1
                request = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
                await _send(engine, connection, stream, request)
    except grpc.aio.AioRpcError as error:
        failure = judge(error, "watch", write=False)
        if isinstance(failure.error, StoreRejected):
            await _denied(engine, position, failure.error)
        if failure.blame or "no leader" in (error.details() or ""):
            engine.pool.fail(connection, str(failure.error))
        raise _Resume from error
    finally:
        if stream is not None:
            stream.cancel()
        if reader is not None:
            await settle(reader)


class _Arrears:
    """What a stream should have delivered by now."""

    def __init__(self, engine: Engine, position: _Position) -> None:
        self._engine = engine
        self._position = position
        self._due = engine.lineage.revision
        self._empty = 0

    def heard(self, connection: Connection, response: pb.WatchResponse) -> None:
        """Raises _Resume when the stream delivers nothing though something is due: on a new stream it is delivered, or at
        another member, if this one does not know of it either."""
        assert self._position.revision is not None
        lags = response.header.revision < self._due
        if response.events or self._position.revision >= self._due or not (lags or self._position.whole):
            self._due, self._empty = self._engine.lineage.revision, 0
            return
        self._empty += not response.created
        if self._empty == EMPTY_ANSWERS:
            if lags:
                self._engine.pool.fail(connection, "the member lags behind")
            raise _Resume


async def _send(engine: Engine, connection: Connection, stream: _Stream, request: pb.WatchRequest) -> None:
    """A write waits for room in the connection; that of a dead one never comes."""
    writing = asyncio.ensure_future(stream.write(request))
    ends: set[asyncio.Future[Any]] = {writing, connection.lost}
    await asyncio.wait(ends, timeout=PROGRESS_S, return_when=asyncio.FIRST_COMPLETED)
    if not writing.done():
        await settle(writing)
        engine.pool.fail(connection, "a watch could not be written to")
        raise _Resume
    writing.result()


async def _check(engine: Engine, key: bytes, response: pb.WatchResponse, position: _Position) -> None:
    """Refuse what breaks continuity."""
    assert position.revision is not None
    engine.lineage.check(response.header)
    if response.canceled:
        if "permission denied" in response.cancel_reason or "auth token" in response.cancel_reason:
            await _denied(
                engine, position, StoreRejected(f"the store does not permit to watch ({response.cancel_reason})")
            )
        raise _Relist
    if not response.created:
        position.denied = position.failures = 0
    elif response.header.revision < engine.lineage.revision or response.header.raft_term < engine.lineage.term:
        await _catch_up(engine, key, position)


async def _catch_up(engine: Engine, key: bytes, position: _Position) -> None:
    """The member knows less than was delivered already: it lags behind, or the cluster was restored from a backup. A
    linearizable read tells: the lineage notices a revision or a term that went back."""
    await engine.call(RANGE, pb.RangeRequest(key=key, count_only=True), what="check the watch", timeout=CONNECT_S)
    if position.generation != engine.lineage.generation:
        raise _Relist


async def _denied(engine: Engine, position: _Position, error: StoreRejected) -> None:
    """A token may have expired: renew it once before giving up."""
    position.denied += 1
    if not engine.has_user or position.denied > 1:
        raise error
    engine.forget_token()
    raise _Resume
