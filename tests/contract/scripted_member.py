"""A store member that does what a test tells it, over real gRPC: lag behind, lose a watch, let calls hang."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.methods import RANGE, STATUS, WATCH, Method


class ScriptedMember:
    """Holds one key that is written anew with each revision."""

    def __init__(self, key: str, revision: int) -> None:
        self._key = key.encode()
        self.revision = revision
        self.lag = 0
        """So many revisions a watch does not know of yet."""
        self.lose = 0
        """So many more watches deliver nothing, though they give signs of life."""
        self.hang: set[Method[Any, Any]] = set()
        """Methods that are not answered."""
        self.delay_s = 0.0
        """Each answer is so late."""
        self.calls: Counter[Method[Any, Any]] = Counter()
        self.url = ""
        self._released = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serve(self, host: str) -> AsyncIterator[None]:
        server = grpc.aio.server()
        handlers: dict[Method[Any, Any], Any] = {
            RANGE: grpc.unary_unary_rpc_method_handler(self._range, *_codec(RANGE)),
            STATUS: grpc.unary_unary_rpc_method_handler(self._status, *_codec(STATUS)),
            WATCH: grpc.stream_stream_rpc_method_handler(self._watch, *_codec(WATCH)),
        }
        for method, handler in handlers.items():
            _, service, name = method.path.split("/")
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        self.url = f"http://{host}:{server.add_insecure_port(f'{host}:0')}"
        await server.start()
        try:
            yield
        finally:
            self._released.set()
            await server.stop(None)

    def _header(self, revision: int) -> pb.ResponseHeader:
        return pb.ResponseHeader(cluster_id=1, member_id=1, revision=revision, raft_term=2)

    def _entry(self, revision: int) -> pb.KeyValue:
        return pb.KeyValue(key=self._key, value=b"%d" % revision, mod_revision=revision, create_revision=1)

    async def _arrived(self, method: Method[Any, Any]) -> None:
        self.calls[method] += 1
        if method in self.hang:
            await self._released.wait()
        await asyncio.sleep(self.delay_s)

    async def _range(self, request: pb.RangeRequest, _context: object) -> pb.RangeResponse:
        await self._arrived(RANGE)
        return pb.RangeResponse(header=self._header(self.revision), kvs=[self._entry(self.revision)], count=1)

    async def _status(self, _request: pb.StatusRequest, _context: object) -> pb.StatusResponse:
        await self._arrived(STATUS)
        return pb.StatusResponse(header=self._header(self.revision), leader=1, raft_term=2, version="3.4.23")

    async def _watch(
        self, requests: AsyncIterator[pb.WatchRequest], _context: object
    ) -> AsyncIterator[pb.WatchResponse]:
        await self._arrived(WATCH)
        async for request in requests:
            known = self.revision - self.lag
            if request.WhichOneof("request_union") != "create_request":
                yield pb.WatchResponse(header=self._header(known), watch_id=-1)
                continue
            yield pb.WatchResponse(header=self._header(known), created=True)
            first = request.create_request.start_revision
            events = [pb.Event(kv=self._entry(revision)) for revision in range(first, known + 1)]
            if self.lose:
                self.lose -= 1
            elif events:
                yield pb.WatchResponse(header=self._header(known), events=events)


def _codec(method: Method[Any, Any]) -> tuple[Any, Any]:
    return method.request.FromString, method.response.SerializeToString
