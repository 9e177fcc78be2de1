"""S3 clusters: create and delete; which nodes they are on is changed by `s3_nodes.py`."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from holdfast.api.operations import address_pool, checks, s3_names
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, aside, transact
from holdfast.core.model import Desired, InstanceSpec, NodeSpec, Role, ServiceAddress, ServiceSpec
from holdfast.core.rights import SHARED_UID
from holdfast.errors import Conflict, InvalidInput
from holdfast.owners import readable_by_all
from holdfast.ports import Store
from holdfast.services.gateway_ha import ha_off
from holdfast.services.s3.config import (
    KIND,
    REGION,
    S3Cluster,
    S3User,
    cluster_path,
    instance_specs,
    new_cluster,
    server_counts,
)
from holdfast.services.s3.users import new_key
from holdfast.store import keys

GATEWAYS, SERVERS = "--gateway-addresses", "--server-addresses"
USERS_AT_ONCE = 500
"""Deleted in one transaction: the store takes about a thousand changes in one."""
STORAGE_NETWORKS = ("storage", "management")
"""Where name and object servers listen unless it is said: they ask nobody who he is, so not where clients are."""

Resolve = Callable[[str], Awaitable[frozenset[str]]]
"""Name → the addresses that this node's resolver has for it; none: it does not know the name."""


class Files(Protocol):
    """The shared storage."""

    async def make(self, root: str, name: str) -> None:
        """The cluster's directory is there afterwards, empty. Raises Conflict if something of a former cluster is in it,
        DriverError where the shared storage is not there."""
        ...


@dataclass(frozen=True, slots=True)
class NewCluster:
    name: str
    nodes: Sequence[str]
    domain: str
    gateway_addresses: Sequence[str] = ()
    """Ranges; empty: chosen from the end of the network."""
    server_addresses: Sequence[str] = ()
    network: str = "public"
    """Of the clients."""
    server_network: str = ""
    """Of name and object servers; empty: the first of STORAGE_NETWORKS that all nodes are on."""
    name_servers: int = 0
    """0: by the number of nodes, as for the object servers."""
    object_servers: int = 0
    region: str = REGION
    force: bool = False
    """Even where the cluster then survives less than it is to."""


async def create(
    store: Store,
    actor: Actor,
    wish: NewCluster,
    *,
    files: Files,
    secret: bytes,
    probe: checks.Probe | None = None,
    resolve: Resolve | None = None,
) -> Outcome:
    """The nodes get the role `s3`, a gateway each, and share the name and object servers."""
    checks.name(wish.name, "cluster of S3")
    draft = await Draft.open(store)
    _check_new(draft, wish)  # what would be refused is refused before the storage is touched
    if not actor.terms.dry_run:
        await files.make(draft.cluster.shared_root, wish.name)

    async def operation(draft: Draft) -> str:
        specs = _check_new(draft, wish)
        cluster = await _new(draft, wish, specs, secret, probe)
        s3_names.refuse_clash(draft, cluster.domain)
        why_off = ha_off(KIND, len(cluster.nodes), draft.management)
        draft.put(keys.s3_cluster(cluster.name), cluster)
        draft.put(keys.service(KIND, cluster.name), ServiceSpec(KIND, cluster.name, {"domain": cluster.domain}))
        for spec in specs:
            if Role.S3 not in spec.roles:
                draft.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.S3)))
        for instance in instance_specs(cluster, ha=not why_off):
            draft.put(keys.instance(instance.id), instance)
        await _tell(draft, cluster, why_off, resolve)
        await admit(draft, force=wish.force)
        on = f"{', '.join(cluster.nodes)} ({counted(cluster)})"
        return f"S3 cluster {cluster.name} on {on}: {draft.data['endpoint']}"

    return await transact(store, actor, operation)


def _check_new(draft: Draft, wish: NewCluster) -> list[NodeSpec]:
    """Raises Conflict, InvalidInput, NotFound."""
    if wish.name in clusters(draft):
        raise Conflict(f"an S3 cluster `{wish.name}` exists already", "Choose another name.")
    if draft.spec(keys.service(KIND, wish.name), ServiceSpec) is not None:
        raise Conflict(f"the S3 cluster `{wish.name}` is being deleted", "Wait until it is gone, then repeat this.")
    if not wish.nodes:
        raise InvalidInput("no node is named", "Name them with --nodes; from three on S3 survives a node's failure.")
    specs = checks.nodes(draft, wish.nodes)
    require_network(draft, specs, wish.network, "--network")
    require_network(draft, specs, server_network(specs, wish.server_network), "--server-network")
    return specs


def require_network(draft: Draft, specs: Sequence[NodeSpec], network: str, option: str) -> None:
    """Raises NotFound, Conflict."""
    checks.network(draft, network)
    for spec in specs:
        if network not in spec.addresses:
            raise Conflict(
                f"node `{spec.id}` has no address on the network `{network}`",
                f"Choose another node, or another network with {option}.",
            )


def server_network(specs: Sequence[NodeSpec], wanted: str = "") -> str:
    common = [name for name in STORAGE_NETWORKS if all(name in spec.addresses for spec in specs)]
    return wanted or common[0]


