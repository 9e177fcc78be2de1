"""What people change: each route is one operation of `holdfast.api.operations`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests
from holdfast.api.http import actor_of, answer, context_of, done, instance_at
from holdfast.api.operations import cluster, fence_test, ha, nfs, nodes, services, upkeep
from holdfast.api.operations.draft import Actor
from holdfast.core.model import FenceDeviceSpec

router = APIRouter()
Caller = Annotated[Actor, Depends(actor_of)]
Force = Annotated[bool, Query()]
"""Also where the cluster then survives less than it is to (admission control)."""


@router.put("/cluster")
async def update_cluster(request: Request, caller: Caller, body: requests.UpdateCluster) -> Response:
    """What the cluster does by itself."""
    context = context_of(request)
    outcome = await cluster.update(context.store, caller, dead_node_power_on=body.dead_node_power_on)
    return await done(context, outcome)


@router.put("/cluster/shutdown-policy")
async def set_shutdown_policy(request: Request, caller: Caller, body: requests.SetShutdownPolicy) -> Response:
    """What becomes of instances when their node is shut down in good order."""
    context = context_of(request)
    return await done(context, await cluster.set_shutdown_policy(context.store, caller, body.policy))


# --- nodes ---


@router.post("/nodes")
async def add_node(request: Request, caller: Caller, body: requests.AddNode) -> Response:
    """`data` holds the join token, or the join bundle in base64: keep it as secret as a password."""
    context = context_of(request)
    outcome = await nodes.add(
        context.store,
        caller,
        node_id=body.id,
        roles=body.roles,
        addresses=body.addresses,
        failure_domain=body.failure_domain,
        fence_devices=_devices(body.fence_devices),
        fences=context.fences,
        secret=context.cluster_secret,
        make_bundle=context.make_bundle,
        pki_dir=context.pki_dir,
        token_s=body.token_s,
    )
    return await done(context, outcome)


@router.put("/nodes/{node_id}")
async def change_node(request: Request, caller: Caller, node_id: str, body: requests.ChangeNode) -> Response:
    """Its failure domain, or how many instances of each kind it carries at most; what is left out stays."""
    context = context_of(request)
    outcome = await nodes.change(
        context.store, caller, node_id, slots=body.slots, failure_domain=body.failure_domain, force=body.force
    )
    return await done(context, outcome)


@router.delete("/nodes/{node_id}")
async def remove_node(request: Request, caller: Caller, node_id: str, force: Force = False) -> Response:
    """For good: its certificates are revoked, the shared secrets change. It must be idle or dead, unless forced."""
    context = context_of(request)
    return await done(context, await nodes.remove(context.store, caller, node_id, force=force, pki_dir=context.pki_dir))


@router.put("/nodes/{node_id}/fence-devices")
async def set_fence_devices(request: Request, caller: Caller, node_id: str, body: requests.FenceDevices) -> Response:
    """All fence devices of a node, in the order in which they are tried; `keep` names present ones that stay."""
    context = context_of(request)
    outcome = await nodes.set_fence_devices(
        context.store,
        caller,
        node_id,
        _devices(body.devices),
        keep=body.keep,
        fences=context.fences,
        secret=context.cluster_secret,
    )
    return await done(context, outcome)


@router.post("/nodes/{node_id}/fence-test")
async def test_fence_devices(request: Request, caller: Caller, node_id: str) -> Response:
    """Read the power state through each device of the node; switches nothing."""
    context = context_of(request)
    return answer(await fence_test.test(context.store, node_id, context.fences))


@router.post("/nodes/{node_id}/confirm-dead")
async def confirm_dead(request: Request, caller: Caller, node_id: str, body: requests.ConfirmDead) -> Response:
    """Without `yes` a refusal that says what a wrong word would corrupt."""
    context = context_of(request)
    outcome = await nodes.confirm_dead(context.store, caller, node_id, reason=body.reason, yes=body.yes)
    return await done(context, outcome)


@router.post("/nodes/{node_id}/maintenance")
async def enter_maintenance(
    request: Request, caller: Caller, node_id: str, body: requests.EnterMaintenance
) -> Response:
    """The answer's warnings name what cannot leave the node."""
    context = context_of(request)
    outcome = await upkeep.enter_maintenance(
        context.store, caller, node_id, bring_back=body.bring_back, force=body.force
    )
    return await done(context, outcome)


@router.delete("/nodes/{node_id}/maintenance")
async def exit_maintenance(
    request: Request, caller: Caller, node_id: str, bring_back: Annotated[bool | None, Query()] = None
) -> Response:
    """The node may carry instances again; what was moved off it returns if that was wished."""
    context = context_of(request)
    return await done(context, await upkeep.exit_maintenance(context.store, caller, node_id, bring_back=bring_back))


