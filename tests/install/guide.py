"""docs/install.md as a program: the blocks that say where they run, in their order, exactly as a reader sees them."""

import re
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "install.md"
MACHINES = ("n1", "n2", "n3")
TOPICS = ("units", "token", "bundle", "nfs", "iscsi", "upgrade", "downgrade", "remove")
"""Words after the machines: what a run may choose. What has none of them is the guide itself."""
EXAMPLE = "example"
_BLOCK = re.compile(r"(?ms)^```sh([^\n]*)\n(.*?)^```$")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that are typed on each of these machines, one machine after the other."""

    machines: tuple[str, ...]
    topic: str
    commands: str


def blocks(text: str) -> list[Block]:
    """Raises ValueError on a block that does not say where it runs."""
    found = []
    for head, commands in _BLOCK.findall(text):
        words = head.split()
        if words == [EXAMPLE]:
            continue
        machines = tuple(word for word in words if word in MACHINES)
        topics = [word for word in words if word not in MACHINES]
        if len(topics) > 1 or any(topic not in TOPICS for topic in topics) or not words:
            raise ValueError(f"a block of {GUIDE.name} begins with ```sh{head}: name machines, or `{EXAMPLE}`")
        found.append(Block(machines or MACHINES, "".join(topics), commands))
    return found


def read() -> list[Block]:
    return blocks(GUIDE.read_text())
