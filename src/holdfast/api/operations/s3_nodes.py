"""The nodes of an S3 cluster: more of them, fewer of them. No object is copied for it: name and object servers move, with
their addresses, and those that are added take directories over."""

from collections.abc import Sequence
from dataclasses import replace

from holdfast.api.operations import checks, planning, s3_clusters
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import Desired, Role, ServiceAddress, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.gateway_ha import ha_off
from holdfast.services.s3.config import (
    KIND,
    S3Cluster,
    gateway_part,
    instance_id,
    instance_specs,
    validate,
    with_server,
)
from holdfast.store import keys


async def add(
    store: Store,
    actor: Actor,
    name: str,
    nodes: Sequence[str],
    *,
    gateway_addresses: Sequence[str] = (),
    server_addresses: Sequence[str] = (),
    name_servers: int = 0,
    object_servers: int = 0,
    force: bool = False,
    probe: checks.Probe | None = None,
) -> Outcome:
    """They get a gateway each, and servers are moved to them until all nodes have as many. `name_servers`, `object_servers`:
    so many are there to be from now on; 0: as many as there are."""
    if not nodes:
        raise InvalidInput("no node is named", "Name it with --nodes.")

    async def operation(draft: Draft) -> str:
        cluster = s3_clusters.find(draft, name)
        specs = checks.nodes(draft, nodes)
        for spec in specs:
            if spec.id in cluster.gateways:
                raise Conflict(f"node `{spec.id}` is of the S3 cluster `{name}` already", "Leave it out.")
            if instance_id(name, gateway_part(spec.id)) in draft.instances:
                raise Conflict(
                    f"the former gateway of `{spec.id}` is not gone yet", "Wait until it is, then repeat this."
                )
        clients = next(iter(cluster.gateways.values())).network
        s3_clusters.require_network(draft, specs, clients, "--nodes")
        for network in sorted({server.address.network for server in cluster.servers.values()}):
            s3_clusters.require_network(draft, specs, network, "--nodes")
        found = await s3_clusters.pick(
            draft, gateway_addresses, clients, len(specs), probe, option=s3_clusters.GATEWAYS
        )
        given = {spec.id: address for spec, address in zip(specs, found, strict=True)}
        for spec in specs:
            if Role.S3 not in spec.roles:
                draft.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.S3)))
        larger = _with_gateways(cluster, {**cluster.gateways, **given})
        larger = await _with_servers(draft, larger, name_servers, object_servers, server_addresses, probe)
        _stays(draft, name, [instance_id(name, gateway_part(node)) for node in given])
        _put(draft, larger)
        draft.data["gateways"] = {node: address.ip for node, address in given.items()}
        await admit(draft, force=force)
        return f"S3 cluster {name} is on {', '.join(larger.nodes)} ({s3_clusters.counted(larger)})"

    return await transact(store, actor, operation)


async def release(store: Store, actor: Actor, name: str, node: str, *, force: bool = False) -> Outcome:
    """Its gateway is stopped and forgotten; its servers move to the other nodes. Works for a dead node too. `force`: even
    where the cluster then survives less than it is to."""

    async def operation(draft: Draft) -> str:
        left = _release(draft, s3_clusters.find(draft, name), node)
        await admit(draft, force=force)
        return f"node {node} is being released from the S3 cluster {name}, which goes on on {', '.join(left.nodes)}"

    return await transact(store, actor, operation)


def forget_node(draft: Draft, node: str) -> None:
    """The node leaves the cluster, and with it its S3 clusters. Raises Conflict where it is the last one."""
    for cluster in s3_clusters.clusters(draft).values():
        if node in cluster.gateways:
            left = _release(draft, cluster, node)
            draft.warn(f"The S3 cluster {cluster.name} goes on on {', '.join(left.nodes)}.")


