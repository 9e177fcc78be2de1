"""Alarms: look at them, acknowledge one. They are raised and cleared by the leading manager."""

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.clock import SystemClock
from holdfast.core.alarm_life import acknowledged, open_alarms
from holdfast.core.alarm_model import RANK, Alarm
from holdfast.core.history import Severity
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.view import Source


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list; `next` is the cursor of what follows, empty at the end."""

    items: tuple[Alarm, ...]
    next: str


def ordered(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Open ones first, the most severe first among them; then the cleared ones, newest first."""
    alarms = list(alarms)
    over = sorted((one for one in alarms if not one.open), key=lambda one: (one.cleared_at, one.id), reverse=True)
    return [*open_alarms(alarms), *over]


def page(source: Source, *, cleared: bool, severity: str = "", limit: int = 100, cursor: str = "") -> Page:
    """`cleared`: those too. `severity`: at least this. Raises InvalidInput."""
    least = RANK[known_severity(severity)] if severity else 0
    found = [one for one in ordered(everything(source)) if (cleared or one.open) and RANK[one.severity] >= least]
    if cursor and not cursor.isdecimal():
        raise InvalidInput("the cursor is none of this list", "Begin again without `cursor`.")
    begin = int(cursor[:9] or "0")
    more = begin + limit < len(found)
    return Page(tuple(found[begin : begin + limit]), str(begin + limit) if more else "")


def everything(source: Source) -> list[Alarm]:
    read = (source.read(key, Alarm) for key in source.keys_below(keys.ALARMS))
    return [alarm for alarm in read if alarm is not None]


def one(source: Source, alarm_id: str) -> Alarm:
    """Raises NotFound."""
    alarm = source.read(keys.alarm(alarm_id), Alarm)
    if alarm is None:
        raise checks.not_found("alarm", alarm_id, [known.id for known in everything(source)])
    return alarm


async def acknowledge(store: Store, actor: Actor, alarm_id: str, *, note: str = "") -> Outcome:
    """Somebody looks after it. Raises NotFound, and Conflict for one that is over."""
    if not note.isprintable() or len(note) > 500:
        raise InvalidInput("the note cannot be used", "Write one line of at most 500 characters.")

    async def operation(draft: Draft) -> str:
        alarm = await draft.read(keys.alarm(alarm_id), Alarm) if _plain(alarm_id) else None
        if alarm is None:
            known = [entry.key.removeprefix(keys.ALARMS) for entry in (await store.list(keys.ALARMS)).entries]
            raise checks.not_found("alarm", alarm_id, known)
        new = acknowledged(alarm, actor.name, SystemClock().wall(), note)
        if new is None:
            raise Conflict(
                f"the alarm {alarm_id} is cleared since {alarm.cleared_at}", "There is nothing to do about it."
            )
        draft.put(keys.alarm(alarm_id), new)
        return f"the alarm {alarm_id} is acknowledged" + (f": {note}" if note else "")

    return await transact(store, actor, operation)


def known_severity(text: str) -> Severity:
    """Raises InvalidInput."""
    if text not in {word.value for word in Severity}:
        raise InvalidInput(f"there is no severity `{text}`", "Say info, warning or error.")
    return Severity(text)


def _plain(alarm_id: str) -> bool:
    """Can be a key's last part."""
    return bool(alarm_id) and "/" not in alarm_id and alarm_id.isprintable() and len(alarm_id) <= 300