async def _new(
    draft: Draft, wish: NewCluster, specs: Sequence[NodeSpec], secret: bytes, probe: checks.Probe | None
) -> S3Cluster:
    names, objects = server_counts(len(specs))
    names, objects = wish.name_servers or names, wish.object_servers or objects
    network = server_network(specs, wish.server_network)
    gateways = await pick(draft, wish.gateway_addresses, wish.network, len(specs), probe, option=GATEWAYS)
    used = [address.ip for address in gateways]
    servers = await pick(draft, wish.server_addresses, network, names + objects, probe, option=SERVERS, but=used)
    key, _ = new_key(secret)
    user = SHARED_UID if readable_by_all() else 0
    return new_cluster(
        wish.name,
        wish.domain,
        {spec.id: address for spec, address in zip(specs, gateways, strict=True)},
        servers[:names],
        servers[names:],
        hash_prefix=secrets.token_hex(16),
        hash_suffix=secrets.token_hex(16),
        probe=key,
        region=wish.region,
        uid=user,
        gid=user,
    )


async def pick(
    draft: Draft,
    ranges: Sequence[str],
    network: str,
    count: int,
    probe: checks.Probe | None,
    *,
    option: str,
    but: Sequence[str] = (),
) -> list[ServiceAddress]:
    """Free addresses of the ranges, or without any from the end of the network."""
    if ranges:
        return await address_pool.choose(draft, ranges, network, count, probe, option=option, but=but)
    return await address_pool.choose_any(draft, network, count, probe, option=option, but=but)


async def _tell(draft: Draft, cluster: S3Cluster, why_off: str, resolve: Resolve | None) -> None:
    """What a program wants to know, and what people should do next."""
    draft.data.update(
        domain=cluster.domain,
        endpoint=s3_names.endpoint(cluster.domain, cluster.gateway_port),
        gateways={node: address.ip for node, address in cluster.gateways.items()},
        servers={part: server.address.ip for part, server in cluster.servers.items()},
        ha=not why_off,
    )
    warn_ha(draft, cluster.name, why_off)
    if resolve is not None and not s3_names.kept(draft, cluster.domain):
        unfound = s3_names.unfound(cluster, await resolve(cluster.domain))
        if unfound:
            draft.warn(unfound)
    draft.warn(f"Nobody may use it yet: holdfast s3 user create {cluster.name} USER.")


def counted(cluster: S3Cluster) -> str:
    """How many servers it has, for a sentence."""
    words = ((len(cluster.name_servers), "name server"), (len(cluster.object_servers), "object server"))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in words)


def warn_ha(draft: Draft, name: str, why_off: str) -> None:
    if why_off:
        draft.warn(f"High availability of s3/{name} is off: {why_off}.")


async def delete(store: Store, actor: Actor, name: str, *, yes: bool = False) -> Outcome:
    """Stop its instances and let the manager forget each once it is confirmed stopped. The data stay on the shared storage.
    Without `yes` nothing is done: the Conflict raised says what would be lost."""

    async def operation(draft: Draft) -> str:
        cluster = find(draft, name)
        path = cluster_path(draft.cluster.shared_root, name)
        owned = users(draft, name)
        if not yes:
            whom = (
                f"{len(owned)} users lose their keys"
                if len(owned) != 1
                else f"the user {next(iter(owned))} loses its keys"
            )
            raise Conflict(
                f"all clients of s3/{name} would lose their access for ever, and {whom}; the objects would stay in {path}, "
                "but no S3 cluster could serve them any more",
                f"If that is what you want: holdfast s3 delete {name} --yes.",
            )
        for instance in instances(draft, name):
            draft.put(keys.instance(instance.id), replace(instance, desired=Desired.STOPPED))
        key = keys.service(KIND, name)
        service = draft.spec(key, ServiceSpec) or ServiceSpec(KIND, name)
        draft.put(key, replace(service, config={**service.config, "deleting": True}))
        draft.delete(keys.s3_cluster(name))
        for user in owned:
            draft.delete(keys.s3_user(name, user))
        draft.data["path"] = path
        draft.warn(f"The objects take up room in {path} until you remove that directory, once `s3/{name}` is gone.")
        return f"S3 cluster {name} ({', '.join(cluster.nodes)}) is being deleted; its data stay in {path}"

    if yes and not actor.terms.dry_run:
        await _forget_users(store, actor, name)
    return await transact(store, actor, operation)


async def _forget_users(store: Store, actor: Actor, name: str) -> None:
    """All but as many as the transaction that deletes the cluster can delete as well."""

    async def operation(draft: Draft) -> str:
        gone = list(users(draft, name))[:USERS_AT_ONCE]
        for user in gone:
            draft.delete(keys.s3_user(name, user))
        return f"{len(gone)} users of s3/{name} are deleted with their cluster"

    while len(users(await Draft.open(store), name)) > USERS_AT_ONCE:
        await transact(store, aside(actor), operation)


# --- small things -------------------------------------------------------------------------------------------------------


def clusters(draft: Draft) -> dict[str, S3Cluster]:
    return {cluster.name: cluster for cluster in draft.specs(keys.S3_CLUSTERS, S3Cluster)}


def find(draft: Draft, name: str) -> S3Cluster:
    """Raises NotFound."""
    known = clusters(draft)
    if name not in known:
        raise checks.not_found("S3 cluster", name, known)
    return known[name]


def users(draft: Draft, cluster: str) -> dict[str, S3User]:
    return {user.name: user for user in draft.specs(keys.s3_users(cluster), S3User)}


def instances(draft: Draft, cluster: str) -> list[InstanceSpec]:
    return [spec for spec in draft.instances.values() if spec.kind == KIND and spec.service == cluster]
