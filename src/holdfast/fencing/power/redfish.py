"""Power fencing through a BMC's Redfish service (DMTF DSP0266): ComputerSystem.PowerState and ComputerSystem.Reset."""

import re
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError, InvalidInput
from holdfast.fencing.power import options
from holdfast.fencing.power.redfish_http import RedfishHttp
from holdfast.ports import PowerReading

_OPTIONS = ("url", "username", "password", "system", "ca", "fingerprint", "insecure", "auth")
_SYSTEMS = "/redfish/v1/Systems"
_STATES = {"On": "on", "Off": "off"}
"""Everything else (PoweringOff, Paused, null) is unknown, and unknown is never off."""


class RedfishFence:
    """Port PowerFence. Options: url, username, password; system (id or path, needed only if the BMC has several);
    ca (file), fingerprint (SHA-256) or insecure=true; auth=basic (default) or session.

    Keep it open: the connection is kept, so a reading takes one short request. A reset that was sent cannot be called
    back: when `off` is cancelled or times out the BMC may still do it.
    """

    def __init__(self, device: FenceDeviceSpec) -> None:
        options.refuse_unknown(device, _OPTIONS)
        url = options.required(device, "url")
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise InvalidInput(
                f"fence device `{device.name}`: url {url!r} is not https://HOST[:PORT]",
                "Give the BMC's address only, without path and credentials.",
            )
        fingerprint = device.options.get("fingerprint", "")
        if fingerprint and not re.fullmatch(r"[0-9a-fA-F]{64}", fingerprint.replace(":", "")):
            raise InvalidInput(f"fence device `{device.name}`: fingerprint is not a SHA-256 in hexadecimal")
        self._http = RedfishHttp(
            url,
            options.required(device, "username"),
            options.required(device, "password"),
            ca=device.options.get("ca", ""),
            fingerprint=fingerprint,
            insecure=options.flag(device, "insecure"),
            session=options.choice(device, "auth", ("basic", "session"), "basic") == "session",
        )
        self._system = _system_path(device.options.get("system", ""))
        self._reset_target = ""

    async def read(self, *, timeout: float) -> PowerReading:
        async with self._http.limit(timeout):
            document = await self._document()
        state = str(document.get("PowerState"))
        return PowerReading(_STATES.get(state, "unknown"), f"PowerState {state} of {self._system}")

    async def off(self, *, timeout: float) -> None:
        await self._reset("ForceOff", timeout)

    async def on(self, *, timeout: float) -> None:
        await self._reset("On", timeout)

    async def close(self) -> None:
        await self._http.close()

    async def _document(self) -> dict[str, Any]:
        if not self._system:
            self._system = await self._discover()
        document = await self._http.get(self._system)
        self._reset_target = _reset_target(document) or self._reset_target
        return document

    async def _discover(self) -> str:
        collection = await self._http.get(_SYSTEMS)
        members = collection.get("Members")
        paths = [m["@odata.id"] for m in members or [] if isinstance(m, dict) and isinstance(m.get("@odata.id"), str)]
        if len(paths) != 1:
            named = ", ".join(path.rsplit("/", 1)[-1] for path in paths) or "none"
            raise FenceError(
                f"{self._http.url} has {len(paths)} computer systems ({named}); it is not clear which is the node",
                "Name the right one with the option `system`.",
            )
        return str(paths[0])

    async def _reset(self, kind: str, timeout: float) -> None:
        async with self._http.limit(timeout):
            if not self._reset_target:
                await self._document()
            if not self._reset_target:
                raise FenceError(f"{self._http.url}{self._system} offers no action ComputerSystem.Reset")
            await self._http.post(self._reset_target, {"ResetType": kind})


def _system_path(system: str) -> str:
    if not system or system.startswith("/"):
        return system
    if not re.fullmatch(r"[\w.:-]+", system):
        raise InvalidInput(f"system {system!r} is neither an id nor a path", "E.g. system=1 or /redfish/v1/Systems/1.")
    return f"{_SYSTEMS}/{system}"


def _reset_target(document: dict[str, Any]) -> str:
    try:
        target = document["Actions"]["#ComputerSystem.Reset"]["target"]
    except (KeyError, TypeError):
        return ""
    return target if isinstance(target, str) else ""
