"""What the audit keeps of a change: who, from where, what, and per key what was there before and after, without secrets.

The record is committed in the same transaction as the change (draft.py), so there is no change without one, and none without
a change.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast.api.operations.actor import Actor
from holdfast.store import codec

HIDDEN = "(hidden)"
MAX_TEXT = 300
MAX_ITEMS = 30
MAX_KEYS = 40
MAX_BYTES = 16 * 1024
"""A record has no more of a change than this."""

_SECRET_NAME = re.compile(
    r"pass|secret|token|hash|chap|credential|private|bundle|tsig|authorization|cookie|(^|_)(key|pem|url|uri)s?$|^options$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"^(gAAAA|\$argon2|\$2[aby]\$|-----BEGIN)|://[^/\s]*@")
_UNSEEN = ("spec/serial", "events/", "audit/", "idempotency/")
"""Bookkeeping of the transaction itself."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one key. `before` None: it was created; `after` None: it was removed. Only what differs."""

    key: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit (key audit/<revision>-<random>)."""

    wall: str
    """ISO 8601 UTC."""
    who: str
    """The account; empty: nobody that is known."""
    role: str
    via: str
    address: str
    operation: str
    """`change`, `login`, `login-failed`, `login-refused`, `refused`, `logout`, `join-refused`."""
    text: str
    changes: tuple[Changed, ...] = ()
    more: int = 0
    """So many more of the same kind were not written, or so many more keys were changed."""


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """One line without control characters, whatever somebody sends: they could draw lines of their own into a log, or steer
    the terminal of whoever reads it."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def entry_of(actor: Actor, operation: str, text: str, wall: str) -> AuditEntry:
    name, via, address = plain(actor.name, 64), plain(actor.via, 100), plain(actor.address, 64)
    return AuditEntry(wall, name, str(actor.role), via, address, operation, plain(text))


def changes_of(values: Mapping[str, tuple[bytes | None, bytes | None]]) -> tuple[tuple[Changed, ...], int]:
    """(what a person may see of the changes, how many keys are left out) from key → value before and after."""
    seen = {key: pair for key, pair in sorted(values.items()) if not key.startswith(_UNSEEN) and pair[0] != pair[1]}
    shown = tuple(_changed(key, *pair) for key, pair in list(seen.items())[:MAX_KEYS])
    if len(codec.encode(shown)) > MAX_BYTES:
        shown = tuple(replace(change, before=_short(change.before), after=_short(change.after)) for change in shown)
    return shown, max(0, len(seen) - MAX_KEYS)


def _changed(key: str, before: bytes | None, after: bytes | None) -> Changed:
    old, new = _difference(_value(before), _value(after))
    return Changed(plain(key), _visible(old), _visible(new))


def _value(stored: bytes | None) -> Any:
    if stored is None:
        return None
    try:
        return json.loads(stored)
    except ValueError:
        return HIDDEN


def _difference(old: Any, new: Any) -> tuple[Any, Any]:
    """Both without what is the same in both."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old, new
    pairs = {name: _difference(old.get(name), new.get(name)) for name in {*old, *new} if old.get(name) != new.get(name)}
    before = {name: pair[0] for name, pair in sorted(pairs.items()) if name in old}
    after = {name: pair[1] for name, pair in sorted(pairs.items()) if name in new}
    return before, after


def _visible(value: Any, name: str = "") -> Any:
    if value in (None, "", [], {}, True, False):
        return value
    if _SECRET_NAME.search(name):
        return {plain(str(part)): HIDDEN for part in value} if isinstance(value, dict) else HIDDEN
    if isinstance(value, dict):
        items = {plain(str(part)): _visible(inner, str(part)) for part, inner in list(value.items())[:MAX_ITEMS]}
        return items if len(value) <= MAX_ITEMS else {**items, "…": f"and {len(value) - MAX_ITEMS} more"}
    if isinstance(value, list):
        listed = [_visible(inner, name) for inner in value[:MAX_ITEMS]]
        return listed if len(value) <= MAX_ITEMS else [*listed, f"… and {len(value) - MAX_ITEMS} more"]
    if isinstance(value, str):
        return HIDDEN if _SECRET_VALUE.search(value) else plain(value)
    return value


def _short(value: Any) -> Any:
    return value if not isinstance(value, dict | list) else f"({len(value)} fields, too long to keep)"
