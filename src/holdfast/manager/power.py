"""Power fencing in the background: at most one attempt per node, against exactly one beat of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from holdfast.core.model import NodeSpec
from holdfast.core.policy import SwitchedOff
from holdfast.core.view import PowerEvidence
from holdfast.errors import HoldfastError, StoreError
from holdfast.fencing.power.sequence import FenceOutcome, fence_off
from holdfast.ports import Clock, Compare, Delete, PowerFence, PowerFences, PowerReading, Put, Store
from holdfast.store import keys
from holdfast.store.codec import encode

log = structlog.get_logger("holdfast.manager")
T = TypeVar("T")

BUDGET_S = 20.0
"""One attempt, over all devices of a node."""
LOOK_TIMEOUT_S = 0.3
"""Of the first look at the store before a power-off: short, because a read gets lost while the store elects its leader."""
POWER_ON_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PowerResult:
    """A finished attempt."""

    evidence: PowerEvidence
    steps: tuple[str, ...]


class PowerDesk:
    """Runs the attempts. `done` is called (synchronously) whenever one ends."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        devices: PowerFences,
        done: Callable[[], None],
        beat_revision: Callable[[str], int],
    ) -> None:
        """`beat_revision(node)`: of the last beat as the watch delivered it."""
        self._store = store
        self._clock = clock
        self._devices = devices
        self._done = done
        self._beat_revision = beat_revision
        self._running: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._switched_on: set[tuple[str, int]] = set()
        """Node and beat: once per term is enough."""
        self.results: dict[str, PowerResult] = {}

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    def evidence(self) -> dict[str, PowerEvidence]:
        return {node: result.evidence for node, result in self.results.items()}

    def start(self, node: NodeSpec, beat_revision: int) -> None:
        """Begin an attempt, unless one is under way."""
        if node.id not in self._running:
            self._running[node.id] = asyncio.create_task(self._attempt(node, beat_revision))

    def cancel(self, node: str) -> None:
        """The reason is gone: nothing more is sent to the devices."""
        task = self._running.pop(node, None)
        if task is not None:
            task.cancel()

    def stop(self) -> None:
        """End of the term: cancel everything, forget everything."""
        for node in list(self._running):
            self.cancel(node)
        self.results.clear()
        self._switched_on.clear()

    async def _attempt(self, node: NodeSpec, beat_revision: int) -> None:
        earlier = self.results.get(node.id)
        attempts = 1
        if earlier is not None and earlier.evidence.beat_revision == beat_revision:
            attempts = earlier.evidence.attempts + 1
        try:
            outcome = await self._fence(node, beat_revision)
            evidence = PowerEvidence(beat_revision, outcome.verified_off, _text(outcome), self._clock.now(), attempts)
            self.results[node.id] = PowerResult(evidence, tuple(outcome.steps))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # also a device's bug must not keep the node from being fenced by the next attempt
            text = str(error) if isinstance(error, HoldfastError) else f"unexpected failure: {error!r}"
            evidence = PowerEvidence(beat_revision, False, text, self._clock.now(), attempts)
            self.results[node.id] = PowerResult(evidence, ())
        log.info("power fencing ended", node=node.id, off=evidence.verified_off, text=evidence.text)
        self._running.pop(node.id, None)
        self._done()

    async def _fence(self, node: NodeSpec, beat_revision: int) -> FenceOutcome:
        await self._look_again(node.id, beat_revision)
        opened: list[tuple[str, PowerFence]] = []
        try:
            for device in node.fence_devices:
                told = _ToldFirst(self._devices.open(device), lambda: self._write_down(node.id, beat_revision))
                opened.append((device.name, told))
            return await fence_off(
                opened,
                self._clock,
                BUDGET_S,
                contradiction=lambda: self._beat_revision(node.id) > beat_revision,
            )
        finally:
            for _, device_open in opened:
                await device_open.close()

    async def _look_again(self, node: str, beat_revision: int) -> None:
        """A late power-off must not hit a node that came back, and a manager on the smaller side of a split must not switch
        off the larger side: ask the store, linearizably, before the first command. While nobody there answers (members elect
        their leader) nothing is switched; the claim would need the store anyway."""
        entry = await self._insist(lambda timeout: self._store.get(keys.beat(node), timeout=timeout))
        if entry is not None and entry.mod_revision != beat_revision:
            raise _beaten_again(node)

    async def _write_down(self, node: str, beat_revision: int) -> None:
        """Before the first command: whichever manager leads when the node is claimed knows that it was not found off."""
        compare = [Compare(keys.beat(node), beat_revision)]
        record = Put(keys.switched_off(node), encode(SwitchedOff(beat_revision)))
        done = await self._insist(lambda timeout: self._store.txn(compare, [record], timeout=timeout))
        if not done.succeeded:
            raise _beaten_again(node)

    async def _insist(self, ask: Callable[[float], Awaitable[T]]) -> T:
        """Ask the store until it answers. Raises StoreError when the time of an attempt is over."""
        give_up = self._clock.now() + BUDGET_S
        timeout = LOOK_TIMEOUT_S
        while True:
            try:
                return await ask(timeout)
            except StoreError:
                if self._clock.now() >= give_up:
                    raise
                timeout = min(2 * timeout, BUDGET_S / 4)  # it may be slow, and not away
                await self._clock.sleep(0.05)

    def power_on(self, node: NodeSpec, beat_revision: int) -> None:
        """Switch a node on again that a manager switched off against this beat, in the background, by the first device that
        does it."""
        if (node.id, beat_revision) not in self._switched_on:
            self._switched_on.add((node.id, beat_revision))
            task = asyncio.create_task(self._power_on(node, beat_revision))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _power_on(self, node: NodeSpec, beat_revision: int) -> None:
        for device in node.fence_devices:
            try:
                fence = self._devices.open(device)
                try:
                    await fence.on(timeout=POWER_ON_TIMEOUT_S)
                finally:
                    await fence.close()
            except HoldfastError as error:
                log.warning("could not switch on", node=node.id, device=device.name, error=str(error))
                continue
            log.info("switched on again", node=node.id, device=device.name)
            try:
                await self._store.txn(
                    [Compare(keys.beat(node.id), beat_revision)], [Delete(keys.switched_off(node.id))]
                )
            except StoreError as error:
                log.info("not known whether it is noted that the node was switched on", node=node.id, error=str(error))
            return


class _ToldFirst:
    """A device of which the store is told, once, before it switches off."""

    def __init__(self, device: PowerFence, tell: Callable[[], Awaitable[None]]) -> None:
        self._device = device
        self._tell = tell
        self._told = False

    async def read(self, *, timeout: float) -> PowerReading:
        return await self._device.read(timeout=timeout)

    async def off(self, *, timeout: float) -> None:
        if not self._told:
            await self._tell()
            self._told = True
        await self._device.off(timeout=timeout)

    async def on(self, *, timeout: float) -> None:
        await self._device.on(timeout=timeout)

    async def close(self) -> None:
        await self._device.close()


def _beaten_again(node: str) -> HoldfastError:
    return HoldfastError(f"{node} has beaten again; it is not switched off")


def _text(outcome: FenceOutcome) -> str:
    if outcome.verified_off:
        how = "was found off" if outcome.found_off else "was switched off and read back as off"
        return f"it {how} through {outcome.device}"
    return "; ".join(outcome.steps) or "no device answered"
