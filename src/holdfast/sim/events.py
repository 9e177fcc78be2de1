"""What a run tells: one line per thing that happened, in its order (a public format, docs/simulator.md)."""

from typing import Any

from holdfast.sim.loop import VirtualLoop

Event = dict[str, Any]
"""{"t", "kind", "node"?, "instance"?, "detail"}"""


class EventLog:
    """Collects the events of one run. `t` is scenario time in seconds, rounded to milliseconds."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skipped_s = 0.0
        """Calm time that was not simulated; it is part of the scenario's time."""
        self.events: list[Event] = []
        self.busy_at = 0.0
        """Loop time of the last thing that happened; beats and other signs of life do not count."""

    def now(self) -> float:
        """Scenario time: seconds since the start, with what was skipped."""
        return self._loop.time() + self.skipped_s

    def say(self, kind: str, detail: str = "", *, node: str = "", instance: str = "") -> None:
        event: Event = {"t": round(self.now(), 3), "kind": kind}
        if node:
            event["node"] = node
        if instance:
            event["instance"] = instance
        event["detail"] = detail
        self.events.append(event)
        self.touch()

    def touch(self) -> None:
        """Something happened that is not worth a line."""
        self.busy_at = self._loop.time()
