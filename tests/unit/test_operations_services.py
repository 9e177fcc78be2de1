"""Operations on management HA, NFS and services, above all what they refuse."""

import asyncio

import pytest
from api_world import ROOT, FakeProbe, build, contents, memory_store, place, put, say

from holdfast.api.operations import cluster, ha, incidents, nfs, services
from holdfast.api.operations.draft import Draft, transact
from holdfast.core.history import Event
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Fence,
    InstanceSpec,
    ManagementSpec,
    MoveRequest,
    NodeState,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Store
from holdfast.store import codec, keys
from holdfast.store.memory import Faults, WriteFault

POOL = ["10.78.0.101-10.78.0.103"]


async def instance(store: Store, name: str) -> InstanceSpec:
    entry = await store.get(keys.instance(name))
    assert entry is not None
    return codec.decode(entry.value, InstanceSpec)


async def management(store: Store) -> ManagementSpec:
    return (await Draft.open(store)).management


async def with_nfs(store: Store, nodes: int = 5) -> None:
    await build(store, nodes=nodes)
    await nfs.create_cluster(store, ROOT, nodes=["n2", "n3"], addresses=POOL)


# --- management HA ---


async def test_ha_enable_update_and_disable() -> None:
    store, probe = memory_store(), FakeProbe()
    await build(store)
    await ha.enable(store, ROOT, virtual_ip="10.77.0.100", nodes=["n1", "n2", "n3"], probe=probe)
    spec = await management(store)
    assert (spec.nodes, spec.virtual_ip, len(spec.members)) == (("n1", "n2", "n3"), "10.77.0.100", 1)
    panel = await instance(store, "panel/admin")
    assert panel.address == ServiceAddress("10.77.0.100", "management")
    nodes = (await Draft.open(store)).nodes
    assert [n for n, s in nodes.items() if Role.MANAGEMENT in s.roles] == ["n1", "n2", "n3"]
    assert probe.asked == ["10.77.0.100"]

    await ha.update(store, ROOT, nodes=["n2", "n3", "n4"], probe=probe)
    nodes = (await Draft.open(store)).nodes
    assert [n for n, s in nodes.items() if Role.MANAGEMENT in s.roles] == ["n2", "n3", "n4"]
    await ha.update(store, ROOT, virtual_ip="10.77.0.100", nodes=["n1", "n2", "n3", "n4", "n5"], probe=probe)
    assert probe.asked == ["10.77.0.100"], "the address in use is answered by the panel itself"

    outcome = await ha.disable(store, ROOT, keep="n2")
    assert outcome.warnings
    assert (await management(store)).nodes == ("n2",)
    assert (await instance(store, "panel/admin")).address is None


@pytest.mark.parametrize(
    ("virtual_ip", "names", "error", "words"),
    [
        ("10.77.0.100", "n1,n2", InvalidInput, "3 or 5"),
        ("10.77.0.100", "n1,n2,n3,n4", InvalidInput, "3 or 5"),
        ("10.77.0.100", "n2,n3,n4", InvalidInput, "`n1` is not among"),
        ("10.77.0.100", "n1,n2,n2", InvalidInput, "twice"),
        ("10.77.0.100", "n1,n2,m3", NotFound, "`m3` does not exist"),
        ("10.77.0.100", "n1,n2,n5", Conflict, "`n5` is released"),
        ("10.78.0.100", "n1,n2,n3", InvalidInput, "10.77.0.0/24"),
        ("10.77.0.12", "n1,n2,n3", Conflict, "node `n2`"),
        ("10.77.0.66", "n1,n2,n3", Conflict, "52:54:00:aa:bb:cc"),
        ("10.77.0.255", "n1,n2,n3", InvalidInput, "broadcast"),
        ("ten", "n1,n2,n3", InvalidInput, "not an IP address"),
    ],
)
async def test_ha_enable_refuses(virtual_ip: str, names: str, error: type[HoldfastError], words: str) -> None:
    store = memory_store()
    await build(store)
    await put(store, {keys.beat("n5"): Beat("s", "b", "m", 1, 1, BeatPhase.RELEASED)})
    before = await contents(store)
    with pytest.raises(error) as caught:
        await ha.enable(
            store,
            ROOT,
            virtual_ip=virtual_ip,
            nodes=names.split(","),
            probe=FakeProbe({"10.77.0.66": "52:54:00:aa:bb:cc"}),
        )
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


async def test_ha_operations_in_the_wrong_order() -> None:
    store = memory_store()
    await build(store)
    with pytest.raises(Conflict, match="not enabled"):
        await ha.update(store, ROOT, nodes=["n1", "n2", "n3"])
    with pytest.raises(Conflict, match="not enabled"):
        await ha.disable(store, ROOT, keep="n1")
    await ha.enable(store, ROOT, virtual_ip="10.77.0.100", nodes=["n1", "n2", "n3"])
    with pytest.raises(Conflict, match="already enabled"):
        await ha.enable(store, ROOT, virtual_ip="10.77.0.101", nodes=["n1", "n2", "n3"])
    with pytest.raises(InvalidInput, match="nothing to change"):
        await ha.update(store, ROOT)
    with pytest.raises(InvalidInput, match="not a management node"):
        await ha.disable(store, ROOT, keep="n5")


