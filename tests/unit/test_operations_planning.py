"""What operators ask of the planner, and admission control: on a small cluster in a memory store."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from api_world import ROOT, build, contents, memory_store, place, put, say

from holdfast.api.operations import nodes, planning, services, upkeep
from holdfast.api.operations.admission import GuaranteeBroken, admit
from holdfast.api.operations.draft import Draft, transact
from holdfast.core.history import Event
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Role,
)
from holdfast.core.policy import ComputeSpec, HaPause, InstanceLock, Maintenance, PauseMode
from holdfast.core.view import View
from holdfast.errors import Conflict, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryStore
from holdfast.store.view import Listing, people_view


def vm(name: str, memory_mib: int, **changes: object) -> InstanceSpec:
    spec = InstanceSpec(f"vm/{name}", "vm", name, Exclusivity.STRICT, Role.COMPUTE, memory_mib=memory_mib)
    return replace(spec, **changes)  # type: ignore[arg-type]


async def world(
    where: Mapping[InstanceSpec, str] | list[tuple[InstanceSpec, str]], *, tolerate: int = 1
) -> MemoryStore:
    """n1 to n3 with 8 GiB each; these machines run there ("": nowhere yet)."""
    store = memory_store()
    await build(store, nodes=3)
    values: dict[str, object] = {keys.COMPUTE: ComputeSpec(("n1", "n2", "n3"), tolerate=tolerate, reserve_memory_mib=0)}
    for k in (1, 2, 3):
        values[keys.beat(f"n{k}")] = Beat(f"s{k}", f"b{k}", f"m{k}", 1, 1, BeatPhase.ACTIVE, cpu=8, memory_mib=8192)
    for spec, node in where.items() if isinstance(where, Mapping) else where:
        values[keys.instance(spec.id)] = spec
        if node:
            values[keys.placement(spec.id)] = Placement(node, 7, 1, reason="chosen by free resources")
            values[keys.status(spec.id)] = InstanceStatus(
                node, f"s{node[1:]}", 7, InstanceState.RUNNING, healthy=True, stable=True
            )
    await put(store, values)
    return store


async def view_of(store: Store) -> View:
    snapshot = await store.list("")
    return people_view(Listing({entry.key: entry for entry in snapshot.entries}), snapshot.revision, 5.0)


async def events(store: Store) -> list[Event]:
    return [codec.decode(entry.value, Event) for entry in (await store.list(keys.EVENTS)).entries]


THREE = [(vm("a", 4096), "n1"), (vm("b", 4096), "n2"), (vm("c", 4096), "n3")]


# --- explain -----------------------------------------------------------------------------------------------------------


async def test_explain_says_for_each_node_why_or_why_not() -> None:
    store = await world([*THREE, (vm("new", 3072), ""), (vm("full", 2048), "n1")])
    found = planning.explanation(await view_of(store), "vm/new", 5.0)
    assert found.node == ""
    assert [(verdict.node, verdict.rank, verdict.refused) for verdict in found.verdicts] == [
        ("n2", 1, False), ("n3", 2, False), ("n1", 0, True)]  # fmt: skip
    best, next_one, refused = (verdict.text for verdict in found.verdicts)
    assert "most memory stays free with it there (1024 MiB)" in best
    assert "comes after n2: all else is equal" in next_one
    assert refused == "has only 2048 MiB of memory left, 3072 MiB are needed"


async def test_explain_of_what_runs_and_of_what_waits() -> None:
    store = await world([*THREE, (vm("huge", 9000), "")])
    found = planning.explanation(await view_of(store), "vm/a", 5.0)
    assert (found.node, found.why_there, found.waiting) == ("n1", "chosen by free resources", "")
    assert found.verdicts[0].node == "n1" and "it is there now" in found.verdicts[0].text
    waiting = planning.explanation(await view_of(store), "vm/huge", 5.0)
    assert waiting.waiting.startswith("no node can take it") and all(verdict.refused for verdict in waiting.verdicts)
    assert planning.explanation(await view_of(store), "vm/huge", 5.0, said="so").waiting == "so"
    with pytest.raises(NotFound, match="vm/x"):
        planning.explanation(await view_of(store), "vm/x", 5.0)


async def test_the_manager_s_word_that_a_node_is_suspect_counts() -> None:
    store = await world(THREE)
    await say(store, {"n2": NodeState.SUSPECT})
    found = planning.explanation(await view_of(store), "vm/a", 5.0)
    assert next(verdict.text for verdict in found.verdicts if verdict.node == "n2") == "is suspect"


# --- what if -----------------------------------------------------------------------------------------------------------


async def test_what_if_a_node_fails_and_what_remains_after() -> None:
    store = await world(THREE)
    found = planning.what_if(await view_of(store), ["n1"], 5.0)
    assert found.placements == {"vm/a": "n2"}
    assert found.stopped == ()
    assert list(found.unplaced) == ["panel/admin"], "only n1 is a management node"
    assert (found.after.survivable, found.after.remains) == (False, 0)
    assert "survives no failure" in found.after.text and "would be no room for vm/" in found.after.text


async def test_what_if_there_is_no_room() -> None:
    store = await world([(vm(name, 6000), node) for name, node in (("a", "n1"), ("b", "n2"), ("c", "n3"))])
    found = planning.what_if(await view_of(store), ["n3"], 5.0)
    assert found.unplaced["vm/c"]["n1"] == "has only 2192 MiB of memory left, 6000 MiB are needed"
    for wrong, error in (([], InvalidInput), (["n9"], NotFound), (["n1", "n2", "n3"], InvalidInput)):
        with pytest.raises(error):
            planning.what_if(await view_of(store), wrong, 5.0)


# --- the precheck of a maintenance -------------------------------------------------------------------------------------


async def test_a_precheck_says_what_goes_where_how_and_what_stays() -> None:
    volume = InstanceSpec("nfs/v", "nfs", "v", Exclusivity.STRICT, Role.COMPUTE)
    store = await world(
        [
            *THREE,
            (volume, "n1"),
            (vm("held", 64), "n1"),
            (vm("huge", 3500), "n1"),
            (vm("off", 64, desired=Desired.STOPPED), "n1"),
        ],
        tolerate=0,
    )
    off = InstanceStatus("n1", "s1", 7, InstanceState.STOPPED)
    await put(store, {keys.lock("vm/held"): InstanceLock("a backup runs"), keys.status("vm/off"): off})
    found = planning.precheck(await view_of(store), "n1", 5.0)
    how = {move.instance: (move.to, move.how) for move in found.moves}
    assert how["nfs/v"][1] == "restart"
    assert how["vm/off"][1] == "rest"
    assert {name for name, (_, way) in how.items() if way == "live"} == {"vm/a", "vm/huge"}
    assert found.stays == {"vm/held": "should leave n1 (is in maintenance) but vm/held is locked: a backup runs"}
    assert found.warnings == ()
    assert await store.get(keys.maintenance("n1")) is None, "nothing is done"
    await put(store, {keys.PAUSE: HaPause(PauseMode.FREEZE)})
    assert "ha resume" in planning.precheck(await view_of(store), "n1", 5.0).warnings[0]
    with pytest.raises(NotFound):
        planning.precheck(await view_of(store), "n9", 5.0)


async def test_what_finds_no_room_stays_and_the_guarantee_meanwhile_is_told() -> None:
    store = await world([(vm(name, 5000), f"n{k}") for k, name in enumerate("abc", 1)])
    found = planning.precheck(await view_of(store), "n1", 5.0)
    assert "no other node can take it" in found.stays["vm/a"]
    assert not found.during.survivable and "During the maintenance" in found.warnings[0]


# --- evening out -------------------------------------------------------------------------------------------------------


async def test_evening_out_asks_for_the_moves_it_showed() -> None:
    store = await world([(vm(name, 1500), "n1") for name in "abcd"])
    shown = planning.evening(await view_of(store), 5.0)
    assert shown.after < shown.before and shown.warning == ""
    assert all(move.live and move.gain > move.cost and move.source == "n1" for move in shown.moves.moves)
    outcome = await planning.even_out(store, ROOT)
    assert [move["instance"] for move in outcome.data["moves"]] == [move.instance for move in shown.moves.moves]
    for move in shown.moves.moves:
        entry = await store.get(keys.move(move.instance))
        assert entry is not None
        assert codec.decode(entry.value, MoveRequest) == MoveRequest(move.target, "root", live=True)
    assert "even" in (await planning.even_out(await world(THREE), ROOT)).text
    await put(store, {keys.PAUSE: HaPause(PauseMode.FREEZE)})
    with pytest.raises(Conflict, match="paused"):
        await planning.even_out(store, ROOT)


async def test_what_is_locked_or_only_restarts_is_left_where_that_is_asked() -> None:
    volume = InstanceSpec("nfs/v", "nfs", "v", Exclusivity.STRICT, Role.COMPUTE, memory_mib=6000)
    store = await world([(volume, "n1"), (vm("a", 1500), "n1")])
    await put(store, {keys.lock("vm/a"): InstanceLock()})
    view = await view_of(store)
    assert planning.evening(view, 5.0, restarts=False).moves.moves == ()
    assert [move.live for move in planning.evening(view, 5.0).moves.moves] in ([], [False])


async def test_moves_that_would_break_the_guarantee_are_refused_unless_forced() -> None:
    """The big machine needs 6 GiB elsewhere, should its node fail; a volume cannot give way to it."""
    volumes = [
        InstanceSpec(f"nfs/{name}", "nfs", name, Exclusivity.STRICT, Role.STORAGE, memory_mib=4096) for name in "ab"
    ]
    store = await world([*((volume, "n1") for volume in volumes), (vm("big", 6000), "n2")])
    for k in (1, 3):
        entry = await store.get(keys.node_spec(f"n{k}"))
        assert entry is not None
        spec = codec.decode(entry.value, NodeSpec)
        await put(store, {keys.node_spec(f"n{k}"): replace(spec, roles=(*spec.roles, Role.STORAGE))})
    before = await contents(store)
    shown = planning.evening(await view_of(store), 5.0)
    [move] = shown.moves.moves
    assert (move.source, move.target) == ("n1", "n3")
    assert shown.warning.startswith("Only with --force: the cluster would not survive") and "vm/big" in shown.warning
    with pytest.raises(GuaranteeBroken, match="vm/big"):
        await planning.even_out(store, ROOT)
    assert await contents(store) == before
    outcome = await planning.even_out(store, ROOT, force=True)
    assert len(outcome.data["moves"]) == 1 and outcome.warnings[0].startswith("Done by force")
    assert "guarantee-overridden" in {event.kind for event in await events(store)}


# --- admission control -------------------------------------------------------------------------------------------------


async def add(store: Store, spec: InstanceSpec, *, force: bool = False) -> tuple[str, ...]:
    async def operation(draft: Draft) -> str:
        draft.put(keys.instance(spec.id), spec)
        await admit(draft, force=force)
        return "added"

    return (await transact(store, ROOT, operation)).warnings


async def test_what_breaks_the_guarantee_is_refused_with_the_worst_failure_unless_forced() -> None:
    store = await world(THREE)
    before = await contents(store)
    assert await add(store, vm("small", 512)) == ()
    with pytest.raises(GuaranteeBroken) as caught:
        await add(store, vm("big", 3900))
    assert "would not survive the failure of any one node any more: if n" in caught.value.message
    assert "no room for vm/" in caught.value.message and "--force" in caught.value.advice
    assert keys.instance("vm/big") not in await contents(store) and len(await contents(store)) > len(before)
    warned = await add(store, vm("big", 3900), force=True)
    assert warned[0].startswith("Done by force: ")
    assert "guarantee-overridden" in [event.kind for event in await events(store)]


async def test_what_has_no_room_even_without_a_failure_is_refused() -> None:
    with pytest.raises(GuaranteeBroken, match="already now there is no room for vm/huge"):
        await add(await world(THREE), vm("huge", 9000))


async def test_a_broken_guarantee_forbids_only_what_makes_it_worse() -> None:
    store = await world([(vm(name, 6000), f"n{k}") for k, name in enumerate("abc", 1)])
    assert "was broken already" in (await add(store, vm("nothing", 0)))[0]
    for name in ("first", "second"):  # whichever node fails, these find room as before
        assert await add(store, vm(name, 2100))
    with pytest.raises(GuaranteeBroken):
        await add(store, vm("third", 2100))


async def test_raising_tolerate_is_admitted_lowering_it_always() -> None:
    async def tolerate(store: Store, count: int) -> tuple[str, ...]:
        async def operation(draft: Draft) -> str:
            draft.put(keys.COMPUTE, ComputeSpec(("n1", "n2", "n3"), tolerate=count, reserve_memory_mib=0))
            await admit(draft)
            return "changed"

        return (await transact(store, ROOT, operation)).warnings

    store = await world(THREE)
    with pytest.raises(GuaranteeBroken, match="any 2 nodes"):
        await tolerate(store, 2)
    assert await tolerate(store, 0) == ()
    full = await world([(vm(name, 6000), f"n{k}") for k, name in enumerate("abc", 1)], tolerate=2)
    assert "does still not hold" in (await tolerate(full, 1))[0]


async def test_maintenance_and_starts_are_admitted() -> None:
    store = await world([*THREE, (vm("off", 4000, desired=Desired.STOPPED), "n1")])
    with pytest.raises(GuaranteeBroken):
        await upkeep.enter_maintenance(store, ROOT, "n1")
    assert await store.get(keys.maintenance("n1")) is None
    assert (await upkeep.enter_maintenance(store, ROOT, "n1", force=True)).warnings
    assert codec.decode((await contents(store))[keys.maintenance("n1")], Maintenance).operator == "root"
    await put(store, {keys.service("vm", "off"): {"kind": "vm", "name": "off"}})
    with pytest.raises(GuaranteeBroken):
        await services.start(store, ROOT, "vm/off")


async def test_slots_that_would_break_the_guarantee_are_refused_unless_forced() -> None:
    store = await world([(vm("a", 512), "n1"), (vm("b", 512), "n2"), (vm("c", 512), "n3")])
    await nodes.change(store, ROOT, "n2", slots={"vm": 1})
    with pytest.raises(GuaranteeBroken, match="if n1 failed, there would be no room for vm/a"):
        await nodes.change(store, ROOT, "n3", slots={"vm": 1})
    forced = await nodes.change(store, ROOT, "n3", slots={"vm": 1}, force=True)
    assert "Done by force" in forced.warnings[0]
    told = planning.explanation(await view_of(store), "vm/a", 5.0)
    said = {verdict.node: verdict.text for verdict in told.verdicts}
    assert said["n2"] == said["n3"] == "has its only slot for vm taken"


async def test_a_dead_node_is_removed_although_the_guarantee_is_broken_without_it() -> None:
    store = await world([(vm(name, 6000), f"n{k}") for k, name in enumerate("ab", 2)])
    await place(store, "panel/admin", "n2")
    await put(store, {keys.beat("n3"): Beat("s3", "b3", "m3", 9, 1, BeatPhase.RELEASED)})
    with pytest.raises(Conflict, match="still carries"):
        await nodes.remove(store, ROOT, "n3")
