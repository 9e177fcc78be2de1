"""What agent and guard say to each other: one compact JSON object per packet of a Unix SOCK_SEQPACKET socket.

The agent asks, the guard answers each request exactly once, in order:

    {"id": 1, "do": "hello", "session": "…", "W": 6, "p": 1}       first word of every connection
    {"id": 2, "do": "deadline", "D": 1234.5, "G": 3}               CLOCK_BOOTTIME seconds, seconds
    {"id": 3, "do": "idle"}
    {"id": 4, "do": "revoke"}                                      the deadline is now
    {"id": 4, "do": "pause"}                                       no deadline until the next one is told
    {"id": 5, "do": "attest"}
    {"id": 6, "do": "farewell", "restart": true}

    {"id": 2, "ok": true, "state": "armed"}
    {"id": 5, "ok": true, "state": "idle", "device": "/dev/watchdog", "identity": "iTCO_wdt", "timeout": 6}
    {"id": 3, "ok": false, "state": "armed", "reason": "the strict group still holds processes…"}
"""

import json
from typing import Any

MAX_SIZE = 4096
"""No packet is longer (bytes)."""

_FIELDS: dict[str, dict[str, type]] = {
    "hello": {"session": str, "W": int, "p": float},
    "deadline": {"D": float, "G": float},
    "idle": {},
    "revoke": {},
    "pause": {},
    "attest": {},
    "farewell": {"restart": bool},
}


class BadMessage(ValueError):
    """A packet that is not one of the protocol's; the text says what is wrong with it."""


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def decode(packet: bytes) -> dict[str, Any]:
    """The JSON object in the packet, unchecked. Raises BadMessage."""
    try:
        message = json.loads(packet)
    except ValueError:
        raise BadMessage("not JSON") from None
    if not isinstance(message, dict):
        raise BadMessage("not a JSON object")
    return message


def check_request(message: dict[str, Any]) -> dict[str, Any]:
    """The request with every field present and of its type, numbers finite and not negative. Raises BadMessage."""
    wanted = _FIELDS.get(str(message.get("do")))
    if wanted is None:
        raise BadMessage(f"unknown request {message.get('do')!r}")
    if not isinstance(message.get("id"), int):
        raise BadMessage("a request needs an integer `id`")
    return {"id": message["id"], "do": message["do"], **{n: _field(message, n, kind) for n, kind in wanted.items()}}


def _field(message: dict[str, Any], name: str, kind: type) -> Any:
    value: Any = message.get(name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise BadMessage(f"{message['do']} needs `{name}` of type {kind.__name__}")
    # The comparison is false for NaN, too.
    if isinstance(value, (int, float)) and not 0 <= value < 1e12:
        raise BadMessage(f"{message['do']}: `{name}` is out of range")
    return value
