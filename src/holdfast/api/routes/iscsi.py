"""iSCSI target groups and volumes. No answer ever holds a CHAP secret."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_iscsi as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import iscsi_groups, iscsi_picture, iscsi_volumes
from holdfast.api.operations.draft import Actor
from holdfast.errors import DriverError
from holdfast.services.iscsi.client_config import client_config
from holdfast.services.iscsi.config import ChapAccount
from holdfast.services.iscsi.report import NodeReport

router = APIRouter(prefix="/iscsi")
Caller = Annotated[Actor, Depends(actor_of)]


def _files(context: ApiContext) -> iscsi_volumes.Files:
    if context.files is None:
        raise DriverError("this process cannot look at the shared storage", "Ask a management node of the cluster.")
    return context.files


@router.get("")
async def everything(request: Request, caller: Caller) -> Response:
    """All target groups and volumes; from memory, so it works without the store."""
    return answer(iscsi_picture.listed(context_of(request).cache.status))


# --- target groups ------------------------------------------------------------------------------------------------------


@router.post("/target-groups")
async def create_group(request: Request, caller: Caller, body: requests.CreateGroup) -> Response:
    """Nodes that serve the same volumes under one name, and who may log in."""
    context = context_of(request)
    wish = iscsi_groups.NewGroup(
        body.name, body.nodes, body.portals, body.networks, body.engine, body.iqn, body.initiators
    )
    return await done(context, await iscsi_groups.create(context.store, caller, _files(context), wish))


@router.get("/target-groups/{name}")
async def show_group(request: Request, caller: Caller, name: str) -> Response:
    """Its nodes, the state of each LUN's path on each of them, and who is logged in."""
    context = context_of(request)
    picture, problem = context.cache.status, ""
    reports: dict[str, NodeReport] = {}
    iscsi_picture.find(picture, name)
    try:
        reports = await _files(context).reports(picture.cluster.shared_root)
    except DriverError as error:
        problem = error.message
    return answer(iscsi_picture.group(picture, name, reports, problem))


@router.get("/target-groups/{name}/client-config")
async def show_client_config(request: Request, caller: Caller, name: str) -> Response:
    """Settings and commands for a Linux client of the group (InitiatorConfig)."""
    group = iscsi_picture.find(context_of(request).cache.status, name)
    portals = [portal for _, own in sorted(group.portals.items()) for portal in own]
    found = client_config(group.iqn, group.engine, portals, chap_user=group.chap_user, mutual_user=group.mutual_user)
    return answer(found)


@router.post("/target-groups/{name}/nodes")
async def add_nodes(request: Request, caller: Caller, name: str, body: requests.GroupNodes) -> Response:
    """More nodes that serve it."""
    context = context_of(request)
    outcome = await iscsi_groups.add_nodes(
        context.store, caller, _files(context), name, body.nodes, portals=body.portals
    )
    return await done(context, outcome)


@router.post("/target-groups/{name}/start")
async def start_group(request: Request, caller: Caller, name: str) -> Response:
    """It serves its volumes."""
    context = context_of(request)
    return await done(context, await iscsi_groups.start(context.store, caller, name))


@router.post("/target-groups/{name}/stop")
async def stop_group(request: Request, caller: Caller, name: str) -> Response:
    """All its volumes become unreachable for their clients."""
    context = context_of(request)
    return await done(context, await iscsi_groups.stop(context.store, caller, name))


@router.delete("/target-groups/{name}")
async def delete_group(request: Request, caller: Caller, name: str) -> Response:
    """Only one without volumes."""
    context = context_of(request)
    return await done(context, await iscsi_groups.delete(context.store, caller, name))


@router.post("/target-groups/{name}/acl")
async def change_acl(request: Request, caller: Caller, name: str, body: requests.ChangeAcl) -> Response:
    """Who may log in."""
    context = context_of(request)
    outcome = await iscsi_groups.change_acl(context.store, caller, name, add=body.add, remove=body.remove)
    return await done(context, outcome)


@router.put("/target-groups/{name}/chap")
async def set_chap(request: Request, caller: Caller, name: str, body: requests.SetChap) -> Response:
    """What initiators must prove to know; `mutual`: what the target proves to know."""
    context = context_of(request)
    chap = ChapAccount(body.chap.user, body.chap.secret)
    mutual = ChapAccount(body.mutual.user, body.mutual.secret) if body.mutual else None
    outcome = await iscsi_groups.set_chap(
        context.store, caller, name, chap=chap, mutual=mutual, secret=context.cluster_secret
    )
    return await done(context, outcome)


@router.delete("/target-groups/{name}/chap")
async def clear_chap(request: Request, caller: Caller, name: str) -> Response:
    """Initiators are let in by their names alone."""
    context = context_of(request)
    return await done(context, await iscsi_groups.set_chap(context.store, caller, name, chap=None))


# --- volumes ------------------------------------------------------------------------------------------------------------


@router.post("/volumes")
async def create_volume(request: Request, caller: Caller, body: requests.CreateVolume) -> Response:
    """A new file of so many bytes, or (by administrators) a block device that all nodes see."""
    context = context_of(request)
    outcome = await iscsi_volumes.create(
        context.store, caller, _files(context), name=body.name, size_bytes=body.size_bytes, device=body.device
    )
    return await done(context, outcome)


@router.get("/volumes/{name}")
async def show_volume(request: Request, caller: Caller, name: str) -> Response:
    """One volume."""
    return answer(iscsi_picture.volume(context_of(request).cache.status, name))


@router.post("/volumes/{name}/attach")
async def attach_volume(request: Request, caller: Caller, name: str, body: requests.AttachVolume) -> Response:
    """Make it a logical unit of a target group."""
    context = context_of(request)
    outcome = await iscsi_volumes.attach(context.store, caller, name=name, group=body.group, lun=body.lun)
    return await done(context, outcome)


@router.post("/volumes/{name}/detach")
async def detach_volume(
    request: Request, caller: Caller, name: str, force: Annotated[bool, Query()] = False
) -> Response:
    """`force`: also while initiators are logged in to its group."""
    context = context_of(request)
    return await done(context, await iscsi_volumes.detach(context.store, caller, _files(context), name, force=force))


@router.put("/volumes/{name}/size")
async def resize_volume(request: Request, caller: Caller, name: str, body: requests.ResizeVolume) -> Response:
    """Larger at any time; smaller while it is detached, and never below what was written."""
    context = context_of(request)
    return await done(
        context, await iscsi_volumes.resize(context.store, caller, _files(context), name, body.size_bytes)
    )


@router.delete("/volumes/{name}")
async def delete_volume(request: Request, caller: Caller, name: str, yes: Annotated[bool, Query()] = False) -> Response:
    """With its data. Without `yes` a refusal that says what would be lost."""
    context = context_of(request)
    return await done(context, await iscsi_volumes.delete(context.store, caller, _files(context), name, yes=yes))
