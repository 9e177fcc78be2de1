"""Power fencing in the background: at most one attempt per node, against exactly one beat of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from holdfast.core.model import FenceDeviceSpec, NodeSpec
from holdfast.core.view import PowerEvidence
from holdfast.errors import HoldfastError, StoreError
from holdfast.fencing.power.sequence import FenceOutcome, fence_off
from holdfast.ports import Clock, PowerFence, PowerFences, PowerReading, Store
from holdfast.store import keys

log = structlog.get_logger("holdfast.manager")

BUDGET_S = 20.0
"""One attempt, over all devices of a node."""
LOOK_TIMEOUT_S = 0.3
"""Of the first look at the store before a power-off: short, because a read gets lost while the store elects its leader."""
POWER_ON_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PowerResult:
    """A finished attempt."""

    evidence: PowerEvidence
    found_off: bool
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
        self._sent_off: set[str] = set()
        """Nodes that were told to switch off, by whatever attempt: also by one that was cancelled too late."""
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

    async def _attempt(self, node: NodeSpec, beat_revision: int) -> None:
        earlier = self.results.get(node.id)
        attempts = 1
        if earlier is not None and earlier.evidence.beat_revision == beat_revision:
            attempts = earlier.evidence.attempts + 1
        try:
            outcome = await self._fence(node, beat_revision)
            evidence = PowerEvidence(beat_revision, outcome.verified_off, _text(outcome), self._clock.now(), attempts)
            found_off = outcome.found_off and node.id not in self._sent_off
            self.results[node.id] = PowerResult(evidence, found_off, tuple(outcome.steps))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # also a device's bug must not keep the node from being fenced by the next attempt
            text = str(error) if isinstance(error, HoldfastError) else f"unexpected failure: {error!r}"
            evidence = PowerEvidence(beat_revision, False, text, self._clock.now(), attempts)
            self.results[node.id] = PowerResult(evidence, False, ())
        log.info("power fencing ended", node=node.id, off=evidence.verified_off, text=evidence.text)
        self._running.pop(node.id, None)
        self._done()

    async def _fence(self, node: NodeSpec, beat_revision: int) -> FenceOutcome:
        await self._look_again(node.id, beat_revision)
        opened: list[tuple[str, PowerFence]] = []
        try:
            for device in node.fence_devices:
                mark = _MarkOff(self._devices.open(device), lambda: self._sent_off.add(node.id))
                opened.append((device.name, mark))
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
        give_up = self._clock.now() + BUDGET_S
        timeout = LOOK_TIMEOUT_S
        while True:
            try:
                entry = await self._store.get(keys.beat(node), timeout=timeout)
                break
            except StoreError:
                if self._clock.now() >= give_up:
                    raise
                timeout = min(2 * timeout, BUDGET_S / 4)  # it may be slow, and not away
                await self._clock.sleep(0.05)
        if entry is not None and entry.mod_revision != beat_revision:
            raise HoldfastError(f"{node} has beaten again; it is not switched off")

    def power_on(self, node: str, devices: Sequence[FenceDeviceSpec]) -> None:
        """Switch a node that we switched off on again, in the background, by the first device that does it."""
        task = asyncio.create_task(self._power_on(node, devices))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _power_on(self, node: str, devices: Sequence[FenceDeviceSpec]) -> None:
        for device in devices:
            try:
                fence = self._devices.open(device)
                try:
                    await fence.on(timeout=POWER_ON_TIMEOUT_S)
                finally:
                    await fence.close()
                self._sent_off.discard(node)
                log.info("switched on again", node=node, device=device.name)
                return
            except HoldfastError as error:
                log.warning("could not switch on", node=node, device=device.name, error=str(error))


class _MarkOff:
    """A device that says when it is told to switch off."""

    def __init__(self, device: PowerFence, sent: Callable[[], None]) -> None:
        self._device = device
        self._sent = sent

    async def read(self, *, timeout: float) -> PowerReading:
        return await self._device.read(timeout=timeout)

    async def off(self, *, timeout: float) -> None:
        self._sent()
        await self._device.off(timeout=timeout)

    async def on(self, *, timeout: float) -> None:
        await self._device.on(timeout=timeout)

    async def close(self) -> None:
        await self._device.close()


def _text(outcome: FenceOutcome) -> str:
    if outcome.verified_off:
        how = "was found off" if outcome.found_off else "was switched off and read back as off"
        return f"it {how} through {outcome.device}"
    return "; ".join(outcome.steps) or "no device answered"
