"""One connection to one endpoint."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic
from urllib.parse import urlsplit

import grpc

from holdfast.config import Tls
from holdfast.errors import ConfigError, StoreRejected
from holdfast.store.etcd import rpc_pb2 as pb
from holdfast.store.etcd.methods import STATUS, Method, Req, Res
from holdfast.store.etcd.outcomes import judge_connection

Metadata = tuple[tuple[str, str], ...]

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # A new connection must not inherit the back-off of a former one to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
LINGER_S = 0.2
"""Users of a lost connection are given this time to let go before its channel is closed under them."""


class Endpoint:
    """A store endpoint and what is known against it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.port:
            raise ConfigError(f"{url!r} is not a store endpoint", "Write https://ADDRESS:PORT.")
        self.url = url
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        kind = "ipv6" if ":" in self.host else "ipv4" if self.host.replace(".", "").isdigit() else "dns"
        place = f"[{self.host}]:{parts.port}" if kind == "ipv6" else f"{self.host}:{parts.port}"
        self.target = f"dns:///{place}" if kind == "dns" else f"{kind}:{place}"
        self.local = kind != "dns" and _is_own(self.host)
        """A member on this very node: it dies only together with those who use it, so they need never notice."""
        self.avoid_until = 0.0
        """CLOCK_BOOTTIME; others are tried first until then."""


class Connection:
    """An open channel. `lost` is done once it must not be used any more; its result says why."""

    def __init__(self, endpoint: Endpoint, tls: Tls | None) -> None:
        self.endpoint = endpoint
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.misses = 0
        """Signs of life missed in a row."""
        self.heard = 0.0
        """CLOCK_BOOTTIME of the last sign of life."""
        self.timeouts = 0
        """Calls in a row that were not answered in time."""
        self._calls: dict[Method[Any, Any], Any] = {}
        self._closing: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None
        if endpoint.secure:
            credentials = _credentials(endpoint, tls)
            self._channel = grpc.aio.secure_channel(endpoint.target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(endpoint.target, options=_OPTIONS)

    async def open(self) -> None:
        """Returns when the connection stands. Raises StoreUnavailable or StoreRejected; bounded by the caller."""
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                raise judge_connection(await self._why(), self.endpoint.url)
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        self._guard = asyncio.ensure_future(self._notice_break())

    async def _notice_break(self) -> None:
        await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        self.drop("the connection broke")

    @property
    def ready(self) -> bool:
        """False once the connection broke. gRPC would make a new one by itself, to whatever answers there by then."""
        return not self.lost.done() and self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def _why(self) -> str:
        """A channel tells why it failed only through a call."""
        try:
            await self.call(STATUS, pb.StatusRequest(), 0.5, ())
        except grpc.aio.AioRpcError as error:
            return error.details() or ""
        return "it came back"

    async def call(self, method: Method[Req, Res], request: Req, timeout: float, metadata: Metadata) -> Res:
        """One request, one response. Raises grpc.aio.AioRpcError."""
        if not method.streaming:
            with _broken_is_an_error():
                response: Res = await self._start(method)(request, timeout=timeout, metadata=metadata)
                return response
        stream = self.stream(method, metadata, timeout)
        try:
            await stream.write(request)
            message = await stream.read()
        finally:
            stream.cancel()
        if message is None:
            raise _failure(grpc.StatusCode.UNAVAILABLE, "the stream ended")
        return message

    def stream(self, method: Method[Req, Res], metadata: Metadata, timeout: float | None = None) -> "Stream[Req, Res]":
        """Messages both ways until `timeout` seconds have passed. Raises grpc.aio.AioRpcError."""
        with _broken_is_an_error():
            return Stream(self._start(method)(timeout=timeout, metadata=metadata))

    def _start(self, method: Method[Req, Res]) -> Any:
        """The callable for a method (grpc.aio's multi-callables are not typed)."""
        found = self._calls.get(method)
        if found is None:
            kind = self._channel.stream_stream if method.streaming else self._channel.unary_unary
            found = self._calls[method] = kind(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,  # type: ignore[attr-defined]
            )
        return found

    def drop(self, reason: str, linger_s: float = LINGER_S) -> None:
        """Nobody shall use it any more; those who do are told through `lost`."""
        if not self.lost.done():
            self.lost.set_result(reason)
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close_later(linger_s))

    @property
    def closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    async def close(self) -> None:
        self.drop("closed", linger_s=0.01)
        assert self._closing is not None
        await self._closing

    async def _close_later(self, linger_s: float) -> None:
        await asyncio.sleep(linger_s)
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.wait({self._guard})
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._channel.close()


class Stream(Generic[Req, Res]):
    """A call with messages both ways."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, message: Req) -> None:
        """Waits for room in the connection; that of a dead one never comes. What was written to a stream that ended is
        lost: reading tells why it ended. Raises grpc.aio.AioRpcError."""
        with contextlib.suppress(asyncio.InvalidStateError), _broken_is_an_error():
            await self._call.write(message)

    async def read(self) -> Res | None:
        """The next message; None once the server ended the stream. Raises grpc.aio.AioRpcError."""
        with _broken_is_an_error():
            message = await self._call.read()
        return None if message is grpc.aio.EOF else message

    def cancel(self) -> None:
        self._call.cancel()


@contextlib.contextmanager
def _broken_is_an_error() -> Iterator[None]:
    """A channel that is closed cancels its calls, and gRPC raises CancelledError in whoever awaits one or asks it anything
    later. asyncio takes that for the end of the awaiting task: task groups ignore it, and a loop that was to run for ever
    is gone without a word. Here it is an error of the call, unless the task itself was cancelled."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _failure(grpc.StatusCode.CANCELLED, "the connection was given up") from None
    except grpc.aio.UsageError:
        raise _failure(grpc.StatusCode.UNAVAILABLE, "the connection was given up") from None


def _failure(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def _is_own(address: str) -> bool:
    """Whether the address is one of this machine's own: only then a socket can be bound to it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _credentials(endpoint: Endpoint, tls: Tls | None) -> grpc.ChannelCredentials:
    """Read anew for each connection, so that renewed certificates are used."""
    if tls is None:
        raise StoreRejected(
            f"no certificate is configured for {endpoint.url}", "Set ca, cert and key in node.toml [tls]."
        )
    try:
        ca = Path(tls.ca).read_bytes()
        cert = Path(tls.cert).read_bytes() if tls.cert else None
        key = Path(tls.key).read_bytes() if tls.key else None
    except OSError as error:
        raise StoreRejected(f"a certificate file cannot be read: {error}", "Check node.toml [tls].") from error
    return grpc.ssl_channel_credentials(ca, key, cert)
