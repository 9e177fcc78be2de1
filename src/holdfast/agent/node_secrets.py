"""What this node can do with the secrets it holds: open what the store keeps locked, and certify servers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast import locks
from holdfast.bootstrap import certificates, files, pki, secrets
from holdfast.bootstrap.trust import Trust
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, InvalidInput
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser
from holdfast.services.backup_gateway.records import Records
from holdfast.services.s3.config import S3Cluster, S3User
from holdfast.services.s3.records import Records as S3Records
from holdfast.store import keys
from holdfast.store.mirror import Mirror


class NodeSecrets:
    """Reads the files anew each time: they are small, and may be restored by an operator meanwhile."""

    def __init__(self, mirror: Mirror, pki_dir: Path = files.PKI_DIR) -> None:
        self._mirror = mirror
        self._pki_dir = pki_dir

    def cluster_secret(self) -> bytes:
        """Raises ConfigError."""
        return secrets.read_with_previous(self._pki_dir / files.CLUSTER_SECRET)

    def unlock(self, locked: str) -> bytes:
        """Raises ConfigError."""
        return locks.unlock(locked, self.cluster_secret())

    def certify(self, common_name: str, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate and key of a server, by the cluster's authority. Raises ConfigError."""
        locked = self._mirror.read(keys.CA_KEY, str)
        if locked is None:
            raise ConfigError(
                f"the store holds no key of the cluster's authority, so nothing certifies {names[0]}",
                "Restore the store from a backup, or give certificates of your own.",
            )
        return pki.issue_server(pki.Authority(self._signing(), self.unlock(locked)), common_name, names)

    def still_good(self, certificate: bytes) -> bool:
        """Whether the authority that signs at present issued it, and less than two thirds of its life have passed."""
        try:
            issuer = certificates.facts(certificate).authority
            return issuer == certificates.authority_id(self._signing()) and not certificates.renewal_due(
                certificate, SystemClock().wall()
            )
        except (InvalidInput, ConfigError):
            return False

    def _signing(self) -> bytes:
        """Certificate of the authority whose key keys.CA_KEY is, from the same copy of the store. Raises ConfigError."""
        trust = self._mirror.read(keys.TRUST, Trust)
        if trust is not None:
            return trust.signing.encode()
        try:
            return (self._pki_dir / files.CA_CERT).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be read: {error.strerror}", "Copy it from another member."
            ) from error

    def backup_records(self) -> Records:
        return Records(self._backup_clusters, self._backup_users, self.unlock, self.certify, self.still_good)

    def _backup_clusters(self) -> Mapping[str, BackupCluster]:
        return self._mirror.all(keys.BACKUP_CLUSTERS, BackupCluster)

    def _backup_users(self, cluster: str) -> Mapping[str, BackupUser]:
        return self._mirror.all(keys.backup_users(cluster), BackupUser)

    def s3_records(self) -> S3Records:
        return S3Records(self._s3_clusters, self._s3_users, self.cluster_secret)

    def _s3_clusters(self) -> Mapping[str, S3Cluster]:
        return self._mirror.all(keys.S3_CLUSTERS, S3Cluster)

    def _s3_users(self, cluster: str) -> Mapping[str, S3User]:
        return self._mirror.all(keys.s3_users(cluster), S3User)
