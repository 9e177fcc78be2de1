"""A store that was restored from a backup: what it says of the nodes is old, and must not be believed (docs/safety.md).

Every node has a new fence epoch then, so no placement of the backup counts, and its last beat is *unheard*: nothing that the
node has done since the backup is known, so it may run anything until it joins anew or is claimed. Nothing strict is placed
while there is such a node.

Nodes that were added since the backup are not in it. Those that knew them tell of them before they join themselves
(agent/known_nodes.py), and then they are unheard like the others. For a node that nobody knows any more there is only the
time that a deadline given by the lost store can still run.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from holdfast.core.model import Beat, BeatPhase, NodeSpec

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
    """Larger than every epoch that any earlier life of the store has used. So it also names this life, and tells which of
    two is the later one: a backup that is restored twice begins two lives that know nothing of each other."""
    times: int = 1
    """How often this cluster was restored, as far as the backup knew; for people only."""
    former_floor: int = -1
    """The floor of the life that the backup was made in, 0 for the first one; -1: not known."""


def floor_of(restored: Restored | None) -> int:
    """Which life of the store that is; 0: the first one, which was never restored."""
    return restored.epoch_floor if restored is not None else 0


def unheard_beat(known: Beat | None, epoch: int) -> Beat:
    """In place of a node's last beat, as far as that is known. No session, no boot: whatever runs there is not adopted. No
    watchdog: time proves nothing, for it may be paused."""
    machine, cpu, memory = (known.machine_id, known.cpu, known.memory_mib) if known else ("", 0.0, 0)
    return Beat("", "", machine, 0, epoch, BeatPhase.ACTIVE, cpu=cpu, memory_mib=memory)


@dataclass(frozen=True, slots=True)
class KnownNode:
    """One node of the cluster, as another one knows it."""

    spec: NodeSpec
    created: int
    """The store's revision when it was added."""
    beat: Beat | None = None
    """Some beat of it: what hardware it is does not change."""


@dataclass(frozen=True, slots=True)
class KnownNodes:
    """The nodes as one of them last knew them, kept on its disk."""

    life: int
    """Of which life of the store (`floor_of`)."""
    nodes: dict[str, KnownNode] = field(default_factory=dict)

    def unknown_to(self, restored: Restored) -> Iterator[KnownNode]:
        """Those that this later life of the store may never have heard of: added since the backup."""
        if self.life >= restored.epoch_floor:
            return
        for _, node in sorted(self.nodes.items()):
            # Of the life that the backup was made in it is known what the backup knows; of any other one nothing.
            if self.life != restored.former_floor or node.created > restored.backup_revision:
                yield node


def unheard_wait(unheard: Collection[str], fresh: bool) -> str:
    """Why nothing strict is placed, for people; "" if it may be. `fresh`: a deadline of the lost store may still run."""
    if not unheard and fresh:
        return "the store was restored a moment ago: a node that it does not know may run on to the end of its deadline"
    if not unheard:
        return ""
    names = ", ".join(sorted(unheard))
    return (
        f"the store was restored from a backup and {names} did not join since, so what runs there is not known. Start "
        f"holdfast-agent there; if you know that it is off: holdfast node confirm-dead {min(unheard)}"
    )
