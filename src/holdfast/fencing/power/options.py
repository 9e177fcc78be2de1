"""Reading a fence device's options, with errors that name the device, the option and the nearest right spelling."""

import difflib
from collections.abc import Collection, Mapping

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import InvalidInput

_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0", "")


def refuse_unknown(device: FenceDeviceSpec, known: Collection[str]) -> None:
    for name in device.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean `{near[0]}`?" if near else "Known options: " + ", ".join(sorted(known))
            raise InvalidInput(f"fence device `{device.name}` ({device.type}): unknown option `{name}`", advice)


def required(device: FenceDeviceSpec, name: str) -> str:
    value = device.options.get(name, "")
    if not value:
        raise InvalidInput(f"fence device `{device.name}` ({device.type}) has no `{name}`", f"Give it: {name}=….")
    return value


def flag(device: FenceDeviceSpec, name: str) -> bool:
    value = device.options.get(name, "").lower()
    if value not in (*_YES, *_NO):
        raise InvalidInput(f"fence device `{device.name}`: `{name}` must be true or false, not {value!r}")
    return value in _YES


def choice(device: FenceDeviceSpec, name: str, allowed: Mapping[str, str] | Collection[str], default: str) -> str:
    value = device.options.get(name, default)
    if value not in allowed:
        raise InvalidInput(
            f"fence device `{device.name}`: `{name}` cannot be {value!r}", "Choose one of: " + ", ".join(allowed)
        )
    return value
