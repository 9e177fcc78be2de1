"""Backup clusters, their nodes and users. A password is in the answer of the request that makes it, and in no other; what
opens a back-end is in none."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_backup as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import backup_clusters, backup_picture, backup_users, checks, s3_names
from holdfast.api.operations.draft import Actor
from holdfast.errors import DriverError
from holdfast.services.backup_gateway.client_config import client_config

router = APIRouter(prefix="/backup")
Caller = Annotated[Actor, Depends(actor_of)]


def _tools(context: ApiContext) -> tuple[backup_clusters.Backends, bytes]:
    if context.backends is None or context.cluster_secret is None:
        raise DriverError("this process cannot open back-ends", "Ask a management node of the cluster.")
    return context.backends, context.cluster_secret()


@router.get("")
async def list_clusters(request: Request, caller: Caller) -> Response:
    """From memory, so it works without the store, as all that only reads here."""
    return answer(backup_picture.listed(context_of(request).cache.status))


@router.post("/clusters")
async def create_cluster(request: Request, caller: Caller, body: requests.CreateBackupCluster) -> Response:
    """The back-end is tried out first, from the node that answers."""
    context = context_of(request)
    backends, secret = _tools(context)
    wish = backup_clusters.NewCluster(**body.model_dump())
    outcome = await backup_clusters.create(
        context.store, caller, wish, backends=backends, secret=secret, probe=context.probe, resolve=s3_names.resolve
    )
    return await done(context, outcome)


@router.get("/clusters/{name}")
async def show_cluster(request: Request, caller: Caller, name: str) -> Response:
    """One backup cluster with its gateways."""
    return answer(backup_picture.show(context_of(request).cache.status, name))


@router.patch("/clusters/{name}")
async def update_cluster(request: Request, caller: Caller, name: str, body: requests.UpdateBackupCluster) -> Response:
    """What opens the back-end, the certificate, append-only; what is left out stays."""
    context = context_of(request)
    backends, secret = _tools(context)
    outcome = await backup_clusters.update(
        context.store, caller, name, backends=backends, secret=secret, **body.model_dump()
    )
    return await done(context, outcome)


@router.delete("/clusters/{name}")
async def delete_cluster(
    request: Request, caller: Caller, name: str, yes: Annotated[bool, Query()] = False
) -> Response:
    """Without `yes` a refusal that says what would be lost."""
    context = context_of(request)
    return await done(context, await backup_clusters.delete(context.store, caller, name, yes=yes))


@router.post("/clusters/{name}/nodes")
async def add_nodes(request: Request, caller: Caller, name: str, body: requests.AddBackupNodes) -> Response:
    """More nodes get a gateway each."""
    context = context_of(request)
    outcome = await backup_clusters.add_nodes(
        context.store, caller, name, body.nodes, addresses=body.addresses, probe=context.probe
    )
    return await done(context, outcome)


@router.delete("/clusters/{name}/nodes/{node}")
async def release_node(request: Request, caller: Caller, name: str, node: str) -> Response:
    """Its gateway ends; clients find the others."""
    context = context_of(request)
    return await done(context, await backup_clusters.release_node(context.store, caller, name, node))


# --- users --------------------------------------------------------------------------------------------------------------


@router.get("/clusters/{name}/users")
async def list_users(request: Request, caller: Caller, name: str) -> Response:
    """Users, without their passwords."""
    return answer(backup_picture.find(context_of(request).cache.status, name).users)


@router.post("/clusters/{name}/users")
async def create_user(request: Request, caller: Caller, name: str, body: requests.CreateBackupUser) -> Response:
    """`data.password` is shown only now."""
    context = context_of(request)
    outcome = await backup_users.create(context.store, caller, name, body.name, append_only=body.append_only)
    return await done(context, outcome)


@router.post("/clusters/{name}/users/{user}/rotate")
async def rotate_user(request: Request, caller: Caller, name: str, user: str) -> Response:
    """A new password in `data.password`, shown only now; the former one opens nothing."""
    context = context_of(request)
    return await done(context, await backup_users.rotate(context.store, caller, name, user))


@router.patch("/clusters/{name}/users/{user}")
async def change_user(
    request: Request, caller: Caller, name: str, user: str, body: requests.ChangeBackupUser
) -> Response:
    """Whether it may only append."""
    context = context_of(request)
    outcome = await backup_users.change(context.store, caller, name, user, append_only=body.append_only)
    return await done(context, outcome)


@router.delete("/clusters/{name}/users/{user}")
async def delete_user(request: Request, caller: Caller, name: str, user: str) -> Response:
    """It opens nothing from now on; its repositories stay."""
    context = context_of(request)
    return await done(context, await backup_users.delete(context.store, caller, name, user))


@router.get("/clusters/{name}/users/{user}/client-config")
async def show_client_config(request: Request, caller: Caller, name: str, user: str) -> Response:
    """What a client of this user sets (ClientConfig). The password is not in it: nobody knows it but the user."""
    context = context_of(request)
    cluster = backup_picture.find(context.cache.status, name)
    if user not in {known.name for known in cluster.users}:
        raise checks.not_found(f"user of the backup cluster {name}", user, (known.name for known in cluster.users))
    ca = "" if cluster.own_certificate else _tools(context)[0].authority()
    return answer(client_config(name, backup_picture.url(cluster), user, ca))
