"""Find out before it is needed whether a node's fence devices work."""

from dataclasses import dataclass

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Draft
from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import Conflict
from holdfast.fencing.power.check import check_device
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
    lies: bool = False
    """It says what cannot be: a claim that trusts it would run instances twice."""


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
    found = await check_device(device, fences, up=up, timeout=TIMEOUT_S)
    return DeviceTest(device.name, device.type, found.ok, found.text, found.advice, found.lies)
