"""Operations on nodes at work: maintenance, quarantine, pause, shutdown policy; above all what they refuse and warn of."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from api_world import ROOT, build, contents, memory_store, place, put, say

from holdfast.api.operations import cluster, nodes, services, upkeep
from holdfast.api.status import build_status
from holdfast.core.model import (
    Beat,
    BeatPhase,
    ClusterSpec,
    DeathConfirmation,
    Desired,
    Exclusivity,
    Fence,
    InstanceSpec,
    NodeState,
    Proof,
    Role,
    ShutdownPolicy,
)
from holdfast.core.policy import BringBack, HaPause, InstanceLock, Maintenance, NodeFailure, NodeHealth, PauseMode
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryStore


def vm(name: str, **changes: object) -> InstanceSpec:
    spec = InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE)
    return replace(spec, **changes)  # type: ignore[arg-type]


async def world(*instances: InstanceSpec) -> MemoryStore:
    """n1 to n5; these instances on n2."""
    store = memory_store()
    await build(store)
    for instance in instances:
        await put(store, {keys.instance(instance.id): instance})
        await place(store, instance.id, "n2")
    return store


async def read(store: Store, key: str, kind: type) -> object:
    entry = await store.get(key)
    return None if entry is None else codec.decode(entry.value, kind, key)


async def refused(store: Store, call: Callable[[], Awaitable[object]], error: type[HoldfastError], words: str) -> None:
    """It is refused with advice, and nothing was changed."""
    before = await contents(store)
    with pytest.raises(error) as caught:
        await call()
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


async def test_a_maintenance_is_entered_once_and_says_what_it_will_move() -> None:
    store = await world(vm("a"), vm("off", desired=Desired.STOPPED), vm("left", desired=Desired.DISABLED))
    outcome = await upkeep.enter_maintenance(store, ROOT, "n2")
    assert outcome.data["instances"] == ["vm/a", "vm/off"]
    assert outcome.warnings == ()
    assert await read(store, keys.maintenance("n2"), Maintenance) == Maintenance("root")
    await refused(store, lambda: upkeep.enter_maintenance(store, ROOT, "n2"), Conflict, "in maintenance already")
    await refused(store, lambda: upkeep.enter_maintenance(store, ROOT, "n9"), NotFound, "n9")


async def test_what_will_not_leave_is_said_before_anything_moves() -> None:
    pinned, other_role = vm("pinned", nodes=("n2", "n3")), vm("shelf", role=Role.STORAGE)
    store = await world(pinned, other_role, vm("backup"))
    await put(store, {keys.lock("vm/backup"): InstanceLock("a backup runs"), keys.PAUSE: HaPause(PauseMode.FREEZE)})
    await say(store, {"n3": NodeState.SUSPECT} | dict.fromkeys(("n1", "n2", "n4", "n5"), NodeState.UP))
    texts = (await upkeep.enter_maintenance(store, ROOT, "n2")).warnings
    assert len(texts) == 4
    for words in (
        "`vm/pinned` stays where it is",
        "`vm/shelf` stays where it is",
        "vm/backup is locked: a backup runs",
        "ha resume",
    ):
        assert any(words in text for text in texts), words


async def test_at_its_end_what_was_moved_off_returns_unless_somebody_wants_otherwise() -> None:
    for asked, said, returns in ((True, None, True), (False, None, False), (True, False, False), (False, True, True)):
        store = await world()
        await upkeep.enter_maintenance(store, ROOT, "n2", bring_back=asked)
        await put(store, {keys.maintenance("n2"): Maintenance("root", asked, ("vm/a",))})
        outcome = await upkeep.exit_maintenance(store, ROOT, "n2", bring_back=said)
        assert await store.get(keys.maintenance("n2")) is None
        expected = BringBack(("vm/a",)) if returns else None
        assert await read(store, keys.bring_back("n2"), BringBack) == expected
        assert ("vm/a" in outcome.text) == returns
    store = await world()
    await refused(store, lambda: upkeep.exit_maintenance(store, ROOT, "n2"), Conflict, "not in maintenance")


async def test_a_maintenance_right_after_another_takes_over_what_has_not_returned() -> None:
    store = await world()
    await put(store, {keys.bring_back("n2"): BringBack(("vm/a", "vm/b"))})
    await upkeep.enter_maintenance(store, ROOT, "n2")
    assert await store.get(keys.bring_back("n2")) is None
    assert await read(store, keys.maintenance("n2"), Maintenance) == Maintenance("root", True, ("vm/a", "vm/b"))


async def test_a_quarantined_node_is_returned_with_a_clean_record() -> None:
    store = await world()
    await refused(store, lambda: upkeep.return_node(store, ROOT, "n2"), Conflict, "not in quarantine")
    await put(store, {keys.health("n2"): NodeHealth((NodeFailure(3, 1.0),))})
    await refused(store, lambda: upkeep.return_node(store, ROOT, "n2"), Conflict, "not in quarantine")
    await put(store, {keys.health("n2"): NodeHealth((NodeFailure(3, 1.0),), "it failed 3 times")})
    await upkeep.return_node(store, ROOT, "n2")
    assert await store.get(keys.health("n2")) is None


async def test_pause_and_resume() -> None:
    store = await world()
    await refused(store, lambda: upkeep.resume(store, ROOT), Conflict, "not paused")
    await refused(store, lambda: upkeep.pause(store, ROOT, mode="sleep"), InvalidInput, "sleep")
    outcome = await upkeep.pause(store, ROOT, reason="switch")
    assert "holdfast ha resume" in outcome.warnings[0]
    pause = await read(store, keys.PAUSE, HaPause)
    assert isinstance(pause, HaPause)
    assert pause == HaPause(PauseMode.FREEZE, "root", "switch", pause.since)
    assert pause.since
    await refused(store, lambda: upkeep.pause(store, ROOT), Conflict, "paused already, by root")
    await upkeep.pause(store, ROOT, mode="ignore")
    pause = await read(store, keys.PAUSE, HaPause)
    assert isinstance(pause, HaPause)
    assert pause == HaPause(PauseMode.IGNORE, "root", since=pause.since)
    await say(store, {"n3": NodeState.SUSPECT, "n2": NodeState.UP})
    resumed = await upkeep.resume(store, ROOT)
    assert await store.get(keys.PAUSE) is None
    assert "confirm-dead n3" in resumed.warnings[0], "time will prove nothing about it"


async def test_the_shutdown_policy() -> None:
    store = await world()
    await refused(store, lambda: cluster.set_shutdown_policy(store, ROOT, "hibernate"), InvalidInput, "hibernate")
    outcome = await cluster.set_shutdown_policy(store, ROOT, "conditional")
    assert "wait for its return" in outcome.warnings[0]
    changed = await read(store, keys.CLUSTER, ClusterSpec)
    assert isinstance(changed, ClusterSpec)
    assert changed.shutdown_policy is ShutdownPolicy.CONDITIONAL
    assert (await cluster.set_shutdown_policy(store, ROOT, "migrate")).warnings == ()


async def test_a_frozen_node_can_be_given_up_without_a_warning_and_others_cannot() -> None:
    store = await world(vm("a"))
    released = Beat("s", "b", "m", 9, 1, BeatPhase.RELEASED)
    await put(store, {keys.beat("n2"): released})
    await refused(store, lambda: nodes.confirm_dead(store, ROOT, "n2", yes=True), Conflict, "shut down cleanly")
    await put(store, {keys.beat("n2"): replace(released, leaving="freeze")})
    outcome = await nodes.confirm_dead(store, ROOT, "n2")
    assert outcome.warnings == (), "nothing can run twice, so nobody needs to be asked again"
    beat = await store.get(keys.beat("n2"))
    assert beat is not None
    assert await read(store, keys.death_confirmation("n2"), DeathConfirmation) == DeathConfirmation(
        "root", beat.mod_revision
    )
    await put(store, {keys.fence("n2"): Fence(2, Proof.RELEASED)})
    await refused(store, lambda: nodes.confirm_dead(store, ROOT, "n2"), Conflict, "shut down cleanly")


@pytest.mark.parametrize("state", [NodeState.MAINTENANCE, NodeState.QUARANTINED])
async def test_a_node_at_work_is_not_confirmed_dead_nor_a_target(state: NodeState) -> None:
    store = await world(vm("a"))
    await say(store, {"n2": state, "n3": state})
    await refused(store, lambda: nodes.confirm_dead(store, ROOT, "n2", yes=True), Conflict, "is up, in")
    await refused(store, lambda: services.move(store, ROOT, "vm/a", node="n3"), Conflict, "needs it up")


async def test_a_removed_node_leaves_no_wish_behind() -> None:
    store = await world()
    left = {
        keys.maintenance("n2"): Maintenance("root"),
        keys.bring_back("n2"): BringBack(("vm/a",)),
        keys.health("n2"): NodeHealth(),
        keys.fence("n2"): Fence(2, Proof.POWER_OFF),
    }
    await put(store, left)
    await nodes.remove(store, ROOT, "n2")
    assert sorted(key for key in await contents(store) if "n2" in key) == [keys.fence("n2")]


async def test_the_picture_shows_it_all() -> None:
    store = await world(vm("a"))
    beat = Beat("s2", "b2", "m2", 1, 1, BeatPhase.ACTIVE, paused=True, leaving="migrate")
    health = NodeHealth((NodeFailure(3, 1.0),), "it failed 3 times")
    pause = HaPause(PauseMode.IGNORE, "ann")
    await put(
        store,
        {
            keys.beat("n2"): beat,
            keys.maintenance("n2"): Maintenance("ann", True, ("vm/a",)),
            keys.bring_back("n3"): BringBack(("vm/b",)),
            keys.health("n2"): health,
            keys.PAUSE: pause,
        },
    )
    picture = build_status((await store.list("")).entries)
    assert picture.pause == pause
    shown, other = picture.node("n2"), picture.node("n3")
    assert shown is not None
    assert other is not None
    assert (shown.paused, shown.leaving, shown.health) == (True, "migrate", health)
    assert shown.maintenance == Maintenance("ann", True, ("vm/a",))
    assert (other.paused, other.returning, other.health) == (False, ("vm/b",), NodeHealth())
