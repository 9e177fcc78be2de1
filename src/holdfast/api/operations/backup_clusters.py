"""Backup clusters: one gateway on each of several nodes in front of one back-end. Create, other nodes, change, delete."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from holdfast import locks
from holdfast.api.operations import address_pool, checks, s3_names
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.operations.s3_clusters import Resolve
from holdfast.bootstrap import pki
from holdfast.core.model import Desired, InstanceSpec, NodeSpec, Role, ServiceAddress, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.backup_gateway.cluster import (
    KIND,
    PORT,
    BackupCluster,
    BackupUser,
    check_domain,
    gateways,
    instance_id,
)
from holdfast.services.gateway_ha import ha_off
from holdfast.store import keys


class Backends(Protocol):
    """Opens back-ends from the node that serves the API."""

    async def check(self, root: str, backend: str, credentials: Mapping[str, str]) -> None:
        """Write and read something there. `root` is the shared storage. Raises InvalidInput, Conflict, DriverError."""
        ...

    def authority(self) -> str:
        """The certificate that clients trust, PEM. Raises DriverError."""
        ...


@dataclass(frozen=True, slots=True)
class NewCluster:
    name: str
    nodes: Sequence[str]
    domain: str
    addresses: Sequence[str]
    """Ranges; empty: chosen from the end of the network."""
    backend: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: str = "public"
    port: int = PORT
    append_only: bool = False
    certificate: str = field(default="", repr=False)
    certificate_key: str = field(default="", repr=False)
    """Both PEM; empty: certificates of the cluster's own authority."""


async def create(
    store: Store,
    actor: Actor,
    wish: NewCluster,
    *,
    backends: Backends,
    secret: bytes,
    probe: checks.Probe | None = None,
    resolve: Resolve | None = None,
) -> Outcome:
    """The nodes get the role `backup`, and a gateway each with a service address of its own. `resolve`: tells what is found
    under the domain, where Holdfast does not keep its zone."""
    checks.name(wish.name, "backup cluster")
    domain = check_domain(wish.domain)
    if not 0 < wish.port < 1 << 16:
        raise InvalidInput(f"{wish.port} is not a port", "Give one from 1 to 65535.")
    own = _certificate(wish.certificate, wish.certificate_key, domain)
    draft = await Draft.open(store)
    _check_new(draft, wish)  # what would be refused is refused before anything is written to the back-end
    await backends.check(draft.cluster.shared_root, wish.backend, wish.credentials)

    async def operation(draft: Draft) -> str:
        specs = _check_new(draft, wish)
        found = await _choose(draft, wish.addresses, wish.network, len(specs), probe)
        cluster = BackupCluster(
            wish.name,
            domain,
            {spec.id: address.ip for spec, address in zip(specs, found, strict=True)},
            wish.network,
            tuple(wish.addresses),
            wish.backend,
            _locked(wish.credentials, secret),
            wish.append_only,
            wish.port,
            own,
            locks.lock(wish.certificate_key.encode(), secret) if own else "",
        )
        draft.put(keys.service(KIND, wish.name), ServiceSpec(KIND, wish.name))
        _give_role(draft, specs)
        _put(draft, cluster)
        await _warn_unfound(draft, cluster, resolve)
        draft.warn(f"Nobody may use it yet: holdfast backup user create {wish.name} USER.")
        draft.data.update(domain=domain, port=wish.port, addresses=cluster.addresses, backend=wish.backend)
        return f"backup cluster {wish.name} on {', '.join(cluster.nodes)}: https://{domain}:{wish.port}/"

    return await transact(store, actor, operation)


async def _warn_unfound(draft: Draft, cluster: BackupCluster, resolve: Resolve | None) -> None:
    addresses = set(cluster.addresses.values())
    if resolve is None or s3_names.kept(draft, cluster.domain):
        return
    found = await resolve(cluster.domain)
    if not found or not found <= addresses:
        zone, wanted = cluster.domain.partition(".")[2], ", ".join(sorted(addresses))
        draft.warn(
            f"{cluster.domain} does not lead clients to the gateways yet: let Holdfast keep its zone (holdfast dns zone "
            f"create {zone}; docs/dns.md), or point it to {wanted} yourself."
        )


