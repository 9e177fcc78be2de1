"""What goes wrong with starts, stops and migrations of instances."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Trouble:
    """`times[action, instance, node]`: so often it still fails; node "" means anywhere."""

    times: dict[tuple[str, str, str], int] = field(default_factory=dict)
    hanging: set[tuple[str, str]] = field(default_factory=set)
    """(action, instance)"""
    stuck: list[str] = field(default_factory=list)
    """Instances of which an action hangs now."""
    late: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Instance → (seconds, so often still): what passes at a start between the last question and the first effect."""
    lying: set[tuple[str, str]] = field(default_factory=set)
    """(action, instance): says that it was done, and it was not."""

    def fails(self, action: str, instance: str, node: str) -> bool:
        """Does this attempt fail? Each failure is used up."""
        for where in (node, ""):
            left = self.times.get((action, instance, where), 0)
            if left > 0:
                self.times[action, instance, where] = left - 1
                return True
        return False

    def late_start_s(self, instance: str) -> float:
        """How late this start takes effect (seconds); used up by it."""
        seconds, times = self.late.get(instance, (0.0, 0))
        self.late[instance] = (seconds, max(0, times - 1))
        return seconds if times else 0.0

    def hangs(self, action: str, instance: str) -> bool:
        return (action, instance) in self.hanging

    @contextmanager
    def hang(self, instance: str) -> Iterator[None]:
        """An action that hangs, for as long as its agent waits for it: also when what made it hang is over meanwhile."""
        self.stuck.append(instance)
        try:
            yield
        finally:
            self.stuck.remove(instance)

    def lies(self, action: str, instance: str) -> bool:
        return (action, instance) in self.lying

    def any(self, instance: str) -> bool:
        """Is anything still wrong with it?"""
        pending = any(left > 0 and name == instance for (_, name, _), left in self.times.items())
        return pending or instance in self.stuck or any(name == instance for _, name in (*self.hanging, *self.lying))