@router.post("/nodes/{node_id}/return")
async def return_node(request: Request, caller: Caller, node_id: str) -> Response:
    """End a node's quarantine."""
    context = context_of(request)
    return await done(context, await upkeep.return_node(context.store, caller, node_id))


def _devices(devices: list[requests.FenceDevice]) -> list[FenceDeviceSpec]:
    return [FenceDeviceSpec(device.name, device.type, dict(device.options)) for device in devices]


# --- services ---


@router.post("/services/{kind}/{name}/start")
async def start_service(
    request: Request, caller: Caller, kind: str, name: str, force: Annotated[bool, Query()] = False
) -> Response:
    """`force`: also where the cluster would not survive the tolerated failures any more."""
    context = context_of(request)
    outcome = await services.start(context.store, caller, f"{kind}/{name}", force=force)
    return await done(context, outcome)


@router.post("/services/{kind}/{name}/stop")
async def stop_service(request: Request, caller: Caller, kind: str, name: str) -> Response:
    """Stop it on purpose: it stays stopped until it is started."""
    context = context_of(request)
    return await done(context, await services.stop(context.store, caller, f"{kind}/{name}"))


@router.post("/instances/{instance_id:path}/move")
async def move_instance(request: Request, caller: Caller, instance_id: str, body: requests.Move) -> Response:
    """A planned move, to a node or wherever the planner likes."""
    context = context_of(request)
    outcome = await services.move(context.store, caller, instance_id, node=body.node, live=body.live)
    return await done(context, outcome)


# --- management HA ---


@router.post("/ha")
async def enable_ha(request: Request, caller: Caller, body: requests.EnableHa) -> Response:
    """Make the management plane highly available: its nodes, and the panel's address."""
    context = context_of(request)
    outcome = await ha.enable(context.store, caller, virtual_ip=body.virtual_ip, nodes=body.nodes, probe=context.probe)
    return await done(context, outcome)


@router.put("/ha")
async def update_ha(request: Request, caller: Caller, body: requests.UpdateHa) -> Response:
    """Other management nodes, or another address of the panel; what is left out stays."""
    context = context_of(request)
    outcome = await ha.update(context.store, caller, virtual_ip=body.virtual_ip, nodes=body.nodes, probe=context.probe)
    return await done(context, outcome)


@router.delete("/ha")
async def disable_ha(request: Request, caller: Caller, keep: Annotated[str, Query()]) -> Response:
    """Back to one management node."""
    context = context_of(request)
    return await done(context, await ha.disable(context.store, caller, keep=keep))


@router.post("/ha/pause")
async def pause_ha(request: Request, caller: Caller, body: requests.Pause) -> Response:
    """Nothing is fenced, claimed, placed or moved until it ends."""
    context = context_of(request)
    return await done(context, await upkeep.pause(context.store, caller, mode=body.mode, reason=body.reason))


@router.delete("/ha/pause")
async def resume_ha(request: Request, caller: Caller) -> Response:
    """End the pause of high availability."""
    context = context_of(request)
    return await done(context, await upkeep.resume(context.store, caller))


# --- NFS ---


@router.post("/nfs/cluster")
async def create_nfs_cluster(request: Request, caller: Caller, body: requests.CreateNfsCluster) -> Response:
    """Which nodes serve NFS volumes, and the pool of their service addresses."""
    context = context_of(request)
    outcome = await nfs.create_cluster(
        context.store, caller, nodes=body.nodes, addresses=body.addresses, network=body.network
    )
    return await done(context, outcome)


@router.get("/nfs/volumes/{name}")
async def show_volume(request: Request, caller: Caller, name: str) -> Response:
    """One volume."""
    return answer(instance_at(request, "nfs", name))


@router.post("/nfs/volumes")
async def create_volume(request: Request, caller: Caller, body: requests.CreateVolume) -> Response:
    """A volume with a service address of its own."""
    context = context_of(request)
    outcome = await nfs.create(
        context.store,
        caller,
        name=body.name,
        size=body.size,
        address=body.address,
        access=body.access,
        probe=context.probe,
    )
    return await done(context, outcome)


@router.put("/nfs/volumes/{name}/access")
async def set_volume_access(request: Request, caller: Caller, name: str, body: requests.VolumeAccess) -> Response:
    """Who may mount it, and how; all rules at once."""
    context = context_of(request)
    return await done(context, await nfs.set_access(context.store, caller, name, body.access))


@router.delete("/nfs/volumes/{name}")
async def delete_volume(
    request: Request, caller: Caller, name: str, force: Annotated[bool, Query()] = False
) -> Response:
    """Its server is stopped and its address freed; the data stay on the shared storage."""
    context = context_of(request)
    return await done(context, await nfs.delete(context.store, caller, name, force=force))