def _check_new(draft: Draft, wish: NewCluster) -> list[NodeSpec]:
    """Raises Conflict, InvalidInput, NotFound."""
    for other in clusters(draft).values():
        if other.name == wish.name:
            raise Conflict(f"a backup cluster `{wish.name}` exists already", "Choose another name.")
    if draft.spec(keys.service(KIND, wish.name), ServiceSpec) is not None:
        raise Conflict(f"the backup cluster `{wish.name}` is being deleted", "Wait until it is gone, then repeat this.")
    for other in clusters(draft).values():
        if _overlap(other.backend, wish.backend):
            raise Conflict(
                f"{other.backend} is the back-end of the backup cluster `{other.name}`: users of the same name would share "
                "their repositories",
                "Give each cluster a place of its own.",
            )
    domain = check_domain(wish.domain)
    for spec in draft.instances.values():
        if any(domain == name or (name.startswith("*.") and domain.endswith(name[1:])) for name in spec.names):
            raise Conflict(f"{domain} is a name of `{spec.id}` already", "Choose another domain.")
    if not wish.nodes:
        raise InvalidInput("no node is named", "Name one or more with --nodes; from two on gateways survive a node.")
    return _with_network(checks.nodes(draft, wish.nodes), wish.network)


async def add_nodes(
    store: Store,
    actor: Actor,
    name: str,
    nodes: Sequence[str],
    *,
    addresses: Sequence[str] = (),
    probe: checks.Probe | None = None,
) -> Outcome:
    """They get a gateway each. `addresses`: more ranges than the cluster has."""
    if not nodes:
        raise InvalidInput("no node is named", "Name it with --nodes.")

    async def operation(draft: Draft) -> str:
        cluster = find(draft, name)
        specs = _with_network(checks.nodes(draft, nodes), cluster.network)
        for spec in specs:
            if spec.id in cluster.addresses:
                raise Conflict(f"node `{spec.id}` is of the backup cluster `{name}` already", "Leave it out.")
            if instance_id(name, spec.id) in draft.instances:
                raise Conflict(
                    f"the former gateway of `{spec.id}` is not gone yet", "Wait until it is, then repeat this."
                )
        pool = tuple(dict.fromkeys((*cluster.pool, *addresses)))
        found = await _choose(draft, pool, cluster.network, len(specs), probe)
        given = {spec.id: address.ip for spec, address in zip(specs, found, strict=True)}
        _stays(draft, name, [instance_id(name, node) for node in given])
        _give_role(draft, specs)
        _put(draft, replace(cluster, addresses={**cluster.addresses, **given}, pool=pool))
        draft.data["addresses"] = given
        return f"backup cluster {name} has gateways on {', '.join(sorted({*cluster.nodes, *given}))}"

    return await transact(store, actor, operation)


async def release_node(store: Store, actor: Actor, name: str, node: str) -> Outcome:
    """Its gateway is stopped and forgotten; clients that use it are cut off and find another one."""

    async def operation(draft: Draft) -> str:
        _release(draft, find(draft, name), node)
        return f"node {node} is being released from the backup cluster {name}"

    return await transact(store, actor, operation)


def _stays(draft: Draft, name: str, gateways: Sequence[str]) -> None:
    """What left once and comes again is not to be removed any more."""
    service = draft.spec(keys.service(KIND, name), ServiceSpec)
    if service is not None and set(gateways) & set(service.config.get("leaving", ())):
        leaving = [gone for gone in service.config["leaving"] if gone not in gateways]
        draft.put(keys.service(KIND, name), replace(service, config={**service.config, "leaving": leaving}))


def forget_node(draft: Draft, node: str) -> None:
    """The node leaves the cluster, and with it its backup clusters. Raises Conflict where it is the last one."""
    for cluster in clusters(draft).values():
        if node in cluster.addresses:
            _release(draft, cluster, node)


def _release(draft: Draft, cluster: BackupCluster, node: str) -> None:
    if node not in cluster.addresses:
        raise checks.not_found(f"node of the backup cluster {cluster.name}", node, cluster.nodes)
    if cluster.nodes == (node,):
        raise Conflict(
            f"`{node}` is the last node of the backup cluster `{cluster.name}`",
            f"Delete the cluster instead: holdfast backup delete {cluster.name}.",
        )
    left = {name: ip for name, ip in cluster.addresses.items() if name != node}
    gone = draft.instances.get(instance_id(cluster.name, node))
    service = draft.spec(keys.service(KIND, cluster.name), ServiceSpec)
    if gone is not None and service is not None:
        draft.put(keys.instance(gone.id), replace(gone, desired=Desired.STOPPED))
        leaving = sorted({*service.config.get("leaving", ()), gone.id})
        draft.put(keys.service(KIND, cluster.name), replace(service, config={**service.config, "leaving": leaving}))
    _put(draft, replace(cluster, addresses=left))


