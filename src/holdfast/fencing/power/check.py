"""Find out before it is needed whether a fence device works: its power state is read, nothing is switched."""

from dataclasses import dataclass

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import HoldfastError
from holdfast.ports import PowerFences


@dataclass(frozen=True, slots=True)
class DeviceCheck:
    """What one device answered."""

    ok: bool
    text: str
    advice: str = ""
    lies: bool = False
    """It says `off` of a node that is up."""


async def check_device(device: FenceDeviceSpec, fences: PowerFences, *, up: bool, timeout: float) -> DeviceCheck:
    """`up`: the node is certainly up. Raises nothing."""
    if device.type == "manual":
        return DeviceCheck(True, "a person confirms the death of this node")
    try:
        fence = fences.open(device)
        try:
            reading = await fence.read(timeout=timeout)
        finally:
            await fence.close()
    except HoldfastError as error:
        return DeviceCheck(False, error.message, error.advice)
    if reading.state not in ("on", "off"):
        advice = "Power fencing would prove nothing with it. Check its options and the account's rights."
        return DeviceCheck(False, f"power state unknown: {reading.detail}", advice)
    if up and reading.state == "off":
        return DeviceCheck(
            False,
            "says that the power is off, but the node is up",
            "It belongs to another machine, or lies: a claim that trusts it would run instances twice. Correct it now.",
            lies=True,
        )
    return DeviceCheck(True, f"answers; power is {reading.state}. {reading.detail}".strip())
