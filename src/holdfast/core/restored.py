"""A store that was restored from a backup: what it says of the nodes is old, and must not be believed (docs/safety.md).

Every node has a new fence epoch then, so no placement of the backup counts, and its last beat is *unheard*: nothing that the
node has done since the backup is known, so it may run anything until it joins anew or is claimed. Nothing strict is placed
while there is such a node.
"""

from collections.abc import Collection
from dataclasses import dataclass

PATIENCE_S = 120.0
"""An unheard node gets so long to join before it is switched off: its agent may have to be started anew first."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The last restore (key spec/restored)."""

    wall: str
    """When, ISO 8601 UTC, for people only."""
    backup_wall: str
    """When the backup was made."""
    backup_revision: int
    """The store's revision then."""
    node: str
    """Where it was restored."""
    epoch_floor: int
    """Larger than every epoch that any earlier life of the store has used."""
    times: int = 1
    """How often this cluster was restored."""


def unheard_wait(unheard: Collection[str]) -> str:
    """Why nothing strict is placed, for people; "" if it may be."""
    if not unheard:
        return ""
    names = ", ".join(sorted(unheard))
    return (
        f"the store was restored from a backup and {names} did not join since, so what runs there is not known. Start "
        f"holdfast-agent there; if you know that it is off: holdfast node confirm-dead {min(unheard)}"
    )
