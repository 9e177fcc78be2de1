"""From a fence device's description to the device (port PowerFences)."""

from collections.abc import Callable, Sequence

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import InvalidInput
from holdfast.fencing.power.agent import AGENT_DIRECTORIES, AgentFence
from holdfast.fencing.power.manual import ManualFence
from holdfast.fencing.power.redfish import RedfishFence
from holdfast.fencing.power.secrets import opened
from holdfast.ports import PowerFence, PowerFences


class PowerFenceRegistry:
    """Knows every type of fence device. `agent_directories` is where fence agents are looked for; `secret()` opens what is
    locked of a device's options."""

    def __init__(
        self, agent_directories: Sequence[str] = AGENT_DIRECTORIES, secret: Callable[[], bytes] = lambda: b""
    ) -> None:
        self._secret = secret
        self._types: dict[str, Callable[[FenceDeviceSpec], PowerFence]] = {
            "redfish": RedfishFence,
            "fence-agent": lambda device: AgentFence(device, agent_directories),
            "manual": ManualFence,
        }

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(self._types)

    def open(self, device: FenceDeviceSpec) -> PowerFence:
        """Raises InvalidInput if type or options are wrong, ConfigError if its secrets
        cannot be opened. Connects to nothing yet."""
        make = self._types.get(device.type)
        if make is None:
            raise InvalidInput(
                f"fence device `{device.name}`: there is no type {device.type!r}",
                "Choose one of: " + ", ".join(self._types),
            )
        return make(opened(device, self._secret))


def make_fences(secret: Callable[[], bytes] = lambda: b"") -> PowerFences:
    """The registry as it is used in production."""
    return PowerFenceRegistry(secret=secret)
