"""What people look at. All but the history of incidents and events comes from memory, so it works without the store."""

from fastapi import APIRouter, Depends, Request, Response

from holdfast.api.http import actor_of, answer, context_of
from holdfast.api.operations import checks, incidents
from holdfast.api.paging import Cursor, Limit, page
from holdfast.api.status import ClusterStatus
from holdfast.errors import StoreError

router = APIRouter(dependencies=[Depends(actor_of)])


def _status(request: Request) -> ClusterStatus:
    return context_of(request).cache.status


@router.get("/status")
async def status(request: Request) -> Response:
    """The whole picture (ClusterStatus)."""
    return answer(_status(request))


@router.get("/nodes")
async def nodes(request: Request) -> Response:
    """All nodes, with their state and what they carry."""
    return answer(_status(request).nodes)


@router.get("/nodes/{node_id}")
async def node(request: Request, node_id: str) -> Response:
    """One node."""
    picture = _status(request)
    found = picture.node(node_id)
    if found is None:
        raise checks.not_found("node", node_id, [node.id for node in picture.nodes])
    return answer(found)


@router.get("/services")
async def services(request: Request) -> Response:
    """All services of all kinds."""
    return answer(_status(request).services)


@router.get("/services/{kind}/{name}")
async def service(request: Request, kind: str, name: str) -> Response:
    """The service with the views of its instances."""
    picture = _status(request)
    found = picture.service(kind, name)
    if found is None:
        raise checks.not_found("service", f"{kind}/{name}", [f"{s.kind}/{s.name}" for s in picture.services])
    return answer({"service": found, "instances": [picture.instance(i) for i in found.instances]})


@router.get("/instances")
async def instances(request: Request) -> Response:
    """All instances: where they are, how they are, and why they wait."""
    return answer(_status(request).instances)


@router.get("/instances/{instance_id:path}")
async def instance(request: Request, instance_id: str) -> Response:
    """One instance."""
    picture = _status(request)
    found = picture.instance(instance_id)
    if found is None:
        raise checks.not_found("instance", instance_id, [i.id for i in picture.instances])
    return answer(found)


@router.get("/incidents")
async def incident_list(request: Request, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """Newest first; from memory (recent ones only) while the store is away."""
    try:
        found = await incidents.list_incidents(context_of(request).store)
    except StoreError:
        picture = _status(request)
        found = [*reversed(picture.open_incidents), *picture.recent_incidents]
    return answer(page(found, incidents.moment, limit=limit, cursor=cursor))


@router.get("/incidents/{incident_id}")
async def incident(request: Request, incident_id: str) -> Response:
    """One incident: what happened, step by step, with the proof of death and the recovery of each instance."""
    return answer(await incidents.show(context_of(request).store, incident_id))


@router.get("/events")
async def events(request: Request, limit: Limit = 100, cursor: Cursor = "") -> Response:
    """Newest first; from memory (recent ones only) while the store is away."""
    context = context_of(request)
    try:
        return answer(await incidents.list_events(context.store, limit=limit, cursor=cursor))
    except StoreError:
        return answer(page(context.cache.history.newest_first(), lambda line: line.place, limit=limit, cursor=cursor))


@router.get("/ha")
async def ha(request: Request) -> Response:
    """The management plane: what is wanted, what is there, and whether both agree."""
    picture = _status(request)
    management = picture.management
    voters = {member.node for member in management.members if member.state == "voter"}
    settled = voters == set(management.nodes) and len(voters) == len(management.members)
    concerned = {*management.nodes, *(member.node for member in management.members)}
    return answer(
        {
            "revision": picture.revision,
            "enabled": bool(management.virtual_ip),
            "virtual_ip": management.virtual_ip,
            "nodes": management.nodes,
            "members": management.members,
            "settled": settled,
            "manager": picture.manager,
            "panel": picture.instance("panel/admin"),
            "states": {node.id: node.state for node in picture.nodes if node.id in concerned},
        }
    )


@router.get("/nfs")
async def nfs(request: Request) -> Response:
    """The address pool (null before `create-cluster`) and the volumes."""
    picture = _status(request)
    kind = next((kind.config for kind in picture.kinds if kind.kind == "nfs"), None)
    return answer({"cluster": kind, "volumes": [i for i in picture.instances if i.kind == "nfs"]})
