"""The Store port over etcd 3.4 and newer."""

from collections.abc import AsyncGenerator, Sequence

from holdfast.clock import SystemClock
from holdfast.config import Tls
from holdfast.errors import StoreLeaseGone
from holdfast.ports import Clock, Compare, Delete, Entry, Op, Put, Snapshot, TxnResult, WatchBatch
from holdfast.store.checks import check_key, check_txn, writes
from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.engine import Engine
from holdfast.store.etcd.methods import LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, RANGE, TXN
from holdfast.store.etcd.watch import follow
from holdfast.store.etcd.wire import entry_of, prefix_end

DEFAULT_TIMEOUT_S = 2.0


class EtcdStore:
    """Linearizable store with compare-and-swap (implements ports.Store). Errors and outcomes: see the port.

    The first cluster it speaks to is its cluster for life (or the one with `cluster_id`): another one at the same
    addresses is refused with StoreRejected. A member on this very node is preferred; else `spread` (say, the node's id)
    makes clients begin at different endpoints.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: Tls | None,
        *,
        clock: Clock | None = None,
        prefix: str = "/holdfast/",
        username: str = "",
        password: str = "",
        spread: str = "",
        cluster_id: int | None = None,
        default_timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Must be made inside a running event loop. Raises ConfigError for endpoints that are not URLs."""
        self.engine = Engine(
            endpoints,
            tls,
            clock or SystemClock(),
            username=username,
            password=password,
            spread=spread,
            cluster_id=cluster_id,
        )
        self._prefix = prefix
        self._default_timeout_s = default_timeout_s

    # --- the port ---

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None:
        check_key(key)
        request = pb.RangeRequest(key=self._key(key))
        response = await self.engine.call(RANGE, request, what=f"read {key}", timeout=self._limit(timeout))
        return entry_of(response.kvs[0], self._prefix) if response.kvs else None

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot:
        key = self._key(prefix)
        request = pb.RangeRequest(key=key, range_end=prefix_end(key))
        response = await self.engine.call(RANGE, request, what=f"list {prefix}", timeout=self._limit(timeout))
        return Snapshot(tuple(entry_of(kv, self._prefix) for kv in response.kvs), response.header.revision)

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        check_txn(compare, then, otherwise)
        request = pb.TxnRequest(
            compare=[
                pb.Compare(
                    result=pb.Compare.EQUAL,
                    target=pb.Compare.MOD,
                    key=self._key(comparison.key),
                    mod_revision=comparison.mod_revision,
                )
                for comparison in compare
            ],
            success=[self._op(op) for op in then],
            failure=[self._op(op) for op in otherwise],
        )
        what = "write " + ", ".join(op.key for op in then if isinstance(op, Put | Delete))[:80]
        response = await self.engine.call(
            TXN, request, what=what, timeout=self._limit(timeout), write=writes(then, otherwise)
        )
        gets: dict[str, Entry | None] = {}
        for op, part in zip(then if response.succeeded else otherwise, response.responses, strict=True):
            if part.WhichOneof("response") == "response_range":
                kvs = part.response_range.kvs
                gets[op.key] = entry_of(kvs[0], self._prefix) if kvs else None
        return TxnResult(response.succeeded, response.header.revision, gets)

    def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        return follow(self.engine, lambda: self.list(prefix), self._key(prefix), self._prefix)

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        response = await self.engine.call(
            LEASE_GRANT, request, what="grant a lease", timeout=self._limit(timeout), write=True, linear=False
        )
        return response.ID

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        # A renewal may be sent twice without harm, so that it may be tried at several endpoints like a read.
        request = pb.LeaseKeepAliveRequest(ID=lease)
        response = await self.engine.call(
            LEASE_KEEP_ALIVE, request, what="renew a lease", timeout=self._limit(timeout), linear=False
        )
        return response.TTL > 0

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None:
        request = pb.LeaseRevokeRequest(ID=lease)
        try:
            await self.engine.call(
                LEASE_REVOKE, request, what="revoke a lease", timeout=self._limit(timeout), write=True, linear=False
            )
        except StoreLeaseGone:
            return

    async def close(self) -> None:
        await self.engine.close()

    # --- beyond the port ---

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self.engine.pool.urls

    @property
    def endpoint(self) -> str:
        """The endpoint in use; "" while there is no connection."""
        connection = self.engine.pool.current
        return connection.endpoint.url if connection is not None else ""

    @property
    def cluster_id(self) -> int | None:
        """The id of the cluster this client belongs to, once it has spoken to it."""
        return self.engine.lineage.cluster_id

    def update_endpoints(self, endpoints: Sequence[str]) -> None:
        """Use these from now on, e.g. after members were added or removed."""
        self.engine.pool.update(endpoints)

    def prefer_not(self, host: str) -> None:
        """The caller believes the node at this address dead: calls and watches leave it at once, and for ten seconds it
        is tried last. A hint only; if nothing else answers it is still used."""
        self.engine.pool.suspect(host)

    # --- inside ---

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    def _limit(self, timeout: float | None) -> float:
        return self._default_timeout_s if timeout is None else timeout

    def _op(self, op: Op) -> pb.RequestOp:
        if isinstance(op, Put):
            return pb.RequestOp(request_put=pb.PutRequest(key=self._key(op.key), value=op.value, lease=op.lease))
        if isinstance(op, Delete):
            return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=self._key(op.key)))
        return pb.RequestOp(request_range=pb.RangeRequest(key=self._key(op.key)))
