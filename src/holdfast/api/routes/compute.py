"""The compute cluster, its virtual machines, placement rules, and what else is wanted of instances."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_compute as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done, instance_at
from holdfast.api.operations import checks, compute, console, rules, services, vm
from holdfast.api.operations.draft import Actor, Outcome
from holdfast.api.operations.terms import Terms
from holdfast.api.operations.vm_disks import delete_with_disks
from holdfast.api.task_model import Aim, Goal
from holdfast.api.works import Errand, Job
from holdfast.errors import DriverError

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]


def _images(context: ApiContext) -> vm.Images:
    if context.images is None:
        raise DriverError("this process cannot look at disks", "Ask a management node of the cluster.")
    return context.images


def _wish(body: requests.NewMachine) -> vm.Wish:
    return vm.Wish(body.priority, body.ha, body.preemptible, body.started, body.node, body.policies(), force=body.force)


# --- the compute cluster ------------------------------------------------------------------------------------------------


@router.get("/compute")
async def show_compute(request: Request, caller: Caller) -> Response:
    """The settings (null before `create-cluster`), what its nodes have and may still take, and the guarantee."""
    context = context_of(request)
    found = await asyncio.to_thread(compute.picture, context.cache.view(), context.clock.now())
    return answer({**found, "guarantee": context.cache.status.guarantee})


@router.post("/compute")
async def create_compute(request: Request, caller: Caller, body: requests.CreateCompute) -> Response:
    """Which nodes run virtual machines, and how many of them may fail."""
    context = context_of(request)
    outcome = await compute.create_cluster(
        context.store,
        caller,
        nodes=body.nodes,
        tolerate=body.tolerate,
        ha=body.ha,
        reserve_cpu=body.reserve_cpu,
        reserve_memory_mib=body.reserve_memory_mib,
        bridges=body.bridges,
    )
    return await done(context, outcome)


@router.put("/compute")
async def change_compute(request: Request, caller: Caller, body: requests.ChangeCompute) -> Response:
    """Settings of the compute cluster; what is left out stays."""
    context = context_of(request)
    outcome = await compute.change(
        context.store,
        caller,
        nodes=body.nodes,
        tolerate=body.tolerate,
        reserve_cpu=body.reserve_cpu,
        reserve_memory_mib=body.reserve_memory_mib,
        rebalance=body.rebalance,
        bridges=body.bridges,
        force=body.force,
    )
    return await done(context, outcome)


@router.post("/compute/ha")
async def enable_compute_ha(request: Request, caller: Caller) -> Response:
    """Machines of nodes that fail are started elsewhere."""
    context = context_of(request)
    return await done(context, await compute.set_ha(context.store, caller, on=True))


@router.delete("/compute/ha")
async def disable_compute_ha(request: Request, caller: Caller) -> Response:
    """Machines of nodes that fail stay where they are."""
    context = context_of(request)
    return await done(context, await compute.set_ha(context.store, caller, on=False))


# --- virtual machines ---------------------------------------------------------------------------------------------------


@router.get("/vms")
async def machines(request: Request, caller: Caller) -> Response:
    """The compute cluster's settings (null before `create-cluster`) and its machines."""
    picture = context_of(request).cache.status
    return answer({"cluster": picture.compute, "vms": [i for i in picture.instances if i.kind == "vm"]})


@router.get("/vms/{name}")
async def machine(request: Request, caller: Caller, name: str) -> Response:
    """One virtual machine."""
    return answer(instance_at(request, "vm", name))


@router.post("/vms")
async def create_machine(request: Request, caller: Caller, body: requests.CreateMachine) -> Response:
    """Where disks are copied the answer is 202; its task says how far it is, and goes on until the machine runs."""
    context = context_of(request)
    images, wish = _images(context), _wish(body)
    machine = vm.Machine(
        body.name,
        body.cpu,
        body.memory_mib,
        tuple(body.disks),
        body.copy_disks,
        tuple(body.sizes),
        tuple(body.networks),
        body.kernel,
        body.initrd,
        body.cmdline,
    )
    if not body.copy_disks or caller.terms.dry_run:
        return await done(context, await vm.create(context.store, caller, images, machine, wish, lambda _percent: None))
    tried = replace(caller, terms=Terms(dry_run=True))
    await vm.create(
        context.store, tried, images, machine, wish, lambda _percent: None
    )  # or a refusal would come too late

    async def make(job: Job) -> Outcome:
        return await vm.create(context.store, job.actor, images, machine, wish, job.tell)

    name = f"vm/{body.name}"
    text, twin = f"the disks of the virtual machine {body.name} are being copied", f"`{name}` is being created already"
    errand = Errand("create", text, twin, make, goals=(Goal(Aim.COPIED, name),))
    return await done(context, await context.works.begin(caller, errand), 202)