# --- NFS ---


async def test_volumes_get_the_next_free_address_of_the_pool() -> None:
    store = memory_store()
    await with_nfs(store)
    probe = FakeProbe({"10.78.0.102": "52:54:00:00:00:01"})
    first = await nfs.create(store, ROOT, name="vol1", size="10GiB", access=["10.0.0.0/8,ro"], probe=probe)
    second = await nfs.create(store, ROOT, name="vol2", probe=probe)
    assert (first.data["address"], second.data["address"]) == ("10.78.0.101", "10.78.0.103")
    assert "52:54:00:00:00:01" in second.warnings[0]
    spec = await instance(store, "nfs/vol1")
    assert spec.config["size"] == 10 << 30
    assert spec.config["access"] == [{"clients": "10.0.0.0/8", "access": "ro", "squash": "root"}]
    with pytest.raises(Conflict, match="no address of the NFS pool is free"):
        await nfs.create(store, ROOT, name="vol3", probe=probe)
    outcome = await nfs.set_access(store, ROOT, "vol1", ["*,rw,no_root_squash"])
    assert "squash none" in outcome.text
    assert (await instance(store, "nfs/vol1")).config["path"] == spec.config["path"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "vol1"}, Conflict, "exists already"),
        ({"name": "Vol 2"}, InvalidInput, "Vol 2"),
        ({"name": "../x"}, InvalidInput, "../x"),
        ({"name": "vol2", "size": "big"}, InvalidInput, "big"),
        ({"name": "vol2", "address": "fd78::5"}, InvalidInput, "IPv6"),
        ({"name": "vol2", "address": "10.99.0.5"}, InvalidInput, "10.78.0.0/24"),
        ({"name": "vol2", "address": "10.78.0.101"}, Conflict, "nfs/vol1"),
        ({"name": "vol2", "address": "10.78.0.13"}, Conflict, "node `n3`"),
        ({"name": "vol2", "address": "10.78.0.66"}, Conflict, "aa:bb"),
        ({"name": "vol2", "access": ["10.0.0.0/99"]}, InvalidInput, "10.0.0.0/99"),
    ],
)
async def test_a_wrong_volume_is_refused_and_changes_nothing(
    arguments: dict[str, str], error: type[HoldfastError], words: str
) -> None:
    store = memory_store()
    await with_nfs(store)
    await nfs.create(store, ROOT, name="vol1")
    before = await contents(store)
    with pytest.raises(error) as caught:
        await nfs.create(store, ROOT, probe=FakeProbe({"10.78.0.66": "aa:bb"}), **arguments)
    assert words in str(caught.value)
    assert caught.value.advice
    assert await contents(store) == before


@pytest.mark.parametrize(
    ("nodes", "addresses", "words"),
    [
        (["n2"], POOL, "at least 2 nodes"),
        (["n2", "n33"], POOL, "`n33` does not exist"),
        (["n2", "n3"], [], "no service addresses"),
        (["n2", "n3"], ["10.78.0.9-10.78.0.1"], "ends before it begins"),
        (["n2", "n3"], ["10.78.0.9-fd78::1"], "mixes"),
        (["n2", "n3"], ["10.78.0.101-10.79.0.1"], "10.78.0.0/24"),
    ],
)
async def test_a_wrong_nfs_cluster_is_refused(nodes: list[str], addresses: list[str], words: str) -> None:
    store = memory_store()
    await build(store)
    before = await contents(store)
    with pytest.raises(HoldfastError) as caught:
        await nfs.create_cluster(store, ROOT, nodes=nodes, addresses=addresses)
    assert words in str(caught.value)
    assert await contents(store) == before


async def test_volumes_need_the_cluster_first() -> None:
    store = memory_store()
    await build(store)
    with pytest.raises(Conflict, match="create-cluster"):
        await nfs.create(store, ROOT, name="vol1")


async def test_a_volume_is_stopped_before_it_is_deleted_and_its_data_is_kept() -> None:
    store = memory_store()
    await with_nfs(store)
    await nfs.create(store, ROOT, name="vol1")
    with pytest.raises(Conflict, match="in service"):
        await nfs.delete(store, ROOT, "vol1")
    outcome = await nfs.delete(store, ROOT, "vol1", force=True)
    assert outcome.data["path"] == "/shared/nfs/vol1"
    assert (await instance(store, "nfs/vol1")).desired == "stopped"
    entry = await store.get(keys.service("nfs", "vol1"))
    assert entry is not None
    assert codec.decode(entry.value, ServiceSpec).config["deleting"] is True
    with pytest.raises(Conflict, match="being deleted"):
        await services.start(store, ROOT, "nfs/vol1")
    with pytest.raises(Conflict, match="being deleted"):
        await nfs.create(store, ROOT, name="vol1")
    with pytest.raises(NotFound):
        await nfs.delete(store, ROOT, "vol9")


