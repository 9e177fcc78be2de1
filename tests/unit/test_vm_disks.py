"""A machine is deleted together with its disks by one task, which waits until the machine is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from api_world import ROOT, memory_store
from vm_world import FakeImages, with_compute

from holdfast.api.operations import vm
from holdfast.api.operations.terms import Terms
from holdfast.api.operations.vm_disks import delete_with_disks
from holdfast.api.task_model import Task, TaskState
from holdfast.api.works import Works
from holdfast.clock import SystemClock
from holdfast.core.model import Desired, InstanceSpec
from holdfast.errors import Conflict
from holdfast.ports import Delete, Store
from holdfast.services.vm.config import from_instance
from holdfast.store import codec, keys

MACHINE = keys.instance("vm/web")


@pytest.fixture
async def works() -> AsyncIterator[tuple[Store, FakeImages, Works]]:
    """vm/web has a disk of its own."""
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    made = vm.Machine("web", 1.0, 1024, ("/shared/images/debian.qcow2",), copy=True)
    await vm.create(store, ROOT, images, made, vm.Wish(), lambda _percent: None)
    doing = Works("s1", store, SystemClock())
    yield store, images, doing
    await doing.close()


async def begin(store: Store, images: FakeImages, works: Works, **terms: bool) -> str:
    actor = ROOT if not terms else type(ROOT)(ROOT.name, ROOT.via, terms=Terms(**terms))
    return (await delete_with_disks(works, store, SystemClock(), images, actor, "web", force=True)).task


async def disk_of(store: Store) -> str:
    entry = await store.get(MACHINE)
    assert entry is not None
    [disk] = from_instance(codec.decode(entry.value, InstanceSpec, MACHINE)).disks
    return disk.path


async def until(store: Store, task: str, reached: Callable[[Task], bool]) -> Task:
    async with asyncio.timeout(60):
        while True:
            entry = await store.get(keys.task(task))
            if entry is not None and reached(found := codec.decode(entry.value, Task, entry.key)):
                return found
            await asyncio.sleep(0.02)


async def test_disks_are_deleted_once_the_machine_is_gone(works: tuple[Store, FakeImages, Works]) -> None:
    store, images, doing = works
    path = await disk_of(store)
    task = await begin(store, images, doing)
    entry = await store.get(MACHINE)
    assert entry is not None and codec.decode(entry.value, InstanceSpec).desired is Desired.STOPPED
    with pytest.raises(Conflict, match="being deleted"):
        await begin(store, images, doing)
    waiting = await until(store, task, lambda found: bool(found.detail))
    assert (waiting.kind, waiting.state, waiting.detail) == ("delete", TaskState.RUNNING, "vm/web to be gone")
    assert path in images.files  # it may still be written to
    await store.txn([], [Delete(MACHINE), Delete(keys.service("vm", "web"))])
    done = await until(store, task, lambda found: found.state.over)
    assert (done.state, done.detail) == (TaskState.DONE, f"deleted {path}")
    assert path not in images.files


async def test_disks_stay_where_the_task_is_interrupted(works: tuple[Store, FakeImages, Works]) -> None:
    store, images, doing = works
    path = await disk_of(store)
    await begin(store, images, doing)
    await doing.close()
    await store.txn([], [Delete(MACHINE)])
    assert path in images.files


async def test_a_trial_changes_nothing(works: tuple[Store, FakeImages, Works]) -> None:
    store, images, doing = works
    await begin(store, images, doing, dry_run=True)
    entry = await store.get(MACHINE)
    assert entry is not None and codec.decode(entry.value, InstanceSpec).desired is Desired.STARTED
