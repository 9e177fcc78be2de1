"""Backup clusters as they are shown: without anything that opens their back-ends, and without hashes of passwords."""

from dataclasses import dataclass

from holdfast.api.records import Records
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser
from holdfast.store import keys


@dataclass(frozen=True, slots=True)
class BackupUserView:
    name: str
    append_only: bool
    """It deletes and changes nothing, by its own setting or by its cluster's."""


@dataclass(frozen=True, slots=True)
class BackupClusterView:
    name: str
    domain: str
    port: int
    addresses: dict[str, str]
    """Node → service address of its gateway."""
    network: str
    pool: tuple[str, ...]
    backend: str
    append_only: bool
    own_certificate: bool
    """The operator gave one. Otherwise clients need the certificate of the cluster's authority."""
    users: tuple[BackupUserView, ...]


def clusters(records: Records) -> tuple[BackupClusterView, ...]:
    return tuple(_view(cluster, records) for _, cluster in records.under(keys.BACKUP_CLUSTERS))


def _view(cluster: BackupCluster, records: Records) -> BackupClusterView:
    users: list[BackupUser] = [user for _, user in records.under(keys.backup_users(cluster.name))]
    return BackupClusterView(
        cluster.name,
        cluster.domain,
        cluster.port,
        cluster.addresses,
        cluster.network,
        cluster.pool,
        cluster.backend,
        cluster.append_only,
        bool(cluster.certificate),
        tuple(BackupUserView(user.name, user.append_only or cluster.append_only) for user in users),
    )
