"""Which endpoint is used: this node's own member if it has one, else the same one as long as it is good, then the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from zlib import crc32

from holdfast.config import Tls
from holdfast.errors import ConfigError, HoldfastError, StoreRejected, StoreUnavailable
from holdfast.ports import Clock
from holdfast.store.etcd.connection import Connection, Endpoint
from holdfast.store.etcd.outcomes import AGAIN

CONNECT_S = 0.5
"""Bound for one endpoint in a round of attempts; it grows with each round, for slow networks."""
CONNECT_MAX_S = 2.0
AVOID_S = 2.0
"""An endpoint that failed comes last for this time."""
SUSPECT_S = 10.0
"""The same for an endpoint whose node is believed dead."""
ROUND_PAUSE_S = 0.1
HOME_S = 5.0
"""How often a client that uses another node's member tries to come back to that of its own node."""
HANDOVER_S = 1.0
"""Calls under way over a good connection are given this time to end before it is closed."""

Greeting = Callable[[Connection], Awaitable[None]]


class Pool:
    """Holds at most one connection in use. `greet` looks at a new connection before anybody uses it and raises what
    speaks against it. `spread` makes clients begin at different endpoints."""

    def __init__(self, endpoints: Sequence[str], tls: Tls | None, clock: Clock, greet: Greeting, spread: str) -> None:
        self._tls = tls
        self._clock = clock
        self._greet = greet
        self._spread = spread
        self._endpoints: list[Endpoint] = []
        self._old: set[Connection] = set()
        self._round: asyncio.Task[Connection | list[HoldfastError]] | None = None
        self._rounds_failed = 0
        self._home_at = 0.0
        self.current: Connection | None = None
        self.closed = False
        self.update(endpoints)

    @property
    def alone(self) -> bool:
        return len(self._endpoints) == 1

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(endpoint.url for endpoint in self._endpoints)

    def update(self, urls: Sequence[str]) -> None:
        """Use these endpoints from now on. A connection to one that is no longer listed is given up."""
        if not urls:
            raise ConfigError("the list of store endpoints is empty", "Name at least one, https://ADDRESS:PORT.")
        known = {endpoint.url: endpoint for endpoint in self._endpoints}
        self._endpoints = [known.get(url) or Endpoint(url) for url in dict.fromkeys(urls)]
        if self.current is not None and self.current.endpoint not in self._endpoints:
            self.drop(self.current, "the endpoint was removed from the list")

    def suspect(self, host: str) -> None:
        """The node at this address is believed dead: let go of it and come back to it last."""
        for endpoint in self._endpoints:
            if endpoint.host == host:
                endpoint.avoid_until = max(endpoint.avoid_until, self._clock.now() + SUSPECT_S)
        if self.current is not None and self.current.endpoint.host == host and not self.alone:
            self.drop(self.current, f"the node at {host} is suspect")

    def fail(self, connection: Connection, reason: str) -> None:
        """The endpoint did not do its work; others come first for a while."""
        endpoint = connection.endpoint
        endpoint.avoid_until = max(endpoint.avoid_until, self._clock.now() + AVOID_S)
        self.drop(connection, reason)

    def drop(self, connection: Connection, reason: str) -> None:
        if connection is self.current:
            self.current = None
        self._old = {old for old in self._old if not old.closed}
        self._old.add(connection)
        connection.drop(reason)

    async def acquire(self, deadline: float, what: str) -> Connection:
        """The connection in use, or a new one. Raises StoreUnavailable at the deadline (nothing was sent then), and
        StoreRejected as soon as every endpoint refuses us."""
        last: HoldfastError = StoreUnavailable(f"no store endpoint answered in time to {what}", AGAIN)
        while True:
            if self.closed:
                raise StoreUnavailable(f"could not {what}: this client is closed", "")
            if self.current is not None and self.current.ready:
                return self.current
            if self.current is not None:
                self.drop(self.current, "the connection broke")
            left = deadline - self._clock.now()
            if left <= 0:
                raise last
            if self._round is None:
                self._round = asyncio.ensure_future(self._connect())
            attempt = self._round
            await asyncio.wait({attempt}, timeout=left)
            if not attempt.done() or attempt.cancelled():
                continue
            outcome = attempt.result()
            if isinstance(outcome, Connection):
                continue
            last = outcome[-1]
            if all(isinstance(error, StoreRejected) for error in outcome):
                raise last
            last = next(error for error in outcome if not isinstance(error, StoreRejected))
            await self._clock.sleep(max(0.0, min(ROUND_PAUSE_S, deadline - self._clock.now())))

    async def go_home(self) -> None:
        """Change over to this node's own member, if there is one that works and it is not in use. Called all the time."""
        now, old = self._clock.now(), self.current
        if old is None or old.endpoint.local or now < self._home_at:
            return
        self._home_at = now + HOME_S
        for endpoint in self._endpoints:
            if endpoint.local and endpoint.avoid_until <= now:
                outcome = await self._try(endpoint, CONNECT_S)
                if not isinstance(outcome, Connection):
                    continue
                if self.current is old and not self.closed:
                    self.current = outcome
                    asyncio.get_running_loop().call_later(HANDOVER_S, self.drop, old, "this node's own member is used")
                else:
                    self.drop(outcome, "another connection was made meanwhile")
                return

    async def _connect(self) -> Connection | list[HoldfastError]:
        """One round through all endpoints, best first."""
        try:
            bound = min(CONNECT_MAX_S, CONNECT_S * (1 + self._rounds_failed))
            errors: list[HoldfastError] = []
            for endpoint in self._order():
                outcome = await self._try(endpoint, bound)
                if isinstance(outcome, Connection):
                    self._rounds_failed = 0
                    self.current = outcome
                    return outcome
                errors.append(outcome)
            self._rounds_failed += 1
            return errors
        finally:
            self._round = None

    def _order(self) -> list[Endpoint]:
        now = self._clock.now()
        first = crc32(self._spread.encode()) % len(self._endpoints) if self._spread else 0
        turned = self._endpoints[first:] + self._endpoints[:first]
        return sorted(turned, key=lambda e: (e.avoid_until if e.avoid_until > now else 0.0, not e.local))

    async def _try(self, endpoint: Endpoint, bound: float) -> Connection | HoldfastError:
        try:
            connection = Connection(endpoint, self._tls)
        except HoldfastError as error:
            return error
        self._old.add(connection)
        try:
            async with self._clock.timeout(bound):
                await connection.open()
                await self._greet(connection)
        except TimeoutError:
            self.fail(connection, "no answer")
            return StoreUnavailable(f"cannot connect to the store at {endpoint.url} (no answer in {bound:g} s)", AGAIN)
        except HoldfastError as error:
            self.fail(connection, str(error))
            return error
        except BaseException:
            self.drop(connection, "cancelled")
            raise
        return connection

    async def close(self) -> None:
        self.closed = True
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait({self._round})
        if self.current is not None:
            self._old.add(self.current)
            self.current = None
        if self._old:
            await asyncio.gather(*(connection.close() for connection in self._old))
