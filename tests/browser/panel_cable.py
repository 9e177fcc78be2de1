"""The service address as clients see it: a relay that can fall silent as a node without power does."""

import asyncio
import socket
import struct
from contextlib import suppress


class Cable:
    """Relays TCP to the panel of one node at a time.

    After `silence()` nothing gets through and nothing is closed, as when a node loses its power. After `attach()` new
    connections reach the new node, and old ones are reset as soon as the client sends something, as the new owner of an
    address does with packets of connections it does not know.
    """

    def __init__(self, target: int) -> None:
        self._target: int | None = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    def silence(self) -> None:
        self._target = None

    def attach(self, target: int) -> None:
        self._target = target

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        target = self._target
        if target is None:
            return  # a connection into silence: it stays open and is never answered
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        self._writers.append(inner_writer)
        with suppress(OSError):
            await asyncio.gather(
                self._pump(reader, inner_writer, target, writer), self._pump(inner_reader, writer, target, None)
            )

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        target: int,
        client: asyncio.StreamWriter | None,
    ) -> None:
        """One direction. `client` is given for the direction from the client, whose connection may have to be reset."""
        while data := await reader.read(65536):
            if self._target == target:
                writer.write(data)
            elif self._target is not None and client is not None:
                sock = client.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.transport.abort()
                return
        if self._target == target:
            writer.close()
