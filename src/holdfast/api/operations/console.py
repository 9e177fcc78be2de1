"""What a guest wrote to its serial console: this node's own log, or the copy that the machine's node keeps for all."""

from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import Conflict, NotFound
from holdfast.services.vm.config import console_copy

MAX_BYTES = 1 << 20
"""No more than this of a log's end is read."""


@dataclass(frozen=True, slots=True)
class Console:
    """The logs that this node can read."""

    shared_root: str
    log_dir: Path
    node: str

    def tail(self, name: str, placed_on: str, lines: int) -> dict[str, object]:
        """{path, lines}. Raises NotFound when there is none, Conflict when only another node can have one."""
        own, copy = self.log_dir / f"vm-{name}.console", Path(console_copy(self.shared_root, name))
        path = next((path for path in ((own, copy) if placed_on == self.node else (copy, own)) if path.is_file()), None)
        if path == own and placed_on not in ("", self.node):
            path = None  # of an earlier time
        if path is not None:
            return {"path": str(path), "lines": _end(path, lines)}
        if placed_on not in ("", self.node):
            raise Conflict(
                f"no copy of the console log of `{name}` is on the shared storage yet; the log is on {placed_on}, in {own}",
                "Ask again in some seconds, or read it there.",
            )
        raise NotFound(f"`{name}` has written nothing to its console yet", "It has a log once it was started.")


def _end(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MAX_BYTES))
        text = file.read().decode(errors="replace")
    return text.replace("\r\n", "\n").splitlines()[-lines:]
