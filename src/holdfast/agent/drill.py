"""What a drill asks of this node: write to the shared storage and read it back, or end the process of a test instance."""

import asyncio
import os
from pathlib import Path

import structlog

from holdfast.core.drill import DrillAnswer, DrillRequest
from holdfast.core.model import Goal, Placement
from holdfast.errors import DriverError, HoldfastError, StoreError
from holdfast.ports import Change, Clock, Put, Runner, Store
from holdfast.services.storage import SharedStorage
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

STORAGE_S = 10.0
"""A storage that takes longer for a small file has failed."""
SIZE_BYTES = 64 * 1024


class DrillDuty:
    """Answers each request once. `run` is for ever."""

    def __init__(self, node: str, store: Store, mirror: Mirror, runner: Runner, shared_root: str, clock: Clock) -> None:
        self._node = node
        self._store = store
        self._mirror = mirror
        self._runner = runner
        self._storage = SharedStorage(shared_root, clock)
        self._clock = clock
        self._asked = asyncio.Event()
        mirror.on_change(self._seen)

    def _seen(self, change: Change) -> None:
        if change.key == keys.drill_request(self._node) and change.entry is not None:
            self._asked.set()

    async def run(self) -> None:
        self._asked.set()
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._answer()
            except StoreError as error:  # whoever asked gives up in time
                log.warning("drill not answered", error=str(error))

    async def _answer(self) -> None:
        request = self._mirror.read(keys.drill_request(self._node), DrillRequest)
        last = self._mirror.read(keys.drill_answer(self._node), DrillAnswer)
        if request is None or (last is not None and (last.drill, last.kill) == (request.drill, request.kill)):
            return
        answer = DrillAnswer(request.drill, request.kill)
        try:
            if request.kill:
                await self._kill(request)
            else:
                steps = await self._storage.run(
                    self._write_and_read, timeout=STORAGE_S, what="writing and reading a small file"
                )
                answer = DrillAnswer(request.drill, steps=steps)
        except HoldfastError as error:
            answer = DrillAnswer(request.drill, request.kill, error.message, error.advice)
        await self._store.txn([], [Put(keys.drill_answer(self._node), encode(answer))])

    async def _kill(self, request: DrillRequest) -> None:
        """As a crash would: by force, and without a word to whoever looks after the instance."""
        placement = self._mirror.read(keys.placement(request.kill), Placement)
        here = placement is not None and placement.node == self._node and placement.goal is Goal.RUN
        if placement is None or not here or placement.epoch != request.epoch:
            raise DriverError(f"{request.kill} is not placed here any more", "Repeat the drill.")
        if request.kill not in await self._runner.running():
            raise DriverError(
                f"{request.kill} has no process of its own on this node", "Let it be moved instead: without --kill."
            )
        log.warning("a drill ends a process", instance=request.kill, drill=request.drill)
        await self._runner.stop(request.kill, grace_s=0.0)

    def _write_and_read(self) -> dict[str, float]:
        """Seconds of each step. Raises OSError or DriverError."""
        self._storage.require_mounted()
        path = self._storage.root / f".holdfast-drill-{self._node}"
        content = os.urandom(SIZE_BYTES)
        began = self._clock.now()
        try:
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            written = self._clock.now()
            same = _read_anew(path) == content
            read = self._clock.now()
        finally:
            path.unlink(missing_ok=True)
        if not same:
            raise DriverError(
                f"what was written to {path} is read back differently",
                "Do not trust this storage: look at its own logs, and at the node's kernel log.",
            )
        return {"write": written - began, "read": read - written, "remove": self._clock.now() - read}


def _read_anew(path: Path) -> bytes:
    """What the storage has, as far as the kernel can be asked to forget what it knows itself."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.read(handle, SIZE_BYTES + 1)
    finally:
        os.close(handle)
