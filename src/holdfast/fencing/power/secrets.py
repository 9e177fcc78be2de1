"""Secrets among the options of fence devices: locked in the store, in clear only where a device is opened."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast import locks
from holdfast.core.model import FenceDeviceSpec

_SECRET = re.compile(r"pass|secret|token|community|cred|key", re.IGNORECASE)
_PATH = re.compile(r"file|path|script", re.IGNORECASE)


def is_secret(option: str) -> bool:
    """By its name, as fence agents call theirs: password, passwd, snmp_priv_passwd, community, … A file's name is none."""
    return bool(_SECRET.search(option)) and not _PATH.search(option)


def locked_devices(devices: Sequence[FenceDeviceSpec], secret: bytes) -> tuple[FenceDeviceSpec, ...]:
    """With every secret option locked. What is locked already stays as it is."""
    return tuple(replace(device, options=_locked(device.options, secret)) for device in devices)


def opened(device: FenceDeviceSpec, secret: Callable[[], bytes]) -> FenceDeviceSpec:
    """For the code that talks to it. `secret()` is asked only if something is locked. Raises ConfigError."""
    if not any(locks.is_marked(value) for value in device.options.values()):
        return device
    known = secret()
    return replace(device, options={name: locks.clear(value, known) for name, value in device.options.items()})


def _locked(options: dict[str, str], secret: bytes) -> dict[str, str]:
    return {
        name: locks.marked(value, secret) if value and is_secret(name) and not locks.is_marked(value) else value
        for name, value in options.items()
    }
