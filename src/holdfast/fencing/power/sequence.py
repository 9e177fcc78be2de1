"""Switch a node off through its fence devices, in order, and believe it only when it was read back (proof P1).

What no reading can find out: a device that reports "off" though the machine runs, and does so consistently. Two things
stand against it: `contradiction`, by which the caller says that the node still shows signs of life, and testing the
devices beforehand while the node is up (`holdfast node fence test`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.errors import FenceError, HoldfastError
from holdfast.ports import Clock, PowerFence, PowerReading

POLL_S = 0.1
"""Between two readings (seconds)."""
_AFTER_FAILURE_S = 1.0
"""So long a device is watched that has refused to switch, before the next one is tried (seconds)."""
_EQUAL_READINGS = 2
"""So many readings in a row must say off: one alone can be a state in transition."""


@dataclass(frozen=True, slots=True)
class FenceOutcome:
    """What came of it. Only `verified_off` is proof P1."""

    verified_off: bool
    device: str
    """The device that proved it; empty if none did."""
    steps: list[str] = field(default_factory=list)
    """What was tried and what was seen, in order, for people."""
    found_off: bool = False
    """It was off before anything was switched: whoever did that may want it to stay off."""


async def fence_off(
    devices: Sequence[tuple[str, PowerFence]],
    clock: Clock,
    budget_s: float,
    *,
    contradiction: Callable[[], bool] | None = None,
    poll_s: float = POLL_S,
) -> FenceOutcome:
    """Try the devices in order until one proves the node off, within `budget_s` seconds over all of them.

    Each device gets an equal share of what is left of the budget, so that an unreachable one does not use up the next
    one's time. `contradiction` returns True while the node shows signs of life that an off machine cannot give: no
    verdict is given while it does. Never raises FenceError. When cancelled, nothing more is sent to any device.
    """
    attempt = _Attempt(clock, contradiction or (lambda: False), poll_s)
    end = clock.now() + budget_s
    for index, (name, fence) in enumerate(devices):
        left = end - clock.now()
        if left <= 0:
            attempt.note(name, "not tried, the time is used up")
            continue
        try:
            if await attempt.through(name, fence, clock.now() + left / (len(devices) - index)):
                return FenceOutcome(True, name, attempt.steps, attempt.found_off)
        except HoldfastError as error:
            attempt.note(name, str(error))
    if not devices:
        attempt.steps.append("the node has no fence device")
    return FenceOutcome(False, "", attempt.steps)


class _Attempt:
    def __init__(self, clock: Clock, contradiction: Callable[[], bool], poll_s: float) -> None:
        self._clock = clock
        self._contradiction = contradiction
        self._poll_s = poll_s
        self._began = clock.now()
        self._switched = False
        self.found_off = False
        self.steps: list[str] = []

    def note(self, name: str, text: str) -> None:
        self.steps.append(f"{self._clock.now() - self._began:.2f} s {name}: {text}")

    async def through(self, name: str, fence: PowerFence, end: float) -> bool:
        """True once this device proved the node off. Raises what the device raises before anything was switched."""
        first = await fence.read(timeout=self._left(end))
        self.note(name, f"power is {_say(first)}")
        if first.state == "off" and await self._stays_off(name, fence, end):
            self.found_off = not self._switched
            return True
        accepted = await self._switch_off(name, fence, end)
        if not accepted:
            end = min(end, self._clock.now() + _AFTER_FAILURE_S)
        last = await self._read_back(name, fence, end)
        if last is None:
            return True
        if not accepted:
            self.note(name, f"not switched off, power is {last}")
        elif last == "off":
            self.note(
                name, "says that the power is off, but the node still lives: it lies, or belongs to another machine"
            )
        else:
            self.note(name, f"took the power-off, but power is still {last}: it lies, or is broken")
        return False

    async def _stays_off(self, name: str, fence: PowerFence, end: float) -> bool:
        await self._clock.sleep(self._poll_s)
        second = await fence.read(timeout=self._left(end))
        if second.state != "off":
            self.note(name, f"power is {_say(second)} at the second look")
            return False
        if self._contradiction():
            self.note(name, "found off, but the node still lives")
            return False
        self.note(name, "was off already")
        return True

    async def _switch_off(self, name: str, fence: PowerFence, end: float) -> bool:
        self._switched = True
        try:
            await fence.off(timeout=self._left(end))
        except HoldfastError as error:
            # Some devices fail and yet do it, or answer late: what counts is what is read back.
            self.note(name, f"power-off failed: {error}")
            return False
        self.note(name, "power-off accepted")
        return True

    async def _read_back(self, name: str, fence: PowerFence, end: float) -> str | None:
        """Read until off is certain: None; or, when the time is up, the last state that was read."""
        last, in_a_row, failing = "unknown", 0, False
        while (left := end - self._clock.now()) > 0:
            try:
                last = (await fence.read(timeout=left)).state
                in_a_row = in_a_row + 1 if last == "off" else 0
                failing = False
            except HoldfastError as error:
                in_a_row = 0
                if not failing:
                    self.note(name, f"reading back failed: {error}")
                failing = True
            if in_a_row >= _EQUAL_READINGS and not self._contradiction():
                self.note(name, "verified off")
                return None
            await self._clock.sleep(self._poll_s)
        return last

    def _left(self, end: float) -> float:
        left = end - self._clock.now()
        if left <= 0:
            raise FenceError("no time is left")
        return left


def _say(reading: PowerReading) -> str:
    return f"{reading.state} ({reading.detail})" if reading.detail else reading.state
