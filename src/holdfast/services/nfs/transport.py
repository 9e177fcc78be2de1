"""One TCP connection to an NFS server: calls out, replies matched by their transaction number."""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Sequence
from typing import Any

from holdfast.errors import DriverError
from holdfast.services.nfs import ops, rpc
from holdfast.services.nfs.xdr import Unpacker


class ConnectionLost(DriverError):
    """The connection broke or stayed silent; whether calls under way took effect is unknown."""


class Connection:
    """Many calls may be under way at once. Once broken it stays broken: make a new one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, credential: rpc.Credential) -> None:
        self._reader = reader
        self._writer = writer
        self._credential = credential
        self._xids = itertools.count(int.from_bytes(os.urandom(3)))
        self._waiting: dict[int, asyncio.Future[Unpacker]] = {}
        self._broken: DriverError | None = None
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def open(cls, host: str, port: int, *, timeout: float, credential: rpc.Credential) -> "Connection":
        """Connect within `timeout` seconds. Raises ConnectionLost."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:  # TimeoutError is one
            why = "no answer" if isinstance(error, TimeoutError) else str(error)
            raise ConnectionLost(f"cannot connect to {host} port {port}: {why}", "Does the volume run?") from error
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(reader, writer, credential)

    @property
    def broken(self) -> bool:
        return self._broken is not None

    @property
    def local_ip(self) -> str:
        """The address this connection comes from."""
        return str(self._writer.get_extra_info("sockname")[0])

    async def call(self, procedure: int, body: bytes, *, timeout: float) -> Unpacker:
        """Results of one call. Raises ConnectionLost or RpcError. Silence for `timeout` seconds breaks the connection."""
        if self._broken is not None:
            raise self._broken
        xid = next(self._xids) & 0xFFFFFFFF
        future: asyncio.Future[Unpacker] = asyncio.get_running_loop().create_future()
        self._waiting[xid] = future
        credential = self._credential if procedure != rpc.PROC_NULL else None
        try:
            self._writer.write(rpc.call(xid, procedure, body, credential))
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            lost = ConnectionLost(f"the server did not answer for {timeout:g} s", "Does the volume run?")
            self._fail(lost)
            raise lost from None
        finally:
            self._waiting.pop(xid, None)

    async def compound(
        self, operations: Sequence[ops.Op], *, timeout: float
    ) -> tuple[list[Any], ops.NfsStatusError | None]:
        """Results of the operations up to the first that failed, and its error."""
        data = await self.call(rpc.PROC_COMPOUND, ops.compound(operations), timeout=timeout)
        return ops.compound_results(data, operations)

    async def _receive(self) -> None:
        records = rpc.RecordReader()
        try:
            while data := await self._reader.read(1 << 16):
                for record in records.feed(data):
                    self._deliver(*rpc.reply(record))
            self._fail(ConnectionLost("the server closed the connection", "It is being moved or restarted."))
        except OSError as error:
            self._fail(ConnectionLost(f"the connection broke: {error}", "The server is being moved or restarted."))
        except DriverError as error:
            self._fail(error)

    def _deliver(self, xid: int, result: Unpacker | rpc.RpcError) -> None:
        future = self._waiting.get(xid)
        if future is None or future.done():
            return
        if isinstance(result, Unpacker):
            future.set_result(result)
        else:
            future.set_exception(result)

    def _fail(self, error: DriverError) -> None:
        if self._broken is None:
            self._broken = error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._broken)
        self._writer.transport.abort()

    async def close(self) -> None:
        self._fail(ConnectionLost("the connection was closed"))
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
