"""What one manager process measures of its own work, for people: nothing is decided by it."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from holdfast.core.alarm_model import Notice
from holdfast.ports import Clock
from holdfast.store.measured import BOUNDS_S, Histogram

P = ParamSpec("P")
T = TypeVar("T")

LONG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of what runs beside the loop."""


class Measures:
    """Counts since the process began; a follower's stand still."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.terms = 0
        """So often this process began to lead."""
        self.steps: dict[tuple[str], Histogram] = {}
        """Step of a turn of the loop → how long it took."""
        self.jobs: dict[tuple[str], Histogram] = {}
        """What runs beside the loop → how long it took."""
        self.deliveries: dict[tuple[str, str], Histogram] = {}
        """(Receiver, `taken` or `failed`) → how long one attempt took."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Of a turn of the loop."""
        with self._timing(self.steps, (name,), BOUNDS_S):
            yield

    def job(self, name: str, call: Callable[P, Awaitable[T]] | None) -> Callable[P, Awaitable[T]] | None:
        """The same call, measured; None stays None."""
        if call is None:
            return None

        async def measured(*arguments: P.args, **named: P.kwargs) -> T:
            with self._timing(self.jobs, (name,), LONG_S):
                return await call(*arguments, **named)

        return measured

    def sending(self, send: Callable[[Notice], Awaitable[None]] | None) -> Callable[[Notice], Awaitable[None]] | None:
        """Deliveries of alarms, counted by receiver."""
        if send is None:
            return None

        async def measured(notice: Notice) -> None:
            began, result = self._clock.now(), "failed"
            try:
                await send(notice)
                result = "taken"
            finally:
                found = self.deliveries.setdefault((notice.receiver.name, result), Histogram(LONG_S))
                found.add(self._clock.now() - began)

        return measured

    @contextmanager
    def _timing(self, found: dict[tuple[str], Histogram], name: tuple[str], bounds: Sequence[float]) -> Iterator[None]:
        began = self._clock.now()
        try:
            yield
        finally:
            found.setdefault(name, Histogram(bounds)).add(self._clock.now() - began)
