"""Operations on the compute cluster and on virtual machines, above all what they refuse."""

from dataclasses import replace
from typing import Any

import pytest
from api_world import ROOT, contents, memory_store, place, put
from vm_world import GIB, FakeImages, with_compute, with_room

from holdfast.api.operations import compute, services, vm
from holdfast.api.operations.draft import Actor, Draft, Outcome
from holdfast.core.model import Desired, InstanceSpec, MoveRequest, Role
from holdfast.core.policy import ComputeSpec, InstanceLock
from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.services.vm.config import Disk, from_instance
from holdfast.store import codec, keys

IMAGE = "/shared/images/debian.qcow2"
XML = """<domain type='kvm'><name>old</name><memory unit='GiB'>1</memory><vcpu>2</vcpu>
<os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='/shared/images/debian.qcow2'/><target dev='vda'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br7'/></interface></devices></domain>"""


def machine(name: str = "web", **changes: Any) -> vm.Machine:
    return replace(vm.Machine(name, 1.0, 1024, disks=(IMAGE,)), **changes)


async def create(store: Store, images: FakeImages, made: vm.Machine, actor: Actor = ROOT, **wish: Any) -> Outcome:
    told: list[float] = []
    outcome = await vm.create(store, actor, images, made, vm.Wish(**wish), told.append)
    assert told == sorted(told)
    return outcome


async def instance(store: Store, name: str) -> InstanceSpec:
    return (await Draft.open(store)).instances[f"vm/{name}"]


# --- the compute cluster ------------------------------------------------------------------------------------------------


async def test_a_compute_cluster_is_highly_available_unless_its_owner_says_otherwise() -> None:
    store = memory_store()
    await with_room(store)
    await compute.create_cluster(store, ROOT, nodes=["n2", "n3"], bridges={"management": "br1"})
    draft = await Draft.open(store)
    assert draft.spec(keys.COMPUTE, ComputeSpec) == ComputeSpec(("n2", "n3"))
    assert {network.name: network.bridge for network in draft.cluster.networks} == {
        "management": "br1",
        "public": "br0",
    }
    await compute.set_ha(store, ROOT, on=False)
    assert not compute.existing(await Draft.open(store)).ha
    with pytest.raises(Conflict, match="already"):
        await compute.set_ha(store, ROOT, on=False)
    outcome = await compute.change(store, ROOT, nodes=["n1", "n2"], tolerate=0, rebalance="auto")
    changed = await Draft.open(store)
    assert [name for name, node in changed.nodes.items() if Role.COMPUTE in node.roles] == ["n1", "n2"]
    assert "rebalance auto" in outcome.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nodes": ["n1", "n9"]}, "`n9` does not exist"),
        ({"nodes": ["n1", "n1"]}, "twice"),
        ({"nodes": []}, "needs a node"),
        ({"nodes": ["n1", "n2"], "tolerate": 2}, "cannot tolerate the failure of 2 nodes"),
        ({"nodes": ["n1", "n2"], "reserve_memory_mib": -1}, "reserve"),
        ({"nodes": ["n1", "n2"], "bridges": {"storage": "br0"}}, "network `storage` does not exist"),
        ({"nodes": ["n1", "n2"], "bridges": {"public": "b r"}}, "name of a bridge"),
    ],
)
async def test_a_compute_cluster_is_refused(given: dict[str, Any], words: str) -> None:
    store = memory_store()
    await with_room(store)
    before = await contents(store)
    with pytest.raises(HoldfastError, match=words):
        await compute.create_cluster(store, ROOT, **given)
    assert await contents(store) == before


# --- machines -----------------------------------------------------------------------------------------------------------


async def test_a_machine_uses_an_image_where_it_is_or_a_copy_or_an_empty_disk() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await create(store, images, machine(networks=("public",)), priority=800, ha=False, policies={"on_hang": "ignore"})
    web = await instance(store, "web")
    config = from_instance(web)
    assert (web.role, web.cpu, web.memory_mib, web.priority, web.ha) == (Role.COMPUTE, 1.0, 1024, 800, False)
    assert (config.disks, config.on_hang, config.networks[0].bridge) == ((Disk(IMAGE),), "ignore", "br0")

    outcome = await create(store, images, machine("copied", copy=True, sizes=(GIB,)))
    assert outcome.data["disks"] == ["/shared/vm/copied/disk0.qcow2", "/shared/vm/copied/disk1.qcow2"]
    assert set(outcome.data["disks"]) <= set(images.files)

    await create(store, images, machine("elsewhere", disks=("/root/own.raw",), copy=True), node="n3")
    entry = await store.get(keys.move("vm/elsewhere"))
    assert entry is not None
    assert codec.decode(entry.value, MoveRequest).node == "n3"


