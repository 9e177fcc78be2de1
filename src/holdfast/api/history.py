"""The cluster's history as this process knows it: lines in the order in which they were committed, ready to be streamed."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from holdfast.core.history import Event, Severity
from holdfast.errors import StoreError
from holdfast.ports import Change, Entry
from holdfast.store import codec, keys


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of the cluster's history."""

    id: int
    """The store's revision that wrote it; lines of one moment share it."""
    place: str
    """Its place in the history: the cursor of pages."""
    kind: str
    wall: str
    text: str
    severity: Severity = Severity.INFO
    node: str = ""
    instance: str = ""
    incident: str = ""


def place(key: str) -> str:
    """Of a line in the history."""
    return key.removeprefix(keys.EVENTS)


def line(entry: Entry) -> EventLine:
    """As people and programs get it. Raises StoreError."""
    event = codec.decode(entry.value, Event, entry.key)
    return EventLine(
        entry.mod_revision,
        place(entry.key),
        event.kind,
        event.wall,
        event.text,
        event.severity,
        event.node,
        event.instance,
        event.incident,
    )


def frame(name: str, data: bytes, event_id: int = 0) -> bytes:
    """A server-sent event. `data` has no line breaks (JSON)."""
    number = b"id: %d\n" % event_id if event_id else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), number, data)


class History:
    """All lines that the store keeps, by revision."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[EventLine, bytes]] = {}
        """Place → (line, encoded)."""
        self._order: list[tuple[int, str]] | None = []
        """(revision, place), sorted; None: to be sorted anew."""

    def clear(self) -> None:
        self._lines.clear()
        self._order = None

    def take(self, change: Change) -> None:
        """A change below events/."""
        self._lines.pop(place(change.key), None)
        if change.entry is not None:
            with suppress(StoreError):
                made = line(change.entry)
                self._lines[made.place] = made, codec.encode(made)
        self._order = None

    def newest_first(self) -> list[EventLine]:
        """By place, as pages show them."""
        return [self._lines[one][0] for one in sorted(self._lines, reverse=True)]

    def covers(self, revision: int) -> bool:
        """Nothing that was written after that revision has been forgotten. (The oldest are forgotten first.)"""
        order = self._sorted()
        return not order or order[0][0] <= revision

    def frames_after(self, revision: int) -> Iterator[bytes]:
        """What was written after that revision, as server-sent events. Of lines that share a revision only the last one has
        it as its id: who is cut off between them is told all of them again, rather than none."""
        order = self._sorted()
        later = order[bisect_right(order, (revision, "\U0010ffff")) :]
        for number, (written, where) in enumerate(later):
            is_last = number + 1 == len(later) or later[number + 1][0] != written
            yield frame("event", self._lines[where][1], written if is_last else 0)

    def _sorted(self) -> list[tuple[int, str]]:
        if self._order is None:
            self._order = sorted((made.id, where) for where, (made, _) in self._lines.items())
        return self._order
