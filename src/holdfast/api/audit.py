"""The audit beside changes: logins, failed logins, refused requests; and reading all of it.

What strangers can cause is limited, so that nobody pushes the records of changes out of the store by making noise.
"""

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from holdfast.api.operations.actor import Actor
from holdfast.api.operations.audited import AuditEntry, entry_of
from holdfast.errors import InvalidInput, StoreError
from holdfast.ports import Clock, Get, Put, Store
from holdfast.store import codec, keys

_TIME = re.compile(r"\d{4}(-\d\d){0,2}([T ]\d\d(:\d\d){0,2}(\.\d*)?Z?)?$")
PER_SOURCE = 6
PER_PROCESS = 30
PERIOD_S = 60.0
"""So many notes that are no change are written per source (account and address) and per panel process in this time."""


class Trail:
    """Writes what is no change. Never raises because of the store: a login must not fail for want of its record."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written: dict[str, list[float]] = {}
        self._left_out = 0

    async def note(self, actor: Actor, operation: str, text: str) -> None:
        """Write it, unless too much was written lately; the next one says how many were left out."""
        if not self._may_write(f"{actor.name} from {actor.address}"):
            self._left_out += 1
            return
        more, self._left_out = self._left_out, 0
        entry = entry_of(actor, operation, text, self._clock.wall())
        with suppress(StoreError):
            newest = (await self._store.txn([], [Get(keys.SERIAL)])).revision
            key = keys.audit(newest, secrets.token_hex(4))
            await self._store.txn([], [Put(key, codec.encode(replace(entry, more=more)))])

    def _may_write(self, source: str) -> bool:
        now = self._clock.now()
        if len(self._written) > 10_000:
            self._written.clear()
        lately = {
            who: [at for at in self._written.get(who, ()) if at > now - PERIOD_S] for who in (source, "everybody")
        }
        self._written.update(lately)
        if len(lately[source]) >= PER_SOURCE or len(lately["everybody"]) >= PER_PROCESS:
            return False
        for times in lately.values():
            times.append(now)
        return True


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody looks for; empty fields fit everything."""

    who: str = ""
    operation: str = ""
    key: str = ""
    """Part of a changed key."""
    since: str = ""
    """ISO 8601 UTC, or the beginning of it."""

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if self.since and not _TIME.match(self.since):
            raise InvalidInput(f"`{self.since}` is not a time", "Write it like 2026-01-31 or 2026-01-31T12:00 (UTC).")

    def fits(self, entry: AuditEntry) -> bool:
        return (
            self.who in ("", entry.who)
            and self.operation in ("", entry.operation)
            and (not self.key or any(self.key in change.key for change in entry.changes))
            and entry.wall >= self.since
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the audit, the newest first."""

    items: list[dict[str, object]]
    next: str
    """The cursor of the next page; empty: this was the last one."""


def search(records: Mapping[str, bytes], query: Query, *, limit: int, cursor: str = "") -> Found:
    """From what the watch has delivered (`People.audit`). Raises InvalidInput for a cursor that was not given out."""
    if cursor and not cursor.replace("-", "").isalnum():
        raise InvalidInput("the cursor is none of this list", "Begin again without `cursor`.")
    items: list[dict[str, object]] = []
    for name in sorted(records, reverse=True):
        if cursor and name >= cursor:
            continue
        if len(items) == limit:
            return Found(items, str(items[-1]["id"]))
        with suppress(StoreError):
            entry = codec.decode(records[name], AuditEntry, name)
            if query.fits(entry):
                items.append({"id": name, **_fields(entry)})
    return Found(items, "")


def _fields(entry: AuditEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
