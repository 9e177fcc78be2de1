"""Carries calls to etcd: which endpoint, how long, what a failure means, and whether the endpoint still lives."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc

from holdfast.config import Tls
from holdfast.errors import HoldfastError, StoreRejected, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Clock
from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.connection import Connection, Endpoint, Metadata
from holdfast.store.etcd.lineage import Lineage
from holdfast.store.etcd.methods import AUTHENTICATE, STATUS, Method, Req, Res
from holdfast.store.etcd.outcomes import AGAIN, READ_AGAIN, Next, judge
from holdfast.store.etcd.pool import Pool

READ_TRY_S = 0.7
"""One attempt of a read; another endpoint is asked afterwards."""
ELECTION_GRACE_S = 0.1
"""What was proposed under a former leader is answered within this time after an election, or never."""
PULSE_S = 0.4
"""Period of the sign of life that is asked of the endpoint in use."""
PULSE_HURRY_S = 0.1
"""The same while a call is slow or there is no leader."""
PULSE_TRY_S = 0.4
"""A sign of life that takes longer was missed."""
SLOW_S = 0.15
"""A call that takes longer makes the pulse hurry."""
LATE_S = 0.1
"""When this process itself was stopped or starved for longer, a missed sign of life says nothing."""
LEADERLESS_S = 1.5
"""A member without leader for this time is left: it may be cut off from the others."""
TIMEOUTS = 3
"""Calls in a row without an answer before an endpoint that gives signs of life is left."""
LONE_MISSES = 3
"""Signs of life missed in a row before the only endpoint is reconnected."""


_NO_TOKEN = "-"  # noqa: S105 - stands for: etcd's authentication is off


class _Moved(Exception):
    """The connection was given up, or a leader was elected, while a call was under way."""


async def settle(task: "asyncio.Future[Any]") -> None:
    """Cancel the task unless it is done, wait for its end, and take note of its error so that nobody complains."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


