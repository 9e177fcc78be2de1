"""A store's client that measures how long its calls take."""

from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from holdfast.errors import StoreError
from holdfast.ports import Clock, Compare, Entry, Op, Snapshot, Store, TxnResult, WatchBatch

T = TypeVar("T")

BOUNDS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
QUEUE = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""Bounds of how many transactions are under way when another one begins."""
RECENT = 40
"""So many transactions are remembered one by one."""
ENOUGH = 10
"""So many are needed for a word about their length."""


@dataclass(slots=True)
class Histogram:
    """How many values were at most each bound, and larger than all of them. By default of seconds."""

    bounds: Sequence[float] = BOUNDS_S
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class MeasuredStore:
    """Port Store, through another one."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=RECENT)
        self.durations: dict[tuple[str, str], Histogram] = {}
        """(Operation, result) → how long it took. Results: ok, failed (no answer, or an unknown one), and of transactions
        refused (what they compare has changed)."""
        self.pending = 0
        """Transactions that are under way."""
        self.queue = Histogram(QUEUE)
        """So many there were whenever another one began."""

    def forget(self) -> None:
        """What counts as recent begins now."""
        self._recent.clear()

    def latency_s(self) -> tuple[float, float] | None:
        """Median and worst of the recent transactions; None: too few."""
        return (median(self._recent), max(self._recent)) if len(self._recent) >= ENOUGH else None

    async def _timed(self, operation: str, call: Awaitable[T]) -> T:
        began, result = self._clock.now(), "failed"
        try:
            answer = await call
            result = "refused" if isinstance(answer, TxnResult) and not answer.succeeded else "ok"
            return answer
        except StoreError:
            raise
        except BaseException:
            result = ""  # cancelled: it says nothing about the store
            raise
        finally:
            if result:
                self._note(operation, result, self._clock.now() - began)

    def _note(self, operation: str, result: str, seconds: float) -> None:
        self.durations.setdefault((operation, result), Histogram()).add(seconds)
        if operation == "txn":
            self._recent.append(seconds)

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        self.queue.add(self.pending)
        self.pending += 1
        try:
            return await self._timed("txn", self._store.txn(compare, then, otherwise, timeout=timeout))
        finally:
            self.pending -= 1

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        return await self._timed("get", self._store.get(key, timeout=timeout))

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        return await self._timed("list", self._store.list(prefix, timeout=timeout))

    def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        return self._store.watch(prefix)

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        return await self._timed("lease", self._store.lease(ttl_s, timeout=timeout))

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        return await self._timed("lease", self._store.keep_alive(lease, timeout=timeout))

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None:
        await self._timed("lease", self._store.revoke(lease, timeout=timeout))

    async def close(self) -> None:
        await self._store.close()
