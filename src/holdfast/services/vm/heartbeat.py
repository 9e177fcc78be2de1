"""A guest's heartbeat: when it was heard last, and whether it has fallen silent.

A guest counts as hung only after it has once been heard, so that neither booting nor a guest without the program is taken
for a hung one. The socket is QEMU's (the other end of a virtio-serial port); its end says nothing about the guest.
"""

import asyncio
import contextlib
from pathlib import Path

from holdfast.ports import Clock

RECONNECT_S = 0.5


class Heartbeat:
    """One guest. `heard()` is called by whoever hears it; with a `socket` it listens itself, until `close`."""

    def __init__(self, clock: Clock, hang_s: float, socket: Path | None = None) -> None:
        self._clock = clock
        self._hang_s = hang_s
        self._last: float | None = None
        self._task = asyncio.create_task(self._listen(socket)) if socket else None

    def heard(self) -> None:
        self._last = self._clock.now()

    def begin_anew(self) -> None:
        """It boots: silence is no sign until it is heard again."""
        self._last = None

    @property
    def alive(self) -> bool:
        """It was heard, and not long ago."""
        return self._last is not None and self.silent_s() <= self._hang_s

    @property
    def hung(self) -> bool:
        return self._last is not None and self.silent_s() > self._hang_s

    def silent_s(self) -> float:
        return self._clock.now() - self._last if self._last is not None else 0.0

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, socket: Path) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError):
                reader, writer = await asyncio.open_unix_connection(socket)
                try:
                    while await reader.read(4096):
                        self.heard()
                finally:
                    writer.close()
            await self._clock.sleep(RECONNECT_S)
