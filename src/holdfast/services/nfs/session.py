"""An NFSv4.1 session that survives its server (RFC 8881, sections 2.10, 8.4.2 and 9.6).

A session has slots; each slot counts its requests, so that a request repeated after a broken connection is executed once.
When the server itself was replaced it answers BADSESSION or STALE_CLIENTID: the same owner and verifier then ask for a
new session, state is reclaimed, and the calls under way are repeated. Callers see only a delay.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from holdfast.errors import DriverError
from holdfast.services.nfs import ops, rpc
from holdfast.services.nfs.ops import NfsStatusError, Op, Status
from holdfast.services.nfs.transport import Connection, ConnectionLost

_SESSION_GONE = {
    Status.BADSESSION, Status.DEADSESSION, Status.STALE_CLIENTID, Status.BADSLOT, Status.SEQ_MISORDERED,
    Status.CONN_NOT_BOUND_TO_SESSION,
}  # fmt: skip
_TRY_AGAIN = {Status.DELAY, Status.GRACE}
_REPLAY_UNKNOWN = {Status.RETRY_UNCACHED_REP, Status.SEQ_FALSE_RETRY}
_RETRY_S = 0.05
_SLOTS = 4

Reclaim = Callable[["Nfs41Session"], Awaitable[None]]


class Nfs41Session:
    """Sends compounds; reconnects and re-establishes itself until `patience_s` seconds went by without success."""

    def __init__(
        self,
        host: str,
        port: int = 2049,
        *,
        owner: bytes = b"",
        patience_s: float = 60.0,
        call_timeout_s: float = 5.0,
        connect_timeout_s: float = 0.5,
        credential: rpc.Credential | None = None,
        reclaim: Reclaim | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._owner = owner or b"holdfast-" + os.urandom(8).hex().encode()
        self._verifier = os.urandom(8)
        self._patience_s = patience_s
        self._call_timeout_s = call_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._credential = credential or rpc.Credential()
        self._reclaim = reclaim
        self._connection: Connection | None = None
        self._problem = "it was not asked"
        """Why the last attempt failed, for people who lost their patience."""
        self._session = b""
        self._mending_session = b""
        self._reclaim_due = False
        self._next_sequence: list[int] = []
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._mending = asyncio.Lock()
        self.client_id = 0
        self.recoveries = 0
        """How often a server was met that did not know the session any more."""
        for slot in range(_SLOTS):
            self._free.put_nowait(slot)

    async def connect(self) -> None:
        """Connection and session; also done by the first call. Raises DriverError after `patience_s`."""
        async with self._patience():
            await self._ready_patiently()

    async def null(self) -> None:
        """The procedure that does nothing: does an NFS server answer at all?"""
        async with self._patience():
            async with self._mending:
                connection = await self._connected()
            await connection.call(rpc.PROC_NULL, b"", timeout=self._call_timeout_s)

    async def run(self, build: Callable[[], Sequence[Op]], *, cache: bool = False) -> list[Any]:
        """Results of one compound (without SEQUENCE's own). `build` is called again for each attempt, since state ids
        change when a server is replaced. `cache`: the server keeps the reply, for operations that must not run twice.
        Raises NfsStatusError for any error that waiting and reclaiming cannot mend."""
        slot = await self._free.get()
        try:
            async with self._patience():
                while True:
                    with contextlib.suppress(ConnectionLost):
                        connection = await self._ready_patiently()
                        done, results = await self._attempt(connection, slot, build, cache)
                        if done:
                            return results
                        continue
                    await asyncio.sleep(_RETRY_S)
        finally:
            self._free.put_nowait(slot)

    async def close(self) -> None:
        """Give session and client id back if the server is there, and hang up."""
        connection, session = self._connection, self._session
        self._session = b""
        if connection is None:
            return
        with contextlib.suppress(DriverError):
            if session and not connection.broken:
                await connection.compound([ops.destroy_session(session)], timeout=1.0)
                await connection.compound([ops.destroy_clientid(self.client_id)], timeout=1.0)
        await connection.close()
        self._connection = None

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _attempt(
        self, connection: Connection, slot: int, build: Callable[[], Sequence[Op]], cache: bool
    ) -> tuple[bool, list[Any]]:
        """(True, results), or (False, []) if the same must be tried again."""
        session = self._session
        head = ops.sequence(session, self._next_sequence[slot], slot, len(self._next_sequence) - 1, cache)
        try:
            results, error = await connection.compound([head, *build()], timeout=self._call_timeout_s)
        except asyncio.CancelledError:
            # Nobody knows whether the slot's number was used, and the next request on it would get this one's reply.
            if session == self._session:
                self._session = b""
            raise
        if session != self._session:  # somebody else mended the session meanwhile
            if error is not None and error.operation != "SEQUENCE" and error.status not in _TRY_AGAIN:
                raise error
            return error is None, results[1:]
        if error is not None and error.operation == "SEQUENCE":
            if error.status in _SESSION_GONE:
                self._session = b""
            elif error.status in _REPLAY_UNKNOWN:
                self._next_sequence[slot] += 1
            elif error.status in _TRY_AGAIN:
                await asyncio.sleep(_RETRY_S)
            else:
                raise error
            return False, []
        self._next_sequence[slot] += 1
        if error is None:
            return True, results[1:]
        if error.status not in _TRY_AGAIN:
            raise error
        self._problem = error.message
        await asyncio.sleep(_RETRY_S)
        return False, []

    # --- connection and session -------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _patience(self) -> Any:
        try:
            async with asyncio.timeout(self._patience_s):
                yield
        except TimeoutError:
            raise ConnectionLost(
                f"NFS server {self.host} could not be used for {self._patience_s:g} s: {self._problem}",
                "Does the volume run? See `holdfast nfs list`.",
            ) from None

    async def _ready_patiently(self) -> Connection:
        while True:
            try:
                return await self._ready()
            except ConnectionLost as error:
                self._problem = error.message
                await asyncio.sleep(_RETRY_S)

    async def _ready(self) -> Connection:
        connection = self._connection
        if connection is not None and not connection.broken and self._session:
            return connection
        async with self._mending:
            connection = await self._connected()
            if not self._session:
                await self._establish(connection)
            return connection

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.broken:
            return self._connection
        if self._connection is not None:
            await self._connection.close()
        self._connection = await Connection.open(
            self.host, self.port, timeout=self._connect_timeout_s, credential=self._credential
        )
        return self._connection

    async def _establish(self, connection: Connection) -> None:
        """EXCHANGE_ID, CREATE_SESSION and, towards a server that does not know us, the reclaim of state."""
        known = await self._single(connection, ops.exchange_id(self._owner, self._verifier))
        operation = ops.create_session(known.client_id, known.sequence, _SLOTS)
        try:
            session, granted = await self._single(connection, operation)
        except NfsStatusError as error:
            if error.status != Status.STALE_CLIENTID:
                raise
            raise ConnectionLost("the server forgot the client id just given", "It was restarted.") from error
        if granted < _SLOTS:
            raise DriverError(
                f"NFS server {self.host} grants {granted} slots only", "Raise its slot count to 4 or more."
            )
        self.client_id = known.client_id
        self._next_sequence = [1] * _SLOTS
        self._mending_session = session
        if not known.flags & ops.EXCHANGE_CONFIRMED:
            self.recoveries += 1
            self._reclaim_due = True
        if self._reclaim_due:  # also when a former attempt broke off half-way
            if self._reclaim is not None:
                await self._reclaim(self)
            with contextlib.suppress(NfsStatusError):  # COMPLETE_ALREADY
                await self.run_while_mending([ops.reclaim_complete()])
            self._reclaim_due = False
        self._session = session

    async def run_while_mending(self, operations: Sequence[Op]) -> list[Any]:
        """A compound of the reclaim itself, on slot 0 of the session being made. Raises NfsStatusError, ConnectionLost."""
        assert self._connection is not None
        while True:
            head = ops.sequence(self._mending_session, self._next_sequence[0], 0, _SLOTS - 1, False)
            results, error = await self._connection.compound([head, *operations], timeout=self._call_timeout_s)
            if error is not None and error.operation == "SEQUENCE":
                raise ConnectionLost("the server forgot the session just made", "It was restarted.") from error
            self._next_sequence[0] += 1
            if error is None:
                return results[1:]
            if error.status not in _TRY_AGAIN:
                raise error
            await asyncio.sleep(_RETRY_S)

    async def _single(self, connection: Connection, operation: Op) -> Any:
        while True:
            results, error = await connection.compound([operation], timeout=self._call_timeout_s)
            if error is None:
                return results[0]
            if error.status not in _TRY_AGAIN:
                raise error
            await asyncio.sleep(_RETRY_S)
