"""A guest's heartbeat: when it was heard last, and whether it has fallen silent.

A guest counts as hung only after it has once been heard since its boot, so that neither booting nor a guest without the
program is taken for a hung one. And only such silence counts as the guest could have broken and this process have heard.
The socket is QEMU's (the other end of a virtio-serial port); its end says nothing about the guest.
"""

import asyncio
import contextlib
from pathlib import Path

from holdfast.ports import Clock

RECONNECT_S = 0.5
QUIET_S = 2.5
"""Silence after which it is worth asking whether the guest is booting: it beats each second or two."""
STEP_S = 3.5
"""Between two looks no more silence is counted than this, the longest that a look takes: beyond it this process stood still
itself, and with it, maybe, its node and the guest."""


class Heartbeat:
    """One guest. `heard()` is called by whoever hears it; with a `socket` it listens itself, until `close`."""

    def __init__(self, clock: Clock, hang_s: float, socket: Path | None = None) -> None:
        self._clock = clock
        self._hang_s = hang_s
        self._last: float | None = None
        self._looked = clock.now()
        self._task = asyncio.create_task(self._listen(socket)) if socket else None

    def heard(self) -> None:
        self._last = self._clock.now()

    def begin_anew(self) -> None:
        """It boots: silence is no sign until it is heard again."""
        self._last = None

    def go_on_from(self, earlier: "Heartbeat") -> None:
        """The same guest with other settings: what was heard of it counts."""
        self._last, self._looked = earlier._last, earlier._looked

    def look(self, *, could_beat: bool) -> None:
        """To be called each second or so. `could_beat`: its processor runs; the silence of a machine that stands does not
        count."""
        now = self._clock.now()
        passed, self._looked = now - self._looked, now
        if self._last is not None:
            self._last += max(0.0, passed - STEP_S) if could_beat else passed
            self._last = min(self._last, now)

    @property
    def quiet(self) -> bool:
        return self.silent_s() > QUIET_S

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