async def test_two_machines_never_share_a_disk() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await create(store, images, machine())
    with pytest.raises(Conflict, match="is a disk of `web`"):
        await create(store, images, machine("other"))


@pytest.mark.parametrize(
    ("made", "wish", "words"),
    [
        (machine("Web"), {}, "name"),
        (machine(cpu=0.0), {}, "cores"),
        (machine(disks=()), {}, "nothing to start from"),
        (machine(disks=("/shared/none.qcow2",)), {}, "is no file"),
        (machine(disks=("/root/own.raw",)), {}, "is no file below /shared"),
        (machine(networks=("management",)), {}, "bridge is not known"),
        (machine(networks=("storage",)), {}, "does not exist"),
        (machine(kernel="/shared/none"), {}, "is no file"),
        (machine(), {"priority": 2000}, "priority"),
        (machine(), {"node": "n9"}, "does not exist"),
        (machine(), {"policies": {"on_hang": "explode"}}, "on_hang"),
        (machine(memory_mib=9000), {}, "would not survive|no room"),
    ],
)
async def test_a_refused_machine_leaves_nothing_behind(made: vm.Machine, wish: dict[str, Any], words: str) -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    before, files = await contents(store), dict(images.files)
    with pytest.raises(HoldfastError, match=words):
        await create(store, images, replace(made, sizes=(GIB,) if made.disks else ()), **wish)
    assert (await contents(store), images.files) == (before, files)


async def test_what_was_made_for_a_machine_that_fails_is_removed_again() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    files = dict(images.files)
    images.files["/shared/vm/web/disk1.qcow2"] = "qcow2"
    with pytest.raises(Conflict, match=r"disk1\.qcow2 exists"):
        await create(store, images, machine(copy=True, sizes=(GIB,)))
    assert images.files == {**files, "/shared/vm/web/disk1.qcow2": "qcow2"}, "the copy is gone, what was there is not"
    images.full = True
    with pytest.raises(DriverError, match="no space"):
        await create(store, images, machine("b", copy=True))


async def test_only_who_is_root_on_a_node_copies_what_is_not_on_the_shared_storage() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    with pytest.raises(InvalidInput, match="no file below /shared"):
        await create(store, images, machine(disks=("/root/own.raw",), copy=True), Actor("admin", "session"))


async def test_a_machine_that_breaks_the_guarantee_is_refused_unless_it_is_forced() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store, nodes=2, memory_mib=2048)
    await create(store, images, machine(memory_mib=1500))
    with pytest.raises(Conflict, match=r"would not survive .* no room for .*vm/"):
        await create(store, images, machine("b", memory_mib=1500, disks=(), kernel=IMAGE))
    forced = await create(store, images, machine("b", memory_mib=1500, disks=(), kernel=IMAGE), force=True)
    assert "by force" in forced.warnings[0]


async def test_protection_can_always_be_had() -> None:
    """Its guarantee may not hold; the machines of a node that died are recovered all the same, as far as there is room."""
    store, images = memory_store(), FakeImages()
    await with_compute(store, nodes=2)
    await compute.set_ha(store, ROOT, on=False)
    for name in ("a", "b"):
        await create(store, images, machine(name, memory_mib=3000, disks=(), sizes=(GIB,)), force=True)
        await place(store, f"vm/{name}", f"n{'ab'.index(name) + 1}", epoch=1)
    outcome = await compute.set_ha(store, ROOT, on=True)
    assert outcome.warnings
    assert compute.existing(await Draft.open(store)).ha


