"""Lists that grow: a page of them, and where the next one begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Cursor = Annotated[str, Query(max_length=200, description="`next` of the page before; empty: from the newest.")]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    next: str = ""
    """Cursor of the next page; empty: this is the last one."""


def page(items: Sequence[T], place: Callable[[T], str], *, limit: int, cursor: str) -> Page[T]:
    """`items`: newest first, in falling order of their places, which do not change. So nothing is shown twice or left out
    when new ones come between two pages."""
    rest = [item for item in items if not cursor or place(item) < cursor]
    more = len(rest) > limit
    return Page(rest[:limit], place(rest[limit - 1]) if more else "")