@router.post("/vms/import")
async def import_machine(request: Request, caller: Caller, body: requests.ImportMachine) -> Response:
    """An existing libvirt domain, whose disks lie on the shared storage already. Unless root imports it on a node,
    nothing in it may reach beyond the guest."""
    context = context_of(request)
    return await done(context, await vm.import_xml(context.store, caller, _images(context), body.xml, _wish(body)))


@router.put("/vms/{name}")
async def change_machine(request: Request, caller: Caller, name: str, body: requests.ChangeMachine) -> Response:
    """Its size, priority and policies; what is left out stays. Cores, memory and heartbeat: of a stopped machine
    only."""
    context = context_of(request)
    return await done(context, await vm.change(context.store, caller, name, body.changes(), force=body.force))


@router.delete("/vms/{name}")
async def delete_machine(
    request: Request,
    caller: Caller,
    name: str,
    force: Annotated[bool, Query()] = False,
    disks: Annotated[bool, Query()] = False,
) -> Response:
    """Its disks stay, unless `disks`: then the task deletes them once the machine is gone. (For one that is gone already
    POST /vms/disks/delete does so.)"""
    context = context_of(request)
    if disks:
        images = _images(context)
        begun = await delete_with_disks(context.works, context.store, context.clock, images, caller, name, force=force)
        return await done(context, begun)
    return await done(context, await vm.delete(context.store, caller, name, force=force))


@router.post("/vms/disks/delete")
async def delete_disks(request: Request, caller: Caller, body: requests.DeleteDisks) -> Response:
    """Delete disks that no machine uses, for good."""
    context = context_of(request)
    return await done(context, await vm.delete_disks(context.store, caller, _images(context), body.paths))


@router.get("/vms/{name}/console")
async def console_log(
    request: Request, caller: Caller, name: str, lines: Annotated[int, Query(ge=1, le=10_000)] = 200
) -> Response:
    """The end of what the guest wrote to its serial console."""
    context = context_of(request)
    found = context.cache.status.instance(f"vm/{name}")
    if found is None:
        known = [i.service for i in context.cache.status.instances if i.kind == "vm"]
        raise checks.not_found("virtual machine", name, known)
    read = console.Console(context.cache.status.cluster.shared_root, context.log_dir, context.node)
    return answer(await asyncio.to_thread(read.tail, name, found.node, lines))


# --- instances and rules ------------------------------------------------------------------------------------------------


@router.put("/services/{kind}/{name}/state")
async def set_state(request: Request, caller: Caller, kind: str, name: str, body: requests.SetState) -> Response:
    """`started`, `stopped`, `disabled` or `ignored`."""
    context = context_of(request)
    outcome = await services.set_state(context.store, caller, f"{kind}/{name}", body.state, force=body.force)
    return await done(context, outcome)


@router.post("/instances/{instance_id:path}/lock")
async def lock(request: Request, caller: Caller, instance_id: str, body: requests.Lock) -> Response:
    """No planned move until it is unlocked."""
    context = context_of(request)
    return await done(context, await services.lock(context.store, caller, instance_id, reason=body.reason))


@router.delete("/instances/{instance_id:path}/lock")
async def unlock(request: Request, caller: Caller, instance_id: str) -> Response:
    """Planned moves are possible again."""
    context = context_of(request)
    return await done(context, await services.unlock(context.store, caller, instance_id))


@router.get("/rules")
async def list_rules(request: Request, caller: Caller) -> Response:
    """All placement rules."""
    return answer(await rules.listed(context_of(request).store))


@router.get("/rules/{name}")
async def show_rule(request: Request, caller: Caller, name: str) -> Response:
    """One placement rule, in words, too."""
    known = {rule["rule"].id: rule for rule in await rules.listed(context_of(request).store)}
    if name not in known:
        raise checks.not_found("rule", name, known)
    return answer(known[name])


@router.post("/rules")
async def create_rule(request: Request, caller: Caller, body: requests.CreateRule) -> Response:
    """Refused with the reason where it contradicts the others."""
    context = context_of(request)
    outcome = await rules.create(
        context.store,
        caller,
        name=body.name,
        kind=body.kind,
        instances=body.instances,
        nodes=body.nodes,
        after=body.after,
        strict=body.strict,
        by=body.by,
        force=body.force,
    )
    return await done(context, outcome)


@router.delete("/rules/{name}")
async def delete_rule(request: Request, caller: Caller, name: str) -> Response:
    """It holds no more."""
    context = context_of(request)
    return await done(context, await rules.delete(context.store, caller, name))
