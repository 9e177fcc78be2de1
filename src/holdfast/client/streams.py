"""Server-sent events (WHATWG HTML, section 9.2), as far as the API uses them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    name: str
    data: str
    """JSON."""
    id: str = ""
    """The last id so far: from there the stream goes on, at any node."""


def parse(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    name = data = last = ""
    for raw in lines:
        field, _, value = raw.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            last = value
        elif field == "data":
            data += value
        elif not field and name:
            yield ServerEvent(name, data, last)
            name = data = ""
