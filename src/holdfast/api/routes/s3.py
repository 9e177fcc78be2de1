"""S3 clusters, their nodes and users. A secret key is in the answer of the request that makes it, and in no other."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api import requests_s3 as requests
from holdfast.api.context import ApiContext
from holdfast.api.http import actor_of, answer, context_of, done
from holdfast.api.operations import s3_clusters, s3_names, s3_nodes, s3_picture, s3_users
from holdfast.api.operations.draft import Actor
from holdfast.errors import DriverError

router = APIRouter(prefix="/s3")
Caller = Annotated[Actor, Depends(actor_of)]
Flag = Annotated[bool, Query()]


def _secret(context: ApiContext) -> bytes:
    if context.cluster_secret is None:
        raise DriverError("this process cannot make access keys", "Ask a management node of the cluster.")
    return context.cluster_secret()


@router.get("")
async def list_clusters(request: Request, caller: Caller) -> Response:
    """From memory, so it works without the store, as all that only reads here."""
    return answer(s3_picture.listed(context_of(request).cache.status))


@router.post("/clusters")
async def create_cluster(request: Request, caller: Caller, body: requests.CreateS3Cluster) -> Response:
    """Name servers, object servers and gateways on these nodes."""
    context = context_of(request)
    if context.s3_files is None:
        raise DriverError("this process cannot look at the shared storage", "Ask a management node of the cluster.")
    outcome = await s3_clusters.create(
        context.store,
        caller,
        s3_clusters.NewCluster(**body.model_dump()),
        files=context.s3_files,
        secret=_secret(context),
        probe=context.probe,
        resolve=s3_names.resolve,
    )
    return await done(context, outcome)


@router.get("/clusters/{name}")
async def show_cluster(request: Request, caller: Caller, name: str) -> Response:
    """One S3 cluster with its servers, gateways and fill."""
    return answer(s3_picture.show(context_of(request).cache.status, name))


@router.delete("/clusters/{name}")
async def delete_cluster(request: Request, caller: Caller, name: str, yes: Flag = False) -> Response:
    """Without `yes` a refusal that says what would be lost."""
    context = context_of(request)
    return await done(context, await s3_clusters.delete(context.store, caller, name, yes=yes))


@router.post("/clusters/{name}/rebalance")
async def rebalance(request: Request, caller: Caller, name: str, body: requests.RebalanceS3) -> Response:
    """Even out how many of its servers each node carries."""
    context = context_of(request)
    outcome = await s3_nodes.rebalance(context.store, caller, name, limit=body.limit, force=body.force)
    return await done(context, outcome)


# --- nodes ---------------------------------------------------------------------------------------------------------------


@router.post("/clusters/{name}/nodes")
async def add_nodes(request: Request, caller: Caller, name: str, body: requests.AddS3Nodes) -> Response:
    """More nodes, and more servers if wished; data move to them by themselves."""
    context = context_of(request)
    outcome = await s3_nodes.add(
        context.store,
        caller,
        name,
        body.nodes,
        gateway_addresses=body.gateway_addresses,
        server_addresses=body.server_addresses,
        name_servers=body.name_servers,
        object_servers=body.object_servers,
        force=body.force,
        probe=context.probe,
    )
    return await done(context, outcome)


@router.delete("/clusters/{name}/nodes/{node}")
async def release_node(request: Request, caller: Caller, name: str, node: str, force: Flag = False) -> Response:
    """Its servers move to the others."""
    context = context_of(request)
    return await done(context, await s3_nodes.release(context.store, caller, name, node, force=force))


# --- users ---------------------------------------------------------------------------------------------------------------


@router.get("/clusters/{name}/users")
async def list_users(request: Request, caller: Caller, name: str) -> Response:
    """Users with their access keys, without the secrets."""
    return answer(s3_picture.users(context_of(request).cache.status, name))


@router.post("/clusters/{name}/users")
async def create_user(request: Request, caller: Caller, name: str, body: requests.CreateS3User) -> Response:
    """`data` holds `access_key` and `secret_key`; the latter is never shown again."""
    context = context_of(request)
    outcome = await s3_users.create(context.store, caller, name, body.name, secret=_secret(context))
    return await done(context, outcome)


@router.post("/clusters/{name}/users/{user}/rotate")
async def rotate_user(request: Request, caller: Caller, name: str, user: str, body: requests.RotateS3User) -> Response:
    """The same for a new key of an existing user."""
    context = context_of(request)
    outcome = await s3_users.rotate(context.store, caller, name, user, secret=_secret(context), keep=body.keep)
    return await done(context, outcome)


@router.post("/clusters/{name}/users/{user}/enable")
async def enable_user(request: Request, caller: Caller, name: str, user: str) -> Response:
    """The user's keys work again."""
    context = context_of(request)
    return await done(context, await s3_users.set_enabled(context.store, caller, name, user, enabled=True))


@router.post("/clusters/{name}/users/{user}/disable")
async def disable_user(request: Request, caller: Caller, name: str, user: str) -> Response:
    """The user's keys open nothing until it is enabled."""
    context = context_of(request)
    return await done(context, await s3_users.set_enabled(context.store, caller, name, user, enabled=False))


@router.delete("/clusters/{name}/users/{user}")
async def delete_user(request: Request, caller: Caller, name: str, user: str, yes: Flag = False) -> Response:
    """Without `yes` a refusal that says what would become of its objects."""
    context = context_of(request)
    return await done(context, await s3_users.delete(context.store, caller, name, user, yes=yes))
