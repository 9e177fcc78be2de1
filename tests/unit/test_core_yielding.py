"""Room that somebody gives up for another one is that one's. Nodes have 8 GiB."""

from dataclasses import replace

import pytest
from decide_world import N2, N3, NOW, claimed, decided, places, vm

from holdfast.core.intents import Decision
from holdfast.core.model import InstanceState, MoveRequest, Placement
from holdfast.core.view import ROOM_FOR, InstanceView
from holdfast.core.yielding import YIELD_S

BIG = vm("vm/big", "n1", spec={"memory_mib": 7168, "priority": 900})
LITTLE = vm("vm/little", "", spec={"memory_mib": 4096, "priority": 100})
STAYS = vm("vm/stays", "n2", spec={"memory_mib": 3072})
OTHER = vm("vm/other", "n3", spec={"memory_mib": 4096})


def moved(*, ago: float = 1.0) -> InstanceView:
    """It went from n2 to n3 to make room for the big one, which still needs more."""
    spec = {"memory_mib": 3072}
    return vm("vm/a", "n3", spec=spec, placement={"yields_to": "vm/big", "left": "n2"}, placed_at=NOW - ago)


def decide(*instances: InstanceView) -> Decision:
    return decided([claimed("n1"), N2, N3], BIG, LITTLE, STAYS, OTHER, *instances)


def test_what_a_move_has_freed_is_kept_for_a_while() -> None:
    kept = decide(moved())
    assert kept.cramped == ("vm/big", "vm/little") and places(kept) == {}
    assert places(decide(moved(ago=YIELD_S)))["vm/little"].node == "n2", "not for ever"


def test_it_is_kept_in_the_very_turn_in_which_the_move_ends() -> None:
    handed_over = vm(
        "vm/a", "n2", InstanceState.MIGRATED, spec={"memory_mib": 3072},
        placement={"migrate_to": "n3", "migrate_fence_epoch": 1},
        move=MoveRequest("n3", f"{ROOM_FOR}vm/big", live=True), move_revision=90,
    )  # fmt: skip
    found = places(decide(handed_over))
    assert found.keys() == {"vm/a"}
    assert (found["vm/a"].node, found["vm/a"].yields_to, found["vm/a"].left) == ("n3", "vm/big", "n2")


@pytest.mark.parametrize("operator", ["root", f"{ROOM_FOR}vm/gone"])
def test_other_moves_keep_room_for_nobody_who_waits(operator: str) -> None:
    asked = replace(
        moved(), placement=Placement("n3", 10, 1, yields_to="" if operator == "root" else "vm/gone", left="n2")
    )
    assert places(decide(asked))["vm/little"].node == "n2"


def test_who_moves_out_of_the_way_takes_its_new_place_before_the_less_important() -> None:
    """The mover is less important than the little one that would like to have the room it is to move to."""
    mover = vm(
        "vm/a", "n2", spec={"memory_mib": 3072, "priority": 1},
        move=MoveRequest("n3", f"{ROOM_FOR}vm/big", live=True), move_revision=90,
    )  # fmt: skip
    found = places(decide(mover))
    assert found.keys() == {"vm/a"} and found["vm/a"].migrate_to == "n3"


def test_who_has_moved_waits_for_nobody_when_its_new_node_dies() -> None:
    lost = replace(moved(), placement=Placement("n1", 10, 1, yields_to="vm/big", left="n2"), status=None)
    assert places(decide(lost))["vm/a"].node in ("n2", "n3")