async def update(
    store: Store,
    actor: Actor,
    name: str,
    *,
    backends: Backends,
    secret: bytes,
    append_only: bool | None = None,
    credentials: Mapping[str, str] | None = None,
    certificate: str = "",
    certificate_key: str = "",
) -> Outcome:
    """Change what is given; the gateways take it over without a restart."""
    if append_only is None and credentials is None and not certificate:
        raise InvalidInput("there is nothing to change", "Name what: see `holdfast backup update --help`.")
    draft = await Draft.open(store)
    known = find(draft, name)
    if credentials is not None:
        await backends.check(draft.cluster.shared_root, known.backend, credentials)

    async def operation(draft: Draft) -> str:
        cluster = find(draft, name)
        changed: dict[str, Any] = {}
        if append_only is not None:
            changed["append_only"] = append_only
        if credentials is not None:
            changed["credentials"] = _locked(credentials, secret)
        if certificate:
            changed["certificate"] = _certificate(certificate, certificate_key, cluster.domain)
            changed["certificate_key"] = locks.lock(certificate_key.encode(), secret)
        draft.put(keys.backup_cluster(name), replace(cluster, **changed))
        return f"backup cluster {name}: {', '.join(word.replace('_', ' ') for word in sorted(changed))} changed"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, name: str, *, yes: bool = False) -> Outcome:
    """Its gateways are stopped and forgotten, with its users. What was backed up stays in the back-end."""

    async def operation(draft: Draft) -> str:
        cluster = find(draft, name)
        if not yes:
            raise Conflict(
                f"clients of the backup cluster `{name}` would lose it: users and gateways are forgotten, and only what was "
                f"stored stays, in {cluster.backend}",
                f"If that is meant: holdfast backup delete {name} --yes.",
            )
        for spec in instances(draft, name):
            draft.put(keys.instance(spec.id), replace(spec, desired=Desired.STOPPED))
        draft.put(keys.service(KIND, name), ServiceSpec(KIND, name, {"deleting": True}))
        for user in draft.specs(keys.backup_users(name), BackupUser):
            draft.delete(keys.backup_user(name, user.name))
        draft.delete(keys.backup_cluster(name))
        draft.data["backend"] = cluster.backend
        return f"backup cluster {name} is being deleted; what was backed up stays in {cluster.backend}"

    return await transact(store, actor, operation)


# --- small things -------------------------------------------------------------------------------------------------------


def clusters(draft: Draft) -> dict[str, BackupCluster]:
    return {cluster.name: cluster for cluster in draft.specs(keys.BACKUP_CLUSTERS, BackupCluster)}


def find(draft: Draft, name: str) -> BackupCluster:
    known = clusters(draft)
    if name not in known:
        raise checks.not_found("backup cluster", name, known)
    return known[name]


def instances(draft: Draft, name: str) -> list[InstanceSpec]:
    return [spec for spec in draft.instances.values() if (spec.kind, spec.service) == (KIND, name)]


def _put(draft: Draft, cluster: BackupCluster) -> None:
    """The cluster with one gateway per node, all of them with its present nodes and its present high availability."""
    draft.put(keys.backup_cluster(cluster.name), cluster)
    off = ha_off(KIND, len(cluster.nodes), draft.management)
    if off:
        draft.warn(f"High availability of {cluster.name} is OFF: {off}.")
    there = draft.instances
    for spec in gateways(cluster, ha=not off, desired={name: old.desired for name, old in there.items()}):
        if there.get(spec.id) != spec:
            draft.put(keys.instance(spec.id), spec)


def _overlap(one: str, other: str) -> bool:
    """One back-end, or a directory inside of the other, as operators write them."""
    first, second = (f"{text.rstrip('/')}/" for text in (one, other))
    return first.startswith(second) or second.startswith(first)


async def _choose(
    draft: Draft, ranges: Sequence[str], network: str, count: int, probe: checks.Probe | None
) -> list[ServiceAddress]:
    if ranges:
        return await address_pool.choose(draft, ranges, network, count, probe)
    return await address_pool.choose_any(draft, network, count, probe)


def _with_network(specs: Sequence[NodeSpec], network: str) -> list[NodeSpec]:
    for spec in specs:
        if network not in spec.addresses:
            raise Conflict(
                f"node `{spec.id}` has no address on the network `{network}`, where the clients are",
                "Choose another node, or another network with --network.",
            )
    return list(specs)


def _give_role(draft: Draft, specs: Sequence[NodeSpec]) -> None:
    for spec in specs:
        if Role.BACKUP not in spec.roles:
            draft.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.BACKUP)))


def _locked(credentials: Mapping[str, str], secret: bytes) -> str:
    return locks.lock(json.dumps(dict(credentials), sort_keys=True).encode(), secret) if credentials else ""


def _certificate(certificate: str, key: str, domain: str) -> str:
    if bool(certificate) != bool(key):
        raise InvalidInput("certificate and key belong together", "Give both, or none.")
    if certificate:
        pki.check_server(certificate.encode(), key.encode(), domain)
    return certificate
