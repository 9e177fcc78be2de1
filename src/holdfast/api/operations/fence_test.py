"""Find out before it is needed whether a node's fence devices work."""

from dataclasses import dataclass

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Draft
from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import Conflict, HoldfastError
from holdfast.ports import PowerFences, Store

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceTest:
    """What one device answered."""

    name: str
    type: str
    ok: bool
    text: str
    advice: str = ""


async def test(store: Store, node_id: str, fences: PowerFences | None) -> list[DeviceTest]:
    """Read the power state through each device, in order. Nothing is switched."""
    draft = await Draft.open(store)
    devices = checks.node(draft, node_id).fence_devices
    if not devices:
        raise Conflict(f"node `{node_id}` has no fence device", f"Set one: holdfast node fence set {node_id} …")
    if fences is None:
        raise Conflict("this process cannot reach fence devices", "Ask the API of a management node.")
    up = (await checks.node_state(draft, node_id)).up
    return [await _test(device, fences, up=up) for device in devices]


async def _test(device: FenceDeviceSpec, fences: PowerFences, *, up: bool) -> DeviceTest:
    if device.type == "manual":
        return DeviceTest(device.name, device.type, True, "a person confirms the death of this node")
    try:
        fence = fences.open(device)
        try:
            reading = await fence.read(timeout=TIMEOUT_S)
        finally:
            await fence.close()
    except HoldfastError as error:
        return DeviceTest(device.name, device.type, False, error.message, error.advice)
    if reading.state not in ("on", "off"):
        advice = "Power fencing would prove nothing with it. Check its options and the account's rights."
        return DeviceTest(device.name, device.type, False, f"power state unknown: {reading.detail}", advice)
    if up and reading.state == "off":
        return DeviceTest(
            device.name,
            device.type,
            False,
            "says that the power is off, but the node is up",
            "It belongs to another machine, or lies: a claim that trusts it would run instances twice. Correct it now.",
        )
    return DeviceTest(device.name, device.type, True, f"answers; power is {reading.state}. {reading.detail}".strip())
