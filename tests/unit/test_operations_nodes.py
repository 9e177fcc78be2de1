"""Operations on nodes and fence devices, above all what they refuse."""

import base64

import pytest
from api_world import ROOT, FakeFences, build, contents, memory_store, place, put, say

from holdfast.api.operations import fence_test, nodes
from holdfast.api.operations.draft import Draft
from holdfast.core.model import (
    Beat,
    BeatPhase,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    NodeSpec,
    NodeState,
    Proof,
    Role,
)
from holdfast.errors import ConfigError, Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import codec, keys

NEW = {"management": "10.77.0.60", "public": "10.78.0.60"}


async def bundle(store: Store, spec: NodeSpec) -> bytes:
    return f"bundle of {spec.id}".encode()


async def test_a_node_is_added_with_its_first_fence_record_and_a_bundle() -> None:
    store = memory_store()
    await build(store)
    outcome = await nodes.add(
        store, ROOT, node_id="n6", roles=["storage", "compute"], addresses=NEW, make_bundle=bundle
    )
    assert base64.b64decode(outcome.data["bundle"]) == b"bundle of n6"
    spec, fence = await store.get(keys.node_spec("n6")), await store.get(keys.fence("n6"))
    assert spec is not None
    assert fence is not None
    assert codec.decode(spec.value, NodeSpec).roles == (Role.STORAGE, Role.COMPUTE)
    assert codec.decode(fence.value, Fence) == Fence(1)
    assert spec.mod_revision == fence.mod_revision == outcome.revision
    assert "no fence device" in outcome.warnings[0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"node_id": "n1"}, Conflict, "exists already"),
        ({"node_id": "N 6"}, InvalidInput, "N 6"),
        ({"roles": []}, InvalidInput, "no role"),
        ({"roles": ["storrage"]}, InvalidInput, "storrage"),
        ({"roles": ["management"]}, InvalidInput, "ha enable"),
        ({"addresses": {"public": "10.78.0.60"}}, InvalidInput, "management"),
        ({"addresses": {"management": "10.99.0.1"}}, InvalidInput, "10.77.0.0/24"),
        ({"addresses": NEW | {"public": "fd78::60"}}, InvalidInput, "IPv6"),
        ({"addresses": NEW | {"publik": "10.78.0.60"}}, InvalidInput, "publik"),
        ({"addresses": NEW | {"public": "10.78.0.12"}}, Conflict, "node `n2`"),
        ({"addresses": NEW | {"public": "10.78.0.999"}}, InvalidInput, "not an IP address"),
        ({"fence_devices": [FenceDeviceSpec("bmc", "redfisch")]}, InvalidInput, "redfisch"),
        ({"fence_devices": [FenceDeviceSpec("bmc", "redfish")]}, InvalidInput, "option `state`"),
        ({"fence_devices": [FenceDeviceSpec("a", "manual")] * 2}, InvalidInput, "two fence devices"),
    ],
)
async def test_a_wrong_node_is_refused_and_changes_nothing(
    change: dict[str, object], error: type[HoldfastError], words: str
) -> None:
    store = memory_store()
    await build(store)
    before = await contents(store)
    arguments = {"node_id": "n6", "roles": ["storage"], "addresses": NEW, "fences": FakeFences()} | change
    with pytest.raises(error) as caught:
        await nodes.add(store, ROOT, make_bundle=bundle, **arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


async def test_slots_and_failure_domain_change_and_what_is_left_out_stays() -> None:
    store = memory_store()
    await build(store)
    await place(store, "nfs/vol1", "n2")
    first = await nodes.change(store, ROOT, "n2", slots={"vm": 40, "nfs": 0}, failure_domain="rack-a")
    assert first.text == "node n2: slots 0 for nfs, 40 for vm, failure domain rack-a"
    assert first.warnings == ("n2 carries 1 instances of nfs: they stay, and no other one is placed there.",)
    await nodes.change(store, ROOT, "n2", slots={"nfs": None})
    spec = (await Draft.open(store)).nodes["n2"]
    assert (spec.slots, spec.failure_domain) == ({"vm": 40}, "rack-a")
    for wrong, words in (({"vms": 1}, "no kind `vms`"), ({"vm": -1}, "-1 slots"), ({}, "nothing to change")):
        with pytest.raises(InvalidInput, match=words):
            await nodes.change(store, ROOT, "n2", slots=wrong)


async def test_nothing_is_added_if_the_bundle_cannot_be_made() -> None:
    async def broken(store: Store, spec: NodeSpec) -> bytes:
        raise ConfigError("the cluster secret is gone", "Copy it.")

    store = memory_store()
    await build(store)
    before = await contents(store)
    with pytest.raises(ConfigError):
        await nodes.add(store, ROOT, node_id="n6", roles=["storage"], addresses=NEW, make_bundle=broken)
    assert await contents(store) == before


async def test_only_a_node_that_is_gone_and_empty_is_removed_and_returns_with_a_higher_epoch() -> None:
    store = memory_store()
    await build(store)
    for node, words in (("n2", "is up"), ("n1", "management node"), ("n9", "does not exist")):
        with pytest.raises(HoldfastError, match=words):
            await nodes.remove(store, ROOT, node)
    await put(store, {keys.fence("n2"): Fence(2, Proof.POWER_OFF)})
    await place(store, "nfs/vol1", "n2", epoch=9)  # carries fence epoch 1: voided by the claim
    outcome = await nodes.remove(store, ROOT, "n2")
    assert await store.get(keys.node_spec("n2")) is None
    assert await store.get(keys.beat("n2")) is None
    assert outcome.warnings
    await nodes.add(store, ROOT, node_id="n2", roles=["compute"], addresses=NEW)
    fence = await store.get(keys.fence("n2"))
    assert fence is not None
    assert codec.decode(fence.value, Fence).epoch == 3


async def test_a_released_node_that_still_carries_something_is_not_removed() -> None:
    store = memory_store()
    await build(store)
    await put(store, {keys.beat("n2"): Beat("s", "b", "m", 9, 1, BeatPhase.RELEASED)})
    await place(store, "nfs/vol1", "n2")
    with pytest.raises(Conflict, match="still carries nfs/vol1"):
        await nodes.remove(store, ROOT, "n2")


async def test_confirm_dead_refuses_a_node_that_is_up_and_unknown_ones() -> None:
    store = memory_store()
    await build(store)
    with pytest.raises(Conflict, match="`n2` is up"):
        await nodes.confirm_dead(store, ROOT, "n2", yes=True)
    with pytest.raises(NotFound) as caught:
        await nodes.confirm_dead(store, ROOT, "n22", yes=True)
    assert "Did you mean `n2`" in caught.value.advice
    assert "n1, n2, n3" in caught.value.advice


async def test_confirm_dead_warns_first_and_then_confirms_exactly_the_last_beat() -> None:
    store = memory_store()
    await build(store)
    nfs = InstanceSpec("nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE)
    await put(store, {keys.instance("nfs/vol1"): nfs})
    await place(store, "nfs/vol1", "n2")
    await say(store, {"n2": NodeState.SUSPECT})
    with pytest.raises(Conflict, match=r"corrupted: nfs/vol1"):
        await nodes.confirm_dead(store, ROOT, "n2")
    assert await store.get(keys.death_confirmation("n2")) is None
    outcome = await nodes.confirm_dead(store, ROOT, "n2", reason="seen dark", yes=True)
    assert "nfs/vol1" in outcome.warnings[0]
    entry, beat = await store.get(keys.death_confirmation("n2")), await store.get(keys.beat("n2"))
    assert entry is not None
    assert beat is not None
    assert codec.decode(entry.value, DeathConfirmation) == DeathConfirmation("root", beat.mod_revision, "seen dark")


async def test_fence_devices_that_are_kept_stay_as_they_are_before_the_others() -> None:
    store = memory_store()
    await build(store)
    bmc, strip = (FenceDeviceSpec(name, "redfish", {"state": "on", "password": name}) for name in ("bmc", "strip"))
    await nodes.set_fence_devices(store, ROOT, "n2", [bmc], fences=FakeFences())
    await nodes.set_fence_devices(store, ROOT, "n2", [strip], keep=["bmc"], fences=FakeFences())
    entry = await store.get(keys.node_spec("n2"))
    assert entry is not None
    assert codec.decode(entry.value, NodeSpec).fence_devices == (bmc, strip)
    with pytest.raises(NotFound, match="nothing"):
        await nodes.set_fence_devices(store, ROOT, "n2", [], keep=["nothing"], fences=FakeFences())
    with pytest.raises(InvalidInput, match="to be kept and to be set"):
        await nodes.set_fence_devices(store, ROOT, "n2", [bmc], keep=["bmc"], fences=FakeFences())


async def test_fence_test_finds_the_silent_the_unknown_and_the_wrong_device() -> None:
    store = memory_store()
    await build(store)
    devices = [
        FenceDeviceSpec(state, "redfish", {"state": state, "password": "geheim"})
        for state in ("on", "off", "unknown", "silent")
    ]
    await nodes.set_fence_devices(store, ROOT, "n2", [*devices, FenceDeviceSpec("hand", "manual")], fences=FakeFences())
    results = {result.name: result for result in await fence_test.test(store, "n2", FakeFences())}
    assert [name for name, result in results.items() if result.ok] == ["on", "hand"]
    assert "another machine" in results["off"].advice
    assert "does not answer" in results["silent"].text
    with pytest.raises(Conflict, match="has no fence device"):
        await fence_test.test(store, "n3", FakeFences())
