"""S3 clusters and their users as people may see them: without secrets. Pure."""

from dataclasses import dataclass

from holdfast.api.records import Records
from holdfast.core.dns_model import DnsRecords, UpdateTarget, Zone
from holdfast.core.dns_records import zone_of
from holdfast.services.s3.config import S3Cluster, S3User
from holdfast.store import keys


@dataclass(frozen=True, slots=True)
class S3KeyView:
    """An access key without its secret."""

    id: str
    enabled: bool
    created: str


@dataclass(frozen=True, slots=True)
class S3UserView:
    name: str
    owner: str
    """Owns the user's buckets and objects."""
    enabled: bool
    keys: tuple[S3KeyView, ...]


@dataclass(frozen=True, slots=True)
class S3ClusterView:
    """Without the secrets of the hash and the key with which health checks sign."""

    name: str
    domain: str
    nodes: tuple[str, ...]
    name_servers: dict[str, str]
    """Part → address."""
    object_servers: dict[str, str]
    gateways: dict[str, str]
    """Node → address of its gateway."""
    gateway_port: int
    region: str
    users: tuple[S3UserView, ...]
    zone: str
    """That of ours, or of an update target, in which its domain lies; empty: Holdfast publishes it nowhere."""
    published: tuple[str, ...]
    """Addresses that its domain leads to now."""


def clusters(records: Records) -> tuple[S3ClusterView, ...]:
    found: list[S3Cluster] = [value for _, value in records.under(keys.S3_CLUSTERS)]
    return tuple(_cluster(records, cluster) for cluster in found)


def _cluster(records: Records, cluster: S3Cluster) -> S3ClusterView:
    dns = records.read(keys.DNS_RECORDS, DnsRecords) or DnsRecords()
    zone = _zone(records, cluster.domain)
    return S3ClusterView(
        cluster.name,
        cluster.domain,
        cluster.nodes,
        {part: server.address.ip for part, server in cluster.name_servers.items()},
        {part: server.address.ip for part, server in cluster.object_servers.items()},
        {node: address.ip for node, address in cluster.gateways.items()},
        cluster.gateway_port,
        cluster.region,
        tuple(_user(user) for _, user in records.under(keys.s3_users(cluster.name))),
        zone,
        dns.names.get(cluster.domain, ()) if zone else (),
    )


def _zone(records: Records, domain: str) -> str:
    zones: list[Zone] = [value for _, value in records.under(keys.DNS_ZONES)]
    targets: list[UpdateTarget] = [value for _, value in records.under(keys.DNS_TARGETS)]
    return zone_of(domain, [*(zone.apex for zone in zones), *(target.zone for target in targets)])


def _user(user: S3User) -> S3UserView:
    shown = tuple(S3KeyView(key.id, key.enabled, key.created) for key in user.keys)
    return S3UserView(user.name, user.owner, user.enabled, shown)
