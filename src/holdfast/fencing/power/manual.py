"""A "device" that stands for a person: it never confirms anything by itself."""

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError
from holdfast.fencing.power import options
from holdfast.ports import PowerReading


class ManualFence:
    """Port PowerFence. Its reading is always unknown, so it can never be proof P1; a person gives proof P5 instead."""

    def __init__(self, device: FenceDeviceSpec) -> None:
        options.refuse_unknown(device, ("note",))
        self._device = device

    async def read(self, *, timeout: float) -> PowerReading:
        note = self._device.options.get("note", "")
        return PowerReading("unknown", f"a person has to look{': ' + note if note else ''}")

    async def off(self, *, timeout: float) -> None:
        raise self._by_hand("off", "then say so with `holdfast node confirm-dead NODE`")

    async def on(self, *, timeout: float) -> None:
        raise self._by_hand("on", "it joins again by itself")

    async def close(self) -> None:
        """Holds nothing."""

    def _by_hand(self, state: str, then: str) -> FenceError:
        return FenceError(f"fence device `{self._device.name}` is manual", f"Switch the node {state} by hand; {then}.")