# --- services ---


async def test_services_are_stopped_started_and_moved() -> None:
    store = memory_store()
    await with_nfs(store)
    await nfs.create(store, ROOT, name="vol1")
    await place(store, "nfs/vol1", "n2")
    await services.stop(store, ROOT, "vol1")
    assert (await instance(store, "nfs/vol1")).desired == "stopped"
    with pytest.raises(Conflict, match="is stopped"):
        await services.move(store, ROOT, "nfs/vol1")
    await services.start(store, ROOT, "nfs/vol1")
    for node, words in (("n2", "already"), ("n4", "role `storage`"), ("n9", "does not exist")):
        with pytest.raises(HoldfastError, match=words):
            await services.move(store, ROOT, "nfs/vol1", node=node)
    await services.move(store, ROOT, "nfs/vol1", node="n3")
    entry = await store.get(keys.move("nfs/vol1"))
    assert entry is not None
    assert codec.decode(entry.value, MoveRequest) == MoveRequest("n3", "root")
    await say(store, {"n3": NodeState.SUSPECT})
    with pytest.raises(Conflict, match="`n3` is suspect"):
        await services.move(store, ROOT, "nfs/vol1", node="n3")


async def test_the_panel_cannot_be_stopped_and_needs_an_address_to_move() -> None:
    store = memory_store()
    await build(store)
    with pytest.raises(Conflict, match="cannot be stopped"):
        await services.stop(store, ROOT, "panel/admin")
    with pytest.raises(Conflict, match="no address of its own"):
        await services.move(store, ROOT, "panel/admin")
    with pytest.raises(NotFound, match="service `nfs/x` does not exist"):
        await services.stop(store, ROOT, "nfs/x")


# --- how operations commit ---


async def test_two_operators_at_once_never_get_the_same_address() -> None:
    store = memory_store()
    await with_nfs(store)
    outcomes = await asyncio.gather(*(nfs.create(store, ROOT, name=f"v{n}", probe=FakeProbe()) for n in range(3)))
    assert len({outcome.data["address"] for outcome in outcomes}) == 3


async def test_an_unknown_outcome_that_was_applied_is_a_success() -> None:
    faults = Faults()
    store = memory_store(faults)
    await build(store)
    faults.next_writes.append(WriteFault.APPLIED)
    outcome = await cluster.update(store, ROOT, dead_node_power_on=False)
    assert outcome.revision > 0


async def test_an_unknown_outcome_that_was_not_applied_is_said_to_be_unknown() -> None:
    faults = Faults()
    store = memory_store(faults)
    await build(store)
    before = await contents(store)
    faults.next_writes.append(WriteFault.LOST)
    with pytest.raises(StoreUnknownOutcome, match="holdfast status"):
        await cluster.update(store, ROOT, dead_node_power_on=False)
    faults.next_writes.append(WriteFault.REFUSED)
    with pytest.raises(StoreUnavailable):
        await cluster.update(store, ROOT, dead_node_power_on=False)
    assert await contents(store) == before


async def test_what_an_operation_relied_upon_is_compared() -> None:
    store = memory_store()
    await build(store)
    runs = 0

    async def operation(draft: Draft) -> str:
        nonlocal runs
        runs += 1
        fence = await draft.read(keys.fence("n1"), Fence, rely=True)
        assert fence is not None
        if runs == 1:
            await put(store, {keys.fence("n1"): Fence(2)})
        draft.put("spec/test", fence.epoch)
        return "done"

    await transact(store, ROOT, operation)
    entry = await store.get("spec/test")
    assert runs == 2
    assert entry is not None
    assert entry.value == b"2"


async def test_a_store_without_cluster_is_named() -> None:
    with pytest.raises(Conflict, match="no cluster"):
        await cluster.update(memory_store(), ROOT, dead_node_power_on=True)


async def test_what_operators_do_stands_in_the_history_between_the_managers_events() -> None:
    store = memory_store()
    await build(store)
    await put(store, {keys.event(7): Event("node-up", "w", "n2 is up")})
    await cluster.update(store, ROOT, dead_node_power_on=False)
    await cluster.update(store, ROOT, dead_node_power_on=True)
    await put(store, {keys.event(8): Event("node-up", "w", "n3 is up")})
    texts = [event.text for event in (await incidents.list_events(store)).items]
    assert texts[0] == "n3 is up"
    assert texts[1].endswith("dead nodes are switched on again")
    assert texts[2].startswith("root: cluster demo: dead nodes are not")
    assert texts[3] == "n2 is up"
