"""The panel of a lab on the machine's own loopback, for a browser: 127.0.0.1:PORT → panel, out of the client's namespace."""

import asyncio
import socket
import threading
from contextlib import suppress

from holdfast.config import PANEL_PORT
from holdfast.lab import kernel

_CONNECT_S = 1.0
_CHUNK = 65536


class PanelForward:
    """Forwards connections in a thread of its own until `stop`. The first target that accepts gets the connection."""

    def __init__(self, port: int, netns: str, targets: list[str]) -> None:
        """Raises OSError if the port is taken."""
        self._netns, self._targets = netns, targets
        self._listener = socket.create_server(("127.0.0.1", port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lab-forward", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener))
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = await asyncio.to_thread(self._connect)
        if link is None:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=link)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def _connect(self) -> socket.socket | None:
        """Connect from inside the client's network namespace, which only a thread that ends afterwards may enter."""
        made: list[socket.socket] = []

        def inside() -> None:
            kernel.enter_netns(self._netns)
            for target in self._targets:
                with suppress(OSError):
                    made.append(socket.create_connection((target, PANEL_PORT), timeout=_CONNECT_S))
                    return

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return made[0] if made else None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError):
        writer.close()
