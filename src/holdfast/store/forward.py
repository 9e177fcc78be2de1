"""A store's client that notices when the store goes back in time: somebody restored it from a backup under running daemons.

Watches tell that too (`Mirror.on_regress`), but may be late or silent; a daemon's own transactions are linearizable, so that
each must show at least the revision that was known before it was sent.
"""

from collections.abc import AsyncGenerator, Callable, Sequence

from holdfast.errors import StoreUnknownOutcome
from holdfast.ports import Compare, Entry, Op, Snapshot, Store, TxnResult, WatchBatch
from holdfast.store.mirror import WENT_BACK


class ForwardStore:
    """Port Store, through another one. `on_regress` is called before the answer of an older store is told to anybody."""

    def __init__(self, store: Store, on_regress: Callable[[], None]) -> None:
        self._store = store
        self._on_regress = on_regress
        self._known = 0
        """The highest revision seen, by whatever call."""

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        known = self._known  # what others learn while this one is under way says nothing about it
        result = await self._store.txn(compare, then, otherwise, timeout=timeout)
        if result.revision < known:
            self._known = result.revision
            self._on_regress()
            raise StoreUnknownOutcome(WENT_BACK)
        self._known = max(self._known, result.revision)
        return result

    async def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        async for batch in self._store.watch(prefix):
            self._known = max(self._known, batch.revision)
            yield batch

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        return await self._store.get(key, timeout=timeout)

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        return await self._store.list(prefix, timeout=timeout)

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        return await self._store.lease(ttl_s, timeout=timeout)

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        return await self._store.keep_alive(lease, timeout=timeout)

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None:
        await self._store.revoke(lease, timeout=timeout)

    async def close(self) -> None:
        await self._store.close()