def _release(draft: Draft, cluster: S3Cluster, node: str) -> S3Cluster:
    if node not in cluster.gateways:
        raise checks.not_found(f"node of the S3 cluster {cluster.name}", node, cluster.nodes)
    if cluster.nodes == (node,):
        raise Conflict(
            f"`{node}` is the last node of the S3 cluster `{cluster.name}`",
            f"Add another one first (holdfast s3 node add {cluster.name} --nodes NODE), or delete the cluster.",
        )
    left = _with_gateways(cluster, {name: at for name, at in cluster.gateways.items() if name != node})
    gone = draft.instances.get(instance_id(cluster.name, gateway_part(node)))
    key = keys.service(KIND, cluster.name)
    service = draft.spec(key, ServiceSpec)
    if gone is not None and service is not None:
        draft.put(keys.instance(gone.id), replace(gone, desired=Desired.STOPPED))
        leaving = sorted({*service.config.get("leaving", ()), gone.id})
        draft.put(key, replace(service, config={**service.config, "leaving": leaving}))
    _put(draft, left)
    return left


async def _with_servers(
    draft: Draft,
    cluster: S3Cluster,
    names: int,
    objects: int,
    ranges: Sequence[str],
    probe: checks.Probe | None,
) -> S3Cluster:
    """New ones take devices over from the others, which are started anew for it. Raises InvalidInput, Conflict."""
    wanted = {
        "ns": (names or len(cluster.name_servers)) - len(cluster.name_servers),
        "os": (objects or len(cluster.object_servers)) - len(cluster.object_servers),
    }
    if min(wanted.values()) < 0:
        raise InvalidInput(
            f"S3 cluster {cluster.name} has {s3_clusters.counted(cluster)} already",
            "Servers can be added, but not taken away: give a larger number, or none.",
        )
    network = next(iter(cluster.servers.values())).address.network
    used = [address.ip for address in cluster.gateways.values()]
    count = sum(wanted.values())
    found = iter(
        await s3_clusters.pick(draft, ranges, network, count, probe, option=s3_clusters.SERVERS, but=used)
        if count
        else ()
    )
    for kind, more in wanted.items():
        for _ in range(more):
            cluster = with_server(cluster, kind, next(found))
    return cluster


def _with_gateways(cluster: S3Cluster, gateways: dict[str, ServiceAddress]) -> S3Cluster:
    changed = replace(cluster, nodes=tuple(sorted(gateways)), gateways=dict(sorted(gateways.items())))
    validate(changed)
    return changed


def _stays(draft: Draft, name: str, gateways: Sequence[str]) -> None:
    """What left once and comes again is not to be removed any more."""
    key = keys.service(KIND, name)
    service = draft.spec(key, ServiceSpec)
    if service is not None and set(gateways) & set(service.config.get("leaving", ())):
        leaving = [gone for gone in service.config["leaving"] if gone not in gateways]
        draft.put(key, replace(service, config={**service.config, "leaving": leaving}))


def _put(draft: Draft, cluster: S3Cluster) -> None:
    """The cluster, and its instances with its present nodes and its present high availability. What operators have set of
    them otherwise stays."""
    why_off = ha_off(KIND, len(cluster.nodes), draft.management)
    draft.put(keys.s3_cluster(cluster.name), cluster)
    there = {spec.id: spec for spec in s3_clusters.instances(draft, cluster.name)}
    started = any(spec.desired is Desired.STARTED for spec in there.values())
    for new in instance_specs(replace(cluster, started=started), ha=not why_off):
        old = there.get(new.id)
        spec = replace(old, nodes=new.nodes, ha=new.ha) if old else new
        if spec != old:
            draft.put(keys.instance(spec.id), spec)
    s3_clusters.warn_ha(draft, cluster.name, why_off)


async def rebalance(store: Store, actor: Actor, name: str, *, limit: int, force: bool = False) -> Outcome:
    """Ask for the moves that even out how many of its servers each node carries."""
    s3_clusters.find(await Draft.open(store), name)
    return await planning.even_out(store, actor, limit=limit, force=force, service=f"{KIND}/{name}")