async def test_a_domain_is_imported_with_its_identity() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    outcome = await vm.import_xml(store, ROOT, images, XML, vm.Wish(started=False, policies={"heartbeat": "agent"}))
    assert any("br7" in text for text in outcome.warnings)
    old = await instance(store, "old")
    config = from_instance(old)
    assert (old.cpu, old.memory_mib, old.desired, config.heartbeat) == (2.0, 1024, Desired.STOPPED, "agent")
    assert (config.networks[0].mac, config.disks) == ("52:54:00:00:00:01", (Disk(IMAGE),))
    with pytest.raises(Conflict, match="exists already"):
        await vm.import_xml(store, ROOT, images, XML, vm.Wish())


async def test_what_belongs_to_the_machine_that_runs_changes_only_when_it_is_stopped() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await create(store, images, machine())
    await vm.change(store, ROOT, "web", {"priority": 900, "on_hang": "ignore", "ha": False})
    web = await instance(store, "web")
    assert (web.priority, web.ha, from_instance(web).on_hang) == (900, False, "ignore")
    for changes in ({"memory_mib": 2048}, {"cpu": 2.0}, {"heartbeat": "port"}):
        with pytest.raises(Conflict, match="is not stopped"):
            await vm.change(store, ROOT, "web", changes)
    await services.stop(store, ROOT, "vm/web")
    await vm.change(store, ROOT, "web", {"memory_mib": 2048, "cpu": 2.0})
    assert (await instance(store, "web")).memory_mib == 2048
    for wrong in ({}, {"priority": -1}, {"cpu": 0.0}, {"on_hang": "explode"}):
        with pytest.raises(InvalidInput):
            await vm.change(store, ROOT, "web", wrong)
    with pytest.raises(NotFound, match="`wep` does not exist"):
        await vm.change(store, ROOT, "wep", {"priority": 1})


async def test_disks_stay_until_they_are_deleted_on_purpose() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await create(store, images, machine(copy=True))
    [path] = (disk.path for disk in from_instance(await instance(store, "web")).disks)
    with pytest.raises(Conflict, match="is not stopped"):
        await vm.delete(store, ROOT, "web")
    await services.lock(store, ROOT, "vm/web")
    outcome = await vm.delete(store, ROOT, "web", force=True)
    assert outcome.data["disks"] == [path]
    assert (await Draft.open(store)).entry(keys.lock("vm/web")) is None
    assert (await instance(store, "web")).desired is Desired.STOPPED
    with pytest.raises(Conflict, match="being deleted"):
        await vm.delete(store, ROOT, "web", force=True)
    with pytest.raises(Conflict, match="is being deleted"):
        await create(store, images, machine())
    with pytest.raises(Conflict, match="is a disk of `web`"):
        await vm.delete_disks(store, ROOT, images, [path])
    assert path in images.files
    with pytest.raises(InvalidInput, match="is no file below"):
        await vm.delete_disks(store, ROOT, images, ["/root/own.raw"])
    await put(store, {keys.instance("vm/web"): replace(await instance(store, "web"), kind="gone")})
    await vm.delete_disks(store, ROOT, images, [path])
    assert path not in images.files


# --- any instance -------------------------------------------------------------------------------------------------------


async def test_states_and_locks_of_any_service() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await create(store, images, machine())
    await services.set_state(store, ROOT, "vm/web", "disabled")
    assert (await instance(store, "web")).desired is Desired.DISABLED
    assert (await services.set_state(store, ROOT, "vm/web", "ignored")).warnings
    with pytest.raises(InvalidInput, match="no state `off`"):
        await services.set_state(store, ROOT, "vm/web", "off")
    with pytest.raises(Conflict, match="admin panel"):
        await services.set_state(store, ROOT, "panel/admin", "disabled")
    await services.start(store, ROOT, "vm/web")
    await services.lock(store, ROOT, "vm/web", reason="backup")
    assert (await Draft.open(store)).spec(keys.lock("vm/web"), InstanceLock) == InstanceLock("backup")
    await place(store, "vm/web", "n1")
    moved = await services.move(store, ROOT, "vm/web", node="n2", live=True)
    assert "locked: backup" in moved.warnings[0]
    with pytest.raises(Conflict, match="locked already"):
        await services.lock(store, ROOT, "vm/web")
    await services.unlock(store, ROOT, "vm/web")
    with pytest.raises(Conflict, match="not locked"):
        await services.unlock(store, ROOT, "vm/web")