class Engine:
    """What EtcdStore and EtcdAdmin share: connection, token, lineage, pulse."""

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: Tls | None,
        clock: Clock,
        *,
        username: str = "",
        password: str = "",
        spread: str = "",
        cluster_id: int | None = None,
    ) -> None:
        self.clock = clock
        self.lineage = Lineage(cluster_id)
        self.pool = Pool(endpoints, tls, clock, self._greet, spread)
        self._username = username
        self._password = password
        self._token = ""
        self._tls = tls
        self._token_lock = asyncio.Lock()
        self._leaderless_since: float | None = None
        self._hurry = asyncio.Event()
        self._slow = 0
        self._pulse_task: asyncio.Task[None] | None = None

    async def call(
        self,
        method: Method[Req, Res],
        request: Req,
        *,
        what: str,
        timeout: float,
        write: bool = False,
        linear: bool = True,
    ) -> Res:
        """One call within `timeout` seconds. Reads go to another endpoint when one fails; a write that may have been
        sent is never sent twice. `linear`: the answer passes through the leader, so its revision must not go back."""
        deadline = self.clock.now() + timeout
        renewed = False
        error: HoldfastError = StoreUnavailable(f"the store did not answer in {timeout:g} s to {what}", AGAIN)
        while (left := deadline - self.clock.now()) > 0:
            connection = await self.connection(deadline, what)
            metadata = await self.metadata(connection, left)
            mark, started = self.lineage.mark(), self.clock.now()
            attempt_s = left if write or self.pool.alone else min(left, READ_TRY_S)
            try:
                response = await self._attempt(connection, method, request, attempt_s, metadata)
            except _Moved as moved:
                if write:
                    raise StoreUnknownOutcome(f"no answer when asked to {what} ({moved})", READ_AGAIN) from None
                error = StoreUnavailable(f"could not {what} ({moved})", AGAIN)
                continue
            except grpc.aio.AioRpcError as failed:
                failure = judge(failed, what, write=write)
                if "leader changed" in (failed.details() or ""):
                    self.lineage.election_noticed()
                if failure.blame:
                    self._blame(connection, failed, attempt_s, started)
                if failure.next is Next.RENEW and not renewed and self._username:
                    renewed, self._token = True, ""
                    continue
                if failure.next is not Next.RETRY:
                    raise failure.error from failed
                error = failure.error
                if not failure.blame:
                    await self.clock.sleep(min(0.02, max(0.0, deadline - self.clock.now())))
                continue
            if linear:
                self.lineage.accept(mark, response.header)
            else:
                self.lineage.check(response.header)
            connection.timeouts = 0
            return response
        raise error

    def _blame(self, connection: Connection, error: grpc.aio.AioRpcError, attempt_s: float, started: float) -> None:
        """Leave the endpoint, unless it only was slow while it gave signs of life, as in an election."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            connection.timeouts += 1
            if attempt_s < SLOW_S or (connection.heard >= started and connection.timeouts < TIMEOUTS):
                return
        self.pool.fail(connection, error.details() or "the call failed")

    async def call_at(self, url: str, method: Method[Req, Res], request: Req, *, what: str, timeout: float) -> Res:
        """One call to this very endpoint, whether it is in the list or not, over a connection of its own."""
        connection = Connection(Endpoint(url), self._tls)
        try:
            async with self.clock.timeout(timeout):
                await connection.open()
                metadata = await self.metadata(connection, timeout)
                response = await connection.call(method, request, timeout, metadata)
        except TimeoutError:
            raise StoreUnknownOutcome(
                f"{url} did not answer in {timeout:g} s when asked to {what}", READ_AGAIN
            ) from None
        except grpc.aio.AioRpcError as error:
            raise judge(error, what, write=True).error from error
        finally:
            await connection.close()
        self.lineage.check(response.header)
        return response

    async def connection(self, deadline: float, what: str) -> Connection:
        if self._pulse_task is None and not self.pool.closed:
            self._pulse_task = asyncio.ensure_future(self._pulse())
        return await self.pool.acquire(deadline, what)

    async def _attempt(
        self, connection: Connection, method: Method[Req, Res], request: Req, timeout: float, metadata: Metadata
    ) -> Res:
        """Raises AioRpcError, or _Moved as soon as waiting on has no sense."""
        election = self.lineage.election()
        task = asyncio.ensure_future(connection.call(method, request, timeout, metadata))
        slow = False
        try:
            ends: set[asyncio.Future[Any]] = {task, connection.lost}
            waits = ends | {election}
            done, _ = await asyncio.wait(waits, timeout=min(timeout, SLOW_S), return_when=asyncio.FIRST_COMPLETED)
            if not done:
                slow = True
                self._slow += 1
                self._hurry.set()
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not connection.lost.done():
                await asyncio.wait(ends, timeout=ELECTION_GRACE_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Moved(connection.lost.result() if connection.lost.done() else "a new leader was elected")
            return task.result()
        finally:
            self._slow -= slow
            await settle(task)

    # --- who we are ---

    async def metadata(self, connection: Connection, timeout: float) -> Metadata:
        """The token that etcd's own authentication wants, if a user is configured. Raises StoreError."""
        if not self._username:
            return ()
        async with self._token_lock:
            if not self._token:
                self._token = await self._authenticate(connection, timeout)
        return self._held_token()

    def _held_token(self) -> Metadata:
        return (("token", self._token),) if self._token not in ("", _NO_TOKEN) else ()

    def forget_token(self) -> None:
        self._token = ""

    @property
    def has_user(self) -> bool:
        return bool(self._username)

    async def _authenticate(self, connection: Connection, timeout: float) -> str:
        request = pb.AuthenticateRequest(name=self._username, password=self._password)
        try:
            return (await self._attempt(connection, AUTHENTICATE, request, timeout, ())).token
        except _Moved as moved:
            raise StoreUnavailable(f"could not authenticate ({moved})", AGAIN) from None
        except grpc.aio.AioRpcError as error:
            if "authentication is not enabled" in (error.details() or ""):
                return _NO_TOKEN
            failure = judge(error, f"authenticate as {self._username!r}", write=False)
            if failure.blame:
                self.pool.fail(connection, str(failure.error))
            raise failure.error from error

    async def _greet(self, connection: Connection) -> None:
        """Look at a fresh connection: whose cluster is it, and can the member serve? Nothing is written before that."""
        try:
            status = await connection.call(STATUS, pb.StatusRequest(), 5.0, ())
        except grpc.aio.AioRpcError as error:
            failure = judge(error, "ask for the store's status", write=False)
            if isinstance(failure.error, StoreRejected):
                return  # newer versions answer only known users; the first call will tell
            raise failure.error from error
        self.lineage.check(status.header)
        if status.is_learner:
            raise StoreUnavailable(f"the store member at {connection.endpoint.url} still learns", AGAIN)
        self._note(status)

    # --- signs of life ---

    async def _pulse(self) -> None:
        """Notice an endpoint that is dead, frozen or cut off, though its connection stands, and elections."""
        while not self.pool.closed:
            if self._slow or self._leaderless_since is not None:
                await self.clock.sleep(PULSE_HURRY_S)
            else:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    async with self.clock.timeout(PULSE_S):
                        await self._hurry.wait()
            connection = self.pool.current
            if connection is not None and connection.ready:
                await self._beat(connection)
                await self.pool.go_home()

    async def _beat(self, connection: Connection) -> None:
        metadata = self._held_token()
        started = self.clock.now()
        try:
            status = await connection.call(STATUS, pb.StatusRequest(), PULSE_TRY_S, metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                if self.clock.now() - started <= PULSE_TRY_S + LATE_S:
                    connection.misses += 1
                    if not self.pool.alone or connection.misses >= LONE_MISSES:
                        self.pool.fail(connection, f"no sign of life in {PULSE_TRY_S:g} s")
            elif error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                self.pool.fail(connection, error.details() or "connection lost")
            return
        try:
            self.lineage.check(status.header)
        except StoreRejected as error:
            self.pool.fail(connection, error.message)
            return
        connection.misses, connection.heard = 0, self.clock.now()
        self._note(status)
        since = self._leaderless_since
        if since is not None and self.clock.now() - since > LEADERLESS_S and not self.pool.alone:
            self._leaderless_since = None
            self.pool.fail(connection, "the member has no leader")

    def _note(self, status: pb.StatusResponse) -> None:
        if status.leader:
            self._leaderless_since = None
            self.lineage.leader_seen(status.raft_term)
        elif self._leaderless_since is None:
            self._leaderless_since = self.clock.now()

    async def close(self) -> None:
        if self._pulse_task is not None:
            self._pulse_task.cancel()
            await asyncio.wait({self._pulse_task})
        await self.pool.close()
