"""What a guest wrote to its serial console, where this node can read it."""

from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import Conflict, NotFound
from holdfast.services.vm.config import disk_directory

MAX_BYTES = 1 << 20
"""No more than this of a log's end is read."""


@dataclass(frozen=True, slots=True)
class Console:
    """The logs that this node has: those on the shared storage, and its own."""

    shared_root: str
    log_dir: Path
    node: str

    def tail(self, name: str, placed_on: str, lines: int) -> dict[str, object]:
        """{path, lines}. Raises Conflict when the log lies on another node, NotFound when there is none."""
        own = self.log_dir / f"vm-{name}.console"
        shared = Path(disk_directory(self.shared_root, name)) / "console.log"
        path = shared if shared.is_file() else own
        if path == own and placed_on not in ("", self.node):
            raise Conflict(
                f"the console log of `{name}` is on {placed_on}, in {own}",
                f"Read it there, or move the machine: holdfast vm migrate {name} --to {self.node}.",
            )
        if not path.is_file():
            raise NotFound(f"`{name}` has written nothing to its console yet", "It has a log once it was started.")
        return {"path": str(path), "lines": _end(path, lines)}


def _end(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MAX_BYTES))
        text = file.read().decode(errors="replace")
    return text.replace("\r\n", "\n").splitlines()[-lines:]
