"""Deleting a virtual machine and its disks as one task: neither page nor command has to stay for it."""

import contextlib
from dataclasses import replace

from holdfast.api.operations import vm
from holdfast.api.operations.draft import Actor, Draft, Outcome
from holdfast.api.operations.terms import Terms
from holdfast.api.task_model import Aim, Goal
from holdfast.api.works import Errand, Job, Works
from holdfast.core.model import InstanceSpec
from holdfast.errors import StoreError
from holdfast.ports import Clock, Store
from holdfast.services.vm.config import from_instance
from holdfast.store import codec, keys

LOOK_S = 1.0
"""Between two looks whether the machine is gone."""


async def delete_with_disks(
    works: Works, store: Store, clock: Clock, images: vm.Images, actor: Actor, name: str, *, force: bool = False
) -> Outcome:
    """As `vm.delete`; once the machine is confirmed stopped and gone its disks are deleted for good. Cancelled, or
    interrupted with its process, the task leaves them where they are; the machine is deleted all the same."""
    machine = from_instance(vm.find(await Draft.open(store), name))
    paths = [disk.path for disk in machine.disks]
    if not paths:
        return await vm.delete(store, actor, name, force=force)

    async def first(draft: Draft, _task: str) -> None:
        vm.forget(draft, name, force=force)

    async def work(job: Job) -> Outcome:
        job.tell(10.0, f"vm/{name} to be gone")
        while not await _gone(store, name, machine.uuid):
            await clock.sleep(LOOK_S)
        job.tell(90.0, f"deleting {', '.join(paths)}")
        # Not as this task: it has ended when the files are gone, and not a moment earlier.
        return await vm.delete_disks(store, replace(job.actor, terms=Terms()), images, paths)

    text = f"virtual machine {name} is being deleted, and then its disks: {', '.join(paths)}"
    errand = Errand(
        "delete",
        text,
        f"`vm/{name}` is being deleted already",
        work,
        goals=(Goal(Aim.GONE, f"vm/{name}"),),
        first=first,
    )
    return await works.begin(actor, errand)


async def _gone(store: Store, name: str, uuid: str) -> bool:
    """Another machine may have taken its name."""
    with contextlib.suppress(StoreError):
        key = keys.instance(f"vm/{name}")
        entry = await store.get(key)
        return entry is None or codec.decode(entry.value, InstanceSpec, key).config.get("uuid") != uuid
    return False
